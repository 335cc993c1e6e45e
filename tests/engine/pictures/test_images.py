"""The loader of given pictures: the right pixels, or one sentence, in bounded memory."""

import io
import json
import struct
import subprocess
import sys
import tracemalloc
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from engine.errors import ImageError
from engine.pictures import images
from engine.pictures import strip_metadata as bare
from engine.pictures.image_header import read_image_header
from engine.pictures.images import fit, flatten, read_image, to_png
from engine.recipe.limits import FITS
from tests.conftest import ROOT
from tests.engine import picture_files as files

WHOLE = [
    (f"{name} {width}×{height}", data, pixels, exact)
    for width, height in files.SIZES
    for maker, exact in ((files.lossless, True), (files.lossy, False))
    for name, data, pixels in maker(files.quartered(width, height))
]
WHOLE += [
    (name, data, pixels, False)
    for name, data, pixels in chain(
        files.turned(files.quartered(64, 40)), files.profiled(files.quartered(64, 40))
    )
]
CUT = list(files.cut(files.quartered(64, 40)))
FLIPPED = list(files.flipped(files.quartered(64, 40)))
STRANGE = list(files.strangers())


def is_one_sentence(error: ImageError) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text and 10 < len(text) < 160 and ". " not in text


def test_there_are_at_least_300_files() -> None:
    names = [entry[0] for entry in (*WHOLE, *CUT, *FLIPPED, *STRANGE)]
    assert len(names) == len(set(names)) >= 300


@pytest.mark.parametrize(
    ("data", "pixels", "exact"), [e[1:] for e in WHOLE], ids=[e[0] for e in WHOLE]
)
def test_a_whole_file_gives_its_pixels(data: bytes, pixels: files.Pixels, exact: bool) -> None:
    image = read_image(data)
    assert image.mode == ("RGBA" if pixels.shape[2] == 4 else "RGB")
    assert image.info == {}
    assert not image.getexif()
    found = np.asarray(image)
    assert found.shape == pixels.shape
    if exact:
        assert np.array_equal(found, pixels)
        return
    # Where quarters meet a lossy file may blur; in their middles it must not.
    height, width = pixels.shape[:2]
    for y in (height // 4, height * 3 // 4):
        for x in (width // 4, width * 3 // 4):
            difference = np.abs(found[y, x].astype(int) - pixels[y, x])
            assert difference.max() <= (40 if min(width, height) < 20 else 12)


@pytest.mark.parametrize("data", [entry[1] for entry in CUT], ids=[entry[0] for entry in CUT])
def test_a_cut_file_gets_a_sentence(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data)
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize("data", [e[1] for e in FLIPPED], ids=[e[0] for e in FLIPPED])
def test_a_damaged_file_gives_a_picture_of_its_size_or_a_sentence(data: bytes) -> None:
    error, image = None, None
    try:
        header, image = read_image_header(data), read_image(data)
    except ImageError as refusal:
        error = refusal
    if image is None:
        assert error is not None
        assert is_one_sentence(error)
    else:
        assert image.size == (header.width, header.height)
        assert image.mode in ("RGB", "RGBA")


@pytest.mark.parametrize(("data", "word"), [e[1:] for e in STRANGE], ids=[e[0] for e in STRANGE])
def test_what_cannot_be_used_is_named(data: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        read_image(data)
    assert is_one_sentence(caught.value)


def test_a_profile_is_honoured() -> None:
    linear = linear_profile()
    data = files.saved(Image.new("RGB", (16, 16), (64, 64, 64)), "PNG", icc_profile=linear)
    assert read_image(data).getpixel((8, 8)) == pytest.approx((137, 137, 137), abs=2)


def linear_profile() -> bytes:
    """Return sRGB's profile with a linear tone curve in place of its own."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        at = profile.index(tag)
        offset = int.from_bytes(profile[at + 4 : at + 8], "big")
        size = int.from_bytes(profile[at + 8 : at + 12], "big")
        curve = b"curv" + bytes(8)  # no entries: the identity
        profile[offset : offset + size] = curve + bytes(size - len(curve))
    return bytes(profile)


def test_png_bytes_depend_on_pixels_alone() -> None:
    pixels = files.quartered(40, 24)
    plain = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[files.ORIENTATION] = 1
    exif[0x0132] = "2026:11:21 10:00:00"
    laden = read_image(files.saved(plain, "PNG", exif=exif, icc_profile=None, dpi=(72, 72)))
    laden.info["icc_profile"] = b"left over"
    png = to_png(plain)
    assert to_png(laden) == png
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
    assert Image.open(io.BytesIO(png)).info == {}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_is_too_long_turns_nothing(kind: str) -> None:
    plain, exif = Image.fromarray(files.quartered(40, 24)), Image.Exif()
    exif[files.ORIENTATION] = 6
    assert read_image(files.saved(plain, kind, exif=exif)).size == (24, 40)
    exif[0x010E] = "x" * bare.EXIF
    assert read_image(files.saved(plain, kind, exif=exif)).size == (40, 24)


def test_a_jpeg_with_more_exif_than_any_camera_writes_is_refused() -> None:
    jpeg = files.saved(Image.fromarray(files.quartered(40, 24)), "JPEG")
    segment = b"\xff\xe1\xff\xffExif\0\0" + bytes(2**16 - 9)
    assert read_image(jpeg[:2] + segment + jpeg[2:]).size == (40, 24)
    with pytest.raises(ImageError, match="damaged"):
        read_image(jpeg[:2] + segment * 17 + jpeg[2:])


@pytest.mark.parametrize("before", [b"\xff\xd9", b"\xff\xf0", b"odd"])
def test_too_much_exif_is_found_wherever_pillow_looks_for_it(before: bytes) -> None:
    # As fractions these 4 MB of a resolution are seconds of work: half a million, where one is due.
    jpeg = files.saved(Image.fromarray(files.quartered(40, 24)), "JPEG")
    amount, most = 500_000, 65_000
    head = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x011A, 5, amount, 26, 0)
    exif = head + bytes([1]) * (8 * amount)
    parts = [exif[at : at + most] for at in range(0, len(exif), most)]
    segments = [struct.pack(">HH", 0xFFE1, len(part) + 8) + b"Exif\0\0" + part for part in parts]
    at = jpeg.index(b"\xff\xda")
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="damaged"):
            read_image(jpeg[:at] + before + b"".join(segments) + jpeg[at:])
        assert tracemalloc.get_traced_memory()[1] < 4 * len(exif)
    finally:
        tracemalloc.stop()


def test_odd_bytes_between_a_jpegs_segments_are_skipped() -> None:
    jpeg = files.saved(Image.fromarray(files.quartered(40, 24)), "JPEG")
    at = jpeg.index(b"\xff\xda")
    assert read_image(jpeg[:at] + b"odd" + jpeg[at:]).size == (40, 24)


def test_what_is_written_is_read_back_the_same() -> None:
    for channels in (3, 4):
        pixels = files.quartered(40, 24)
        seen = pixels if channels == 3 else files.with_alpha(pixels, 7)
        assert np.array_equal(np.asarray(read_image(to_png(Image.fromarray(seen)))), seen)


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    flat = np.asarray(flatten(Image.fromarray(pixels)))
    assert (flat[:4] == 0).all()
    assert (flat[4:] == 255).all()


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(64, 64), (128, 64), (72, 200), (64, 63)])
def test_fitting_gives_the_size_and_keeps_the_mode(
    how: images.Fit, mode: str, size: tuple[int, int]
) -> None:
    image = Image.fromarray(files.quartered(201, 67)).convert(mode)
    fitted = fit(image, *size, how)
    assert fitted.size == size
    assert fitted.mode == mode


def test_cropping_keeps_the_middle() -> None:
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, 64:128] = 200
    fitted = np.asarray(fit(Image.fromarray(pixels), 32, 32, "crop"))
    assert np.abs(fitted[:, 2:-2].astype(int) - 200).max() <= 2


def test_padding_shows_everything_and_draws_the_edges_on() -> None:
    image = Image.fromarray(files.quartered(128, 64))
    corners = ((0, 0), (0, -1), (-1, 0), (-1, -1))
    for size in ((64, 64), (256, 64)):
        padded = np.asarray(fit(image, *size, "pad"))
        for corner, colour in zip(corners, files.QUARTERS, strict=True):
            assert tuple(padded[corner]) == colour
    tall = np.asarray(fit(image, 64, 64, "pad"))
    assert (tall[:16] == tall[16]).all()
    assert (tall[48:] == tall[47]).all()
    assert np.array_equal(tall[16:48], np.asarray(image.resize((64, 32), images.LANCZOS)))


def test_a_picture_of_the_size_wanted_is_left_as_it_is() -> None:
    image = Image.fromarray(files.quartered(64, 40))
    for how in FITS:
        assert np.array_equal(np.asarray(fit(image, 64, 40, how)), np.asarray(image))


MEASURE = """
import json, sys
from pathlib import Path
from PIL import Image, ImageCms
from engine.pictures.images import read_image
from engine.errors import ImageError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10

for plugin in ("PNG", "JPEG", "WEBP"):
    Image.init()
start = peak()
for path in sys.argv[1:]:
    try:
        read_image(Path(path).read_bytes())
        found = "read"
    except ImageError:
        found = "refused"
    print(json.dumps([Path(path).name, found, peak() - start]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: not Linux")
def test_memory_is_bounded_for_the_largest_files(tmp_path: Path) -> None:
    side = 4096
    exif = Image.Exif()
    exif[files.ORIENTATION] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = {"exif": exif, "icc_profile": srgb}
    clear = Image.new("RGBA", (side, side), (200, 100, 50, 90))
    solid = Image.new("RGB", (side, side), (200, 100, 50))
    data = {
        "bomb.png": files.claims("PNG", 16_383, 16_383),
        "bomb.jpeg": files.claims("JPEG", 16_383, 16_383),
        "bomb.webp": files.claims("WEBP", 16_383, 16_383),
        "large.png": files.saved(clear, "PNG", compress_level=1, **given),
        "large.jpeg": files.saved(solid, "JPEG", progressive=True, **given),
        "large.webp": files.saved(clear, "WEBP", lossless=True, method=0, quality=0, **given),
    }
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry[1] for entry in found] == ["refused"] * 3 + ["read"] * 3
    assert found[2][2] <= 8, found  # MiB: the bombs cost nothing
    assert found[-1][2] <= 24 * images.PIXELS / 2**20, found
