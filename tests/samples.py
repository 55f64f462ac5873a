"""Small inputs that several tests use."""

from pathlib import Path

import numpy as np
import torch
from helpers import seeded
from PIL import Image
from torch import Tensor

from Miniproject_1.others.images import Picture, save, to_pillow
from Miniproject_1.others.noise import CELL


def random_image(channels: int, height: int = 5, width: int = 7, seed: int = 0) -> Tensor:
    """channels x height x width, uint8."""
    shape = (channels, height, width)
    return torch.randint(256, shape, generator=seeded(seed), dtype=torch.uint8)


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random values over the range of a type of integers, normal ones of a type of floats."""
    draws = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return draws.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return draws.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def write_image(image: Tensor, path: Path) -> None:
    """A file of C x H x W, values 0-255, with 8 bits."""
    save(to_pillow(image), path)


def same_picture(first: Picture, second: Picture) -> bool:
    """Whether two pictures have the same pixels of the same type."""
    same = torch.equal(first.pages, second.pages) and torch.equal(first.alpha, second.alpha)
    return same and first.dtype == second.dtype


def source_pixels(sources: Tensor) -> Tensor:
    """N x C x H x W -> N x C x H/8 x W/8 x 64: the source pixels of each cell."""
    cells = sources.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL))
    return cells.transpose(3, 4).flatten(4)


def write_photos(folder: Path, count: int, size: tuple[int, int] = (300, 280)) -> list[Path]:
    """Photos of one colour each, so that a pixel tells its file: number i has i as its red."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.png" for i in range(count)]
    for i, file in enumerate(files):
        Image.new("RGB", size, (i, 255 - i, 77)).save(file)
    return files


def reds(images: Tensor) -> set[int]:
    """The red values in N x 3 x H x W: the numbers of the photos of `write_photos`."""
    return set(images[:, 0].flatten().tolist())
