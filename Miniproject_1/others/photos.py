"""Photos as sources of data: which files are used, and the squares that are cut from them."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import streams
from .command_line import progress_bar
from .images import pillow, read_rgb, to_tensor
from .noise import SOURCE

if TYPE_CHECKING:
    from PIL.Image import Image

CROP_SCALE = (0.75, 1.0)  # side of a training crop, as a share of the photo's short side
VALIDATION_SHARE = 0.05  # of the photo files
PUBLIC_DOMAIN = (  # in the package scikit-image, whose data/README.txt names the sources
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "rocket.jpg",
)


# ---- files -------------------------------------------------------------------------------------


def public_domain_photos() -> list[Path]:
    """Six photos in the public domain, which come with scikit-image.

    Returns:
        The files of PUBLIC_DOMAIN in the installed package.

    Raises:
        ValueError: scikit-image is not installed, or has no such files.
    """
    package = find_spec("skimage")  # looks for it without importing it
    if package is None or not package.submodule_search_locations:
        raise ValueError("scikit-image, which has photos, is missing: run pip install scikit-image")
    folder = Path(package.submodule_search_locations[0]) / "data"
    files = [folder / name for name in PUBLIC_DOMAIN]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file} is missing: run pip install --upgrade scikit-image")
    return files


def readable(
    files: list[Path], least: int = 2, *, progress: bool = False, workers: int | None = None
) -> list[Path]:
    """The files that decode; a warning counts and names the others.

    Args:
        files: Image files.
        least: How many have to be left: two can be split in training and validation photos.
        progress: Whether to show a progress bar.
        workers: Threads; None: one per processor.

    Returns:
        Those of the files that `images.read_rgb` can read, in the same order.

    Raises:
        ValueError: Fewer than `least` files are left.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        checks = progress_bar(pool.map(_failure, files), len(files), "checking photos", progress)
        failures = list(checks)
    left = [path for path, failure in zip(files, failures, strict=True) if failure is None]
    skipped = [failure for failure in failures if failure is not None]
    if len(left) < least:
        count = f"{len(left)} of {len(files)} photos can be read, expected at least {least}"
        purpose = ", one to train on and one to validate on" if least == 2 else ""
        first = f"; first failure: {skipped[0]}" if skipped else ""
        raise ValueError(count + purpose + first)
    if skipped:
        listed = "\n  ".join(skipped)
        warnings.warn(f"skipped {len(skipped)} unreadable photos:\n  {listed}", stacklevel=2)
    return left


def _failure(path: Path) -> str | None:
    """Why the photo cannot be read, None if it can."""
    try:
        read_rgb(path)
    except (ValueError, OSError) as error:
        return str(error)  # names the path
    return None


def split_files(files: list[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """Hold files out of training.

    Args:
        files: At least two.
        seed: Of the order, in which they are shuffled.

    Returns:
        The training files and the validation files: VALIDATION_SHARE of all, at least one.
    """
    order = torch.randperm(len(files), generator=streams.generator(seed, streams.SPLIT)).tolist()
    shuffled = [files[i] for i in order]
    held_out = max(1, round(VALIDATION_SHARE * len(files)))
    return shuffled[held_out:], shuffled[:held_out]


# ---- squares -----------------------------------------------------------------------------------


def crops(photo: "Image", count: int, generator: torch.Generator) -> Tensor:
    """Random squares of a photo, half of them mirrored.

    Args:
        photo: An RGB image.
        count: The number of squares.
        generator: Draws their sides (CROP_SCALE), places and directions.

    Returns:
        count x 3 x SOURCE x SOURCE, uint8.
    """
    low, high = CROP_SCALE
    sources = []
    for scale, x, y, mirror in torch.rand(count, 4, generator=generator).tolist():
        side = max(1, round((low + (high - low) * scale) * min(photo.size)))
        left = int(x * (photo.width - side + 1))
        top = int(y * (photo.height - side + 1))
        source = _square(photo, left, top, side, SOURCE)
        sources.append(source.flip(-1) if mirror < 0.5 else source)
    return torch.stack(sources)


def centres(photo: "Image", count: int, generator: torch.Generator) -> Tensor:
    """The largest centre square of a photo, several times.

    Args:
        photo: An RGB image.
        count: How many times.
        generator: Not used; as `crops` has it.

    Returns:
        count x 3 x SOURCE x SOURCE, uint8, a view of one square.
    """
    return centre(photo).expand(count, -1, -1, -1)


def centre(photo: "Image", size: int = SOURCE) -> Tensor:
    """The largest centre square of a photo.

    Args:
        photo: An RGB image.
        size: Pixels a side that the square is resized to.

    Returns:
        3 x size x size, uint8.
    """
    side = min(photo.size)
    left = (photo.width - side) // 2
    top = (photo.height - side) // 2
    return _square(photo, left, top, side, size)


def _square(photo: "Image", left: int, top: int, side: int, size: int) -> Tensor:
    """A square of the photo resized to 3 x size x size, uint8."""
    box = (left, top, left + side, top + side)
    return to_tensor(photo.resize((size, size), pillow().Image.Resampling.BICUBIC, box=box))
