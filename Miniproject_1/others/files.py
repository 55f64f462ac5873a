"""Files that are written whole or not at all, and files of two tensors, as the course has them."""

import contextlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

LARGE_FILE = 2**30  # bytes; larger ones are mapped, so that what is needed of them is read then
EXPECTED = (
    "expected a tuple of two N x C x H x W tensors written by torch.save; "
    "`python -m Miniproject_1 data` makes such files"
)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary file that takes the place of `path` at the end, or vanishes after an error.

    Args:
        path: The file to write. What it holds stays until the new content is complete.

    Yields:
        The path to write to, in the same folder.

    Raises:
        OSError: The file at `path` cannot be replaced.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Args:
        path: The file to write.
        text: What it is to hold.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_writable(path: str | os.PathLike) -> None:
    """Make the folder of `path` and see whether a file can be written there.

    Args:
        path: A file, which need not exist.

    Raises:
        ValueError: No file can be written at `path`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        if path.exists() and not path.is_file():
            raise OSError("it is a device or a pipe")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error}; choose another output path") from error


def save_tensors(tensors: Tensor | tuple[Tensor, Tensor], path: str | os.PathLike) -> None:
    """Write tensors by torch.save, whole or not at all.

    Args:
        tensors: One tensor or, for `load_tensors`, two.
        path: The file to write.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            torch.save(tensors, temporary)
    except RuntimeError as error:  # this is how torch reports a full disk
        raise OSError(f"cannot write {path}; is the disk full? ({error})") from error


def load_tensors(path: str | os.PathLike) -> tuple[Tensor, Tensor]:
    """Read two tensors from a file, of which nothing is executed.

    Args:
        path: A file that holds a tuple of two tensors, written by torch.save.

    Returns:
        Two N x C x H x W tensors of one shape, on the CPU, with the dtypes of the file.

    Raises:
        ValueError: The file is missing, damaged or holds anything else.
        PermissionError: The file may not be read.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; {EXPECTED}")
    content = _load(path)
    if not isinstance(content, tuple) or [type(item) for item in content] != [Tensor, Tensor]:
        raise ValueError(f"{path}: holds {_kind(content)}; {EXPECTED}")
    first, second = content
    if first.dim() != 4 or first.shape != second.shape or first.numel() == 0:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"{path}: holds tensors of shape {shapes}; {EXPECTED}")
    return first, second


def _load(path: str | os.PathLike) -> object:
    """The content of a file of tensors; ValueError if torch cannot or should not read it."""
    try:
        large = os.path.getsize(path) >= LARGE_FILE and zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=large)
    except PermissionError:  # says itself what is wrong
        raise
    except pickle.UnpicklingError as error:  # its text advises to allow all that a pickle may run
        reason = "damaged, or holds more than tensors (refused)"
        raise ValueError(f"{path}: {reason}; {EXPECTED}") from error
    except Exception as error:  # damaged bytes end in many types of error
        raise ValueError(f"{path}: truncated or not written by torch.save; {EXPECTED}") from error


def _kind(content: object) -> str:
    """Such as "a list of 3"."""
    name = f"a {type(content).__name__}"
    if isinstance(content, (tuple, list, dict)):
        return f"{name} of {len(content)}"
    return name
