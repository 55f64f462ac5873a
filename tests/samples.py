"""Small inputs that several tests use."""

from pathlib import Path

import torch
from helpers import seeded
from PIL import Image
from torch import Tensor

from Miniproject_1.others.noise import CELL


def random_image(channels: int, height: int = 5, width: int = 7, seed: int = 0) -> Tensor:
    """channels x height x width, uint8."""
    shape = (channels, height, width)
    return torch.randint(256, shape, generator=seeded(seed), dtype=torch.uint8)


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
