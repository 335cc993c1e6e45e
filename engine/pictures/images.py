"""Pictures that people send: checked, turned upright, stripped of metadata, and fitted.

Everything that comes in from outside goes through `read_image`, and what is kept of it is what
`to_png` writes: pixels in sRGB, and nothing about when, where or by what they were taken.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from PIL import ExifTags, Image, ImageCms

from engine.errors import ImageError
from engine.pictures.image_header import DAMAGED, ImageHeader, read_image_header
from engine.pictures.strip_metadata import EXIF, strip_jpeg, strip_png
from engine.sentences import Sentence

Fit = Literal["crop", "pad", "resize"]

BYTES: Final = 20 * 2**20  # of a file
PIXELS: Final = 16 * 2**20  # 4096²; decoding them takes 200 MB for a moment, as WEBP 340
SHORTEST: Final = 8  # pixels of a side
LONGEST: Final = 16  # times as long as the other side

LANCZOS: Final = Image.Resampling.LANCZOS
OPAQUE: Final = (255, 255)  # least and greatest alpha
WHITE: Final = (255, 255, 255, 255)
BACKGROUND: Final = (24, 24, 27)  # of blank pictures and of grids

# Exif's orientation → what turns the picture upright.
UPRIGHT: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# An ICC profile's colour space → the mode of the pixels that it speaks of.
SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Pillow's modes that hold no alpha → the one in which colours are converted.
COLOURS: Final = {"1": "L", "L": "L", "I": "L", "I;16": "L", "I;16B": "L", "CMYK": "CMYK"}


def read_image(data: bytes) -> Image.Image:
    """Read a PNG, JPEG or WEBP file: upright, sRGB, 8 bits a channel, without its metadata.

    Returns mode RGB, or RGBA where some pixel is not opaque. Raises `ImageError` with one
    sentence for anything but a still picture within the limits of size, mostly before decoding.
    """
    if not data:
        raise ImageError(Sentence("empty_file"))
    check_file_size(len(data))
    header = read_image_header(data)
    _check_header(header)
    return _read(data, header)


def check_file_size(size: int) -> None:
    """Raise `ImageError` where a picture's file is larger than any may be; size is in bytes."""
    if size > BYTES:
        have, most = round(size / 2**20), BYTES >> 20
        raise ImageError(Sentence("too_many_bytes", size=have, most=most))


def read_stored_image(data: bytes) -> Image.Image:
    """Read a picture of the store: `read_image` or Marble itself wrote it, so it may be larger.

    Returns mode RGB or RGBA; raises `ImageError` for a damaged file.
    """
    return _read(data, read_image_header(data))


def to_png(image: Image.Image) -> bytes:
    """Encode pixels alone as PNG: the same pixels give the same bytes."""
    stripped = image.copy()
    stripped.info.clear()  # Pillow would write a profile or Exif found there
    file = io.BytesIO()
    stripped.save(file, "PNG")
    return file.getvalue()


def flatten(image: Image.Image) -> Image.Image:
    """Return a picture in mode RGB, on white where it is not opaque."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")


def fit(
    image: Image.Image,
    width: int,
    height: int,
    how: Fit,
    resample: Image.Resampling = LANCZOS,
) -> Image.Image:
    """Bring a picture or mask (RGB, RGBA or L) to a size in pixels.

    resample: Lanczos' filter rings beside edges: masks take another.

    crop: fill the size and cut off what sticks out, as much on both sides. pad: show all of it
    and draw its outermost pixels on to the sides; grey bars would be taken for part of the
    picture and come back in what is drawn. resize: stretch it.
    """
    if how == "crop":
        scale = max(width / image.width, height / image.height)
        left = (image.width - width / scale) / 2
        top = (image.height - height / scale) / 2
        box = (left, top, image.width - left, image.height - top)
        # Rounding may leave a box by a hair outside the picture, which Pillow refuses.
        box = (max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height))
        return image.resize((width, height), resample, box=box)
    if how == "pad":
        return _pad(image, width, height, resample)
    return image.resize((width, height), resample)


def lay_over(images: Sequence[Image.Image]) -> Image.Image:
    """Return the mean of pictures in mode RGB, each cut and scaled to the size of the first.

    It is that of their values in sRGB: a double exposure of equal parts.
    """
    width, height = images[0].size
    total = np.zeros((height, width, 3), np.float32)
    for image in images:
        total += np.asarray(fit(flatten(image), width, height, "crop"))
    return Image.fromarray((total / len(images)).round().astype(np.uint8))


def _check_header(header: ImageHeader) -> None:
    width, height = header.width, header.height
    size = f"{width:,} × {height:,}"
    if header.moving:
        raise ImageError(Sentence("moving_picture"))
    if width * height > PIXELS:
        raise ImageError(Sentence("too_many_pixels", size=size, most=f"{PIXELS / 1e6:.0f}"))
    if min(width, height) < SHORTEST:
        raise ImageError(Sentence("too_small", size=size, least=SHORTEST))
    if max(width, height) > LONGEST * min(width, height):
        raise ImageError(Sentence("too_long", size=size, times=LONGEST))


def _read(data: bytes, header: ImageHeader) -> Image.Image:
    try:
        return _normalise(_decode(data, header))
    except (ImageError, MemoryError):
        raise
    # Pillow raises a dozen kinds of errors for broken files.
    except Exception as error:
        raise ImageError(DAMAGED) from error


def _decode(data: bytes, header: ImageHeader) -> Image.Image:
    profile: bytes | None = None
    if header.kind == "PNG":
        data, profile = strip_png(data)
    elif header.kind == "JPEG":
        # Pillow reads a JPEG's Exif as soon as it opens it, and makes objects of all numbers of a
        # tag: what is left after stripping is bounded.
        data = strip_jpeg(data)
    image = Image.open(io.BytesIO(data), formats=[header.kind])
    if image.size != (header.width, header.height):
        raise ImageError(DAMAGED)  # a second header says otherwise than the first
    image.load()
    if profile:
        image.info["icc_profile"] = profile
    return image


def _normalise(image: Image.Image) -> Image.Image:
    """Return RGB or RGBA, upright, in sRGB and without metadata. Each step lets the last one go."""
    turn, profile = UPRIGHT.get(_orientation(image)), image.info.get("icc_profile")
    image, alpha = _split(image)
    image = _to_srgb(image, profile)
    if alpha is not None and alpha.getextrema() != OPAQUE:
        image.putalpha(alpha)
    image.info.clear()
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    if len(image.info.get("exif", b"")) > EXIF:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken Exif, of which Pillow raises many kinds: the pixels are fine
        return 1


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture's colours as RGB, L or CMYK, and its alpha if it has any."""
    if image.mode.startswith("I"):
        # Sixteen bits: converted as they are, all above 255 would be white.
        return image.point(lambda value: value * (1 / 256)).convert("L"), None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB"), image.getchannel("A")
    return image.convert(COLOURS.get(image.mode, "RGB")), None


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert RGB, L or CMYK by a profile to RGB; one that does not fit or is broken is ignored."""
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if SPACES.get(given.profile.xcolor_space.strip()) == image.mode:
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
                assert converted is not None  # it is not done in place
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def _pad(image: Image.Image, width: int, height: int, resample: Image.Resampling) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(inner, resample)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    # Pixels beyond the edge repeat the nearest one of the picture: four strips do, since one pair
    # of them is empty but for a pixel of rounding.
    row = Image.new(image.mode, (width, inner[1]))
    row.paste(small.crop((0, 0, 1, inner[1])).resize((left + 1, inner[1])))
    row.paste(small.crop((inner[0] - 1, 0, *inner)).resize((width - left, inner[1])), (left, 0))
    row.paste(small, (left, 0))
    padded = Image.new(image.mode, (width, height))
    padded.paste(row.crop((0, 0, width, 1)).resize((width, top + 1)))
    padded.paste(
        row.crop((0, inner[1] - 1, width, inner[1])).resize((width, height - top)), (0, top)
    )
    padded.paste(row, (0, top))
    return padded


def blank(width: int, height: int) -> bytes:
    """Return a PNG of that size in pixels in the background's colour; blocks."""
    return to_png(Image.new("RGB", (width, height), BACKGROUND))
