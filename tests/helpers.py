"""What the tests share: a recipe that learns in a second, noisy pairs, and wrong images."""

import io
import json
import math
import re
import signal
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from Miniproject_1.model import Model, Recipe, UNet

ROOT = Path(__file__).resolve().parent.parent

# A training of a few dozen steps on 16 x 16 pixels gets somewhere.
QUICK = Recipe(widths=(8, 16), blocks=1, batch=16, learning_rate=1e-2, short_training=(1, 1),
               ema=0.9)


def rows_of(file: Path) -> list[dict]:
    """The rows of a file of results."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy_pairs(count: int, side: int = 16, sigma: float = 25.0, seed: int = 0
                ) -> tuple[Tensor, Tensor, Tensor]:
    """(a, b, clean), float32: smooth images in 64-192 with Gaussian noise that stays in 0-255."""
    generator = seeded(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator, dtype=torch.float32) * 128 + 64
    clean = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    noise = torch.randn(2, *clean.shape, generator=generator, dtype=torch.float32)
    a, b = clean + sigma * noise.clamp(-2.5, 2.5)
    return a, b, clean


def quick_model(**changes) -> Model:
    """A model with other fields of QUICK; two of them start with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(recipe=replace(QUICK, **changes))


def randomise(net: UNet) -> UNet:
    """`net` with no weight left at zero, so that it is far from the identity."""
    generator = seeded()
    for weight in net.parameters():
        values = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
        weight.data.copy_(0.1 * values)
    return net


def weights_of(model: Model) -> Tensor:
    """All weights in one vector."""
    return torch.cat([weight.flatten() for weight in model.net.parameters()])


class CtrlC(io.StringIO):
    """A stdout on which Ctrl-C or another signal comes at the row of some epoch."""

    def __init__(self, epoch: int, number: int = signal.SIGINT):
        super().__init__()
        self.number = number
        self.row = re.compile(rf" *{epoch} ")

    def write(self, text: str) -> int:
        if self.row.match(text):
            signal.raise_signal(self.number)
            if self.number != signal.SIGINT:  # as torchrun and schedulers may do
                signal.raise_signal(self.number)
        return super().write(text)


def global_state() -> list:
    """What nothing in the package may change."""
    return [torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled(),
            torch.get_num_threads(), torch.is_autocast_enabled("cpu"),
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.are_deterministic_algorithms_enabled()]


GREY = torch.full((2, 3, 4, 4), 100.0)

# (images, error, what its text names)
BAD_IMAGES = {
    "a list": ([[1]], TypeError, "list"),
    "one image": (GREY[0], ValueError, "3 x 4 x 4"),
    "a scalar": (torch.tensor(1.0), ValueError, "scalar"),
    "no images": (GREY[:0], ValueError, "0 x 3 x 4 x 4"),
    "no columns": (GREY[..., :0], ValueError, "2 x 3 x 4 x 0"),
    "one channel": (GREY[:, :1], ValueError, "2 x 1 x 4 x 4"),
    "bool": (GREY.bool(), TypeError, "torch.bool"),
    "uint16, too bright": (GREY.to(torch.uint16) * 3, ValueError, "300"),
    "complex": (GREY.to(torch.complex64), TypeError, "torch.complex64"),
    "NaN": (GREY * math.nan, ValueError, "nan"),
    "infinity": (GREY * math.inf, ValueError, "inf"),
    "too bright": (GREY * 3, ValueError, "300"),
    "negative": (-GREY, ValueError, "-100"),
    "long, too bright": (GREY.long() + 1000, ValueError, "1100"),
}
