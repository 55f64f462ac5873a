"""Image files to tensors and back, through Pillow (extra `photos`).

A tensor is C x H x W with values 0-255: C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. It is uint8 for
8-bit files and float32 for 16-bit grey ones, which keep their depth: 65535 in the file is 255.0 here.
"""

import ctypes
import io
import os
from pathlib import Path

import torch
from torch import Tensor

from ..model import TILE, tiles
from .pixelate import image_files, pillow, replacing

EIGHT_BIT = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's mode
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L")       # "I" is what Pillow makes of a 16-bit PGM
OPAQUE = {"1": "L", "P": "RGB"}                     # bilevel and palette images -> what they are read as
TRANSPARENT = {"L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}  # the same, with a transparent colour
SMALLEST = 16  # pixels: shorter sides leave the U-Net no context to learn from


def read(path: str | os.PathLike) -> Tensor:
    """The image at `path`: C x H x W, uint8 or (16-bit grey) float32, values 0-255, turned as its EXIF says.

    Palette images become RGB or RGBA. ValueError if the file is no image, is truncated, has several
    frames or a mode such as CMYK; OSError (FileNotFoundError and so on) if it cannot be opened.
    """
    pil = pillow()
    with open(path, "rb") as file:
        try:
            with pil.Image.open(file) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG, with previews behind it
                    raise ValueError(f"it has {frames} frames; save them as single images")
                image = pil.ImageOps.exif_transpose(image)
                modes = TRANSPARENT if image.has_transparency_data else OPAQUE
                image = image.convert(modes.get(image.mode, image.mode))
                if image.mode in SIXTEEN_BIT:
                    return _sixteen_bit(image.convert("I"))
                if image.mode not in EIGHT_BIT.values():
                    raise ValueError(f"its mode is {image.mode}; convert it to RGB, or grey of 8 or 16 bits")
                data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
                return data.view(image.height, image.width, -1).permute(2, 0, 1).contiguous()
        except pil.UnidentifiedImageError as error:
            raise ValueError(f"{path}: not an image that Pillow can read, or damaged") from error
        except Exception as error:  # Pillow's decoders raise many types on damaged files
            raise ValueError(f"{path}: {error}") from error


def _sixteen_bit(image) -> Tensor:
    """1 x H x W float32 from an image of mode "I" (32-bit integers) that holds 16-bit values."""
    low, high = image.getextrema()
    if low < 0 or high > 65535:
        raise ValueError(f"its values run from {low} to {high}; convert it to 16-bit grey, 0 to 65535")
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.int32)
    return data.view(1, image.height, image.width) / 257  # 65535 / 255


def check_suffix(path: str | os.PathLike) -> str:
    """Pillow's name of the format that belongs to the suffix of `path`; ValueError if it cannot write that."""
    Image = pillow().Image
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"{path}: Pillow cannot write such images; it can write .png, .tif and .jpg")
    return kind


def write(image: Tensor, path: str | os.PathLike, sixteen_bit: bool = False) -> None:
    """Write C x H x W (C = 1, 2, 3 or 4, values 0-255, rounded) to `path`, in the format of its suffix.

    `sixteen_bit` writes a grey image (C = 1) with 16 bits, as `read` reads it. JPEG gets quality 95. The file
    appears whole or not at all. ValueError for other shapes and for formats that cannot hold the image, OSError
    if the file cannot be written.
    """
    Image = pillow().Image
    kind = check_suffix(path)
    channels, height, width = image.shape
    if sixteen_bit and channels == 1:
        pixels, mode = (image.double() * 257).round().clamp(0, 65535).to(torch.uint16), "I;16"
    elif not sixteen_bit and channels in EIGHT_BIT:
        pixels, mode = image.float().round().clamp(0, 255).to(torch.uint8), EIGHT_BIT[channels]
    else:
        raise ValueError(f"{path}: cannot write {channels} channels with {16 if sixteen_bit else 8} bits; 8 bits "
                         f"take 1 to 4 channels, 16 bits take 1")
    pixels = pixels.permute(1, 2, 0).contiguous().cpu()
    data = ctypes.string_at(pixels.data_ptr(), pixels.nbytes)  # tensor to bytes, without NumPy
    picture = Image.frombytes(mode, (width, height), data)

    encoded = io.BytesIO()
    try:
        picture.save(encoded, kind, **({"quality": 95} if kind == "JPEG" else {}))
    except (KeyError, OSError) as error:  # Pillow refuses, for example, alpha or 16 bits in a JPEG
        raise ValueError(f"{path}: {error}; use another format, such as .png") from error
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def split_alpha(image: Tensor) -> tuple[Tensor, Tensor]:
    """(colour, 3 x H x W, alpha, 1 x H x W or 0 x H x W) of an image from `read`; grey is repeated."""
    colours = 1 if len(image) < 3 else 3
    return image[:colours].expand(3, -1, -1), image[colours:]


def paired(folder_a: str | os.PathLike, folder_b: str | os.PathLike) -> tuple[Tensor, Tensor]:
    """Training pairs from two folders that hold noisy copies of the same scenes under the same names.

    Returns (noisy_a, noisy_b), each N x 3 x T x T with values 0-255: the images cut into tiles of T = 64 pixels,
    or of the shortest side of all images if that is less. Grey is repeated to three channels, alpha is dropped.
    ValueError if a file has no partner, a pair differs in size or colour, or an image is smaller than 16 pixels.
    """
    folders = [Path(folder_a), Path(folder_b)]
    names_a, names_b = ({file.relative_to(folder) for file in image_files(folder)} for folder in folders)
    alone = sorted(folders[name in names_b] / name for name in names_a ^ names_b)
    if alone:
        raise ValueError(f"no image of the same name in the other folder: {_some(alone)}; rename or remove these")

    names, pairs, unequal = sorted(names_a), [], []
    for name in names:
        copies = [read(folder / name) for folder in folders]
        kinds = [_kind(image) for image in copies]
        if kinds[0] != kinds[1]:
            unequal.append(f"{name} ({' and '.join(kinds)})")
        pairs.append(tuple(split_alpha(image)[0] for image in copies))
    if unequal:
        raise ValueError(f"the two images of a pair differ in size (width x height) or colour: {_some(unequal)}; crop "
                         f"or convert them alike")
    side, name = min((min(a.shape[1:]), name) for (a, _), name in zip(pairs, names, strict=True))
    if side < SMALLEST:
        raise ValueError(f"{folders[0] / name} has a side of {side} pixels, training needs {SMALLEST}")
    size = min(TILE, side)
    noisy_a, noisy_b = (torch.cat([tiles(image[None], size) for image in copies])
                        for copies in zip(*pairs, strict=True))
    return noisy_a, noisy_b


def _kind(image: Tensor) -> str:
    return f"{image.shape[2]} x {image.shape[1]} {'grey' if len(image) < 3 else 'colour'}"


def _some(names: list) -> str:
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
