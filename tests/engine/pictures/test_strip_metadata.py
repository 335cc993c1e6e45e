"""Bytes beside a picture's pixels, which do not decide over it; and colours of any profile."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from engine.errors import ImageError, MetadataError
from engine.formats.png_texts import read_texts
from engine.pictures import strip_metadata as bare
from engine.pictures.images import read_image
from tests.engine import picture_files as files

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
PNG = files.saved(IMAGE, "PNG")
KINDS = {
    "PNG": PNG,
    "JPEG": files.saved(IMAGE, "JPEG", quality=90),
    "JPEG with restarts": files.saved(IMAGE, "JPEG", quality=90, restart_marker_blocks=3),
    "progressive JPEG": files.saved(IMAGE, "JPEG", quality=90, progressive=True),
    "grey JPEG": files.saved(IMAGE.convert("L"), "JPEG", quality=90),
    "WEBP": files.saved(IMAGE, "WEBP"),
    "lossless WEBP": files.saved(IMAGE, "WEBP", lossless=True),
}


def pixels(data: bytes) -> bytes:
    return read_image(data).tobytes()


def behind_header(chunk: bytes) -> bytes:
    return PNG[:33] + chunk + PNG[33:]


def wrong(chunk: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


FILM = np.random.default_rng(1).bytes(4 * 2**20)  # many of its bytes look like a JPEG's marks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "more", [b"x", b"PK\3\4" * 100, b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 200, FILM]
)
def test_bytes_after_the_end_change_nothing(kind: str, more: bytes) -> None:
    assert pixels(KINDS[kind] + more) == pixels(KINDS[kind])


CHUNKS = {
    "text": wrong(files.chunk(b"tEXt", b"Title\0a")),
    "packed text": wrong(files.chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"a"))),
    "gamma": wrong(files.chunk(b"gAMA", struct.pack(">I", 45455))),
    "gamma without a value": files.chunk(b"gAMA", b""),
    "time without a value": files.chunk(b"tIME", b""),
    "size without a value": files.chunk(b"pHYs", b""),
    "profile without a name": files.chunk(b"iCCP", b""),
    "profile that is not packed": files.chunk(b"iCCP", b"x\0\0zzz"),
    "profile with a wrong sum": wrong(files.chunk(b"iCCP", b"x\0\0" + zlib.compress(b"a"))),
    "Exif with a wrong sum": wrong(files.chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0")),
    "large text": files.chunk(b"tEXt", b"prompt\0" + bytes(9 * 2**20)),
    "large packed text": files.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9 * 2**20))),
    "large text of letters": files.chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(9 * 2**20))),
    "bomb of a text": files.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 * 2**20))),
    "bomb of a profile": files.chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100 * 2**20))),
    "many texts": b"".join(
        files.chunk(b"zTXt", b"a%d\0\0" % n + zlib.compress(bytes(2**20))) for n in range(80)
    ),
}


@pytest.mark.parametrize("what", CHUNKS)
def test_a_chunk_that_is_no_pixels_changes_none(what: str) -> None:
    data = behind_header(CHUNKS[what])
    tracemalloc.start()
    try:
        assert pixels(data) == IMAGE.tobytes()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3 * bare.PROFILE + 3 * len(data)


@pytest.mark.parametrize("less", [4, 8, 12, 14])
def test_a_png_may_lack_its_end(less: int) -> None:
    assert pixels(PNG[:-less]) == IMAGE.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG", "grey JPEG"])
@pytest.mark.parametrize("less", [1, 2])
def test_a_jpeg_may_lack_its_end(kind: str, less: int) -> None:
    assert pixels(KINDS[kind][:-less]) == pixels(KINDS[kind])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "JPEG" in kind])
def test_a_jpeg_that_lacks_pixels_is_refused_wherever_it_is_cut(kind: str) -> None:
    whole = KINDS[kind]
    cuts = [*range(4, 40), *range(len(whole) // 2, len(whole), 97), len(whole) - 4, len(whole) - 8]
    marks = [at for at in range(len(whole)) if whole[at : at + 1] == b"\xff"]  # between scans, too
    for at in (*cuts, *marks[:-1]):
        with pytest.raises(ImageError):
            read_image(whole[:at])


def test_a_png_that_lacks_pixels_is_refused_though_its_end_is_there() -> None:
    at = PNG.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", PNG, at)
    body = PNG[at + 8 : at + 8 + length]
    for less in (40, length // 2):
        cut = PNG[:at] + files.chunk(b"IDAT", body[:-less]) + PNG[-12:]
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read_image(cut)


HOSTILE = {
    "marks": KINDS["JPEG"][:2] + b"\xff\xd0" * 2_000_000 + KINDS["JPEG"][2:],
    "segments": KINDS["JPEG"][:2] + b"\xff\xdb\0\2" * 1_000_000 + KINDS["JPEG"][2:],
    "segments behind the size": (
        KINDS["JPEG"].replace(b"\xff\xda", b"\xff\xdb\0\2" * 1_000_000 + b"\xff\xda", 1)
    ),
    "chunks": PNG[:33] + files.chunk(b"tEXt", b"") * 500_000 + PNG[33:],
    "chunks behind the pixels": PNG[:-12] + files.chunk(b"tEXt", b"") * 500_000 + PNG[-12:],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_of_nothing_but_steps_is_refused_after_a_bounded_number_of_them(
    what: str,
) -> None:
    with pytest.raises(ImageError, match="damaged"):
        read_image(HOSTILE[what])


def test_recipes_are_read_beside_damaged_texts_and_without_an_end() -> None:
    good = files.chunk(b"tEXt", b"parameters\0a cat")
    bad = wrong(files.chunk(b"tEXt", b"prompt\0{}"))
    long = files.chunk(b"tEXt", b"workflow\0" + bytes(5 * 2**20))
    foreign = wrong(files.chunk(b"tEXt", b"Title\0a"))
    for other in (bad, long, foreign):
        assert read_texts(behind_header(other + good)) == {"parameters": "a cat"}
    assert read_texts(behind_header(good)[:-12]) == {"parameters": "a cat"}
    assert read_texts(behind_header(foreign)) == {}
    with pytest.raises(MetadataError, match="damaged"):
        read_texts(behind_header(bad))


# Colours ---------------------------------------------------------------------------------------

# CIE xy of primaries; the white is D65. Display P3: SMPTE EG 432-1; Adobe RGB (1998), section 4.3.
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
D65, D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Matrix:
    """Return linear RGB → XYZ under D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    scaled: Matrix = columns * np.linalg.solve(columns, D65)
    return scaled


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def icc(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """Return an ICC profile, version 2.4, of a device's colours. ICC.1:2001-04."""
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    head = bytearray(128)
    head[8:12], head[12:24] = b"\x02\x40\0\0", b"mntr" + space + pcs
    head[36:40], head[68:80] = b"acsp", b"".join(map(fixed, D50))
    data = bytes(head) + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(data)) + data[4:]


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float) -> bytes:
    """Return a profile of three primaries and a power curve, adapted to D50 by Bradford."""
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ D65))
    adapted = np.linalg.inv(BRADFORD) @ cones @ BRADFORD @ to_xyz(primaries)
    tags = {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(fixed, D50))}
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    for letter, column in zip("rgb", adapted.T, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + b"".join(map(fixed, column))
        tags[f"{letter}TRC".encode()] = curve
    return icc(b"RGB ", tags)


def in_srgb(
    colour: tuple[int, ...], primaries: tuple[tuple[float, float], ...], gamma: float
) -> list[float]:
    """Return what a colour is in sRGB, by the definitions, cut off at its bounds."""
    linear = np.linalg.solve(to_xyz(SRGB), to_xyz(primaries) @ (np.array(colour) / 255) ** gamma)
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return [float(each) for each in curved * 255]


COLOURS = [(200, 100, 50), (90, 160, 120), (128, 128, 128), (60, 60, 200), (255, 255, 255)]
GAMUTS = {"Display P3": (P3, 2.2), "Adobe RGB": (ADOBE, 2.19921875)}


@pytest.mark.parametrize("gamut", GAMUTS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "PNG with alpha"])
def test_wide_colours_become_srgb(gamut: str, kind: str) -> None:
    primaries, gamma = GAMUTS[gamut]
    profile = rgb_profile(primaries, gamma)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    for colour in COLOURS:
        image = Image.new("RGB", (16, 16), colour)
        if "alpha" in kind:
            image.putalpha(100)
        data = files.saved(image, kind.partition(" ")[0], icc_profile=profile, **options)
        found = read_image(data).getpixel((8, 8))
        assert isinstance(found, tuple)
        assert found[:3] == pytest.approx(in_srgb(colour, primaries, gamma), abs=3), colour
        assert found[3:] == ((100,) if "alpha" in kind else ())
    assert in_srgb((200, 100, 50), primaries, gamma)[0] > 210  # it is another colour


def test_a_profile_of_three_megabytes_is_honoured() -> None:
    primaries, gamma = GAMUTS["Adobe RGB"]
    profile = bytearray(rgb_profile(primaries, gamma) + np.random.default_rng(2).bytes(3 * 2**20))
    profile[:4] = struct.pack(">I", len(profile))
    for kind in ("PNG", "JPEG", "WEBP"):
        image = Image.new("RGB", (16, 16), (200, 100, 50))
        found = read_image(files.saved(image, kind, icc_profile=bytes(profile))).getpixel((8, 8))
        assert found == pytest.approx(in_srgb((200, 100, 50), primaries, gamma), abs=6), kind


def cmyk_profile(lab: Callable[[int, int, int, int], tuple[int, int, int]]) -> bytes:
    """Return a printer's profile that gives each of the sixteen solid inks a Lab colour."""
    head = (
        b"mft1"
        + bytes(4)
        + bytes([4, 3, 2, 0])
        + b"".join(fixed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    )
    straight = bytes(range(256))
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    cube = b"".join(
        bytes([round(light * 2.55), a + 128, b + 128])
        for light, a, b in (lab(*corner) for corner in corners)
    )
    table = head + straight * 4 + cube + straight * 3
    return icc(
        b"CMYK", {b"A2B0": table, b"wtpt": b"XYZ " + bytes(4) + b"".join(map(fixed, D50))}, b"Lab "
    )


def test_inks_become_srgb_by_their_profile() -> None:
    def lab(c: int, m: int, y: int, k: int) -> tuple[int, int, int]:
        return (0, 0, 0) if k else (50, 0, 0) if c else (80, 0, 0) if m else (100, 0, 0)

    profile = cmyk_profile(lab)
    for inks, light in (((0, 0, 0, 0), 100), ((255, 0, 0, 0), 50), ((0, 255, 0, 0), 80)):
        image = Image.new("CMYK", (16, 16), inks)
        data = files.saved(image, "JPEG", quality=100, subsampling=0, icc_profile=profile)
        grey = ((light + 16) / 116) ** 3
        wanted = 255 * (1.055 * grey ** (1 / 2.4) - 0.055)
        assert read_image(data).getpixel((8, 8)) == pytest.approx([wanted] * 3, abs=4), inks


def test_without_what_is_dropped_the_pixels_bytes_are_the_same() -> None:
    for data in KINDS.values():
        with Image.open(io.BytesIO(data)) as image:
            assert image.convert("RGB").tobytes() == pixels(data)
