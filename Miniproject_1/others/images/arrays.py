"""NumPy's array files, .npy, as pages and back."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files import LARGE_FILE
from .extras import needed, one_line, quiet, tensor_of
from .layout import Layout

MAGIC = b"\x93NUMPY"
MOST_CHANNELS = 4  # a longer last axis is the width
TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "i8", "f2", "f4", "f8")  # NumPy's names of ours
EXPECTED = "expected H x W, H x W x C, N x H x W or N x H x W x C, with 1 to 4 channels C"
MEANING = {"YX": "H x W", "YXC": "H x W x C", "QYX": "N x H x W", "QYXC": "N x H x W x C"}


@dataclass(frozen=True)
class Origin:
    """What `write` has to know of a .npy file.

    Attributes:
        layout: Its axes.
        byteorder: "<", ">" or "|", as NumPy writes it.
        suffix: That of the file's name.
        loss: What cannot be kept: nothing.
    """

    layout: Layout
    byteorder: str
    suffix: str
    kind: str = ".npy"
    loss: str | None = None


def read(path: str | os.PathLike) -> tuple[Tensor, Tensor, Origin]:
    """Read a .npy file, without running anything in it; a large one stays there, mapped.

    Args:
        path: A file of an array of integers or floats.

    Returns:
        N x C x H x W, an alpha of no channels, and what `write` needs.

    Raises:
        ValueError: The file is damaged, or its array of another shape or type.
        OSError: The file cannot be opened.
    """
    numpy = needed("numpy")
    try:
        with quiet():  # mapped, so that a false header takes no memory
            mapped = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # false headers end in many types
        advice = "it is damaged, or no array of numbers; write it again by numpy.save"
        raise ValueError(f"{path}: {one_line(error)}: {advice}") from error
    try:
        check_type(mapped.dtype)
        layout = _layout(mapped.shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    native = mapped
    if mapped.nbytes < LARGE_FILE or not mapped.dtype.isnative:
        native = numpy.array(mapped, dtype=mapped.dtype.newbyteorder("="), order="C")
    pages, alpha = layout.split(tensor_of(native))
    return pages, alpha, Origin(layout, mapped.dtype.byteorder, Path(path).suffix.lower())


def write(pages: Tensor, alpha: Tensor, origin: Origin, path: Path) -> None:
    """Write a .npy file.

    Args:
        pages: N x C x H x W, of the dtype to write.
        alpha: N x 0 x H x W.
        origin: From `read`.
        path: The file.

    Raises:
        ValueError: N or C is another one than in the file that was read.
        OSError: The file cannot be written.
    """
    numpy = needed("numpy")
    array = origin.layout.join(pages, alpha).numpy()
    if origin.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder(">"))
    with open(path, "wb") as file:
        numpy.save(file, array, allow_pickle=False)


def check_type(dtype: Any) -> None:
    """Refuse what is no number that a tensor of ours holds.

    Args:
        dtype: NumPy's, None if unknown.

    Raises:
        ValueError: It is complex, boolean, text, ...
    """
    name = "unknown" if dtype is None else f"{dtype.kind}{dtype.itemsize}"
    if name not in TYPES:
        advice = "integers of 8 to 32 bits, int64, or floats of 16 to 64 bits; convert them"
        raise ValueError(f"its values are {dtype or name}, expected {advice}")


def _layout(shape: tuple[int, ...]) -> Layout:
    """The axes of an array of this shape."""
    if 0 in shape or not 2 <= len(shape) <= 4:
        raise ValueError(f"its shape is {shape}, {EXPECTED}")
    has_channels = len(shape) > 2 and shape[-1] <= MOST_CHANNELS
    if len(shape) == 4 and not has_channels:
        advice = "move the channels to the end by numpy.moveaxis"
        raise ValueError(f"its shape is {shape}, {EXPECTED}; {advice}")
    axes = {2: "YX", 3: "YXC" if has_channels else "QYX", 4: "QYXC"}[len(shape)]
    return Layout.of(axes, shape)
