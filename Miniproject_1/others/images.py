"""Image files to tensors and back, through Pillow (extra `photos`).

`read` keeps an image in kind, so that `write` can write it back: C x H x W with values 0-255,
C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. It is uint8 for 8-bit files and float32 for
16-bit grey ones, which keep their depth: 65535 in the file is 255.0 here.
`read_rgb` makes 8-bit RGB of any image, as a source of data.
"""

import ctypes
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

EIGHT_BIT = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's mode
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L")  # "I" is what Pillow makes of a 16-bit PGM
OPAQUE = {"1": "L", "P": "RGB"}  # bilevel and palette images -> what they are read as
TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}  # with transparency
JPEG_QUALITY = 95  # the highest that Pillow advises


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


def image_files(folder: str | os.PathLike) -> list[Path]:
    """The image files in a folder and below it.

    Args:
        folder: A folder, searched recursively.

    Returns:
        The files whose suffix is that of a format Pillow reads, sorted.

    Raises:
        ValueError: `folder` is no folder, or holds no such file.
    """
    readable = _readable_suffixes()
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the path of a folder of images")
    candidates = (path for path in folder.rglob("*") if path.suffix.lower() in readable)
    files = sorted(path for path in candidates if path.is_file())
    if not files:
        raise ValueError(f"no image file in {folder} or below it; expected some .jpg, .png, ...")
    return files


def read(path: str | os.PathLike) -> Tensor:
    """Read an image such that `write` can write it back in kind.

    Args:
        path: An image file: grey of 8 or 16 bits, RGB, either with alpha, bilevel or palette.

    Returns:
        C x H x W, values 0-255, uint8 or (16-bit grey) float32, turned as its EXIF data say.
        A palette becomes RGB, a transparent colour an alpha channel.

    Raises:
        ValueError: The file is no image, is damaged, has several frames or a mode such as CMYK.
        OSError: The file cannot be opened.
    """
    with _opened(path) as file:
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":  # MPO: a phone's JPEG, with previews behind it
            raise ValueError(f"it has {frames} frames; save them as single images")
        image = _upright(file)
        if image.mode in SIXTEEN_BIT:
            return _sixteen_bit(image)
        if image.mode not in EIGHT_BIT.values():
            advice = "convert it to RGB, or grey of 8 or 16 bits"
            raise ValueError(f"its mode is {image.mode}; {advice}")
        return to_tensor(image)


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
    with _opened(path) as file:
        image = _upright(file)
        if image.mode == "I":
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
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(image.height, image.width, -1)  # H x W x C
    return pixels.permute(2, 0, 1).contiguous()


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator["Image"]:
    """The image file, not yet decoded; an error of the work within names the path."""
    pil = pillow()
    with open(path, "rb") as file:
        try:
            with pil.Image.open(file) as image:
                yield image
        except pil.UnidentifiedImageError as error:
            raise ValueError(f"{path}: not an image that Pillow can read, or damaged") from error
        except Exception as error:  # Pillow's decoders raise many types on damaged files
            raise ValueError(f"{path}: {error}") from error


def _upright(file: "Image") -> "Image":
    """The decoded image, turned as its EXIF data say, palette or transparent colour expanded."""
    image = pillow().ImageOps.exif_transpose(file)
    modes = TRANSPARENT if image.has_transparency_data else OPAQUE
    return image.convert(modes.get(image.mode, image.mode))


def _sixteen_bit(image: "Image") -> Tensor:
    """1 x H x W float32, 0-255, of an image with values 0-65535."""
    image = image.convert("I")
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        advice = "convert it to 16-bit grey, 0 to 65535"
        raise ValueError(f"its values run from {low} to {high}; {advice}")
    return values.view(1, image.height, image.width) / 257  # 65535 / 255


def _readable_suffixes() -> set[str]:
    """The suffixes of the formats that Pillow reads."""
    image = pillow().Image
    formats = image.registered_extensions()
    return {suffix for suffix, kind in formats.items() if kind in image.OPEN}


# ---- writing -----------------------------------------------------------------------------------


def check_suffix(path: str | os.PathLike) -> str:
    """The format that belongs to the suffix of a file.

    Args:
        path: A file, which need not exist.

    Returns:
        Pillow's name of the format, such as PNG.

    Raises:
        ValueError: Pillow cannot write such files.
    """
    image = pillow().Image
    kind = image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in image.SAVE:
        writable = "it can write .png, .tif and .jpg"
        raise ValueError(f"{path}: Pillow cannot write such images; {writable}")
    return kind


def write(image: Tensor, path: str | os.PathLike, sixteen_bit: bool = False) -> None:
    """Write an image in the format of the file's suffix, whole or not at all.

    Args:
        image: C x H x W of any dtype, values 0-255, which are rounded; C is 1, 2, 3 or 4.
        path: The file to write; JPEG gets quality 95.
        sixteen_bit: Write a grey image (C = 1) with 16 bits, as `read` reads it.

    Raises:
        ValueError: The shape is another one, or the format cannot hold the image.
        OSError: The file cannot be written.
    """
    check_suffix(path)
    channels = len(image)
    if sixteen_bit and channels == 1:
        picture = _from_pixels((image.double() * 257).round().clamp(0, 65535).to(torch.uint16))
    elif not sixteen_bit and channels in EIGHT_BIT:
        picture = to_pillow(image)
    else:
        bits = 16 if sixteen_bit else 8
        expected = "8 bits take 1 to 4 channels, 16 bits take 1"
        raise ValueError(f"{path}: cannot write {channels} channels with {bits} bits; {expected}")
    save(picture, path)


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
    kind = check_suffix(path)
    options = {"quality": JPEG_QUALITY} if kind == "JPEG" else {}
    encoded = io.BytesIO()
    try:
        picture.save(encoded, kind, **options)
    except (KeyError, OSError) as error:  # Pillow refuses, for example, alpha in a JPEG
        raise ValueError(f"{path}: {error}; use another format, such as .png") from error
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def split_alpha(image: Tensor) -> tuple[Tensor, Tensor]:
    """Colour and alpha of an image.

    Args:
        image: C x H x W from `read`.

    Returns:
        The colour, 3 x H x W, grey being repeated, and alpha, 1 x H x W, or 0 x H x W without it.
    """
    colours = 1 if len(image) < 3 else 3
    return image[:colours].expand(3, -1, -1), image[colours:]


def _from_pixels(pixels: Tensor) -> "Image":
    """The Pillow image of C x H x W, uint8, or 1 x H x W, uint16."""
    channels, height, width = pixels.shape
    mode = "I;16" if pixels.dtype == torch.uint16 else EIGHT_BIT[channels]
    pixels = pixels.permute(1, 2, 0).contiguous().cpu()  # H x W x C
    data = ctypes.string_at(pixels.data_ptr(), pixels.nbytes)  # tensor to bytes, without NumPy
    return pillow().Image.frombytes(mode, (width, height), data)
