"""The published network to beat, in its own recipe (see "The published network" in README.md).

A U-Net with batch norm, dropout and one block used twice; Adam at 1e-3 without a schedule, batches of 32 in float32
from a shuffling DataLoader, mean squared error, one direction of each pair drawn at random. The interface is that of
`Miniproject_1.Model`, as far as the bench needs it.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ..model import psnr

BATCH = 32
RATE = 1e-3
BETAS = (0.9, 0.99)
DROPOUT = 0.1
ROW_EVERY = 150.0  # seconds of training between two rows of the history


def unit(inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


def up(width: int) -> list[nn.Module]:
    """Dropout and a transposed convolution to twice the side."""
    return [nn.Dropout(DROPOUT), nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)]


class PublishedUNet(nn.Module):
    """N x 3 x H x W to N x 3 x H x W, values 0-255, sides multiples of 8. 1.354 M parameters, 925 MFLOP for 32 x 32."""

    def __init__(self):
        super().__init__()
        self.encode1 = nn.Sequential(*unit(3, 64), *unit(64, 64), nn.Dropout(DROPOUT), nn.MaxPool2d(2))
        self.encode2 = nn.Sequential(*unit(64, 64), nn.Dropout(DROPOUT), nn.MaxPool2d(2))
        self.decode1 = nn.Sequential(*unit(64, 64), *up(64))
        self.decode2 = nn.Sequential(*unit(128, 128), *unit(128, 128), *up(128))
        self.decode3 = nn.Sequential(*unit(192, 128), *unit(128, 128), *up(128))
        self.decode4 = nn.Sequential(nn.Conv2d(131, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 64, 3, padding=1),
                                     nn.ReLU(), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(),
                                     nn.Conv2d(32, 3, 3, padding=1), nn.LeakyReLU(0.1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        p1 = self.encode1(x)   # N x 64 x H/2 x W/2
        p2 = self.encode2(p1)  # N x 64 x H/4 x W/4
        p3 = self.encode2(p2)  # N x 64 x H/8 x W/8, by the same weights: as published
        y = torch.cat((self.decode1(p3), p2), 1)
        y = torch.cat((self.decode2(y), p1), 1)
        y = torch.cat((self.decode3(y), x), 1)
        return self.decode4(y)


class PublishedModel:
    """`train` and `predict` as in `Miniproject_1.Model`, by the published recipe."""

    def __init__(self):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = PublishedUNet().to(self.device)
        self.history: list[dict] = []

    def train(self, noisy_a: Tensor, noisy_b: Tensor, num_epochs: int, *, validation: tuple[Tensor, Tensor],
              time_limit: float | None = None, seed: int = 0, progress: bool = True) -> None:
        """Train on N x 3 x H x W pairs, values 0-255, until `num_epochs` or `time_limit` seconds are over; `history`
        gets a row with the PSNR on `validation` (per image) after each epoch, every ROW_EVERY seconds and at the end.
        The clock stands still while the PSNR is measured."""
        optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE, betas=BETAS)
        generator = torch.Generator().manual_seed(seed)
        data = DataLoader(TensorDataset(noisy_a.float(), noisy_b.float()), BATCH, shuffle=True, generator=generator)
        limit = math.inf if time_limit is None else time_limit
        self.history = []
        elapsed = began = 0.0  # seconds of training, now and at the last row
        due = ROW_EVERY
        pairs = 0              # since the last row

        def row(epoch: int) -> None:
            nonlocal began, pairs
            self.net.eval()
            self.history.append({"epoch": epoch, "psnr": psnr(self.predict(validation[0]), validation[1]),
                                 "kind": "per image", "pairs": pairs, "pairs_per_second": pairs / (elapsed - began),
                                 "seconds": elapsed})
            began, pairs = elapsed, 0
            if progress:
                print("{epoch:5d} {psnr:7.2f} {pairs_per_second:8.0f} pairs/s {seconds:8.0f} s".format(
                    **self.history[-1]), flush=True)
            self.net.train()

        self.net.train()
        for epoch in range(1, num_epochs + 1):
            start = time.monotonic()
            for a, b in data:
                a, b = a.to(self.device), b.to(self.device)
                swap = torch.rand(len(a), 1, 1, 1, generator=generator).to(self.device) < 0.5
                loss = F.mse_loss(self.net(torch.where(swap, b, a)), torch.where(swap, a, b))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                pairs += len(a)
                now = time.monotonic()
                elapsed, start = elapsed + now - start, now
                if elapsed > limit:
                    break
                if elapsed > due:
                    row(epoch)
                    due += ROW_EVERY
                    start = time.monotonic()
            if pairs:
                row(epoch)
            if elapsed > limit:
                break

    @torch.no_grad()
    def predict(self, noisy: Tensor) -> Tensor:
        """N x 3 x H x W in and out, values 0-255, sides multiples of 8."""
        self.net.eval()
        batches = (self.net(batch.to(self.device, torch.float32)).to(noisy.device) for batch in noisy.split(BATCH))
        return torch.cat(list(batches)).clamp(0, 255)
