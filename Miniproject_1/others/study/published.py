"""The published network to beat, in its own recipe.

A U-Net with batch norm, dropout and one block used twice, made for the same assignment. Its
interface is that of `Miniproject_1.Model`, as far as a comparison needs it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from ...model import psnr

MULTIPLE = 8  # pixels: sides are multiples of it, as three levels halve them
LOSSES = {"mse": mse_loss, "l1": l1_loss}


@dataclass(frozen=True)
class PublishedRecipe:
    """How the published network is trained.

    Raises:
        ValueError: A field has an impossible value.
    """

    loss: str = "mse"  # or "l1"
    batch: int = 32  # pairs per step, in float32
    learning_rate: float = 1e-3  # of Adam, constant
    betas: tuple[float, float] = (0.9, 0.99)  # of Adam
    dropout: float = 0.1  # share of the values

    def __post_init__(self) -> None:
        rate, betas = self.learning_rate, self.betas
        self._require("loss", self.loss in list(LOSSES), f"one of {', '.join(LOSSES)}")
        self._require("batch", type(self.batch) is int and self.batch > 0, "an integer from 1 up")
        self._require("learning_rate", _is_number(rate) and 0 < rate < math.inf, "a number above 0")
        self._require("betas", isinstance(betas, tuple) and len(betas) == 2
                      and all(_is_number(beta) and 0 <= beta < 1 for beta in betas),
                      "two numbers from 0 to below 1")
        self._require("dropout", _is_number(self.dropout) and 0 <= self.dropout < 1,
                      "a number from 0 to below 1")

    def _require(self, field: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ValueError(f"{field} is {getattr(self, field)!r}, expected {expected}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class PublishedUNet(nn.Module):
    """1.354 M parameters, 925 MFLOP for 32 x 32 pixels.

    Args:
        dropout: Share of the values that dropout clears.
    """

    def __init__(self, dropout: float):
        super().__init__()

        def convolution(inputs: int, outputs: int) -> list[nn.Module]:
            layer = nn.Conv2d(inputs, outputs, 3, padding=1)
            return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

        def down() -> list[nn.Module]:
            return [nn.Dropout(dropout), nn.MaxPool2d(2)]

        def up(width: int) -> list[nn.Module]:
            layer = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
            return [nn.Dropout(dropout), layer]

        self.encode1 = nn.Sequential(*convolution(3, 64), *convolution(64, 64), *down())
        self.encode2 = nn.Sequential(*convolution(64, 64), *down())
        self.decode1 = nn.Sequential(*convolution(64, 64), *up(64))
        self.decode2 = nn.Sequential(*convolution(128, 128), *convolution(128, 128), *up(128))
        self.decode3 = nn.Sequential(*convolution(192, 128), *convolution(128, 128), *up(128))
        self.decode4 = nn.Sequential(
            nn.Conv2d(131, 128, 3, padding=1), nn.ReLU(),
            nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 3, 3, padding=1), nn.LeakyReLU(0.1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """N x 3 x H x W to the same shape, values 0-255, H and W multiples of 8."""
        p1 = self.encode1(x)  # N x 64 x H/2 x W/2
        p2 = self.encode2(p1)  # N x 64 x H/4 x W/4
        p3 = self.encode2(p2)  # N x 64 x H/8 x W/8, by the same weights: as published
        y = torch.cat((self.decode1(p3), p2), 1)
        y = torch.cat((self.decode2(y), p1), 1)
        y = torch.cat((self.decode3(y), x), 1)
        return self.decode4(y)


class Stopwatch:
    """Seconds and pairs of a training; it stands still from a row of the history to `resume`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pairs = 0  # since the last row
        self.loss: Tensor | float = 0.0  # sum over these pairs
        self.row_at = 0.0  # seconds at the last row
        self.resumed = time.monotonic()

    def resume(self) -> None:
        self.resumed = time.monotonic()

    def count(self, loss: Tensor, pairs: int) -> None:
        """A step on so many pairs is done, whose mean loss is this."""
        now = time.monotonic()
        self.seconds += now - self.resumed
        self.resumed = now
        self.pairs += pairs
        self.loss += loss.detach() * pairs

    def row(self) -> dict:
        """What the history says of the steps since the last row."""
        row = {
            "loss": float(self.loss) / self.pairs,
            "pairs": self.pairs,
            "pairs_per_second": self.pairs / (self.seconds - self.row_at),
            "seconds": self.seconds,
        }
        self.pairs, self.loss = 0, 0.0
        self.row_at = self.seconds
        return row


class PublishedModel:
    """The published denoiser, on the GPU if there is one.

    Initial weights and dropout follow torch.manual_seed.

    Args:
        recipe: How it is trained; by default `PublishedRecipe()`.

    Attributes:
        history: Of the last `train`: a dictionary per epoch.
    """

    def __init__(self, recipe: PublishedRecipe | None = None):
        self.recipe = PublishedRecipe() if recipe is None else recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = PublishedUNet(self.recipe.dropout).to(self.device)
        self.history: list[dict] = []

    def train(self, noisy_a: Tensor, noisy_b: Tensor, num_epochs: int, *,
              validation: tuple[Tensor, Tensor], time_limit: float | None = None, seed: int = 0,
              progress: bool = True, row_every: float = math.inf,
              after_epoch: Callable[[dict], None] | None = None) -> None:
        """Train on pairs until the epochs or the time are over.

        The clock stands still while the PSNR is measured.

        Args:
            noisy_a, noisy_b: N x 3 x H x W, values 0-255, H and W multiples of 8.
            num_epochs: Passes over the pairs.
            validation: (noisy, clean), N x 3 x H x W, values 0-255, for the PSNR of the history.
            time_limit: Seconds of training; None: no limit.
            seed: Of shuffling and of the directions of the pairs.
            progress: Whether to print a line per row of the history.
            row_every: Seconds of training between two rows of the history within an epoch.
            after_epoch: Called with each row before it goes into the history; it may add to it.

        Raises:
            ValueError: Images are of another shape.
        """
        _check_shape(noisy_a)
        limit = math.inf if time_limit is None else time_limit
        generator = torch.Generator().manual_seed(seed)
        pairs = TensorDataset(noisy_a.float(), noisy_b.float())
        loader = DataLoader(pairs, self.recipe.batch, shuffle=True, generator=generator)
        rate, betas = self.recipe.learning_rate, self.recipe.betas
        optimizer = torch.optim.Adam(self.net.parameters(), lr=rate, betas=betas)

        self.history = []
        watch = Stopwatch()
        end_row = partial(self._end_row, watch, validation, progress, after_epoch)
        row_due = row_every
        for epoch in range(1, num_epochs + 1):
            watch.resume()
            for a, b in loader:
                watch.count(self._step(a, b, optimizer, generator), len(a))
                if watch.seconds > limit:
                    break
                if watch.seconds > row_due:
                    end_row(epoch)
                    row_due += row_every
                    watch.resume()
            if watch.pairs:
                end_row(epoch)
            if watch.seconds > limit:
                break

    def _step(self, a: Tensor, b: Tensor, optimizer: torch.optim.Optimizer,
              generator: torch.Generator) -> Tensor:
        """One step on one direction of each pair, drawn at random; its loss."""
        self.net.train()
        a, b = a.to(self.device), b.to(self.device)
        swap = torch.rand(len(a), 1, 1, 1, generator=generator).to(self.device) < 0.5
        source, target = torch.where(swap, b, a), torch.where(swap, a, b)
        loss = LOSSES[self.recipe.loss](self.net(source), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def _end_row(self, watch: Stopwatch, validation: tuple[Tensor, Tensor], progress: bool,
                 after_epoch: Callable[[dict], None] | None, epoch: int) -> None:
        """Measure, and add a row to the history."""
        noisy, clean = validation
        score = psnr(self.predict(noisy), clean)
        row = {"epoch": epoch, "psnr": score, "kind": "per image"} | watch.row()
        if after_epoch:
            after_epoch(row)
        self.history.append(row)
        if progress:
            print("{epoch:5d} {psnr:7.2f} dB {pairs_per_second:8.0f} pairs/s {seconds:8.0f} s"
                  .format(**row), flush=True)

    @torch.no_grad()
    def predict(self, noisy: Tensor) -> Tensor:
        """Denoise images.

        Args:
            noisy: N x 3 x H x W, values 0-255, H and W multiples of 8.

        Returns:
            float32 of the same shape, on the same device, values 0-255.

        Raises:
            ValueError: The images are of another shape.
        """
        _check_shape(noisy)
        self.net.eval()
        parts = [self.net(part.to(self.device, torch.float32)).to(noisy.device)
                 for part in noisy.split(self.recipe.batch)]
        return torch.cat(parts).clamp(0, 255)


def _check_shape(images: Tensor) -> None:
    """ValueError unless the network can take the images."""
    fits = images.dim() == 4 and images.shape[1] == 3
    if not fits or images.shape[2] % MULTIPLE or images.shape[3] % MULTIPLE:
        shape = " x ".join(map(str, images.shape))
        raise ValueError(f"the images are {shape}, the published network expects N x 3 x H x W "
                         f"with H and W multiples of {MULTIPLE}; crop or pad them")
