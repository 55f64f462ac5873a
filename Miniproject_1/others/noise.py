"""The noise of the course's images, which are photos reduced to 32 x 32 with one sample per pixel.

    source 3 x 256 x 256  ->  32 x 32 cells of 8 x 8 source pixels
    clean pixel = mean of its cell
    noisy pixel = one source pixel of its cell, drawn uniformly, all channels together

Noisy copies are therefore unbiased and independent of each other, which is all that Noise2Noise
needs.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIZE = 32  # pixels a side of an image
CELL = 8  # source pixels a side of a cell, one cell per pixel
SOURCE = SIZE * CELL  # source pixels a side


def pixelate(sources: Tensor, generator: torch.Generator, cell: int = CELL) -> Tensor:
    """One noisy copy of each source: per cell one source pixel, all channels together.

    Args:
        sources: N x C x H x W of any dtype, H and W multiples of `cell`.
        generator: Draws the pixels, uniformly.
        cell: Source pixels a side of a cell.

    Returns:
        N x C x H/cell x W/cell, of the dtype of the sources.
    """
    n, _, height, width = sources.shape
    shape = (n, height // cell, width // cell)
    top = torch.arange(0, height, cell)[:, None]
    left = torch.arange(0, width, cell)
    rows = top + torch.randint(cell, shape, generator=generator)
    columns = left + torch.randint(cell, shape, generator=generator)
    image = torch.arange(n)[:, None, None]
    drawn = sources[image, :, rows, columns]  # N x H/cell x W/cell x C
    return drawn.permute(0, 3, 1, 2)


def cell_mean(sources: Tensor, cell: int = CELL) -> Tensor:
    """The clean image of each source: the mean of each cell.

    Args:
        sources: N x C x H x W, uint8, H and W multiples of `cell`.
        cell: Source pixels a side of a cell.

    Returns:
        N x C x H/cell x W/cell, uint8, rounded.
    """
    return avg_pool2d(sources.float(), cell).round().to(torch.uint8)


def noisy_noisy(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A training pair of each source.

    Args:
        sources: N x C x H x W, uint8, H and W multiples of CELL.
        generator: Draws the noise.

    Returns:
        Two independent noisy copies, N x C x H/CELL x W/CELL, uint8.
    """
    return pixelate(sources, generator), pixelate(sources, generator)


def noisy_clean(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A validation pair of each source.

    Args:
        sources: N x C x H x W, uint8, H and W multiples of CELL.
        generator: Draws the noise.

    Returns:
        A noisy copy and the clean image, N x C x H/CELL x W/CELL, uint8.
    """
    return pixelate(sources, generator), cell_mean(sources)


def clean_clean(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The clean image of each source, twice: targets for the two copies of `noisy_noisy`.

    Args:
        sources: N x C x H x W, uint8, H and W multiples of CELL.
        generator: Not used, as there is no noise.

    Returns:
        Twice the same N x C x H/CELL x W/CELL, uint8.
    """
    clean = cell_mean(sources)
    return clean, clean
