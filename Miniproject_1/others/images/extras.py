"""What image files need beyond PyTorch: optional packages, kept quiet, and limits to claims."""

import importlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

ALWAYS_FINE = 2**26  # bytes of pixels that a file of any size may claim
LARGEST_RATIO = 2000  # of bytes of pixels to bytes of the file; deflate and LZW reach 1400
READERS = rf"{__package__}\.(raster|tiff|arrays|extras)"  # where some of them seem to come from
NOISY = rf"(PIL|tifffile|imagecodecs|numpy|{READERS})\b"  # modules whose warnings help no user

_lock = threading.Lock()
_inside = 0  # threads within `quiet`
_silence: warnings.catch_warnings | None = None


def needed(name: str) -> ModuleType:
    """An optional package.

    Args:
        name: Such as "tifffile".

    Returns:
        The imported package.

    Raises:
        ValueError: It is not installed.
    """
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{name} is missing: run pip install {name}") from error
    if name == "tifffile":
        logger = logging.getLogger(name)
        if not logger.handlers:  # it would log damaged tags to stderr
            logger.addHandler(logging.NullHandler())
    return package


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of image packages; several threads may be within at once."""
    global _inside, _silence
    with _lock:
        if _inside == 0:
            _silence = warnings.catch_warnings()
            _silence.__enter__()
            warnings.filterwarnings("ignore", module=NOISY)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _silence is not None:
                _silence.__exit__(None, None, None)


def tensor_of(array: Any) -> Tensor:
    """A tensor on an array of NumPy's; of a mapped file, which must not be written to."""
    with quiet():  # torch warns of that
        return torch.from_numpy(array)


def check_claim(claimed: int, stored: int, compressed: bool, mapped: bool = False) -> None:
    """Refuse pixels that the file cannot hold, before memory is taken for them.

    Args:
        claimed: Bytes of the pixels, by the file's header.
        stored: Bytes of the file.
        compressed: Whether the pixels are.
        mapped: Whether they stay in the file until they are needed.

    Raises:
        ValueError: The file is too small for its pixels, or they do not fit in memory.
    """
    sizes = f"its header claims {in_bytes(claimed)} of pixels, in a file of {in_bytes(stored)}"
    if claimed > stored and not compressed:
        raise ValueError(f"{sizes}: it is truncated or damaged; get a whole copy")
    if claimed > max(ALWAYS_FINE, LARGEST_RATIO * stored):
        raise ValueError(f"{sizes}: it is damaged, or made to exhaust memory")
    if claimed > memory() and not mapped:
        raise ValueError(f"{sizes}: more than this machine's memory; split it in smaller files")


def in_bytes(count: int) -> str:
    """Such as "3.2 MB"."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def one_line(error: BaseException) -> str:
    """The message of an error on one line, its type if it has none."""
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def reason(error: BaseException) -> str:
    """Why a file cannot be read, by the error that a package raised.

    Args:
        error: ValueError and OSError tell it; others are what damaged files end in.

    Returns:
        A text of one line.
    """
    if isinstance(error, MemoryError):
        return "more pixels than memory; split it in smaller files"
    if isinstance(error, (ValueError, OSError)):
        return one_line(error)
    return f"it is damaged ({one_line(error)}); get a whole copy"


def memory() -> float:
    """Bytes of memory of this machine, infinite where they are unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return float("inf")
