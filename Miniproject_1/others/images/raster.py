"""PNG, JPEG, WebP and the other image files of Pillow as pages and back.

`read` keeps an image in kind, so that `write` can write it back. `read_rgb` makes 8-bit RGB of any
image, as a source of data.
"""

import ctypes
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..files import replacing
from . import chunks
from .extras import check_claim, needed, one_line, quiet, reason

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = {  # suffix -> Pillow's name of the format
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".bmp": "BMP", ".dib": "DIB", ".gif": "GIF", ".ppm": "PPM", ".pgm": "PPM",
    ".pbm": "PPM", ".pnm": "PPM", ".pfm": "PPM", ".jp2": "JPEG2000", ".j2k": "JPEG2000",
    ".j2c": "JPEG2000", ".jpc": "JPEG2000", ".jpf": "JPEG2000", ".jpx": "JPEG2000", ".tga": "TGA",
}  # fmt: skip
EIGHT_BIT = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's mode
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L")  # "I" is what Pillow makes of a 16-bit PGM
OPAQUE = {"1": "L", "P": "RGB"}  # bilevel and palette images -> what they are read as
TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}  # with transparency
TURNS = {  # EXIF's orientation -> whether to swap height and width, and then what to mirror
    2: (False, [-1]), 3: (False, [-2, -1]), 4: (False, [-2]), 5: (True, []), 6: (True, [-1]),
    7: (True, [-2, -1]), 8: (True, [-2]),
}  # fmt: skip
QUALITY = 95  # of JPEG and lossy WebP: the highest that Pillow advises
INFO = ("icc_profile", "exif", "dpi", "xmp", "comment")  # Pillow's names of metadata
KEPT_INFO = {  # format -> which of them are written; PNG's are in its chunks
    "JPEG": INFO, "WEBP": ("icc_profile", "exif", "xmp"), "BMP": ("dpi",), "DIB": ("dpi",),
    "GIF": ("comment",), "JPEG2000": ("comment",),
}  # fmt: skip
UNCHECKED = ("PNG", "JPEG", "WEBP", "GIF")  # formats whose limits are known; others are read again


@dataclass(frozen=True)
class Origin:
    """What `write` has to know of a file.

    Attributes:
        kind: Pillow's name of the format.
        suffix: That of the file's name.
        options: What Pillow's `save` takes.
        metadata: Chunks of a PNG file.
        icc: The colour profile.
        dpi: Pixels per inch, horizontally and vertically.
        loss: What cannot be kept, None if all can.
    """

    kind: str
    suffix: str
    options: dict[str, Any]
    metadata: bytes = b""
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    loss: str | None = None


def pillow() -> ModuleType:
    """The package PIL, which only image files need.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
        import PIL.ImageOps
    except ImportError as error:
        raise ValueError("Pillow is missing: run pip install pillow") from error
    return PIL


# ---- reading -----------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> tuple[Tensor, Tensor, Origin]:
    """Read an image such that `write` can write it back in kind.

    Args:
        path: An image file: grey of 8 or 16 bits, RGB, either with alpha, bilevel or palette.

    Returns:
        1 x C x H x W, turned as its EXIF data say, C = 1 or 3; 1 x A x H x W, A = 0 or 1; and what
        `write` needs. A palette becomes RGB, a transparent colour alpha.

    Raises:
        ValueError: The file is no image, is damaged, has several frames or a mode such as CMYK.
        OSError: The file cannot be opened.
    """
    data = Path(path).read_bytes()
    with _opened(path, io.BytesIO(data), _formats()) as file:
        kind = "JPEG" if file.format == "MPO" else str(file.format)  # a phone's, with previews
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":
            raise ValueError(f"it has {frames} frames; save them as single images")
        _check_size(file, len(data))
        _check_depth(file, kind, data)
        turn = TURNS.get(_orientation(file))
        pixels = _pixels(file, kind, data)
        origin = _origin(file, kind, data, Path(path).suffix.lower(), turn is not None)
    if turn is not None:
        pixels = _turned(pixels, *turn)
    colours = 1 if len(pixels) < 3 else 3
    return pixels[None, :colours], pixels[None, colours:], origin


def read_rgb(path: str | os.PathLike) -> "Image":
    """Read an image of any kind as 8-bit RGB, to make data from.

    Args:
        path: An image file; of several frames the first is taken.

    Returns:
        A Pillow image of mode RGB, turned as its EXIF data say. Alpha is dropped, 16 bits are
        scaled to 8.

    Raises:
        ValueError: The file is no image, is damaged or is of a kind that Pillow cannot convert.
        OSError: The file cannot be opened.
    """
    with open(path, "rb") as opened, _opened(path, opened) as file:
        image = _expanded(pillow().ImageOps.exif_transpose(file))
        if image.mode == "F":
            raise ValueError("its values are floats without a white; convert it to 8 or 16 bits")
        if image.mode == "I":
            _sixteen_bit(image)  # refuses other values
            image = image.convert("I;16")
        if image.mode in SIXTEEN_BIT:  # Pillow would clip 16 bits instead of scaling them
            image = image.point(lambda value: value * (1 / 256)).convert("L")
            image.info.pop("transparency", None)  # a grey value of 16 bits
        return image.convert("RGB")


def to_tensor(image: "Image") -> Tensor:
    """The pixels of a Pillow image.

    Args:
        image: Of a mode with 8 bits per channel, such as L or RGB.

    Returns:
        C x H x W, uint8.
    """
    return _from_bytes(image.tobytes(), torch.uint8, image)


def _formats() -> list[str]:
    """The formats that Pillow may try: others run programs, as EPS does, or cannot be written."""
    image = pillow().Image
    image.init()
    return [kind for kind in dict.fromkeys(KINDS.values()) if kind in image.OPEN]


@contextmanager
def _opened(
    path: str | os.PathLike, stream: Any, formats: list[str] | None = None
) -> Iterator["Image"]:
    """The image file, not yet decoded; an error of the work within names the path."""
    pil = pillow()
    try:
        with quiet(), pil.Image.open(stream, formats=formats) as image:
            yield image
    except pil.UnidentifiedImageError as error:
        raise ValueError(f"{path}: of no known kind of image, or damaged") from error
    except pil.Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {one_line(error)} Save it as TIFF, if it is whole") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise ValueError(f"{path}: {reason(error)}") from error


def _orientation(file: "Image") -> int:
    """How the image is turned by its EXIF or XMP data; damaged EXIF data are dropped."""
    try:
        pillow().Image.Exif().load(file.info.get("exif", b""))
        return file.getexif().get(chunks.ORIENTATION, 1)
    except Exception:  # as many types as there are kinds of damage
        file.info.pop("exif", None)
        return 1


def _check_size(file: "Image", stored: int) -> None:
    """Refuse an image that the file cannot hold."""
    bits = 1 if file.mode == "1" else 8 * len(file.getbands())
    check_claim(file.width * file.height * bits // 8, stored, compressed=True)


def _check_depth(file: Any, kind: str, data: bytes) -> None:
    """Refuse what Pillow would read with other values."""
    if kind == "PPM" and file.tile[0].codec_name.startswith("ppm"):  # it would scale the values
        arguments = file.tile[0].args  # a mode, or a mode and the maximum
        if isinstance(arguments, tuple) and arguments[1] != 255:
            raise ValueError(f"its maximum is {arguments[1]}, expected 255, or 65535 of grey; "
                             "convert it to .tif or .png")
    if kind == "JPEG2000":
        bits = chunks.jpeg2000_bits(data)
        if set(bits) != {8} and bits != [16]:
            raise ValueError(f"its channels have {bits} bits, expected 8, or 16 of grey; convert "
                             "it to .tif")


def _pixels(file: "Image", kind: str, data: bytes) -> Tensor:
    """C x H x W, uint8, uint16 or float32."""
    if kind == "PNG" and chunks.png_is_deep(data):
        return _deep_png(data, file.width, file.height)
    image = _expanded(file)
    if image.mode in SIXTEEN_BIT:
        return _sixteen_bit(image)
    if image.mode == "F":
        return _from_bytes(image.tobytes(), torch.float32, image)
    if image.mode not in EIGHT_BIT.values():
        raise ValueError(f"its mode is {image.mode}; convert it to RGB, or grey of 8 or 16 bits")
    return to_tensor(image)


def _deep_png(data: bytes, width: int, height: int) -> Tensor:
    """C x H x W uint16 of a PNG file that Pillow would reduce to 8 bits."""
    pixels = torch.from_numpy(needed("imagecodecs").png_decode(chunks.png_pixels(data)))
    return pixels.reshape(height, width, -1).permute(2, 0, 1).contiguous()


def _expanded(image: "Image") -> "Image":
    """The decoded image, its palette or transparent colour expanded."""
    modes = TRANSPARENT if image.has_transparency_data else OPAQUE
    return image.convert(modes.get(image.mode, image.mode))


def _sixteen_bit(image: "Image") -> Tensor:
    """1 x H x W uint16 of an image with values 0-65535."""
    image = image.convert("I")
    values = _from_bytes(image.tobytes(), torch.int32, image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        advice = "convert it to 16-bit grey, 0 to 65535"
        raise ValueError(f"its values run from {low} to {high}; {advice}")
    return values.to(torch.uint16)


def _from_bytes(data: bytes, dtype: torch.dtype, image: "Image") -> Tensor:
    """C x H x W of the bytes of an image."""
    pixels = torch.frombuffer(bytearray(data), dtype=dtype).view(image.height, image.width, -1)
    return pixels.permute(2, 0, 1).contiguous()


def _turned(pixels: Tensor, swap: bool, mirrored: list[int]) -> Tensor:
    """The pixels upright."""
    if swap:
        pixels = pixels.transpose(-2, -1)
    signed = pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels  # flip takes it
    return signed.flip(mirrored).view(pixels.dtype)


def _origin(file: "Image", kind: str, data: bytes, suffix: str, turned: bool) -> Origin:
    """What `write` has to know; `file` is decoded, which completes its metadata."""
    info = dict(file.info)
    if turned and "exif" in info:
        info["exif"] = chunks.upright(info["exif"])
    if turned and "xmp" in info:
        info["xmp"] = chunks.upright_xmp(info["xmp"])
    options = {key: info[key] for key in KEPT_INFO.get(kind, ()) if info.get(key)}
    if kind == "JPEG":
        from PIL.JpegImagePlugin import get_sampling

        options |= {"quality": QUALITY, "subsampling": get_sampling(file)}
    if kind == "WEBP":
        lossless = chunks.webp_is_lossless(data)
        options |= {"lossless": True, "exact": True} if lossless else {"quality": QUALITY}
    if kind == "JPEG2000":
        options["no_jp2"] = data.startswith(chunks.SIZ)
    if kind == "TGA" and info.get("compression"):
        options["compression"] = info["compression"]
    metadata = chunks.png_metadata(data, turned) if kind == "PNG" else b""
    loss = "GIF keeps 256 colours of the result; convert the file to .png to keep all"
    lossy = kind == "GIF" and file.mode != "L"
    return Origin(kind, suffix, options, metadata, info.get("icc_profile"), info.get("dpi"),
                  loss if lossy else None)


# ---- writing -----------------------------------------------------------------------------------


def write(pages: Tensor, alpha: Tensor, origin: Origin, path: Path) -> None:
    """Write an image in the format it was read from.

    Args:
        pages: 1 x C x H x W, of the dtype to write.
        alpha: 1 x A x H x W, of the same dtype.
        origin: From `read`.
        path: The file.

    Raises:
        ValueError: The format cannot hold the image.
        OSError: The file cannot be written.
    """
    if len(pages) != 1:
        raise ValueError(f"{origin.kind} holds one page, not {len(pages)}")
    pixels = torch.cat((pages[0], alpha[0]))
    if len(pixels) not in EIGHT_BIT:
        raise ValueError(f"{origin.kind} holds 1 to 4 channels, not {len(pixels)}")
    if origin.kind == "PNG" and pixels.dtype == torch.uint16 and len(pixels) > 1:
        array = pixels.permute(1, 2, 0).contiguous().numpy()
        data = needed("imagecodecs").png_encode(array, 6)
    else:
        data = _encoded(_from_pixels(pixels), origin.kind, origin.options)
    if origin.kind == "PNG":
        data = chunks.with_metadata(data, origin.metadata)
    path.write_bytes(data)


def to_pillow(image: Tensor) -> "Image":
    """The Pillow image of a tensor.

    Args:
        image: C x H x W of any dtype, values 0-255, which are rounded; C is 1, 2, 3 or 4.

    Returns:
        An image of mode L, LA, RGB or RGBA.
    """
    return _from_pixels(image.float().round().clamp(0, 255).to(torch.uint8))


def save(picture: "Image", path: str | os.PathLike) -> None:
    """Write a Pillow image in the format of the file's suffix, whole or not at all.

    Args:
        picture: The image.
        path: The file to write; JPEG gets quality 95.

    Raises:
        ValueError: The format cannot hold the image, or Pillow cannot write it.
        OSError: The file cannot be written.
    """
    image = pillow().Image
    kind = image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in image.SAVE:
        raise ValueError(f"{path}: Pillow cannot write such images; it can write .png, .tif, .jpg")
    options = {"quality": QUALITY} if kind == "JPEG" else {}
    try:
        data = _encoded(picture, kind, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _encoded(picture: "Image", kind: str, options: dict[str, Any]) -> bytes:
    """The bytes of a file; ValueError if the format cannot hold the image."""
    stream = io.BytesIO()
    try:
        with quiet():
            picture.save(stream, kind, **options)
    except (KeyError, OSError) as error:  # Pillow refuses, for example, alpha in a JPEG
        raise ValueError(f"{one_line(error)}; use another format, such as .png") from error
    if kind in KINDS.values() and kind not in UNCHECKED:
        _check_same(picture, stream, kind)
    return stream.getvalue()


def _check_same(picture: "Image", stream: io.BytesIO, kind: str) -> None:
    """Refuse a file that holds less than the image: Pillow drops some channels silently."""
    with pillow().Image.open(stream) as stored:
        same = stored.mode == picture.mode or {stored.mode, picture.mode} <= set(SIXTEEN_BIT)
        if not same:
            raise ValueError(f"{kind} would make {stored.mode} of {picture.mode}; use another "
                             "format, such as .png")


def _from_pixels(pixels: Tensor) -> "Image":
    """The Pillow image of C x H x W, uint8, or 1 x H x W, uint16 or float32."""
    channels, height, width = pixels.shape
    deep = {torch.uint16: "I;16", torch.float32: "F"}
    mode = deep.get(pixels.dtype) or EIGHT_BIT[channels]
    pixels = pixels.permute(1, 2, 0).contiguous().cpu()  # H x W x C
    data = ctypes.string_at(pixels.data_ptr(), pixels.nbytes)  # tensor to bytes, without NumPy
    return pillow().Image.frombytes(mode, (width, height), data)
