"""Noise2Noise denoising: a U-Net that learns from pairs of noisy images, without a clean one.

Method (J. Lehtinen et al., "Noise2Noise: Learning Image Restoration without Clean Data", ICML
2018, section 2). Let x be a clean image, and a and b two noisy copies of it. If the noise of b has
mean zero whatever a shows, E[b | a, x] = x, then for every denoiser f

    E|f(a) - b|^2 = E|f(a) - x|^2 + E|b - x|^2,

because the cross term 2 E[(f(a) - x)(x - b)] is zero. The last term does not depend on f, so the f
that predicts b best also predicts x best: noisy targets do the work of clean ones.

Ten epochs of 50,000 pairs reach 25.91 dB (mean PSNR over images; noisy 20.84), the pretrained
weights 26.00, on two cores of an AMD EPYC with torch 2.13.0: report/RESULTS.md has the runs.

Outside this module images are N x C x H x W tensors in units of their own, such as 0-255; inside,
after `Units.to_unit`, they are float32, about 0 to 1. The file needs PyTorch and the standard
library only, and reads in this order: recipe, network, units, data, losses and metrics, optimizer,
schedule and averaging, log and memory, processes, a training and its checkpoint, checks, Model.
"""

import copy
import ctypes
import hashlib
import io
import math
import operator
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

# ------------------------------------------------------------------------------------------ recipe

SWAPS = ("both", "pixels", "random", "none")
OPTIMIZERS = ("muon", "adam")
PRECISIONS = ("auto", "float32")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained: `Model(recipe=replace(Recipe(), batch=64))`.

    Raises:
        ValueError: a field has an unknown or impossible value.
    """

    # The network: small, so that a CPU sees many pairs in ten minutes.
    channels: int = 3  # of an image: 3 for RGB, 1 for grey
    widths: tuple[int, ...] = (32, 64)  # channels per level; each level has half the resolution
    blocks: int = 2  # residual blocks per level, on the way down and again on the way up

    # The data.
    value_range: tuple[float, float] | None = (0.0, 255.0)  # None: `train` takes it from the pairs
    tile: int = 64  # pixels: larger training images are cut into squares of this side
    batch: int = 32  # pairs per step: few, for many steps in a short training
    swap: str = "both"  # directions of a pair in a step, see `directions`
    turns: bool = True  # flips and rotations: eight views of each pair, against fitting few pairs
    held_out: int = 1_000  # pairs, at most 1 in 20, kept for the PSNR estimate; 0: none

    # The loss.
    loss: str = "log"  # "log", the score's own weighting of images; "mse", "weighted" or "l1"
    loss_floor: float = 0.01  # of the noise's variance: images with less must not dominate "log"

    # The optimizer.
    optimizer: str = "muon"  # or "adam", whose learning rate is lower, such as 2e-3
    learning_rate: float = 5e-3  # at the start, annealed linearly to 0
    vector_rate: float = 0.2  # share of it for biases and norms, if you add any: Adam moves them
    momentum: float = 0.95  # of Muon, as its authors have it
    short_training: tuple[int, int] = (500, 2_000)  # steps: fewer start higher, see `Schedule`
    weight_decay: float = 0.005  # times the epochs, at most 1: many of them would fit the noise
    ema: float = 0.995  # decay per step of the weights' average, which is kept; 0 (none) is as good
    precision: str = "auto"  # "auto": bfloat16 where the hardware multiplies it; or "float32"

    def __post_init__(self) -> None:
        check_recipe(self)


COURSE_LIMIT = {"cuda": 540.0, "cpu": 2520.0}  # seconds: 10 and 45 minutes, less the testing
LIMIT_SHARE = 0.98  # of a time limit is for training and measuring, the rest is a margin
CHECK_EVERY = 50  # steps between two looks at the error: each one makes a GPU wait
OTHER_UNITS = 4.0  # times the range: images that differ so much are measured in other units
NO_NOISE = 1e-9  # variance, in the network's values: copies with less are alike but for rounding
CURVE_BLOCK = 4  # pixels a side of the blocks from which the noise's variance curve is fitted
LEAST_VARIANCE = 0.05  # of the mean variance: no pixel weighs more than 20 times the usual
SAMPLE = 100_000  # values of a channel from which a range is taken
WORSE = 0.05  # dB: a training that ends so far below the noisy images has made them worse
ERROR_RISE = 1.0  # nat, 4.3 dB: so far above its lowest level a squared error has diverged
MEMORY = 4 * 2**30  # bytes of pairs that a training holds at once, by default
RUN = 2**20  # bytes of images that are read one after the other, where not all are held
WRITE_EVERY = 60.0  # seconds between two checkpoints within an epoch
FORMAT = 1  # of the training in a checkpoint
CORE = 448  # pixels: `predict` works on squares of about this side, with context around them
CHUNK = 64 * 32 * 32  # pixels in one pass of `predict`, at least one image: fits a CPU's cache

# ----------------------------------------------------------------------------------------- network


class ResidualBlock(nn.Module):
    """x + convolution(ReLU(convolution(x))); it starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu_())


class UNet(nn.Module):
    """Residual U-Net without normalisation, whose skip connections are added.

    O. Ronneberger et al., "U-Net", MICCAI 2015. It starts as the identity. Without biases (S. Mohan
    et al., ICLR 2020) it scales with the contrast: for c > 0, f(1/2 + c x) = 1/2 + c (f(1/2 + x) -
    1/2), so that strong and weak noise are removed alike.

    Args:
        channels: of the images.
        widths: channels of each level, full resolution first.
        blocks: residual blocks per level, on the way down and again on the way up.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], blocks: int):
        super().__init__()
        # Pixels that an output sees to each side: a 3 x 3 convolution of level l adds 2^l of them.
        coarsest = 2 ** (len(widths) - 1)
        seen = (6 * blocks + 1) * coarsest - 4 * blocks + 1
        self.reach = math.ceil(seen / coarsest) * coarsest  # keeps the grid of the coarsest level
        self.head = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.encoders = nn.ModuleList(self._level(width, blocks) for width in widths)
        steps = list(zip(widths[:-1], widths[1:], strict=True))  # (finer, coarser)
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in steps)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False) for fine, coarse in steps)
        self.decoders = nn.ModuleList(self._level(fine, blocks) for fine, _ in steps)
        self.tail = nn.Conv2d(widths[0], channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)

    @staticmethod
    def _level(width: int, blocks: int) -> nn.Sequential:
        return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

    def forward(self, image: Tensor) -> Tensor:
        """N x channels x H x W in [0, 1] to the same shape, unbounded; any H and W from 1 up."""
        height, width = image.shape[-2:]
        image = image - 0.5  # about mid-grey
        multiple = 2 ** len(self.downs)  # of which the padded sides, H' and W', are
        padding = (0, -width % multiple, 0, -height % multiple)
        padded = nn.functional.pad(image, padding, mode="replicate")
        x = self.head(padded)  # N x widths[0] x H' x W'
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            x = encoder(x)
            skips.append(x)
            x = down(x)  # N x widths[1] x H'/2 x W'/2, and so on
        x = self.encoders[-1](x)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = decoder(up(x) + skips.pop())  # twice the side, at last N x widths[0] x H' x W'
        correction = self.tail(x)[..., :height, :width]  # N x channels x H x W
        return (image + correction).float() + 0.5


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; where not, float32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # since PyTorch 2.6
    return supported is not None and supported()


# ------------------------------------------------------------------------------------------- units


@dataclass(frozen=True)
class Units:
    """The values of images against those of the network, for which they run from about 0 to 1.

    Attributes:
        zero: 1 x C x 1 x 1, what the network sees as 0, in each channel.
        span: 1 x C x 1 x 1, what it sees as 1 is so much more.
        low, high: bounds that predictions keep; minus infinity and infinity for none.
    """

    zero: Tensor
    span: Tensor
    low: float
    high: float

    @classmethod
    def of_range(cls, low: float, high: float, channels: int) -> "Units":
        """All channels from `low` to `high`, which predictions keep to."""
        zero = torch.full((1, channels, 1, 1), low, dtype=torch.float32)
        return cls(zero, torch.full_like(zero, high - low), low, high)

    @classmethod
    def of_images(cls, *images: Tensor) -> "Units":
        """From N x C x H x W images of any units: mean and range of each channel.

        The range leaves out the outermost values, 1 in 1,000 at either end, so that a few hot
        pixels do not set it. Where no value is negative, no prediction is.
        """
        values = torch.cat([_sample(copies) for copies in images], dim=1)  # C x up to 2 SAMPLE
        ends = torch.tensor([0.001, 0.999], dtype=torch.float64, device=values.device)
        least, most = values.quantile(ends, dim=1)
        span = torch.where(most > least, most - least, values.amax(1) - values.amin(1))
        span = torch.where(span > 0, span, 1.0)
        zero = values.mean(dim=1) - span / 2  # the mean is 1/2, the network's mid-grey
        positive = all(_least(copies) >= 0 for copies in images)
        shape = (1, -1, 1, 1)
        low = 0.0 if positive else -math.inf
        return cls(zero.view(shape).float().cpu(), span.view(shape).float().cpu(), low, math.inf)

    def checked(self, channels: int) -> "Units":
        """The same; ValueError unless it is for images of so many channels."""
        shape = (1, channels, 1, 1)
        if self.zero.shape != shape or self.span.shape != shape or not self.low < self.high:
            raise ValueError(f"units for images of other than {channels} channels")
        return self

    def differ(self, other: "Units") -> bool:
        """Whether the other ones are so far from these that images are measured otherwise."""
        wider = other.span / self.span
        shift = (other.zero - self.zero).abs() / self.span
        similar = 1 / OTHER_UNITS < wider.min() and wider.max() < OTHER_UNITS
        return not similar or bool(shift.max() > OTHER_UNITS)

    @property
    def peak(self) -> float:
        """The range of values, of the widest channel: the peak of the PSNR."""
        return self.span.max().item()

    def to(self, device: torch.device) -> "Units":
        return Units(self.zero.to(device), self.span.to(device), self.low, self.high)

    def to_unit(self, images: Tensor) -> Tensor:
        """Images of any dtype, in their own units, to float32, about 0 to 1."""
        if images.dtype in WIDE:  # float32 would lose low digits beside a large `zero`
            return ((images.double() - self.zero) / self.span).float()
        return (images.to(torch.float32) - self.zero) / self.span

    def from_unit_(self, images: Tensor) -> Tensor:
        """The network's values in the images' own units, within the bounds; changes `images`."""
        return images.mul_(self.span).add_(self.zero).clamp_(self.low, self.high)


def _sample(images: Tensor) -> Tensor:
    """C x M, float64: about SAMPLE values of each channel, at random places."""
    n, channels, height, width = images.shape
    pixels = n * height * width
    if pixels <= SAMPLE:
        return images.transpose(0, 1).flatten(1).double()
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(pixels, (SAMPLE,), generator=generator).sort().values  # as in a file
    index = index.to(images.device)
    image, pixel = index // (height * width), index % (height * width)
    return images[image, :, pixel // width, pixel % width].T.double()


def _least(images: Tensor) -> float:
    """The least value; torch knows no such thing of its wider unsigned types."""
    return 0.0 if images.dtype in UNSIGNED else images.min().item()


# -------------------------------------------------------------------------------------------- data


def grid(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """(top, left) of the squares of a grid that covers an image."""
    return [(top, left) for top in range(0, height, size) for left in range(0, width, size)]


def tiles(images: Tensor, size: int) -> Tensor:
    """Cut N x C x H x W images into M x C x min(H, size) x min(W, size) tiles, or take them whole.

    Tiles do not overlap, since those held out of training must show no noise that is trained on;
    they are spread evenly, so that a strip of less than `size` pixels is left out.
    """
    height, width = images.shape[-2:]
    if height <= size and width <= size:
        return images
    return torch.cat([images[..., top:top + size, left:left + size]
                      for top, left in corners(height, width, size)])


def corners(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles of an image."""
    return [(top, left) for top in spread(height, size) for left in spread(width, size)]


def spread(length: int, size: int) -> list[int]:
    """Where pieces of `size` begin on a line, as many as fit beside each other, at least one."""
    count = max(1, length // size)
    free = max(0, length - count * size)
    return [index * size + (index + 1) * free // (count + 1) for index in range(count)]


def tile_side(shapes: list[tuple[int, int]], largest: int) -> int:
    """The side of tiles, from 3/4 of the largest up, that leaves out the fewest pixels.

    Args:
        shapes: (height, width) of each image.
        largest: side that is allowed, in pixels; the larger of equally good ones is taken.
    """

    def covered(side: int) -> int:
        return side**2 * sum((height // side) * (width // side) for height, width in shapes)

    return max(range(largest, largest * 3 // 4, -1), key=covered)


def turn(images: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Flips and rotations that treat all copies of a scene alike.

    Args:
        images: any number of N x C x H x W tensors of one dtype; scene i is entry i of each.
        generator: draws one of eight views per scene, of four, which keep the shape, if H != W.

    Returns:
        The same tensors, turned.
    """
    copies = torch.stack(images)  # T x N x C x H x W: one transform for all copies
    shape = (3, copies.shape[1], 1, 1, 1)
    coin = torch.rand(shape, generator=generator, device=copies.device, dtype=torch.float32) < 0.5
    copies = torch.where(coin[0], copies.flip(-1), copies)
    copies = torch.where(coin[1], copies.flip(-2), copies)
    if copies.shape[-1] == copies.shape[-2]:
        copies = torch.where(coin[2], copies.transpose(-1, -2), copies)
    return copies.unbind()


@dataclass(frozen=True)
class View:
    """One of the eight views of an image: transposed or not, and then flipped.

    Attributes:
        transposed: whether rows and columns change places.
        flips: the axes that are flipped after that: -2, -1, both or none.
        height, width: of the image itself.
    """

    transposed: bool
    flips: tuple[int, ...]
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the view."""
        return (self.width, self.height) if self.transposed else (self.height, self.width)

    def of(self, images: Tensor) -> Tensor:
        """The view of N x C x H x W images, or of boxes of them."""
        return self._transposed(images).flip(self.flips)

    def undone(self, views: Tensor) -> Tensor:
        """The images, or boxes, of which these are the views."""
        return self._transposed(views.flip(self.flips))

    def _transposed(self, images: Tensor) -> Tensor:
        return images.transpose(-1, -2) if self.transposed else images

    def place(self, top: int, bottom: int, left: int, right: int) -> tuple[slice, slice]:
        """The rows and columns of the image that show in a box of the view."""
        height, width = self.shape
        if -2 in self.flips:
            top, bottom = height - bottom, height - top
        if -1 in self.flips:
            left, right = width - right, width - left
        down, across = slice(top, bottom), slice(left, right)
        return (across, down) if self.transposed else (down, across)


def directions(a: Tensor, b: Tensor, clean: Tensor | None, swap: str,
               generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The swap augmentation: which copy of a pair is the source, and which the target.

    Args:
        a, b: N x C x H x W, the noisy copies.
        clean: takes the place of both targets; None: each copy is the target of the other.
        swap: "both": a to b and b to a; "pixels": the same after about half of the pixels, with
            all their channels, have changed places, so that few pairs give many; this needs noise
            that is independent between pixels; "random": a to b or b to a for each pair; "none": a
            to b.
        generator: draws what changes places.

    Returns:
        (source, target), both 2 N x C x H x W for "both" and "pixels", else N x C x H x W.
    """
    if swap in ("random", "pixels"):
        shape = (len(a), 1, *(a.shape[-2:] if swap == "pixels" else (1, 1)))
        coin = torch.rand(shape, generator=generator, device=a.device, dtype=torch.float32) < 0.5
        a, b = torch.where(coin, b, a), torch.where(coin, a, b)
    target_a, target_b = (b, a) if clean is None else (clean, clean)
    if swap in ("both", "pixels"):
        return torch.cat((a, b)), torch.cat((target_a, target_b))
    return a, target_a


@dataclass(frozen=True)
class Noise:
    """The noise of a copy, as the pairs tell it, in the network's values.

    Attributes:
        variance: the mean over all values: half the mean squared difference of the copies, whose
            noise is independent.
        curve: c0, c1, c2, 3 x 1 x C x 1 x 1: where an image has the value x, the variance is about
            c0 + c1 x + c2 x^2 (its photon transfer curve).
        darkest, brightest: 1 x C x 1 x 1, the values between which the curve was fitted.
        floor: a squared error that counts as none.
    """

    variance: Tensor
    curve: Tensor
    darkest: Tensor
    brightest: Tensor
    floor: Tensor

    @classmethod
    def of_pairs(cls, a: Tensor, b: Tensor, floor_share: float) -> "Noise":
        """Fit the curve to the means of small blocks, whose own noise hardly flattens it.

        Args:
            a, b: N x C x H x W copies, in the network's values.
            floor_share: the floor, as a share of the variance.

        Returns:
            What they tell.
        """
        squared = (a - b).square() / 2
        variance = squared.mean().clamp(min=NO_NOISE)
        block = tuple(min(CURVE_BLOCK, side) for side in a.shape[-2:])
        values, variances = (nn.functional.avg_pool2d(images, block).transpose(0, 1).flatten(1)
                             for images in ((a + b) / 2, squared))  # C x blocks
        ends = torch.tensor([0.01, 0.99], dtype=values.dtype, device=a.device)  # no hot pixels
        darkest, brightest = values.quantile(ends, dim=1, keepdim=True)  # C x 1
        inside = (values >= darkest) & (values <= brightest)
        shape = (1, -1, 1, 1)
        return cls(variance, parabola(values, variances, inside).view(3, *shape),
                   darkest.view(shape), brightest.view(shape), floor_share * variance)

    def variance_at(self, value: Tensor) -> Tensor:
        """The variance where N x C x H x W images have these values; never near zero."""
        c0, c1, c2 = self.curve
        x = value.clamp(self.darkest, self.brightest)
        return (c0 + x * (c1 + x * c2)).clamp(min=LEAST_VARIANCE * self.variance)


def parabola(x: Tensor, y: Tensor, used: Tensor) -> Tensor:
    """c0 + c1 x + c2 x^2 that fits y by least squares.

    Args:
        x, y: C x M.
        used: C x M, whether a value counts.

    Returns:
        3 x C: c0, c1 and c2 of each row.
    """
    x, y = x.double(), y.double()
    powers = torch.stack((torch.ones_like(x), x, x.square()), dim=-1) * used[..., None]  # C x M x 3
    normal = powers.mT @ powers
    normal.diagonal(dim1=1, dim2=2).add_(1e-9 * x.shape[1])  # of equal x it would be singular
    return torch.linalg.solve(normal, powers.mT @ y[..., None])[..., 0].T.float()


@dataclass
class Pairs:
    """Copies of some scenes, N x C x H x W each, in the dtype in which they came."""

    a: Tensor
    b: Tensor
    clean: Tensor | None  # targets of a comparison; Noise2Noise has none

    def __len__(self) -> int:
        return len(self.a)

    def at(self, index: Tensor) -> "Pairs":
        """Copies of some of the pairs."""
        clean = None if self.clean is None else self.clean[index]
        return Pairs(self.a[index], self.b[index], clean)

    def to_unit(self, units: Units) -> "Pairs":
        """The same in the network's values, float32."""
        clean = None if self.clean is None else units.to_unit(self.clean)
        return Pairs(units.to_unit(self.a), units.to_unit(self.b), clean)

    def augmented(self, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(source, target) of a step."""
        images = (self.a, self.b) if self.clean is None else (self.a, self.b, self.clean)
        a, b, *clean = turn(images, generator) if recipe.turns else images
        return directions(a, b, clean[0] if clean else None, recipe.swap, generator)


class Dataset:
    """The tiles to train on: all on the device or, if they are too many, a window at a time.

    Args:
        images: (a, b) or (a, b, clean), N x C x H x W each; they may be memory-mapped.
        tile: the largest side of a tile, in pixels.
        device: that trains.
        memory: bytes of tiles that may be held at once.

    Attributes:
        index: of the tiles that are trained on. Tile i is of image i % N, at corner i // N of it.
    """

    def __init__(self, images: tuple[Tensor, ...], tile: int, device: torch.device, memory: int):
        height, width = images[0].shape[-2:]
        if min(height, width) >= tile:
            tile = tile_side([(height, width)], tile)
        self.images = tuple(copies.detach() for copies in images)
        self.corners = corners(height, width, tile)
        self.tile = tile
        self.device = torch.empty(0, device=device).device  # numbered: a thread may have another
        count = len(images[0]) * len(self.corners)
        self.room = memory // sum(self._cut(copies[0], 0).nbytes for copies in images)  # tiles
        self.resident: Pairs | None = None
        if count <= self.room:
            self.resident = self._on_device([tiles(copies, tile) for copies in self.images])
        self.index = torch.arange(count, device="cpu" if self.resident is None else device)

    def __len__(self) -> int:
        return len(self.index)

    def identical(self) -> bool:
        """Whether there is no noise to learn from."""
        a, b = (copies.split(max(1, RUN // copies[0].nbytes)) for copies in self.images[:2])
        return all(torch.equal(some_a, some_b.to(some_a.device))
                   for some_a, some_b in zip(a, b, strict=True))

    def hold_out(self, about: int) -> Pairs | None:
        """Take about so many tiles, at most 1 in 20, out of training; None of fewer than 20."""
        if about == 0 or len(self) < 20:
            return None
        every = max(20, len(self) // about)
        held = torch.arange(len(self), device=self.index.device) % every == 0
        taken = self.index[held]
        self.index = self.index[~held]
        return self.at(taken)

    def noise(self, units: Units, floor: float) -> Noise:
        """The noise, as at most 1,000 tiles tell it; `floor` is a share of its variance."""
        some = self.at(self.index[::math.ceil(len(self) / 1_000)]).to_unit(units)
        return Noise.of_pairs(some.a, some.b, floor)

    def at(self, index: Tensor) -> Pairs:
        """Copies of some tiles; their indices ascend where not all tiles are held."""
        if self.resident is not None:
            return self.resident.at(index)
        corner, image = index // len(self.images[0]), index % len(self.images[0])
        numbers, counts = corner.unique_consecutive(return_counts=True)
        parts = list(zip(numbers.tolist(), image.split(counts.tolist()), strict=True))
        return self._on_device([
            torch.cat([self._cut(copies, number)[part] for number, part in parts])
            for copies in self.images])

    def shuffled(self, batch: int, seed: int, start: int = 0) -> Iterator[Pairs]:
        """All tiles in random order, `batch` at a time; the last batch may be smaller.

        Args:
            batch: tiles.
            seed: of the order.
            start: how many of the batches are left out.

        Returns:
            The batches.
        """
        generator = torch.Generator(self.index.device).manual_seed(seed)
        if self.resident is None:
            return self._shuffled_windows(batch, generator, start)
        order = torch.randperm(len(self), generator=generator, device=self.index.device)
        parts = order.split(batch)[start:]
        return (self.at(self.index[part]) for part in parts)

    def _shuffled_windows(self, batch: int, generator: torch.Generator, start: int
                          ) -> Iterator[Pairs]:
        """The same where not all fit: windows of random images, shuffled, each read in time.

        A third of the memory is for the window that is trained on, one for the next, and one for
        a copy while that is read. A GPU does not wait for it: a thread reads ahead. On a CPU such a
        thread would slow down all the steps.
        """
        windows = [(index, torch.randperm(len(index), generator=generator).split(batch))
                   for index in self._windows(batch, generator)]
        while windows and start >= len(windows[0][1]):  # whole windows that are left out
            start -= len(windows.pop(0)[1])
        if not windows:
            return
        reader = ThreadPoolExecutor(1)
        ahead = self.device.type == "cuda"

        def read(index: Tensor) -> Callable[[], Pairs]:
            return reader.submit(self.at, index).result if ahead else partial(self.at, index)

        try:
            coming = read(windows[0][0])
            for number, (_, parts) in enumerate(windows, 1):
                window = coming()
                if number < len(windows):
                    coming = read(windows[number][0])
                for part in parts[start:]:
                    yield window.at(part.to(self.device))
                start = 0
        finally:
            reader.shutdown(wait=False)

    def _windows(self, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The indices of the tiles of each window, ascending; all but the last are whole batches.

        Each window is twice the one before, from 1/32 of the largest, so that an epoch begins
        without a long wait. Images stay together in runs of about RUN bytes, since a disk reads
        those faster; a window of few runs mixes few images.
        """
        images = self.images[0]
        run = self.index % len(images) // max(1, RUN // images[0].nbytes)
        place = torch.randperm(int(run.max()) + 1, generator=generator)
        order = self.index[place[run].argsort(stable=True)]
        largest = max(1, self.room // 3 // batch) * batch
        size = max(1, largest // 32 // batch) * batch
        while len(order):
            yield order[:size].sort().values
            order = order[size:]
            size = min(2 * size, largest)

    def _cut(self, images: Tensor, corner: int) -> Tensor:
        """One of the tiles of each image."""
        top, left = self.corners[corner]
        return images[..., top:top + self.tile, left:left + self.tile]

    def _on_device(self, copies: list[Tensor]) -> Pairs:
        """(a, b) or (a, b, clean) as pairs on the device."""
        a, b, *clean = (some.to(self.device) for some in copies)
        return Pairs(a, b, clean[0] if clean else None)


# ------------------------------------------------------------------------------ losses and metrics


def log_loss(denoised: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """The mean over images i of log(floor + mse_i).

    The logarithm weights image i by 1 / mse_i, as the score does, which is an average of decibels:
    no image dominates. That weight depends on the noisy target, but on all of its pixels.
    """
    mse = (denoised - target).square().mean(dim=(1, 2, 3))  # N
    return (mse + noise.floor).log().mean()


def weighted_loss(denoised: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """`mse_loss` in which a pixel weighs 1 / the variance of its noise.

    Bright pixels of counts are noisier than dark ones, and tell less. The variance is taken where
    the network says what the pixel is, so the weight depends on the source alone.
    """
    weight = noise.variance / noise.variance_at(denoised.detach())
    return (weight * (denoised - target).square()).mean()


def mse_loss(denoised: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """The mean squared error, whose best answer is the mean of the noisy targets."""
    return (denoised - target).square().mean()


def l1_loss(denoised: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """The mean absolute error, whose best answer is the median: biased for skewed noise."""
    return (denoised - target).abs().mean()


# The names of Recipe.loss. A loss takes N x C x H x W, denoised and target, and what the pairs tell
# of their noise. By the identity at the top of this file the squared ones are as good against noisy
# targets as against clean ones.
LOSSES = {
    "log": log_loss,
    "weighted": weighted_loss,
    "mse": mse_loss,
    "l1": l1_loss,
}


def psnr(denoised: Tensor, clean: Tensor, peak: float = 255.0) -> float:
    """Mean over images of the peak signal-to-noise ratio, the course's score.

    Args:
        denoised, clean: N x C x H x W of one shape and one unit.
        peak: the range of the values, in that unit.

    Returns:
        dB, with 100 for an image without error.

    Raises:
        ValueError: the shapes differ.
    """
    if denoised.shape != clean.shape:
        raise ValueError(f"images of {tuple(denoised.shape)} and {tuple(clean.shape)}, expected "
                         "equal shapes")
    error = (denoised.double() - clean.to(denoised.device).double()) / peak
    mse = error.square().mean(dim=(1, 2, 3))  # N
    return -10 * mse.clamp(min=1e-10).log10().mean().item()


def estimate_psnr(denoised_a: Tensor, denoised_b: Tensor, a: Tensor, b: Tensor,
                  peak: float = 255.0) -> float:
    """PSNR of the mean error of all images (pooled), without clean ones, by the identity above.

    E|f(a) - x|^2 = E|f(a) - b|^2 - E|b - x|^2, and E|a - x|^2 + E|b - x|^2 = E|a - b|^2; averaged
    over both directions.

    Args:
        denoised_a, denoised_b, a, b: N x C x H x W of one shape and one unit.
        peak: the range of the values, in that unit.

    Returns:
        dB; infinite if the estimated error is not above zero, as it may be for few pixels.
    """
    f_a, f_b, a, b = (image.double() / peak for image in (denoised_a, denoised_b, a, b))
    both = (f_a - b).square().mean() + (f_b - a).square().mean() - (a - b).square().mean()
    mse = both.item() / 2
    return -10 * math.log10(mse) if mse > 0 else math.inf


# --------------------------------------------------------------------------------------- optimizer


class Muon(torch.optim.Optimizer):
    """Moves each matrix by its orthogonalised momentum: all its directions are learnt at one speed.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. The weights
    of a convolution are a matrix of R x C, R its first axis.

    Args:
        weights: tensors of two or more dimensions.
        momentum: share of the old momentum that a step keeps.
    """

    def __init__(self, weights: list[Tensor], momentum: float):
        shapes = dict.fromkeys(weight.shape for weight in weights)
        alike = [[weight for weight in weights if weight.shape == shape] for shape in shapes]
        defaults = {"lr": 0.0, "momentum": momentum}  # whoever steps sets lr, as `Optimizer` does
        super().__init__([{"params": group} for group in alike], defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # without a closure
        """Move all weights of each shape at once, at the group's rate `lr`."""
        for group in self.param_groups:
            weights, momentum = group["params"], group["momentum"]
            gradients = [self.gradient(weight) for weight in weights]
            gradient = torch.stack(gradients).flatten(2)  # B x R x C
            state = self.state[weights[0]]  # of the whole group
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
            ahead = gradient.lerp(average, momentum)  # Nesterov's
            direction = self.orthogonalised(ahead).view(-1, *weights[0].shape)
            torch._foreach_add_(weights, direction.unbind(), alpha=-group["lr"])

    @staticmethod
    def gradient(weight: Tensor) -> Tensor:
        """Zero for a weight that the loss does not depend on."""
        return torch.zeros_like(weight) if weight.grad is None else weight.grad

    @staticmethod
    def orthogonalised(x: Tensor) -> Tensor:
        """B x R x C matrices with their singular values brought from 0.01-1 to 0.7-1.2.

        Newton-Schulz: x <- p(x x^T) x five times, with Jordan's polynomial p. The products of p are
        R x R matrices; x itself, which is wider in most layers, comes last.
        """
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
        gram = x @ x.mT
        product = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        for _ in range(5):
            p = 2.0315 * gram @ gram - 4.7750 * gram
            p.diagonal(dim1=1, dim2=2).add_(3.4445)
            gram = p @ gram @ p
            product = p @ product
        return product @ x


class Optimizer:
    """The recipe's optimizer of a network; "muon" leaves vectors, such as biases, to Adam.

    Args:
        recipe: names the optimizer, and has Muon's momentum and the vectors' share of the rate.
        net: the network whose parameters it moves.
    """

    def __init__(self, recipe: Recipe, net: nn.Module):
        weights = list(net.parameters())
        self.matrices: list[Tensor] = [weight for weight in weights if weight.dim() > 1]
        vectors = [weight for weight in weights if weight.dim() <= 1]
        self.parts: list[tuple[torch.optim.Optimizer, float]] = []  # and shares of the rate
        if recipe.optimizer == "adam":
            self.parts.append((torch.optim.Adam(weights, fused=True), 1.0))
            return
        if self.matrices:
            self.parts.append((Muon(self.matrices, recipe.momentum), 1.0))
        if vectors:
            self.parts.append((torch.optim.Adam(vectors, fused=True), recipe.vector_rate))

    @torch.no_grad()
    def step(self, learning_rate: float, weight_decay: float = 0.0) -> None:
        """Move the weights by their gradients, and clear these.

        Args:
            learning_rate: of matrices; vectors have their share of it.
            weight_decay: times the rate is what matrices lose of themselves (decoupled decay,
                I. Loshchilov and F. Hutter, ICLR 2019).
        """
        if weight_decay and self.matrices:
            torch._foreach_mul_(self.matrices, 1 - learning_rate * weight_decay)
        for optimizer, share in self.parts:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * share
            optimizer.step()
            optimizer.zero_grad()

    def state(self) -> list[dict]:
        """What `restore` takes."""
        return [optimizer.state_dict() for optimizer, _ in self.parts]

    def restore(self, state: list[dict]) -> None:
        for (optimizer, _), saved in zip(self.parts, state, strict=True):
            optimizer.load_state_dict(saved)


# -------------------------------------------------------------------------- schedule and averaging


class Schedule:
    """Progress by steps or by time, whichever is ahead, and the learning rate that follows it.

    The rate is annealed linearly to zero, so every training ends annealed, whatever ends it. With
    (fewest, full) = `short_training`, one of s steps starts at sqrt(full / s) times the recipe's
    rate where s < full, at most that of s = fewest: it has to get far in few steps.

    The weight decay is the recipe's times the number of epochs, at most 1: of many epochs of few
    images a network learns the noise, of a single one it cannot.

    Args:
        recipe: has learning rate and weight decay, and what short trainings make of them.
        steps: after which the training ends.
        seconds: after which it ends, too; infinite for no limit.
        epoch: steps of an epoch.
        clock: seconds since some moment.
    """

    def __init__(self, recipe: Recipe, steps: int, seconds: float, epoch: int = 1,
                 clock: Callable[[], float] = time.monotonic):
        self.recipe = recipe
        self.steps = steps
        self.seconds = seconds
        self.epoch = epoch
        self.clock = clock
        self.began = clock()
        self.taken = 0  # steps
        self.progress = 0.0 if steps > 0 and seconds > 0 else 1.0  # from 0 to 1

    def advance(self) -> None:
        """Count a step."""
        self.taken += 1
        time_used = (self.clock() - self.began) / self.seconds
        self.progress = min(1.0, max(self.taken / self.steps, time_used))

    def state(self) -> dict:
        """What `restore` takes: steps and time that are used, and those that there are."""
        return {"steps": self.steps, "seconds": self.seconds, "taken": self.taken,
                "progress": self.progress, "used": self.clock() - self.began}

    def restore(self, state: dict) -> None:
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.taken, self.progress = state["taken"], state["progress"]
        self.began = self.clock() - state["used"]

    def learning_rate(self) -> float:
        """Of the next step."""
        fewest, full = self.recipe.short_training
        boost = (full / min(max(self.expected_steps(), fewest), full)) ** 0.5
        return self.recipe.learning_rate * boost * (1 - self.progress)

    def weight_decay(self) -> float:
        """Of the next step."""
        epochs = self.expected_steps() / self.epoch
        return min(1.0, self.recipe.weight_decay * epochs)

    def expected_steps(self) -> float:
        """Of the whole training, as far as that can be told by now: time may end it sooner."""
        if self.progress == 0:
            return self.steps
        return min(self.steps, self.taken / self.progress)


class WeightAverage:
    """Exponential moving average (EMA) of a student's weights, in the network that is kept.

    Args:
        net: holds the average.
        student: the network that takes the steps.
        decay: share of the average that a step keeps; less in the first steps, while it is young.
    """

    def __init__(self, net: nn.Module, student: nn.Module, decay: float):
        self.average = self.weights(net)
        self.current = self.weights(student)
        self.decay = decay
        self.good = [weight.clone() for weight in self.average]

    @staticmethod
    def weights(net: nn.Module) -> list[Tensor]:
        """Parameters and what a BatchNorm would count, as views of the network's own memory."""
        return [weight for weight in net.state_dict().values() if weight.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the student's weights after step number `step`, from 1 up."""
        decay = min(self.decay, step / (step + 10))
        torch._foreach_lerp_(self.average, self.current, 1 - decay)

    def is_finite(self) -> bool:
        return bool(torch.stack(torch._foreach_norm(self.average)).isfinite().all())

    def keep(self) -> None:
        """What `roll_back` returns to."""
        torch._foreach_copy_(self.good, self.average)

    def roll_back(self) -> None:
        torch._foreach_copy_(self.average, self.good)

    def restore(self, good: list[Tensor]) -> None:
        torch._foreach_copy_(self.good, [weight.to(self.good[0].device) for weight in good])


class DivergenceGuard:
    """Tells a squared error that rises far above its lowest level, whatever the loss is.

    Args:
        floor: squared error below which a rise means nothing.
        noise: squared error of doing nothing: the lowest level at the start.
    """

    def __init__(self, floor: Tensor, noise: Tensor):
        self.floor = floor
        self.noise = noise
        self.recent: deque[Tensor] = deque(maxlen=CHECK_EVERY)
        self.lowest = math.inf

    def add(self, mse: Tensor) -> None:
        """The squared error of a step."""
        if not self.recent:  # a first batch may be easier than the others
            self.lowest = max(self._nats(mse), self._nats(self.noise))
        self.recent.append(mse)

    def diverged(self) -> bool:
        """Whether it has; each call makes a GPU wait."""
        level = self._nats(torch.stack(tuple(self.recent)).mean())
        full = len(self.recent) == CHECK_EVERY
        rose = full and level > self.lowest + ERROR_RISE
        if rose or not math.isfinite(level):
            return True
        self.lowest = min(self.lowest, level)
        return False

    def _nats(self, mse: Tensor) -> float:
        return (mse + self.floor).log().item()

    def state(self) -> dict:
        """What `restore` takes."""
        return {"recent": list(self.recent), "lowest": self.lowest}

    def restore(self, state: dict) -> None:
        self.recent.extend(mse.to(self.noise.device) for mse in state["recent"])
        self.lowest = state["lowest"]


# ---------------------------------------------------------------------------------- log and memory


@dataclass(frozen=True)
class Score:
    """What measures the network after each epoch."""

    measure: Callable[[], float]  # dB
    kind: str  # "per image", "est.", or "none"
    noisy: float  # dB of the noisy images


class Log:
    """A row per epoch, in `history` and, unless it is silenced, on stdout.

    Args:
        score: measures the network.
        show: whether to print.
        started: when the training was called, by time.monotonic.
        after_epoch: gets each row, and may add to it.
    """

    def __init__(self, score: Score, show: bool, started: float,
                 after_epoch: Callable[[dict], None] | None):
        self.score = score
        self.show = show
        self.started = started
        self.after_epoch = after_epoch
        self.history: list[dict] = []
        self.total: Tensor | float = math.nan
        self.pairs = 0
        self.epoch_began = time.monotonic()
        if show:
            print("epoch      loss   PSNR in dB      pairs/s   elapsed      left", flush=True)

    def begin_epoch(self) -> None:
        self.total = 0.0
        self.pairs = 0
        self.epoch_began = time.monotonic()

    def add(self, loss: Tensor, pairs: int) -> None:
        """The loss of a step, and how many pairs it was of."""
        self.total += loss.detach() * pairs
        self.pairs += pairs

    def end_epoch(self, progress: float) -> None:
        """Measure, and add the row of an epoch, or of the state before the first one."""
        trained = self.pairs > 0
        loss = float(self.total) / self.pairs if trained else math.nan  # waits for a GPU
        seconds = time.monotonic() - self.epoch_began
        row = {
            "epoch": len(self.history),
            "loss": loss,
            "psnr": self.score.measure(),
            "kind": self.score.kind,
            "pairs": self.pairs,
            "pairs_per_second": self.pairs / seconds if trained else math.nan,
            "seconds": time.monotonic() - self.started,
        }
        if self.after_epoch:
            self.after_epoch(row)
        self.history.append(row)
        if self.show:
            print(self._text(row, progress), flush=True)

    def state(self) -> dict:
        """What `restore` takes: the rows, and what is known of the epoch that has begun."""
        now = time.monotonic()
        return {"history": self.history, "total": float(self.total), "pairs": self.pairs,
                "epoch": now - self.epoch_began, "elapsed": now - self.started}

    def restore(self, state: dict) -> None:
        now = time.monotonic()
        self.history[:] = state["history"]
        self.total, self.pairs = state["total"], state["pairs"]
        self.epoch_began, self.started = now - state["epoch"], now - state["elapsed"]
        if self.show:
            print(f"(goes on after {state['elapsed']:.0f} s)", flush=True)

    @staticmethod
    def _text(row: dict, progress: float) -> str:
        elapsed = row["seconds"]
        left = elapsed / progress - elapsed if progress else math.nan
        cells = (
            f"{row['epoch']:5}",
            or_dash(row["loss"], width=9, digits=4),
            or_dash(row["psnr"], width=7, digits=2),
            f"{row['kind']:9}",
            or_dash(row["pairs_per_second"], width=9, digits=0),
            or_dash(elapsed, width=7, digits=0) + " s",
            or_dash(left, width=7, digits=0) + " s",
        )
        return " ".join(cells)


def or_dash(number: float, width: int, digits: int) -> str:
    """The number as a text, "-" for none (NaN)."""
    text = "-" if math.isnan(number) else f"{number:.{digits}f}"
    return text.rjust(width)


def keep_freed_memory() -> None:
    """Have glibc keep up to 64 MiB of freed memory, for the next step or the next images.

    Without it each of them gets its memory anew from the system, page by page. Once a block just
    below 32 MiB has been freed, glibc keeps blocks of that size, and twice as much in all (mallopt,
    M_MMAP_THRESHOLD); the block is never touched, so this costs nothing.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8, device="cpu")


# --------------------------------------------------------------------------------------- processes


class Processes:
    """The processes that train one network together: a single one, unless `dist` connects more.

    All hold the same weights and draw the same batches. Each works on its slice of a batch, and
    sums over all of them make each step the same everywhere.

    Attributes:
        count: of processes.
        rank: of this one, from 0 up.
    """

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized()  # some builds of PyTorch lack it
        self.count = dist.get_world_size() if several else 1
        self.rank = dist.get_rank() if several else 0

    def check(self, settings: dict, pairs: int) -> None:
        """ValueError unless all have the same settings, and each a pair to work on."""
        everywhere: list[Any] = [settings] * self.count
        if self.count > 1:
            with others_needed():
                dist.all_gather_object(everywhere, settings)
        differing = [name for name, value in settings.items()
                     if any(others[name] != value for others in everywhere)]
        if differing:
            raise ValueError(f"the {self.count} processes differ in {', '.join(differing)}; start "
                             "all by the same command on the same files")
        if pairs < self.count:
            raise ValueError(f"{pairs} pairs are too few for {self.count} processes; start fewer")

    def own_part(self, batch: Tensor) -> Tensor:
        """The part of a batch that this process works on, which may be empty."""
        return batch.tensor_split(self.count)[self.rank]

    def add_up(self, tensors: list[Tensor]) -> None:
        """Put the sum over all processes in the place of each tensor."""
        if self.count == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        self._all_reduce(together)
        sums = together.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view_as(tensor))

    def take_first(self, tensors: list[Tensor]) -> None:
        """Put those of process 0 in the place of all."""
        if self.rank > 0:
            torch._foreach_zero_(tensors)  # the sum of those and of zeros
        self.add_up(tensors)

    def agree(self, number: float, stop: bool) -> tuple[float, bool]:
        """The number of process 0, and whether any process wants to stop."""
        if self.count == 1:
            return number, stop
        said = torch.tensor([0.0 if self.rank else number, float(stop)], dtype=torch.float64)
        self._all_reduce(said)
        return said[0].item(), said[1].item() > 0

    @staticmethod
    def _all_reduce(tensor: Tensor) -> None:
        with others_needed():
            dist.all_reduce(tensor)


@contextmanager
def others_needed() -> Iterator[None]:
    """Work that all processes do together; ConnectionError if one of them is gone."""
    try:
        yield
    except RuntimeError as error:  # as `dist` says it
        text = str(error).splitlines()[0]
        raise ConnectionError(f"the processes of this training lost each other ({text}); start all "
                              "of them again, and resume from the checkpoint") from error


# ------------------------------------------------------------------- a training and its checkpoint


class Run:
    """A training on its way: all that changes in it, so that it can be left and taken up again.

    Args:
        net: holds the average of the weights.
        noise: of the pairs.
        schedule: of the training, at its beginning, as log and generator.
        log: has the history.
        generator: of the order of the pairs and of augmentation.
        processes: the processes that train together.
        stop: asked after each step whether to leave off.
    """

    def __init__(self, net: UNet, noise: Noise, schedule: Schedule, log: Log,
                 generator: torch.Generator, processes: Processes, stop: Callable[[], bool]):
        self.recipe = schedule.recipe
        self.noise = noise
        self.schedule = schedule
        self.log = log
        self.generator = generator
        self.processes = processes
        self.stop = stop
        processes.take_first(WeightAverage.weights(net))
        self.student = copy.deepcopy(net).requires_grad_(True).train()  # takes the steps
        self.average = WeightAverage(net, self.student, self.recipe.ema)  # is what we keep
        self.optimizer = Optimizer(self.recipe, self.student)
        self.guard = DivergenceGuard(noise.floor, 2 * noise.variance)
        self.order_seed = 0  # of this epoch's pairs
        self.batches_done = 0  # of this epoch
        self.passes = 1  # in which a batch is taken
        self.stopped = False

    @property
    def ended(self) -> bool:
        return self.schedule.progress == 1

    def batches(self, dataset: Dataset) -> Iterator[Pairs]:
        """Those of an epoch or, after `restore`, what is left of it."""
        if self.batches_done == 0:
            self.order_seed = self._drawn_seed()
            self.log.begin_epoch()
        for batch in dataset.shuffled(self.recipe.batch, self.order_seed, self.batches_done):
            self.batches_done += 1
            yield batch
            if self.stopped:
                return
            if self.ended:
                break
        self.batches_done = 0

    def _drawn_seed(self) -> int:
        device = self.generator.device
        return int(torch.randint(2**62, (), generator=self.generator, device=device))

    def step(self, loss: Tensor, mse: Tensor, pairs: int) -> bool:
        """Move the weights by their gradients, and count; False if the training has diverged.

        Args:
            loss, mse: of the batch.
            pairs: how many are in it.
        """
        schedule = self.schedule
        self.optimizer.step(schedule.learning_rate(), schedule.weight_decay())
        schedule.advance()
        schedule.progress, stop = self.processes.agree(schedule.progress, self.stop())
        self.stopped = stop and not self.ended
        self.average.update(schedule.taken)
        self.log.add(loss, pairs)
        self.guard.add(mse)
        if schedule.taken % CHECK_EVERY and not self.ended:
            return True
        if self.guard.diverged() or not self.average.is_finite():
            self.average.roll_back()
            return False
        self.average.keep()
        return True

    def add_up_gradients(self, *values: Tensor) -> None:
        """Put sums over all processes in the place of the gradients, and of other values."""
        if self.processes.count == 1:
            return
        weights = list(self.student.parameters())
        gradients = [Muon.gradient(weight) for weight in weights]
        self.processes.add_up([*values, *gradients])
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient

    def state(self) -> dict:
        """All of it but the averaged weights, in types that `torch.load` allows."""
        return {
            "student": self.student.state_dict(),
            "good": self.average.good,
            "optimizer": self.optimizer.state(),
            "schedule": self.schedule.state(),
            "guard": self.guard.state(),
            "log": self.log.state(),
            "device": self.generator.device.type,
            "generator": self.generator.get_state(),
            "order_seed": self.order_seed,
            "batches_done": self.batches_done,
            "passes": self.passes,
        }

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken; on another kind of device, with other draws."""
        self.student.load_state_dict(state["student"])
        self.average.restore(state["good"])
        self.optimizer.restore(state["optimizer"])
        self.schedule.restore(state["schedule"])
        self.guard.restore(state["guard"])
        self.log.restore(state["log"])
        if state["device"] == self.generator.device.type:
            self.generator.set_state(state["generator"])
        else:
            self.generator.manual_seed(state["order_seed"])
        self.order_seed, self.batches_done = state["order_seed"], state["batches_done"]
        self.passes = state["passes"]


class Checkpoint:
    """The file of a training on its way, from which `Model.train` can go on.

    It is written whole or not at all. A disk that is full or gone is said, and ends nothing.

    Args:
        path: None for no file.
        content: gives recipe, units and averaged weights, as `Model.content` does.
        settings: what has to be the same when the training goes on.
        resumed: the file that it goes on from.
    """

    def __init__(self, path: str | os.PathLike | None, content: Callable[[], dict], settings: dict,
                 resumed: str | os.PathLike | None):
        self.path = None if path is None else Path(path)
        self.content = content
        self.settings = settings
        self.owned = (self.path is not None and resumed is not None  # no older file lies there
                      and self.path.resolve() == Path(resumed).resolve())
        self.written = time.monotonic()  # when
        self.took = 0.0  # seconds
        self.failed = False

    def after_step(self, run: Run) -> None:
        """Write it once a minute."""
        if time.monotonic() - self.written > WRITE_EVERY:
            self.write(run)

    def after_epoch(self, run: Run) -> None:
        """Write it, unless short epochs would spend more than 1 % of the time on that."""
        if run.ended or time.monotonic() - self.written > 100 * self.took:
            self.write(run)

    def at_stop(self, run: Run) -> None:
        """Write it, but not over another file, which is worth more than a minute of training."""
        if self.path and (self.owned or not self.path.exists()):
            self.write(run)

    def write(self, run: Run) -> None:
        """Write it now; what has ended leaves the weights only."""
        if self.path is None or run.processes.rank > 0:
            return
        began = time.monotonic()
        content = self.content()
        if not run.ended:
            content["training"] = {"format": FORMAT, "settings": self.settings} | run.state()
        try:
            write_content(self.path, content)
            self.owned = True
            self.failed = False
        except OSError as error:
            if not self.failed:
                warn(f"epoch {run.log.history[-1]['epoch']}: checkpoint not written, the training "
                     f"goes on: {error}")
            self.failed = True
        self.written = time.monotonic()
        self.took = self.written - began


def write_content(path: str | os.PathLike, content: dict) -> None:
    """Write a file for `torch.load`, by a temporary one beside it; OSError if it cannot be."""
    buffer = io.BytesIO()  # torch.save to a full disk raises RuntimeError, writing OSError
    torch.save(content, buffer)
    temporary = Path(f"{os.fspath(path)}.tmp")  # same folder: the move is atomic
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fingerprint(images: Iterable[Tensor]) -> str:
    """Tells data sets apart: by shapes, types, and some of the pixels of some of the images."""
    digest = hashlib.sha256()
    for copies in images:
        count, _, height, width = copies.shape
        some = copies[::math.ceil(count / 64), :, ::math.ceil(height / 128),
                      ::math.ceil(width / 128)].detach().cpu().contiguous()
        digest.update(f"{copies.dtype} {tuple(copies.shape)}".encode())
        digest.update(ctypes.string_at(some.data_ptr(), some.nbytes))
    return digest.hexdigest()[:16]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or here; torch has no class of its own for the latter."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)


# ------------------------------------------------------------------------------------------ checks


def as_integer(value: object) -> int | None:
    """An integer of any kind, Python's, NumPy's or PyTorch's, as Python's; None for all else."""
    if isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def warn(message: str) -> None:
    """Warn as of the first line outside this file, and outside PyTorch's decorators, below it."""
    level = 1
    frame = sys._getframe(0)
    inside = (__file__, torch.utils._contextlib.__file__)
    while frame.f_back is not None and frame.f_code.co_filename in inside:
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)


def check_recipe(recipe: Recipe) -> None:
    """Give each field Python's own type, in the place of NumPy's or PyTorch's.

    Raises:
        ValueError: a field has an impossible value; names field, value and what is allowed.
    """
    _check_integer(recipe, "channels", least=1)
    _check_integer(recipe, "blocks", least=0)
    _check_integer(recipe, "tile", least=1)
    _check_integer(recipe, "batch", least=1)
    _check_integer(recipe, "held_out", least=0)
    _check_integers(recipe, "widths")
    _check_integers(recipe, "short_training")
    steps = recipe.short_training
    ordered = len(steps) == 2 and steps[0] <= steps[1]
    _require(recipe, "short_training", ordered, "two numbers of steps, the lower one first")
    _check_choice(recipe, "swap", SWAPS)
    _check_choice(recipe, "loss", LOSSES)
    _check_choice(recipe, "optimizer", OPTIMIZERS)
    _check_choice(recipe, "precision", PRECISIONS)
    _require(recipe, "turns", isinstance(recipe.turns, bool), "True or False")
    for name in ("loss_floor", "learning_rate", "vector_rate"):
        _check_number(recipe, name, lambda value: 0 < value < math.inf, "a number above 0")
    allowed = "a number from 0 to below infinity"
    _check_number(recipe, "weight_decay", lambda value: 0 <= value < math.inf, allowed)
    for name in ("momentum", "ema"):
        _check_number(recipe, name, lambda value: 0 <= value < 1, "a number from 0 to below 1")
    _check_range(recipe, "value_range")


def _require(recipe: Recipe, name: str, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"Recipe.{name} is {getattr(recipe, name)!r}, expected {expected}")


def _set(recipe: Recipe, name: str, value: Any) -> None:
    object.__setattr__(recipe, name, value)  # as dataclasses themselves do it where they are frozen


def _check_choice(recipe: Recipe, name: str, allowed: Collection[str]) -> None:
    value = getattr(recipe, name)
    valid = isinstance(value, str) and value in allowed
    _require(recipe, name, valid, " or ".join(map(repr, allowed)))
    _set(recipe, name, str(value))


def _check_integer(recipe: Recipe, name: str, least: int) -> None:
    number = as_integer(getattr(recipe, name))
    valid = number is not None and number >= least
    _require(recipe, name, valid, f"an integer of {least} or more")
    _set(recipe, name, number)


def _check_integers(recipe: Recipe, name: str) -> None:
    values = getattr(recipe, name)
    valid = isinstance(values, tuple | list) and len(values) > 0
    numbers = tuple(map(as_integer, values)) if valid else ()
    valid = valid and all(number is not None and number > 0 for number in numbers)
    _require(recipe, name, valid, "a tuple of one or more integers above 0")
    _set(recipe, name, numbers)


def _check_number(recipe: Recipe, name: str, allowed: Callable[[float], bool], expected: str
                  ) -> None:
    value = getattr(recipe, name)
    number = isinstance(value, Real) and not isinstance(value, bool)
    _require(recipe, name, number and allowed(value), expected)
    _set(recipe, name, float(value))


def _check_range(recipe: Recipe, name: str) -> None:
    ends = getattr(recipe, name)
    if ends is None:
        return
    valid = isinstance(ends, tuple | list) and len(ends) == 2
    valid = valid and all(isinstance(end, Real) and not isinstance(end, bool)
                          and math.isfinite(end) for end in ends)
    valid = valid and ends[0] < ends[1]
    _require(recipe, name, valid, "two numbers, the lower one first, or None")
    _set(recipe, name, (float(ends[0]), float(ends[1])))


def check_images(named: dict[str, Tensor], channels: int,
                 value_range: tuple[float, float] | None) -> None:
    """Raise unless all are N x channels x H x W, alike, not empty, finite, and within the range.

    Raises:
        TypeError: one is no tensor of real numbers.
        ValueError: shape or values are others.
    """
    for name, images in named.items():
        _check_shape(name, images, channels)
        _check_values(name, images, value_range)
    shapes = [tuple(images.shape) for images in named.values()]
    if len(set(shapes)) > 1:
        raise ValueError(f"{' and '.join(named)} are {shapes}, expected equal shapes: copies of "
                         "the same scenes")


UNSIGNED = (torch.uint8, torch.uint16, torch.uint32)
WIDE = (torch.uint32, torch.int32, torch.int64, torch.float64)
DTYPES = (*UNSIGNED, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
          torch.bfloat16, torch.float32, torch.float64)


def _check_shape(name: str, images: Tensor, channels: int) -> None:
    if not isinstance(images, Tensor) or images.dtype not in DTYPES:
        raise TypeError(f"{name} is a {type(images).__name__} of dtype "
                        f"{getattr(images, 'dtype', None)}, expected a torch.Tensor of an "
                        "integer or float type; use torch.as_tensor")
    if images.dim() != 4 or images.shape[1] != channels or images.numel() == 0:
        shape = " x ".join(map(str, images.shape)) or "a scalar"
        raise ValueError(f"{name} is {shape}, expected N x {channels} x H x W, none of them 0; use "
                         "[None] for one image, [:, None] for a stack of grey ones, "
                         "Recipe(channels=...) for other channels")


def _check_values(name: str, images: Tensor, value_range: tuple[float, float] | None) -> None:
    if value_range is None and not images.is_floating_point():
        return
    least, most = value_range or (-math.inf, math.inf)
    if images.dtype == torch.uint8 and least <= 0 and most >= 255:
        return
    low, high = extrema(images)
    if not (abs(low) < math.inf and abs(high) < math.inf):  # also if any value is NaN
        raise ValueError(f"{name} has values from {low:g} to {high:g}, expected no NaN or "
                         "infinity; leave such images out")
    if value_range is None:
        return
    values = f"{name} has values from {low:g} to {high:g}, expected {least:g} to {most:g}"
    if low < least or high > most:
        raise ValueError(f"{values}; shift and scale all alike, or use Recipe(value_range=None)")
    if images.is_floating_point() and least == 0 and 0 < high <= 1 < most:
        warn(f"{values}; if it is scaled to [0, 1], multiply it by {most:g}")


def extrema(images: Tensor) -> tuple[float, float]:
    """The least and the largest value, NaN if there is one, in little memory."""
    ends = []
    for some in images.split(max(1, SAMPLE // images[0].numel())):
        for rows in some.split(max(1, SAMPLE // some[..., :1, :].numel()), dim=-2):
            if rows.dtype in UNSIGNED:  # of which torch knows no extrema
                rows = rows.to(torch.int64)
            ends += [rows.min(), rows.max()]
    together = torch.stack(ends)
    return together.min().item(), together.max().item()


def check_validation(validation: tuple[Tensor, Tensor] | None, channels: int,
                     value_range: tuple[float, float] | None) -> None:
    """Raise TypeError unless it is two tensors or None, and what `check_images` raises of these."""
    if validation is None:
        return
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise TypeError(f"validation is a {type(validation).__name__}, expected a tuple of two "
                        "tensors: (noisy, clean)")
    named = {"validation[0]": validation[0], "validation[1]": validation[1]}
    check_images(named, channels, value_range)


def check_count(name: str, value: object, least: int = 0) -> int:
    """An integer of any kind, of at least `least`, as Python's.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less.
    """
    number = as_integer(value)
    if number is None:
        raise TypeError(f"{name} is {value!r}, expected an integer of {least} or more")
    if number < least:
        raise ValueError(f"{name} is {number}, expected an integer of {least} or more")
    return number


def check_limit(time_limit: float | str | None, device: torch.device) -> float:
    """Seconds, infinite for None.

    Raises:
        ValueError: it is neither "course", None nor a number above 0.
    """
    if time_limit is None:
        return math.inf
    if time_limit == "course":
        return COURSE_LIMIT[device.type]
    if not isinstance(time_limit, Real) or not time_limit > 0:
        raise ValueError(f"time_limit is {time_limit!r}, expected seconds above 0, 'course', or "
                         "None for no limit")
    return float(time_limit)


def check_folder(checkpoint: str | os.PathLike | None) -> None:
    """Raise OSError if there is no writable folder for the file."""
    if checkpoint is not None and not os.access(Path(checkpoint).parent, os.W_OK):
        raise OSError(f"checkpoint {checkpoint} cannot be written: its folder is missing or "
                      "read-only")


# ------------------------------------------------------------------------------------------- Model


class Model:
    """The denoiser, on the GPU if there is one.

    No method changes PyTorch's global state (generators, default dtype, cudnn flags, threads, grad
    mode) or needs a grad mode. Initial weights follow torch.manual_seed.

    Args:
        recipe: how it is built and trained; by default `Recipe()`.

    Attributes:
        recipe: the same, or that of the weights that were loaded.
        units: those of the images. Where the recipe has none, the first `train` takes them from
            its pairs; they are saved, loaded and kept with the weights.
        stopped: whether `stop` ended the last `train`.
        noisy_psnr: of the last `train`: dB of its noisy images, to compare `history` with.
        history: of the last `train`: a dictionary per epoch, from 0, the state before it.
    """

    @torch.inference_mode(False)  # in which weights could not be trained
    def __init__(self, recipe: Recipe | None = None):
        if not isinstance(recipe, Recipe | None):
            raise TypeError(f"recipe is a {type(recipe).__name__}, expected a Recipe")
        self.recipe = Recipe() if recipe is None else recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.history: list[dict] = []
        self.stopped = False
        self.noisy_psnr = math.nan
        self.units: Units | None = None
        if self.recipe.value_range is not None:
            self.units = Units.of_range(*self.recipe.value_range, self.recipe.channels)
        with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
            net = UNet(self.recipe.channels, self.recipe.widths, self.recipe.blocks)
        net = net.to(self.device, torch.float32, memory_format=torch.channels_last)  # type: ignore
        self.net = net.requires_grad_(False).eval()

    @torch.inference_mode(False)  # which turns gradients on, even under torch.no_grad
    def train(self, noisy_a: Tensor, noisy_b: Tensor, num_epochs: int, *,
              validation: tuple[Tensor, Tensor] | None = None,
              time_limit: float | str | None = "course", seed: int = 0, progress: bool = True,
              checkpoint: str | os.PathLike | None = None,
              resume: str | os.PathLike | None = None, stop: Callable[[], bool] = lambda: False,
              after_epoch: Callable[[dict], None] | None = None, memory: int = MEMORY,
              clean: Tensor | None = None) -> None:
        """Train on pairs, from the weights that it has.

        It ends with the averaged weights, after Ctrl-C with those so far. If it diverges, it warns
        and ends with the last good ones. Where `torch.distributed` connects several processes, all
        of them call it alike and train one network: each takes its share of every batch. On GPUs
        this takes the backend "cpu:gloo,cuda:nccl", and `torch.cuda.set_device` in each process.

        Args:
            noisy_a, noisy_b: N x C x H x W, of an integer or float type, values 0-255 or as the
                recipe says: two copies of each scene with independent noise of mean zero. Images
                above `tile` pixels are cut into tiles. They may be memory-mapped.
            num_epochs: passes over the pairs, from 0.
            validation: (noisy, clean) for the PSNR of each epoch (per image, no self-ensemble);
                without it, it is estimated on pairs held out of training (pooled, "est.").
            time_limit: seconds, at whose end the learning rate reaches zero; None: no limit;
                "course": 9 minutes on a GPU, 42 on a CPU.
            seed: of shuffling and augmentation.
            progress: whether to print a row per epoch.
            checkpoint: a file that is written each minute, and after epochs that are not much
                shorter, as `save` writes it; until the training has come to its end it also holds
                what `resume` needs.
            resume: such a file, to go on from. All else is to be as it was; the time that was used
                counts. On a CPU, the weights become those of a training in one go, to the bit.
            stop: asked after each step; True ends the training there, with a checkpoint.
            after_epoch: called with each row of `history` before it is printed, and with the
                weights of that epoch in the model; it may add to the row.
            memory: bytes of pairs to hold at once; of more, random parts are read in turn.
            clean: N x C x H x W, targets in the place of the noisy ones: for a comparison only.

        Raises:
            TypeError: a tensor or an integer was expected.
            ValueError: a shape, a value or a limit is not as above, or `resume` is of another
                training.
            OSError: the checkpoint's folder is missing or read-only, or there is no `resume`.
            ConnectionError: another process of this training has ended.
        """
        started = time.monotonic()
        images = (noisy_a, noisy_b) if clean is None else (noisy_a, noisy_b, clean)
        settings = self._settings(images, validation, num_epochs, time_limit, seed, memory)
        check_folder(checkpoint)
        keep_freed_memory()
        state = None if resume is None else self._take_up(Path(resume), settings)
        if self.recipe.value_range is None and state is None:
            self._take_units(noisy_a, noisy_b)
        dataset = Dataset(images, self.recipe.tile, self.device, settings["memory"])
        processes = Processes()
        log = self._new_log(self._score(dataset, validation), progress, started, after_epoch,
                            processes)
        run = self._new_run(dataset, settings, log, processes, stop, state)
        self._fit(dataset, run, Checkpoint(checkpoint, self.content, settings, resume))
        self.stopped = run.stopped
        if run.ended and clean is None and len(self.history) > 1:
            self._warn_if_worse()

    def _settings(self, images: tuple[Tensor, ...], validation: tuple[Tensor, Tensor] | None,
                  num_epochs: int, time_limit: float | str | None, seed: int, memory: int) -> dict:
        """What `train` was told, checked, by name: what has to be the same when it goes on."""
        named = dict(zip(("noisy_a", "noisy_b", "clean"), images, strict=False))
        check_images(named, self.recipe.channels, self.recipe.value_range)
        check_validation(validation, self.recipe.channels, self.recipe.value_range)
        check_limit(time_limit, self.device)
        return asdict(self.recipe) | {
            "num_epochs": check_count("num_epochs", num_epochs),
            "seed": check_count("seed", seed),
            "time_limit": time_limit,
            "memory": check_count("memory", memory, least=1),
            "images": fingerprint(images),
            "validation": fingerprint(validation or ()),
        }

    def _new_log(self, score: Score, show: bool, started: float,
                 after_epoch: Callable[[dict], None] | None, processes: Processes) -> Log:
        """The rows of a training; of several processes, the first one measures and prints them."""
        self.noisy_psnr = score.noisy
        if processes.rank > 0:
            score, show, after_epoch = replace(score, measure=lambda: math.nan), False, None
        log = Log(score, show, started, after_epoch)
        self.history = log.history
        return log

    def _new_run(self, dataset: Dataset, settings: dict, log: Log, processes: Processes,
                 stop: Callable[[], bool], state: dict | None) -> Run:
        """A training at its beginning or, with the state of a checkpoint, where that was taken."""
        taken = state["schedule"]["taken"] if state else 0
        processes.check(settings | {"resume": taken}, len(dataset))
        limit = check_limit(settings["time_limit"], self.device)
        left = math.inf if state else processes.agree(self._seconds_left(log, limit), False)[0]
        epoch = math.ceil(len(dataset) / self.recipe.batch)
        schedule = Schedule(self.recipe, settings["num_epochs"] * epoch, left, epoch)
        if schedule.steps and left <= 0:
            warn(f"{limit:g} s are too short for a single step: nothing was trained")
        noise = dataset.noise(self._units().to(self.device), self.recipe.loss_floor)
        generator = torch.Generator(self.device).manual_seed(settings["seed"])
        run = Run(self.net, noise, schedule, log, generator, processes, stop)
        if state:
            run.restore(state)
        return run

    @staticmethod
    def _seconds_left(log: Log, limit: float) -> float:
        """What is left of a time limit, once the state before the first epoch is measured."""
        before = time.monotonic()
        log.end_epoch(0)
        measuring = time.monotonic() - before
        end = log.started + LIMIT_SHARE * limit - 2 * measuring  # the last row fits in
        return end - time.monotonic()

    def _take_up(self, path: Path, settings: dict) -> dict:
        """The training that a checkpoint holds, with its weights and units.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no training to go on with, or one with other settings.
        """
        loaded, content = read_model(path)
        training = content.get("training")
        if training is None:
            raise ValueError(f"{path} holds no training on its way: it came to its end, or was "
                             "written by Model.save; start another one from its weights")
        if training["format"] != FORMAT:
            raise ValueError(f"{path} holds a training of format {training['format']}, expected "
                             f"{FORMAT}; go on with the version that wrote it, or train anew")
        other = [f"{name} {value!r}, now {settings.get(name)!r}"
                 for name, value in training["settings"].items() if value != settings.get(name)]
        if other:
            raise ValueError(f"{path} is of another training: {', '.join(other)}; give the same "
                             "images and settings, or train anew")
        self.net, self.units = loaded.net, loaded.units
        return training

    def _take_units(self, noisy_a: Tensor, noisy_b: Tensor) -> None:
        """The units of the pairs or, if there are some already, a warning where they are others."""
        found = Units.of_images(noisy_a, noisy_b)
        if self.units is None:
            self.units = found
            return
        if self.units.differ(found):
            warn(f"the pairs have a range of {found.peak:g}, those that the weights were trained "
                 f"on {self.units.peak:g}; convert them to the same units, or train a new model")

    def _score(self, dataset: Dataset, validation: tuple[Tensor, Tensor] | None) -> Score:
        """What measures an epoch; it may hold pairs out of training."""
        if validation is not None:
            noisy, clean = validation
            before = psnr(noisy, clean, self._units().peak)
            return Score(partial(self._psnr, noisy, clean), "per image", before)
        held = dataset.hold_out(self.recipe.held_out)
        if held is None:
            return Score(lambda: math.nan, "none", math.nan)
        before = estimate_psnr(held.a, held.b, held.a, held.b, self._units().peak)
        return Score(partial(self._estimated_psnr, held), "est.", before)

    def _warn_if_worse(self) -> None:
        after = self.history[-1]["psnr"]
        if after < self.noisy_psnr - WORSE and self.noisy_psnr < math.inf:
            warn(f"the training made the images worse: {after:.2f} dB, where the noisy ones have "
                 f"{self.noisy_psnr:.2f}; is the noise of the copies independent, and are there "
                 "enough pairs?")

    def _psnr(self, noisy: Tensor, clean: Tensor) -> float:
        denoised = self._denoised(noisy, self_ensemble=False)
        return psnr(denoised, clean, self._units().peak)

    def _estimated_psnr(self, held: Pairs) -> float:
        denoised_a = self._denoised(held.a, self_ensemble=False)
        denoised_b = self._denoised(held.b, self_ensemble=False)
        return estimate_psnr(denoised_a, denoised_b, held.a, held.b, self._units().peak)

    def _units(self) -> Units:
        if self.units is None:
            raise ValueError("the model knows no units yet: train it, load weights, or give "
                             "Recipe.value_range")
        return self.units

    def _fit(self, dataset: Dataset, run: Run, checkpoint: Checkpoint) -> None:
        """The training itself."""
        if dataset.identical():
            warn("noisy_a and noisy_b are identical, expected copies with independent noise")
        units = self._units().to(self.device)
        while not run.ended:  # an epoch
            for batch in run.batches(dataset):
                source, target = batch.to_unit(units).augmented(self.recipe, run.generator)
                loss, mse = self._backward(run, source, target)
                if not run.step(loss, mse, len(batch)):
                    self._end_diverged(run, checkpoint)
                    return
                checkpoint.after_step(run)
            if run.stopped:
                checkpoint.at_stop(run)
                return
            run.log.end_epoch(run.schedule.progress)
            checkpoint.after_epoch(run)

    def _backward(self, run: Run, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(loss, squared error) of a batch, whose gradients the student gets, in all processes.

        If memory runs out, this step and the next ones take the batch in twice as many passes.
        """
        own = run.processes.own_part(source), run.processes.own_part(target)
        while True:
            try:
                loss, mse = self._in_passes(run, *own, len(source))
            except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
                if not is_out_of_memory(error) or run.passes >= len(own[0]):
                    raise
            else:
                run.add_up_gradients(loss, mse)
                return loss, mse
            if run.passes == 1:
                warn(f"out of memory for a batch of {self.recipe.batch} pairs: it is taken in "
                     "several passes, with the same result")
            run.passes *= 2
            run.student.zero_grad()

    def _in_passes(self, run: Run, own_source: Tensor, own_target: Tensor, batch: int
                   ) -> tuple[Tensor, Tensor]:
        """Add the gradients of this process's part of a batch to the student's.

        Args:
            run: has the student, and the number of passes.
            own_source, own_target: the part, which may be empty.
            batch: images of the whole batch, of which losses are means.

        Returns:
            (loss, squared error), the part's share of the batch's.
        """
        loss_sum = torch.zeros((), device=self.device)
        mse_sum = torch.zeros((), device=self.device)
        parts = zip(own_source.tensor_split(run.passes), own_target.tensor_split(run.passes),
                    strict=True)
        for source, target in parts:
            share = len(source) / batch
            if share > 0:
                denoised = self._forward(run.student, source)
                loss = share * LOSSES[self.recipe.loss](denoised, target, run.noise)
                loss.backward()
                loss_sum += loss.detach()
                mse_sum += share * (denoised.detach() - target).square().mean()
        return loss_sum, mse_sum

    def _end_diverged(self, run: Run, checkpoint: Checkpoint) -> None:
        """End with the last good weights, to which `Run.step` has returned."""
        warn(f"the training diverged at step {run.schedule.taken}: it stopped at the last good "
             "weights; look for outliers in the pairs, or lower Recipe.learning_rate")
        run.schedule.progress = 1.0
        run.stopped = False
        if len(self.history) > 1:  # an older file is worth more than a first epoch that failed
            checkpoint.write(run)

    def _forward(self, net: UNet, images: Tensor) -> Tensor:
        """N x C x H x W, float32 in the network's values, to the same, not clamped."""
        bf16 = self.recipe.precision == "auto" and has_bf16(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return net(images)

    def predict(self, noisy: Tensor, *, self_ensemble: bool = True,
                report: Callable[[float], None] = lambda share: None) -> Tensor:
        """Denoise images; what it needs besides the result does not grow with them.

        Args:
            noisy: N x C x H x W, any size, of an integer or float type, within Recipe.value_range
                or, where that is None, in the units of the pairs that it was trained on.
            self_ensemble: average over the eight flips and rotations: better, eight times slower
                (R. Timofte et al., "Seven ways to improve example-based single image super
                resolution", CVPR 2016, section 3.6).
            report: called with the share that is done, up to 1, after each square of some hundred
                pixels.

        Returns:
            float32 of the same shape, on the same device and in the same units, without gradients.
            Values keep to Recipe.value_range; where that is None they are not clamped, but for
            this: where no value of the pairs was negative, no prediction is.

        Raises:
            TypeError: it is no tensor of real numbers.
            ValueError: shape or values are others.
        """
        check_images({"noisy": noisy}, self.recipe.channels, self.recipe.value_range)
        keep_freed_memory()
        return self._denoised(noisy, self_ensemble, report)

    @torch.no_grad()
    def _denoised(self, noisy: Tensor, self_ensemble: bool,
                  report: Callable[[float], None] = lambda share: None) -> Tensor:
        """`predict` of images that were checked."""
        height, width = noisy.shape[-2:]
        views = [View(False, (), height, width)]
        if self_ensemble:
            views = [View(transposed, flips, height, width) for transposed in (False, True)
                     for flips in ((), (-1,), (-2,), (-2, -1))]
        total = torch.zeros(noisy.shape, dtype=torch.float32, device=noisy.device)
        for number, view in enumerate(views):
            self._add_view(total, noisy, view, part_of(report, number, len(views)))
        return self._units().to(noisy.device).from_unit_(total.div_(len(views)))

    def _add_view(self, total: Tensor, noisy: Tensor, view: View, report: Callable[[float], None]
                  ) -> None:
        """Add the network's output for a view of the images, in the network's values.

        Args:
            total: N x C x H x W, of the images, changed in place.
            noisy: the images, in their own units.
            view: which one.
            report: as of `predict`.

        It works by squares, with as much context around each as the network sees. Squares and
        context are multiples of 2^depth pixels, so that the coarser levels have the grid of the
        whole view.
        """
        units = self._units().to(self.device)
        halo = self.net.reach
        multiple = 2 ** len(self.net.downs)
        side = max(1, CORE // multiple) * multiple
        height, width = view.shape
        squares = grid(height, width, side)
        for done, (y, x) in enumerate(squares, 1):
            top, left = max(0, y - halo), max(0, x - halo)
            bottom, right = min(height, y + side), min(width, x + side)
            seen = view.place(top, min(height, bottom + halo), left, min(width, right + halo))
            core = view.place(y, bottom, x, right)
            square = noisy[..., *seen]
            sums = total[..., *core]  # what is added to it is added to `total`
            count = max(1, CHUNK // square[0, 0].numel())
            for images, part in zip(square.split(count), sums.split(count), strict=True):
                output = self._forward(self.net, view.of(units.to_unit(images.to(self.device))))
                inner = output[..., y - top:bottom - top, x - left:right - left]
                part += view.undone(inner).to(noisy.device)
            report(done / len(squares))

    def save(self, path: str | os.PathLike) -> None:
        """Write recipe, units and weights, whole or not at all, by a temporary file beside it.

        Raises:
            OSError: it cannot be written.
        """
        write_content(path, self.content())

    def content(self) -> dict:
        """What `save` writes: recipe, units and weights."""
        content = {"recipe": asdict(self.recipe), "weights": self.net.state_dict()}
        if self.units is not None:
            content["units"] = vars(self.units)
        return content

    def load_pretrained_model(self, path: str | os.PathLike | None = None) -> None:
        """Take recipe and weights from a file that `save` wrote.

        Args:
            path: by default bestmodel.pth beside this file, else one folder up.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or was not written by `save`.
        """
        loaded, _ = read_model(default_weights() if path is None else Path(path))
        self.recipe = loaded.recipe
        self.units = loaded.units
        self.net = loaded.net


def part_of(report: Callable[[float], None], number: int, count: int) -> Callable[[float], None]:
    """What reports the share that is done of part `number`, from 0, of `count` parts of a work."""
    return lambda share: report((number + share) / count)


def read_model(path: Path) -> tuple[Model, dict]:
    """A model, and all that its file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or was not written by `Model.save`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}: train one with "
                                "`python -m Miniproject_1 train -o FILE`")
    data = io.BytesIO(path.read_bytes())
    try:
        content = torch.load(data, map_location="cpu", weights_only=True)
        loaded = Model(Recipe(**content["recipe"]))
        loaded.net.load_state_dict(content["weights"])
        if "units" in content:
            loaded.units = Units(**content["units"]).checked(loaded.recipe.channels)
    except Exception as error:  # of many kinds, where a file is damaged
        raise ValueError(f"{path} is damaged, or not written by this version's Model.save; "
                         "train anew") from error
    return loaded, content


def default_weights() -> Path:
    """bestmodel.pth beside this file, as in the zip that is handed in, else one folder up."""
    beside, above = (folder / "bestmodel.pth" for folder in Path(__file__).resolve().parents[:2])
    return beside if beside.is_file() else above
