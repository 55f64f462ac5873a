"""Train named settings side by side: python -m Miniproject_1.others.bench [SETTING ...] [--minutes 5 | --epochs 10].

First the throughput of each setting, in training and in prediction, in turns on the same machine, beside the rate of a
plain matrix product measured in the same turns; then trainings of each for the same seconds, or on the same pairs, with
the PSNR that they reach. Every figure is appended to the results file as a line of JSON, and --table shows what such a
file holds. Without names "ours" meets "published". A new setting is a line in SETTINGS, what it replaces in model.py a
function above them.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .. import model as core
from ..model import Model, has_bf16, psnr
from .arguments import Parser, failed, program, random_seed, saved_on_ctrl_c
from .baseline import PublishedModel
from .pixelate import build, check_writable, load_tensors
from .results import append_results

TURNS = 5       # of which the median counts
TURN = 8.0      # seconds of training in one
PRODUCT = 2048  # side of the matrices whose product gives the machine's own rate
ENDLESS = 10**6  # epochs: the time ends the training
LEVELS = (25.11, 25.40)  # dB, without self-ensemble: about the published network after 10 minutes, and well above


# ----------------------------------------------------------------------------------------------- variants
def mse_loss(denoised: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The mean squared error, which the noisiest images rule."""
    return F.mse_loss(denoised, target)


def chroma_loss(denoised: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Our loss with five times the squared error of colour, the differences to the mean of the channels: most noise is
    of brightness, so the colours, which show the same edges, tell more."""
    denoised, target = (image.mean(1, keepdim=True).lerp(image, math.sqrt(5)) for image in (denoised, target))
    return noise2noise_loss(denoised, source, target)


class Adam:
    """In the place of Muon: Adam, without warm-up."""

    def __init__(self, weights: list[Tensor]):
        self.optimizer = torch.optim.Adam(weights, fused=True)

    def step(self, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()


class Nesterov(Adam):
    """In the place of Muon: stochastic gradient descent with Nesterov's momentum."""

    def __init__(self, weights: list[Tensor]):
        self.optimizer = torch.optim.SGD(weights, lr=1.0, momentum=core.MOMENTUM, nesterov=True)


class FallingMuon(core.Muon):
    """Muon whose rate falls as 1 / sqrt(1 + step / 500), besides the linear anneal: the longer the training, the lower
    at its end, where the noise of the gradients counts."""

    taken = 0  # steps

    def step(self, rate: float) -> None:
        self.taken += 1
        super().step(self.scheduled(rate))

    def scheduled(self, rate: float) -> float:
        return rate / math.sqrt(1 + self.taken / 500)


class WarmMuon(FallingMuon):
    """Muon whose rate rises from 0 in the first 100 steps, besides the linear anneal."""

    def scheduled(self, rate: float) -> float:
        return rate * min(1, self.taken / 100)


def swap_only(a: Tensor, b: Tensor, generator: torch.Generator, sides: tuple[int, ...] = (1, 1)
              ) -> tuple[Tensor, Tensor]:
    """The swap without flips and rotations, of all pixels together; with `sides` of H x W, of each by itself."""
    coin = torch.rand(len(a), 1, *sides, generator=generator, device=a.device) < 0.5
    return torch.where(coin, b, a), torch.where(coin, a, b)


def one_direction(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of the two directions that `augment` gives of each pair, drawn at random: half of the work in a step."""
    return swap_only(*augment(a, b, generator)[0].chunk(2), generator)


def brightness(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`one_direction`, then both copies of a pair times one factor from 0.7 to 1."""
    a, b = one_direction(a, b, generator)
    factor = 0.7 + 0.3 * torch.rand(len(a), 1, 1, 1, generator=generator, device=a.device)
    return a * factor, b * factor


def channels(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`one_direction`, then the colours of half of the pairs in reverse order."""
    a, b = one_direction(a, b, generator)
    coin = torch.rand(len(a), 1, 1, 1, generator=generator, device=a.device) < 0.5
    return torch.where(coin, a.flip(1), a), torch.where(coin, b.flip(1), b)


def pixel_swap(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`one_direction`, then the swap of each pixel by itself, which makes new pairs in each epoch. Only where the noise
    is independent between pixels, as the course's: else a target shows noise of the source's neighbours."""
    return swap_only(*one_direction(a, b, generator), generator, a.shape[2:])


def clean_targets(a: Tensor, b: Tensor, generator: torch.Generator, pairs: Callable) -> tuple[Tensor, Tensor]:
    """The sources of `pairs`, such as `augment`, and their clean images, which lie below them (`stacked`)."""
    a, b = (torch.cat(images.chunk(2, -2), 1) for images in (a, b))  # as more channels: what is below turns alike
    return pairs(a, b, generator)[0].chunk(2, 1)


class GeluBlock(core.ResidualBlock):
    """A residual block with a smooth activation."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.gelu(self.conv1(x), approximate="tanh"))


class UnshuffledUNet(core.UNet):
    """Takes 2 x 2 pixels for one with four times the channels: no work at full resolution. H and W must be even."""

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (64, 128), blocks: int = core.BLOCKS):
        super().__init__(4 * channels, widths, blocks)
        self.arguments["channels"] = channels

    def forward(self, image: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(image, 2)), 2)


class TwoViewsUNet(core.UNet):
    """Learns for the self-ensemble: not the output for each view of an image, but their mean is to match the target.

    The gradient of |m - b|^2 / 2, m the mean over V of the eight flips and rotations, needs two of them in a step:
    for f, and g of another view, turned back, it is (f / V + (1 - 1 / V) g - b) df on average over both, and
    the same with f and g exchanged. So each half of the output has that value, but its own view's gradient. (The loss's
    logarithm makes it approximate.) Views may now differ where their errors cancel. V = 8 leaves that free, V = 1 is
    the usual loss, V = 4 keeps a seventh of what pulls the views together."""

    views = 4  # V above
    turn = 0  # of the second view against the first: 1 to 7, one step after the other

    def forward(self, image: Tensor) -> Tensor:
        """With gradients, which only training has: 2 N images, the halves alike (`twice`); else as any U-Net."""
        if not torch.is_grad_enabled():
            return super().forward(image)
        self.turn = self.turn % 7 + 1
        turns, axes = self.turn // 2, (-1,) if self.turn % 2 else ()
        first, second = image.chunk(2)
        f = super().forward(first)
        second = second.rot90(turns, (-2, -1)).flip(axes).contiguous(memory_format=torch.channels_last)
        g = super().forward(second).flip(axes).rot90(-turns, (-2, -1))
        difference = (1 - 1 / self.views) * (g - f).detach()
        return torch.cat((f + difference, g - difference))


def twice(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`one_direction`, and each pair twice, the copies in the batch's second half."""
    a, b = one_direction(a, b, generator)
    return torch.cat((a, a)), torch.cat((b, b))


augment, noise2noise_loss = core.augment, core.noise2noise_loss  # the originals, while a setting replaces them


@dataclass(frozen=True)
class Setting:
    """Arguments of the U-Net, names of model.py with what stands in for them, and whether it is another model or has
    clean targets."""

    network: dict = field(default_factory=dict)
    replaced: dict = field(default_factory=dict)
    published: bool = False
    clean: bool = False  # the pairs are `stacked`

    @property
    def passes(self) -> int:
        """Through the network for a pair, in training."""
        if self.published:
            return 1
        pair = torch.zeros(2, 1, 3, 2, 2)
        return len(self.replaced.get("augment", augment)(*pair, torch.Generator())[0])

    @contextmanager
    def model(self, seed: int = 0) -> Iterator[Model | PublishedModel]:
        """The untrained model, with the replacements in force as long as the context lasts."""
        with mock.patch.dict(vars(core), self.replaced), torch.random.fork_rng():
            torch.manual_seed(seed)  # also of a GPU, where the published network draws its dropout
            yield PublishedModel() if self.published else Model(**self.network)

    def with_clean_targets(self) -> "Setting":
        """The same sources in the same steps, for as many epochs, with clean targets."""
        pairs = self.replaced.get("augment", augment)
        return replace(self, replaced=self.replaced | {"augment": partial(clean_targets, pairs=pairs)}, clean=True)


def earlier(network: dict | None = None, **replaced) -> Setting:
    """Our recipe until 2026-11-28, in one direction of each pair and at one rate for trainings of any length, with what
    `replaced` changes in it."""
    return Setting(network or {}, {"augment": one_direction, "RATE": 5e-3, "SHORT": (1, 1)} | replaced)


SETTINGS = {
    "ours": Setting(),
    "ours, rate 3e-3": Setting(replaced={"RATE": 3e-3}),
    "published": Setting(published=True),
    "one direction": earlier(),  # what the settings below change
    "1 block": earlier({"blocks": 1}),
    "3 blocks": earlier({"blocks": 3}),
    "narrow": earlier({"widths": (16, 32)}),
    "wide": earlier({"widths": (48, 96)}),
    "1 level": earlier({"widths": (32,)}),
    "3 levels": earlier({"widths": (32, 64, 128)}),
    "2 x 2 input": earlier(UNet=UnshuffledUNet),
    "GELU": earlier(ResidualBlock=GeluBlock),
    "unweighted": earlier(WEIGHT_POWER=0.0),
    "weight power 0.25": earlier(WEIGHT_POWER=0.25),
    "weight power 0.5": earlier(WEIGHT_POWER=0.5),
    "weight power 1": earlier(WEIGHT_POWER=1.0),
    "MSE loss": earlier(noise2noise_loss=mse_loss),
    "Adam": earlier(Muon=Adam, RATE=2e-3),
    "SGD": earlier(Muon=Nesterov, RATE=1e-2),
    "half rate": earlier(RATE=2.5e-3),
    "double rate": earlier(RATE=1e-2),
    "falling rate": earlier(Muon=FallingMuon, RATE=1e-2),
    "warm-up": earlier(Muon=WarmMuon),
    "batch 16": earlier(BATCH=16),
    "batch 64": earlier(BATCH=64),
    "EMA 0.99": earlier(EMA=0.99),
    "EMA 0.998": earlier(EMA=0.998),
    "no EMA": earlier(EMA=0.0),
    "both directions": earlier(augment=augment, BATCH=16),
    "swap only": earlier(augment=swap_only),
    "pixel swap": earlier(augment=pixel_swap),
    "channels": earlier(augment=channels),
    "brightness": earlier(augment=brightness),
    "half rate, chroma weight 5": earlier(RATE=2.5e-3, noise2noise_loss=chroma_loss),
    "both directions, half rate, batch 64, chroma weight 5":  # 32 pairs: 64 images
        earlier(augment=augment, RATE=2.5e-3, noise2noise_loss=chroma_loss),
    "two views, half rate": earlier(UNet=TwoViewsUNet, augment=twice, RATE=2.5e-3),
    "two views, half rate, chroma weight 5, 3 blocks": earlier(
        {"blocks": 3}, UNet=TwoViewsUNet, augment=twice, RATE=2.5e-3, noise2noise_loss=chroma_loss),
    "two views, eighth rate, chroma weight 5, 3 blocks": earlier(
        {"blocks": 3}, UNet=TwoViewsUNet, augment=twice, RATE=6.25e-4, noise2noise_loss=chroma_loss),
}
for noisy in ("ours", "ours, rate 3e-3", "one direction", "half rate, chroma weight 5",
              "both directions, half rate, batch 64, chroma weight 5"):
    SETTINGS[f"clean targets, {noisy}".removesuffix(", ours")] = SETTINGS[noisy].with_clean_targets()


# -------------------------------------------------------------------------------------------- measurements
def flops_per_pass(model: Model | PublishedModel) -> int:
    """Of a 32 x 32 image in training: three times the forward pass, twice of it for the gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.net.eval()(torch.zeros(1, 3, 32, 32, device=model.device))
    return 3 * counter.get_total_flops()


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two square matrices."""
    matrix = torch.randn(PRODUCT, PRODUCT, device=device).to(dtype)
    torch.mm(matrix, matrix).sum().item()  # warms up; item() waits for a GPU
    start = time.perf_counter()
    for _ in range(10):
        product = torch.mm(matrix, matrix)
    product.sum().item()
    return 10 * 2 * PRODUCT**3 / (time.perf_counter() - start)


def prediction_rate(model: Model | PublishedModel, images: Tensor, **how: bool) -> float:
    """Images per second of `predict`."""
    start = time.perf_counter()
    model.predict(images, **how)
    return len(images) / (time.perf_counter() - start)


def stacked(noisy: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (a, b), N x C x 2 H x W, of noisy images with their clean ones below; from 2 N x C x H x W of each kind,
    first all of a, then all of b. ValueError where `Model.train` would cut them apart."""
    if 2 * noisy.shape[-2] > core.TILE:
        raise ValueError(f"clean_data.pkl has images {noisy.shape[-2]} pixels high, expected {core.TILE // 2} at most, "
                         "as the noisy and the clean ones are stacked in tiles of twice that")
    return torch.cat((noisy, clean), -2).chunk(2)


def throughput(names: list[str], data: dict[bool, tuple[Tensor, Tensor]], validation: tuple[Tensor, Tensor]
               ) -> list[dict]:
    """Per setting the medians over TURNS: pairs per second in training, its FLOP/s as a share of the matrix product's,
    and images per second in prediction, without self-ensemble and with (the published network has none). `data` has
    the pairs for False and True as `Setting.clean`."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    rows: dict[str, dict] = {}
    few = tuple(images[:1] for images in validation)
    for _ in range(TURNS + 1):  # the first one warms up
        for name in names:
            with SETTINGS[name].model() as model:
                ours = isinstance(model, Model)
                bf16 = ours and has_bf16(model.device)
                peak = product_rate(model.device, torch.bfloat16 if bf16 else torch.float32)
                model.train(*data[SETTINGS[name].clean], ENDLESS, validation=few, time_limit=TURN, progress=False)
                epochs = [row for row in model.history if row["pairs"]]
                seconds = sum(row["pairs"] / row["pairs_per_second"] for row in epochs)
                rate = sum(row["pairs"] for row in epochs) / seconds
                flops = flops_per_pass(model) * SETTINGS[name].passes
                turn = {"pairs_per_second": rate, "share": flops * rate / peak, "product_flops": peak}
                if ours:
                    turn["images_per_second_self_ensemble"] = prediction_rate(model, validation[0])
                single = {"self_ensemble": False} if ours else {}
                turn["images_per_second"] = prediction_rate(model, validation[0], **single)
                turns[name].append(turn)
                rows[name] = {"kind": "throughput", "setting": name,
                              "parameters": sum(weight.numel() for weight in model.net.parameters()),
                              "flops_per_pair": flops, "passes": SETTINGS[name].passes,
                              "precision": "bfloat16" if bf16 else "float32"}
    return [row | {key: statistics.median(turn[key] for turn in turns[name][1:]) for key in turns[name][0]}
            for name, row in rows.items()]


def begin(model: Model | PublishedModel, start: Path, name: str) -> None:
    """Give the new model of setting `name` the weights in `start`. Their network may have fewer blocks: the other ones
    stay as they are, the identity. ValueError if it differs in anything else."""
    begun = Model()
    begun.load_pretrained_model(start)
    network, blocks = getattr(model.net, "arguments", {"blocks": 0}), begun.net.arguments["blocks"]
    if begun.net.arguments | {"blocks": max(blocks, network["blocks"])} != network:
        raise ValueError(f"{start} holds another network than {name} has")
    model.net.load_state_dict(begun.net.state_dict(), strict=False)


def training(name: str, budget: dict, seed: int, pairs: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor],
             start: Path | None = None, weights: Path | None = None) -> tuple[dict, Model | PublishedModel]:
    """Train a setting on pairs (`stacked` for clean targets) within `budget`, {"minutes": M} or {"epochs": E}, from
    new weights or those in `start` (`begin`); its results but for history and `measured`, and the model. `weights`:
    a file for our network's weights, after each epoch and after Ctrl-C; None for the published one."""
    epochs, seconds = budget.get("epochs", ENDLESS), 60 * budget["minutes"] if "minutes" in budget else None
    with SETTINGS[name].model(seed) as model:
        if start:
            begin(model, start, name)
        checkpoint = {"checkpoint": weights} if weights else {}
        with saved_on_ctrl_c(model, weights):
            model.train(*pairs, epochs, validation=validation, time_limit=seconds, seed=seed, **checkpoint)
    seen = sum(row["pairs"] for row in model.history)
    row = {"kind": "training", "setting": name, "seed": seed, **budget, **({"from": str(start)} if start else {}),
           "pairs": len(pairs[0]), "pairs_seen": seen,
           "parameters": sum(weight.numel() for weight in model.net.parameters()),
           "seconds": model.history[-1]["seconds"]}
    return row, model


def measured(model: Model | PublishedModel, noisy: Tensor, clean: Tensor) -> dict:
    """What the results of a training say of images, PSNR as `predict` gives it."""
    denoised = model.predict(noisy)
    return {"validation_images": len(denoised), "psnr": psnr(denoised, clean), "psnr_pooled": pooled(denoised, clean)}


# ---------------------------------------------------------------------------------------------- the command
def summary(rows: list[dict]) -> str:
    """What a results file holds: its throughput, then its trainings."""
    kinds = {row["kind"] for row in rows}
    parts = (("throughput", speed_table), ("training", table))
    return "\n\n".join(shown(rows) for kind, shown in parts if kind in kinds)


def speed_table(rows: list[dict]) -> str:
    """A line for each row of throughput. Earlier ones have none of prediction: nan."""
    lines = [f"{'setting':15} {'parameters':>11} {'GFLOP/pair':>11} {'pairs/s':>8} {'of product':>11} {'images/s':>9} "
             f"{'self-ensemble':>14}"]
    lines += [f"{row['setting']:15} {row['parameters']:11,} {row['flops_per_pair'] / 1e9:11.2f} "
              f"{row['pairs_per_second']:8.0f} {row['share']:11.0%} {row.get('images_per_second', math.nan):9,.0f} "
              f"{row.get('images_per_second_self_ensemble', math.nan):14,.0f}"
              for row in rows if row["kind"] == "throughput"]
    return "\n".join(lines)


def table(rows: list[dict]) -> str:
    """The trainings of a results file as Markdown: a line for each setting, budget and data; the mean over seeds, in
    order of PSNR. Of what was measured twice, the last counts. "seconds to" is when the first row of the history with
    that PSNR was printed, its own measurement included."""
    speeds = {row["setting"]: row for row in rows if row["kind"] == "throughput"}
    last = {(row.get("epochs", 0), row.get("minutes", 0), row["data"], row["validation"],
             row["setting"] + (f" from {row['from']}" if "from" in row else ""), row["seed"]): row
            for row in rows if row["kind"] == "training"}
    groups: dict[tuple, list[dict]] = {}
    for key, row in last.items():
        groups.setdefault(key[:-1], []).append(row)
    lines = ["| setting | budget | PSNR per image | std | seeds | pooled | seconds to "
             + " | ".join(f"{level:.2f}" for level in LEVELS) + " | pairs seen | parameters | GFLOP/pair | pairs/s |",
             "|---" * (10 + len(LEVELS)) + "|"]
    ranked = sorted(groups.items(), key=lambda item: (*item[0][:4], -mean(item[1], "psnr")))
    for (epochs, minutes, *_, name), group in ranked:
        budget = f"{epochs} epochs" if epochs else f"{minutes:g} min"
        spread = f"{statistics.stdev(row['psnr'] for row in group):.3f}" if len(group) > 1 else ""
        reached = [f"{statistics.mean(times):.0f}" if None not in times else "" for times in
                   ([seconds_to(level, row.get("history", [])) for row in group] for level in LEVELS)]
        speed = speeds.get(name, {})
        cost = [f"{speed['flops_per_pair'] / 1e9:.2f}", f"{speed['pairs_per_second']:.0f}"] if speed else ["", ""]
        lines.append(" | ".join((f"| {name}", budget, f"{mean(group, 'psnr'):.3f}", spread, str(len(group)),
                                 f"{mean(group, 'psnr_pooled'):.3f}", *reached, f"{mean(group, 'pairs_seen'):,.0f}",
                                 f"{group[0]['parameters']:,}", *cost)) + " |")
    return "\n".join(lines)


def mean(rows: list[dict], key: str) -> float:
    return statistics.mean(row[key] for row in rows)


def pooled(denoised: Tensor, clean: Tensor) -> float:
    """PSNR in dB of the mean squared error over all images, values 0-255."""
    return -10 * math.log10(F.mse_loss(denoised / 255, clean / 255).item())


def seconds_to(level: float, history: list[dict]) -> float | None:
    """The time of the first row of the history with a PSNR of `level` dB or more; None if there is none."""
    return next((row["seconds"] for row in history if row["psnr"] is not None and row["psnr"] >= level), None)


@program
def main(argv: list[str] | None = None) -> int:
    """Run the bench; returns the exit code."""
    parser = Parser(prog="python -m Miniproject_1.others.bench", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", metavar="SETTING", nargs="*", default=["ours", "published"],
                        help=f"of {'; '.join(SETTINGS)}. Default: ours published")
    parser.add_argument("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
                        help="folder with train_data.pkl and val_data.pkl, for clean targets clean_data.pkl, too; "
                             "default: data, made of generated scenes if missing")
    parser.add_argument("--validation", metavar="FILE", type=Path, action="append",
                        help="may be given several times: each training is measured on each file, in that order, and "
                             "after each epoch on the first one; default: val_data.pkl in DIR")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", metavar="M", type=float, help="of each training; 0: only throughput; default: 5")
    budget.add_argument("--epochs", metavar="E", type=int, help="train each for as many epochs instead, without limit")
    parser.add_argument("--seeds", metavar="S", type=random_seed, nargs="+", default=[0],
                        help="a training of each setting for each of these seeds; default: 0")
    parser.add_argument("--from", metavar="FILE", type=Path, dest="start",
                        help="start each training from these weights, of the same network or one of fewer blocks")
    parser.add_argument("--no-throughput", action="store_true", help="only train")
    parser.add_argument("--weights", metavar="DIR", type=Path,
                        help="keep our network's, after each epoch and at the end, as SETTING-SEED.pth; those of "
                             "GELU and 2 x 2 input are for --from only")
    parser.add_argument("--results", metavar="FILE", type=Path, help="append the figures, a line of JSON each")
    parser.add_argument("--table", metavar="FILE", type=Path, help="only print what this results file holds")
    arguments = parser.parse_args(argv)
    if arguments.table:
        try:
            rows = [json.loads(line) for line in arguments.table.read_text().splitlines()]
            print(summary(rows))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{arguments.table} holds other rows than those of --results ({error!r})") from error
        return 0
    unknown = [name for name in arguments.settings if name not in SETTINGS]
    if unknown:
        raise ValueError(f"no setting {'; '.join(unknown)}, expected some of: {'; '.join(SETTINGS)}")
    minutes = 5 if arguments.minutes is None else arguments.minutes
    if not minutes >= 0 or (arguments.epochs is not None and arguments.epochs < 1):
        raise ValueError("expected --minutes of at least 0 or --epochs of at least 1")
    clean = any(SETTINGS[name].clean for name in arguments.settings)
    if arguments.start:
        for name in arguments.settings:
            with SETTINGS[name].model() as model:
                begin(model, arguments.start, name)
        if arguments.weights and arguments.start.resolve() in [
                (arguments.weights / f"{name}-{seed}.pth").resolve()
                for name in arguments.settings for seed in arguments.seeds]:
            raise ValueError(f"--from {arguments.start} would be overwritten; choose another folder for --weights")
    if arguments.results:
        check_writable(arguments.results)
    if arguments.weights:
        check_writable(arguments.weights / "ours-0.pth")
    command = f"python -m Miniproject_1 data{' --clean' if clean else ''} -o {arguments.data}"
    if not arguments.data.exists():
        if arguments.data != Path("data"):
            raise ValueError(f"{arguments.data}: no such folder; make it with `{command}`")
        build(arguments.data, clean=clean)
    data = {False: load_tensors(arguments.data / "train_data.pkl")}  # by Setting.clean
    validation = {file: load_tensors(file) for file in arguments.validation or [arguments.data / "val_data.pkl"]}
    first = next(iter(validation))
    clean_file = arguments.data / "clean_data.pkl"
    if clean:
        copies = load_tensors(clean_file) if clean_file.is_file() else None
        if copies is None or not torch.equal(copies[0], torch.cat(data[False])):
            raise ValueError(f"{clean_file} is missing, or not of the crops of train_data.pkl; make all anew with "
                             f"`{command}`, and the --photos, --pairs and --seed that it was made with")
        data[True] = stacked(*copies)
        del copies  # as large as the stacked ones

    rows = []

    def keep(row: dict, file: Path) -> None:
        rows.append(row | {"data": str(arguments.data), "validation": str(file)})
        if arguments.results:
            append_results(arguments.results, rows[-1])

    if not arguments.no_throughput:
        speeds = throughput(arguments.settings, data, validation[first])
        print(speed_table(speeds), flush=True)
        for speed in speeds:
            keep(speed, first)
        for speed in speeds[1:]:
            ratio = speeds[0]["pairs_per_second"] / speed["pairs_per_second"]
            print(f"{speeds[0]['setting']} / {speed['setting']}: {ratio:.2f} times the pairs per second", flush=True)
    code = 0
    limit = {"epochs": arguments.epochs} if arguments.epochs else {"minutes": minutes}
    for seed in arguments.seeds if arguments.epochs or minutes else []:
        for name in arguments.settings:
            amount = " ".join(f"{value:g} {unit}" for unit, value in limit.items())
            print(f"\n{name}, seed {seed}, {amount}", flush=True)
            setting = SETTINGS[name]
            weights = arguments.weights / f"{name}-{seed}.pth" if arguments.weights and not setting.published else None
            row, model = training(name, limit, seed, data[setting.clean], validation[first], arguments.start, weights)
            for file, images in validation.items():
                scores = measured(model, *images)
                print(f"{name}, {file}: {scores['psnr']:.3f} dB per image, {scores['psnr_pooled']:.3f} pooled",
                      flush=True)
                keep(row | scores | ({"history": model.history} if file == first else {}), file)
            try:
                if weights:  # those measured: also without an epoch, after divergence, or with checkpoints unwritten
                    model.save(weights)
            except OSError as error:  # a full disk must not end the other trainings
                code = failed(OSError(f"{weights} not written: {error}"))
    if arguments.epochs or minutes:
        print(f"\n{table(rows)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
