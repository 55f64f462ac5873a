"""Image files to tensors and back, in kind: the front of `raster`, `tiff` and `arrays`.

    picture = read("scan.tif")
    write(replace(picture, pages=denoised), "denoised/scan.tif")
"""

import os
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import LARGE_FILE, replacing
from . import arrays, raster, tiff
from .extras import in_bytes, memory, needed, one_line, reason
from .raster import pillow, read_rgb, save, to_pillow, to_tensor

__all__ = [
    "Picture", "check_result", "check_suffix", "described", "image_files", "output_name", "pillow",
    "read", "read_rgb", "save", "to_pillow", "to_tensor", "write",
]  # fmt: skip

KINDS = {**raster.KINDS, **dict.fromkeys(tiff.SUFFIXES, "TIFF"), ".npy": ".npy"}  # by suffix
EXPECTED = "expected .tif, .png, .jpg, .webp, .npy, ..."
ADVICE = "convert raw or medical images to .tif"
UNSEEN = ("__macosx", "thumbs.db", "desktop.ini")  # what systems leave behind
EXACT_IN_FLOAT = 2**24  # float32 holds all integers up to here
LARGE_INTEGERS = (torch.int32, torch.uint32, torch.int64)
LARGEST_BELOW = {torch.int64: 2**63 - 2**10}  # as a float64; the largest itself would overflow


@dataclass(frozen=True)
class Picture:
    """The pixels of a file, and what has to be known to write such a file.

    Attributes:
        pages: N x C x H x W, the colours or channels, in the file's dtype and units. A page is one
            image of a stack.
        alpha: N x A x H x W, alpha, masks and other extra samples; A may be 0.
        dtype: The file's.
        origin: The rest: kind of file, axes, compression, metadata, ...
    """

    pages: Tensor
    alpha: Tensor
    dtype: torch.dtype
    origin: Any


# ---- folders -----------------------------------------------------------------------------------


def image_files(folder: str | os.PathLike) -> list[Path]:
    """The image files in a folder and below it; a warning counts files of other kinds.

    Args:
        folder: A folder, searched recursively. Hidden files and folders are left out.

    Returns:
        The files whose suffix `read` knows, sorted.

    Raises:
        ValueError: `folder` is no folder, or holds no such file.
    """
    pillow()
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the path of a folder of images")
    seen = [path for path in folder.rglob("*") if _is_seen(path.relative_to(folder))]
    paths = sorted(path for path in seen if path.is_file())
    files = [path for path in paths if path.suffix.lower() in KINDS]
    others = [path.suffix.lower() for path in paths if path.suffix.lower() not in KINDS]
    counts = sorted(Counter(others).items())
    listed = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in counts)
    if not files:
        found = f"it holds {listed}; {ADVICE}" if listed else "it holds no files"
        raise ValueError(f"no image file in {folder} or below it, {EXPECTED}; {found}")
    if listed:
        warnings.warn(f"left out of {folder}: {listed}; {ADVICE}", stacklevel=2)
    return files


def _is_seen(path: Path) -> bool:
    """Whether a path is neither hidden nor something that a system left behind."""
    return not any(part.startswith(".") or part.lower() in UNSEEN for part in path.parts)


def check_suffix(path: str | os.PathLike) -> str:
    """The kind of file that belongs to the suffix of a name.

    Args:
        path: A file, which need not exist.

    Returns:
        Such as "PNG", "TIFF" or ".npy".

    Raises:
        ValueError: Such files cannot be read and written, or a package for them is missing.
    """
    suffix = Path(path).suffix.lower()
    kind = KINDS.get(suffix)
    if kind is None:
        named = f"{suffix} files are" if suffix else "a file without suffix is"
        raise ValueError(f"{path}: {named} not read or written here, {EXPECTED}; {ADVICE}")
    if kind == "TIFF":
        needed("tifffile")
    elif kind == ".npy":
        needed("numpy")
    else:
        pillow()
    return kind


def output_name(name: str | os.PathLike, dtype: str | None = None) -> Path:
    """The name of the result for a file.

    Args:
        name: That of the file.
        dtype: "float32" if the result is to have it, None if the file's.

    Returns:
        The same name, but one in .tif for float32 where files of its kind cannot hold it.
    """
    name = Path(name)
    holds_floats = KINDS.get(name.suffix.lower()) in ("TIFF", ".npy")
    return name if dtype is None or holds_floats else name.with_suffix(".tif")


# ---- files -------------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> Picture:
    """Read an image, a stack of images or an array.

    Args:
        path: A file of a kind that `check_suffix` knows; what it holds decides how it is read.

    Returns:
        Its pixels as they are, upright by EXIF data. A palette becomes RGB, a transparent colour
        alpha, bilevel 8-bit grey.

    Raises:
        ValueError: The file is damaged, or of a kind that cannot be written back.
        OSError: The file cannot be opened.
    """
    check_suffix(path)
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError(f"{path}: the file is empty; get a whole copy")
    try:
        pages, alpha, origin = _reader(start).read(path)
    except (MemoryError, RuntimeError) as error:  # RuntimeError is PyTorch's of memory
        raise ValueError(f"{path}: {reason(error)}") from error
    if pages.nbytes < LARGE_FILE:  # a larger one may be mapped
        pages, alpha = pages.contiguous(), alpha.contiguous()
    return Picture(pages, alpha, pages.dtype, origin)


def _reader(start: bytes) -> Any:
    """The module that reads files with this start."""
    if start.startswith(tiff.MAGIC):
        return tiff
    return arrays if start.startswith(arrays.MAGIC) else raster


def write(picture: Picture, path: str | os.PathLike, dtype: str | None = None) -> None:
    """Write a picture as the kind of file it was read from, whole or not at all.

    Args:
        picture: From `read`, perhaps with other pages: of any dtype, height and width. They are
            rounded and clipped where the file has integers.
        path: The file to write, of the same kind; see `output_name`.
        dtype: "float32" writes floats into TIFF and .npy; None: the file's dtype.

    Raises:
        ValueError: The file cannot hold the pages, or `path` is of another kind.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if dtype not in (None, "float32"):
        raise ValueError(f"dtype is {dtype!r}, expected None or 'float32'")
    origin = picture.origin
    if dtype is not None and isinstance(origin, raster.Origin):
        origin = _float_origin(picture, path)
    elif path.suffix.lower() != origin.suffix and check_suffix(path) != origin.kind:
        raise ValueError(f"{path}: read from {origin.kind}, and written as such only; name it "
                         f"{path.with_suffix(origin.suffix).name}")
    target = torch.float32 if dtype else picture.dtype
    try:
        pages, alpha = _converted(picture.pages, target), _converted(picture.alpha, target)
        if not alpha.shape[1]:
            alpha = pages[:, :0]  # of the same height and width, if these are others now
        with replacing(path) as temporary:
            _writer(origin).write(pages, alpha, origin, temporary)
    except OSError:
        raise
    except Exception as error:  # the packages raise many types on what they cannot hold
        raise ValueError(f"{path}: {one_line(error)}") from error
    if origin.loss:
        warnings.warn(f"{path}: {origin.loss}", stacklevel=2)
    if dtype is None and _rounded_by_float32(picture):
        warnings.warn(f"{path}: integers above {EXACT_IN_FLOAT:,} are rounded, as results have the "
                      "24 bits of float32; subtract an offset first", stacklevel=2)


def _rounded_by_float32(picture: Picture) -> bool:
    """Whether float32 pages are to stand for larger integers than they hold exactly."""
    if picture.pages.dtype != torch.float32 or picture.dtype not in LARGE_INTEGERS:
        return False
    least, most = picture.pages.aminmax()
    return max(-least.item(), most.item()) > EXACT_IN_FLOAT


def _writer(origin: Any) -> Any:
    """The module that writes files of this origin."""
    if isinstance(origin, tiff.Origin):
        return tiff
    return arrays if isinstance(origin, arrays.Origin) else raster


def _float_origin(picture: Picture, path: Path) -> tiff.Origin:
    """The origin of a TIFF file with the floats of another image."""
    origin = picture.origin
    if KINDS.get(path.suffix.lower()) != "TIFF":
        raise ValueError(f"{path}: {origin.kind} cannot hold float32, TIFF and .npy can; name it "
                         f"{path.with_suffix('.tif').name}")
    check_suffix(path)
    colours, extras = picture.pages.shape[1], picture.alpha.shape[1]
    return tiff.plain(colours, extras, origin.icc, origin.dpi)


def check_result(picture: Picture) -> None:
    """Refuse to denoise what has no room for its result, before work is done for it.

    Args:
        picture: From `read`; its pages may be mapped.

    Raises:
        ValueError: As float32 it is larger than this machine's memory.
    """
    size = 4 * picture.pages.numel()
    if size > memory():
        raise ValueError(f"its result takes {in_bytes(size)}, more than this machine's memory; "
                         "split it in smaller files")


# ---- values ------------------------------------------------------------------------------------


def described(picture: Picture) -> str:
    """What a picture holds, in words.

    Args:
        picture: From `read`.

    Returns:
        Such as "5 pages of 120 x 96 (width x height), 1 channel, uint16".
    """
    count, channels, height, width = picture.pages.shape
    pages = "" if count == 1 else f"{count} pages of "
    noun = "channel" if channels == 1 else "channels"
    alpha = " and alpha" if picture.alpha.shape[1] else ""
    dtype = str(picture.dtype).removeprefix("torch.")
    text = f"{pages}{width} x {height}, {channels} {noun}{alpha}, {dtype}"
    if isinstance(picture.origin, arrays.Origin):
        text += f" (axes taken as {arrays.MEANING[picture.origin.layout.axes]})"
    return text


def _converted(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The values in a dtype: rounded and clipped where it is one of integers."""
    values = values.detach().cpu()
    if values.dtype == dtype or values.numel() == 0 or dtype.is_floating_point:
        return values.to(dtype)
    low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    if not values.dtype.is_floating_point:
        return values.to(torch.int64).clamp(low, high).to(dtype)
    exact = torch.float32 if high < EXACT_IN_FLOAT else torch.float64
    converted = torch.empty(values.shape, dtype=dtype)
    for page, result in zip(values, converted, strict=True):  # page by page, to save memory
        rounded = page.to(exact).nan_to_num(0.0, float("inf"), float("-inf")).round()
        clipped = rounded.clamp(low, LARGEST_BELOW.get(dtype, high))
        result.copy_(clipped.to(torch.int64))
    return converted
