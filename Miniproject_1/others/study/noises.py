"""Other noise than the course's: `python -m Miniproject_1.others.study.noises [KIND ...]`.

For each kind of noise of kinds.py it makes pairs of photos, trains on them for some minutes with
the recipe that the command line chooses for such pairs, and measures photos that were held out:
noisy, after the best Gaussian blur, after BM3D, and denoised. Each is a row of the results file:

    kind                        "noise"
    name, about                 of the kind of noise
    recipe                      that of the command line for such pairs
    seed, minutes, seconds      of the training; what was allowed, and what it took
    clean_targets               whether the targets were clean images
    pairs, pairs_seen           to train on; in all steps together
    noisy, psnr                 dB, mean over images, before and after denoising
    blur, blur_sigma, bm3d      dB after the best blur, its pixels, dB after BM3D; rows with clean
                                targets leave them out
    psnr_without_self_ensemble  dB
    bias, noisy_bias            mean of (denoised - clean), (noisy - clean), in units of the images
    peak                        range of the clean values, that of the PSNR
    data, validation            what the images are, without a path
    history                     of the training, by epoch
    command                     makes the row again, PHOTOS is a path

with date, device, processor, threads and torch.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...model import Model, Recipe, psnr, tiles
from ..command_line import Parser, number, program, random_seed
from ..images import image_files, read_rgb, to_tensor
from ..look import look
from ..photos import split_files
from ..results import checksum
from ..scenes import scenes
from .filters import best_blur, bm3d
from .kinds import KINDS, Kind
from .rows import Row, collect, decibels, grouped, markdown
from .speed import ENDLESS

PROGRAM = "python -m Miniproject_1.others.study.noises"
SIDE = 3 * Recipe().tile  # pixels of the squares that are cut from photos: nine tiles each
TRAIN_SQUARES, TEST_SQUARES = 1_500, 24  # at most
MINUTES = 10.0
BATCH = 100  # squares that get noise at a time


@dataclass(frozen=True)
class Squares:
    """Photos to train on and to measure on.

    Attributes:
        training, test: N x 3 x SIDE x SIDE, uint8.
        about: What they are: kind and seed.
    """

    training: Tensor
    test: Tensor
    about: dict


# ---- photos ------------------------------------------------------------------------------------


def from_photos(folder: Path, seed: int) -> Squares:
    """The middle of each photo whose sides are at least SIDE.

    Args:
        folder: Of photos.
        seed: Of the choice of those that are held out.

    Returns:
        The squares, at most TRAIN_SQUARES and TEST_SQUARES.

    Raises:
        ValueError: There are fewer than two photos, or none of that size to train or measure on.
    """
    files = image_files(folder)
    if len(files) < 2:
        raise ValueError(f"{folder} has {len(files)} photos, expected at least 2")
    training, test = split_files(files, seed)
    return Squares(_middles(training, TRAIN_SQUARES), _middles(test, TEST_SQUARES),
                   {"kind": "photos", "seed": seed})


def _middles(files: list[Path], most: int) -> Tensor:
    """Of the first photos that are large enough, in their own resolution."""
    squares: list[Tensor] = []
    for file in files:
        if len(squares) == most:
            break
        photo = read_rgb(file)
        left, top = (photo.width - SIDE) // 2, (photo.height - SIDE) // 2
        if min(left, top) >= 0:
            squares.append(to_tensor(photo.crop((left, top, left + SIDE, top + SIDE))))
    if not squares:
        raise ValueError(f"none of {len(files)} photos has {SIDE} x {SIDE} pixels; give larger "
                         "ones, or more")
    return torch.stack(squares)


def from_scenes(seed: int) -> Squares:
    """The same of generated scenes."""
    drawn = scenes(TRAIN_SQUARES + TEST_SQUARES, torch.Generator().manual_seed(seed))
    drawn = drawn[..., :SIDE, :SIDE].contiguous()
    return Squares(drawn[:TRAIN_SQUARES], drawn[TRAIN_SQUARES:], {"kind": "scenes", "seed": seed})


# ---- measurements ------------------------------------------------------------------------------


def pairs_of(kind: Kind, squares: Tensor, tile: int, generator: torch.Generator
             ) -> tuple[Tensor, Tensor, Tensor]:
    """(noisy_a, noisy_b, clean) of the tiles of squares, N x C x T x T each."""
    copies: list[tuple[Tensor, Tensor, Tensor]] = []
    for some in tiles(squares, tile).split(BATCH):
        clean = kind.clean(some)
        copies.append((kind.noisy(clean, generator), kind.noisy(clean, generator), clean))
    noisy_a, noisy_b, clean = (torch.cat(parts) for parts in zip(*copies, strict=True))
    return noisy_a, noisy_b, clean


def measure(name: str, squares: Squares, minutes: float, seed: int, clean_targets: bool = False,
            progress: bool = True) -> Row:
    """Train on pairs with a kind of noise, and measure on the photos held out.

    Args:
        name: Of the kind.
        squares: The photos.
        minutes: Of the training.
        seed: Of the noise, the weights, and of shuffling and augmentation.
        clean_targets: Whether to train on clean targets; then blur and BM3D are left out.
        progress: Whether to print a row per epoch.

    Returns:
        A row, without command.

    Raises:
        ValueError: The package `bm3d` is missing, or the time is too short for a step.
    """
    kind = KINDS[name]
    generator = torch.Generator().manual_seed(seed)
    clean = kind.clean(squares.test)
    noisy = kind.noisy(clean, generator)
    filters = {} if clean_targets else _filtered(name, noisy, clean)
    pairs = pairs_of(kind, squares.training, Recipe().tile, generator)
    model = _trained(pairs, minutes, seed, clean_targets, progress)
    return {
        "kind": "noise",
        "name": name,
        "about": kind.about,
        "recipe": asdict(model.recipe),
        "seed": seed,
        "minutes": minutes,
        "clean_targets": clean_targets,
        "pairs": len(pairs[0]),
        "pairs_seen": sum(row["pairs"] for row in model.history),
        "seconds": model.history[-1]["seconds"],
        "peak": kind.peak,
        **filters,
        **_scores(model, noisy, clean, kind.peak),
        "data": squares.about | {"squares": len(squares.training),
                                 "checksum": checksum(squares.training)},
        "validation": {"images": len(noisy), "checksum": checksum(squares.test)},
        "history": model.history,
    }


def _filtered(name: str, noisy: Tensor, clean: Tensor) -> dict:
    """What a row says of blur and BM3D."""
    peak = KINDS[name].peak
    blur, sigma = best_blur(noisy, clean, peak)
    return {"blur": blur, "blur_sigma": sigma, "bm3d": psnr(bm3d(noisy, name), clean, peak)}


def _trained(pairs: tuple[Tensor, Tensor, Tensor], minutes: float, seed: int, clean_targets: bool,
             progress: bool) -> Model:
    """A new model, trained with the recipe for such pairs: (noisy_a, noisy_b, clean)."""
    noisy_a, noisy_b, clean = pairs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(look(noisy_a, noisy_b).recipe())
    model.train(noisy_a, noisy_b, ENDLESS, time_limit=60 * minutes, seed=seed, progress=progress,
                clean=clean if clean_targets else None)
    if len(model.history) == 1:
        raise ValueError(f"{minutes:g} minutes are too short for a step; give more")
    return model


def _scores(model: Model, noisy: Tensor, clean: Tensor, peak: float) -> dict:
    """What a row says of the noisy and of the denoised images."""
    denoised = model.predict(noisy)
    single = model.predict(noisy, self_ensemble=False)
    return {
        "noisy": psnr(noisy, clean, peak),
        "psnr": psnr(denoised, clean, peak),
        "psnr_without_self_ensemble": psnr(single, clean, peak),
        "bias": (denoised - clean).mean().item(),
        "noisy_bias": (noisy.float() - clean).mean().item(),
    }


# ---- what is printed ---------------------------------------------------------------------------


HEADS = ("noise", "noisy", "best blur", "BM3D", "ours", "ours, clean targets")


def table(rows: list[Row]) -> str:
    """A line of Markdown per kind of noise, PSNR in dB, with the mean over seeds."""
    return markdown(HEADS, lines(rows))


def lines(rows: list[Row]) -> list[list[str]]:
    """The cells of a table, as HEADS has them: a line per kind of noise."""
    found = []
    for group in grouped(rows, ("name", "minutes")):
        noisy = [row for row in group if not row["clean_targets"]]
        clean = [row for row in group if row["clean_targets"]]
        cells = [decibels(noisy, key) for key in ("noisy", "blur", "bm3d", "psnr")]
        found.append([KINDS[group[0]["name"]].about, *cells, decibels(clean)])
    return found


# ---- the command -------------------------------------------------------------------------------


@program
def main(argv: list[str] | None = None) -> int:
    """Measure kinds of noise; `program` says what it takes and returns."""
    arguments = _arguments(argv)
    collect(_measured(arguments), command(arguments), arguments.results, table)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows, one by one."""
    if arguments.photos:
        squares = from_photos(arguments.photos, arguments.seed)
    else:
        squares = from_scenes(arguments.seed)
    for name in arguments.names or KINDS:
        print(f"\n{KINDS[name].about}, {arguments.minutes:g} min", flush=True)
        yield measure(name, squares, arguments.minutes, arguments.seed, arguments.clean_targets)


def command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same, with PHOTOS in the place of a path."""
    words = [*PROGRAM.split(), *arguments.names]
    if arguments.photos:
        words += ["--photos", "PHOTOS"]
    words += ["--minutes", f"{arguments.minutes:g}"]
    if arguments.seed:
        words += ["--seed", str(arguments.seed)]
    if arguments.clean_targets:
        words += ["--clean-targets"]
    return shlex.join(words)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The parsed arguments, the names checked."""
    parser = Parser(prog=PROGRAM, description="Train on and measure other kinds of noise.")
    add = parser.add_argument
    kinds = ", ".join(KINDS)
    add("names", metavar="KIND", nargs="*", help=f"of {kinds}; default: all")
    add("--photos", metavar="DIR", type=Path,
        help=f"photos of {SIDE} x {SIDE} pixels or more; default: generated scenes")
    add("--minutes", metavar="M", type=number(float), default=MINUTES,
        help=f"of each training; default: {MINUTES:g}")
    add("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    add("--clean-targets", action="store_true", help="train on clean images as targets")
    add("--results", metavar="FILE", type=Path, help="append the results, a line of JSON each")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in KINDS]
    if unknown:
        parser.error(f"no kind {', '.join(unknown)}, expected some of: {kinds}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
