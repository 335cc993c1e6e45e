"""Make picture files of every form that people send, whole and broken, for the loader's tests."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

# Upper left, upper right, lower left, lower right; no two alike in brightness either.
QUARTERS = ((250, 200, 20), (20, 90, 200), (180, 10, 30), (10, 30, 10))
SIZES = ((8, 8), (9, 13), (64, 40), (201, 67))
ORIENTATION = 0x0112

Pixels = npt.NDArray[np.uint8]

# For an upright picture, how it lies in the file: the inverse of Exif's eight orientations.
LYING: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 3),
}


def quartered(width: int, height: int) -> Pixels:
    """Return uint8 [height, width, 3], each quarter in a colour of its own."""
    pixels = np.empty((height, width, 3), np.uint8)
    rows, columns = slice(None, height // 2), slice(None, width // 2)
    below, right = slice(height // 2, None), slice(width // 2, None)
    places = ((rows, columns), (rows, right), (below, columns), (below, right))
    for place, colour in zip(places, QUARTERS, strict=True):
        pixels[place] = colour
    return pixels


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """Return a PNG written by hand, for forms that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def sixteen_bit(pixels: Pixels, channels: int, *more: bytes) -> bytes:
    """Return a PNG of 16 bits a channel; the low bytes are noise that is to be dropped."""
    height, width = pixels.shape[:2]
    noise = np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)
    filled = pixels if pixels.shape[2] == channels else with_alpha(pixels)
    words = np.stack([filled, noise], axis=-1).reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in words)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, *more)


def with_alpha(pixels: Pixels, alpha: int = 255) -> Pixels:
    """Return pixels with one channel more, the lower half of which is `alpha`."""
    height, width = pixels.shape[:2]
    channel = np.full((height, width, 1), 255, np.uint8)
    channel[height // 2 :] = alpha
    return np.concatenate([pixels, channel], axis=2)


def grey(pixels: Pixels) -> Pixels:
    """Return [height, width, 1] as Pillow weighs the channels."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def lossless(pixels: Pixels) -> Iterator[tuple[str, bytes, Pixels]]:
    """Yield the name, the bytes and the pixels of files whose pixels are kept to the bit."""
    image, seen = Image.fromarray(pixels), with_alpha(pixels, 90)
    greys = grey(pixels)
    one_grey = np.repeat(greys, 3, axis=2)
    half_clear = np.concatenate([one_grey, seen[..., 3:]], axis=2)
    black_white = np.repeat(np.where(greys > 127, 255, 0).astype(np.uint8), 3, axis=2)
    palette = image.quantize(4)
    yield "png RGB", saved(image, "PNG"), pixels
    yield "png L", saved(image.convert("L"), "PNG"), one_grey
    yield "png 1", saved(image.convert("1", dither=Image.Dither.NONE), "PNG"), black_white
    yield "png P", saved(palette, "PNG"), pixels
    yield "png RGBA opaque", saved(Image.fromarray(with_alpha(pixels)), "PNG"), pixels
    yield "png RGBA", saved(Image.fromarray(seen), "PNG"), seen
    yield "png LA", saved(Image.fromarray(half_clear).convert("LA"), "PNG"), half_clear
    clear = np.where((pixels == QUARTERS[2]).all(axis=2), 0, 255).astype(np.uint8)
    keyed = np.dstack([pixels, clear])
    yield "png RGB + tRNS", saved(image, "PNG", transparency=QUARTERS[2]), keyed
    index = palette.getpixel((0, image.height - 1))
    yield "png P + tRNS", saved(palette, "PNG", transparency=index), keyed
    key = int(greys[-1, 0, 0])
    grey_keyed = np.dstack([one_grey, clear])
    yield "png L + tRNS", saved(image.convert("L"), "PNG", transparency=key), grey_keyed
    yield "png 16-bit L", sixteen_bit(greys, 1), one_grey
    yield "png 16-bit LA", sixteen_bit(np.dstack([greys, seen[..., 3:]]), 2), half_clear
    yield "png 16-bit RGB", sixteen_bit(pixels, 3), pixels
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a marble scholar" * 1000, zip=True)
    yield "png with text", saved(image, "PNG", pnginfo=text, dpi=(72, 72)), pixels
    yield "webp lossless RGB", saved(image, "WEBP", lossless=True), pixels
    exact = saved(Image.fromarray(seen), "WEBP", lossless=True, exact=True)
    yield "webp lossless RGBA", exact, seen


def lossy(pixels: Pixels) -> Iterator[tuple[str, bytes, Pixels]]:
    """Yield the name, the bytes and about the pixels of files that lose a little."""
    image = Image.fromarray(pixels)
    exact = {"quality": 95, "subsampling": 0}
    one_grey = np.repeat(grey(pixels), 3, axis=2)
    yield "jpeg RGB", saved(image, "JPEG", **exact), pixels
    yield "jpeg progressive", saved(image, "JPEG", progressive=True, **exact), pixels
    yield "jpeg L", saved(image.convert("L"), "JPEG", **exact), one_grey
    yield "jpeg CMYK", saved(image.convert("CMYK"), "JPEG", **exact), pixels
    more = [image.resize((8, 8))]
    yield "jpeg of a phone", saved(image, "MPO", save_all=True, append_images=more), pixels
    yield "webp RGB", saved(image, "WEBP", quality=98), pixels
    seen = with_alpha(pixels, 90)
    yield "webp RGBA", saved(Image.fromarray(seen), "WEBP", quality=98, exact=True), seen


def turned(pixels: Pixels) -> Iterator[tuple[str, bytes, Pixels]]:
    """Yield files that lie in each of Exif's orientations, and the upright pixels."""
    for orientation, lay in LYING.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)  # GPS latitude
        image = Image.fromarray(np.ascontiguousarray(lay(pixels)))
        for kind, options in (
            ("PNG", {}),
            ("JPEG", {"quality": 95, "subsampling": 0}),
            ("WEBP", {"lossless": True}),
        ):
            yield f"{kind} turned {orientation}", saved(image, kind, exif=exif, **options), pixels


def profiled(pixels: Pixels) -> Iterator[tuple[str, bytes, Pixels]]:
    """Yield files with a colour profile, sound or broken, which leaves colours about the same."""
    image = Image.fromarray(pixels)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    one_grey = image.convert("L")
    for name, profile in (("sRGB", srgb), ("broken", srgb[:200]), ("no", b"not a profile")):
        for kind in ("PNG", "JPEG", "WEBP"):
            options: dict[str, Any] = {"icc_profile": profile}
            options |= {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}}.get(
                kind, {"lossless": True}
            )
            yield f"{kind} {name} profile", saved(image, kind, **options), pixels
        grey_pixels = np.repeat(np.asarray(one_grey)[..., None], 3, axis=2)
        wrong = saved(one_grey, "PNG", icc_profile=profile)
        yield f"grey PNG with {name} profile of RGB", wrong, grey_pixels
        cmyk = saved(image.convert("CMYK"), "JPEG", quality=95, icc_profile=profile)
        yield f"CMYK JPEG with {name} profile of RGB", cmyk, pixels


def cut(pixels: Pixels) -> Iterator[tuple[str, bytes]]:
    """Yield files of every kind cut off at many places."""
    noise = np.random.default_rng(2).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image = Image.fromarray(np.maximum(noise, pixels[:40, :56]))
    kinds = {
        "PNG": saved(image, "PNG"),
        "JPEG": saved(image, "JPEG"),
        "progressive JPEG": saved(image, "JPEG", progressive=True),
        "WEBP": saved(image, "WEBP"),
        "lossless WEBP": saved(image, "WEBP", lossless=True),
    }
    for kind, whole in kinds.items():
        for at in (4, 9, 13, 20, 27, 40):
            yield f"{kind} cut at {at}", whole[:at]
        for percent in (10, 25, 50, 75, 90):
            yield f"{kind} cut at {percent} %", whole[: len(whole) * percent // 100]


def flipped(pixels: Pixels) -> Iterator[tuple[str, bytes]]:
    """Yield files of every kind with bytes changed here and there."""
    # Its decoder takes what is missing as grey, and says nothing.
    yield "JPEG that says more than it holds", claims("JPEG", 640, 640)
    generator = np.random.default_rng(3)
    image = Image.fromarray(pixels)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = saved(image, kind)
        for number in range(24):
            damaged = bytearray(whole)
            among = len(whole) if number % 2 else min(64, len(whole))
            for at in generator.integers(3, among, 1 + number // 4):
                damaged[at] = generator.integers(0, 256)
            yield f"{kind} flipped {number}", bytes(damaged)


def moving(kind: str) -> bytes:
    """Return a film of two pictures."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def claims(kind: str, width: int, height: int) -> bytes:
    """Return a short file that says it has this size."""
    if kind == "PNG":
        return png(width, height, 8, 2, b"\0" * 64)
    if kind == "JPEG":
        whole = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG"))
        at = whole.index(b"\xff\xc0") + 5
        whole[at : at + 4] = struct.pack(">HH", height, width)
        return bytes(whole)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body + b"\0" * 64


def strangers() -> Iterator[tuple[str, bytes, str]]:
    """Yield files that are no PNG, JPEG or WEBP, and a word of what is to be said of them."""
    image = Image.new("RGB", (32, 32), "red")
    yield "empty", b"", "empty"
    for size in (1, 2, 3, 7):
        yield f"{size} zeros", bytes(size), "not a picture"
    yield "text", b"a marble scholar", "not a picture"
    yield "long text", b"a marble scholar " * 5000, "not a picture"
    yield "random bytes", np.random.default_rng(4).bytes(5000), "not a picture"
    yield "web page", b"<!doctype html><p>404</p>", "not a picture"
    yield "SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"
    yield "SVG with a preamble", b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "SVG"
    yield "GIF", saved(image, "GIF"), "GIF"
    yield "film as GIF", moving("GIF"), "GIF"
    yield "BMP", saved(image, "BMP"), "BMP"
    yield "TIFF", saved(image, "TIFF"), "TIFF"
    yield "icon", saved(image, "ICO"), "icon"
    yield "PDF", b"%PDF-1.7\n", "PDF"
    yield "HEIC", b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"
    yield "AVIF", b"\0\0\0\x1cftypavif" + bytes(64), "AVIF"
    yield "film", b"\0\0\0\x18ftypisom" + bytes(64), "MP4"
    yield "archive", b"PK\3\4" + bytes(64), "archive"
    yield "Photoshop", b"8BPS" + bytes(64), "Photoshop"
    yield "sound", b"RIFF\x24\0\0\0WAVEfmt " + bytes(64), "not a picture"
    yield "raw", b"II*\0" + bytes(64), "TIFF"
    yield "PNG's signature alone", b"\x89PNG\r\n\x1a\n", "damaged"
    yield "JPEG's signature alone", b"\xff\xd8\xff", "damaged"
    yield "WEBP's signature alone", b"RIFF\0\0\0\0WEBP", "damaged"
    yield "JPEG without a picture", b"\xff\xd8\xff\xd9" + bytes(64), "damaged"
    yield "WEBP of an unknown kind", b"RIFF\x24\0\0\0WEBPVP9 " + bytes(64), "damaged"
    for kind in ("PNG", "WEBP"):
        yield f"film as {kind}", moving(kind), "Animated"
    for kind in ("PNG", "JPEG", "WEBP"):
        yield f"{kind} bomb", claims(kind, 16_383, 16_383), "million"
        yield f"{kind} bomb, long", claims(kind, 16_383, 1_025), "million"
        yield f"{kind} too small", claims(kind, 7, 64), "each side"
        yield f"{kind} too long", claims(kind, 8, 136), "16 times"
    for kind in ("PNG", "WEBP"):
        yield f"{kind} that says more than it holds", claims(kind, 640, 640), "damaged"
    yield "PNG without a size", claims("PNG", 0, 64), "each side"
    yield "PNG with more colours than there are", png(16, 16, 8, 5, bytes(400)), "damaged"
    scans = saved(image, "JPEG", progressive=True)[:-2]
    scans += b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 500 + b"\xff\xd9"
    yield "JPEG of endless scans", scans, "damaged"
    yield "too many bytes", saved(image, "PNG") + bytes(20 * 2**20), "MiB"
