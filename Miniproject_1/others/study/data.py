"""What a comparison trains on and is measured on, and what the results say of it."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..command_line import Parser
from ..datasets import ABOUT
from ..files import load_tensors
from ..results import checksum, read_results


@dataclass(frozen=True)
class TrainingData:
    """Pairs, N x C x H x W each, values 0-255.

    Attributes:
        a, b: The noisy copies.
        clean: The clean images, for a comparison with clean targets only.
        about: The name of the set that they are the first pairs of: kind, pairs, seed, checksum.
    """

    a: Tensor
    b: Tensor
    clean: Tensor | None
    about: dict

    def first(self, count: int, clean: bool) -> "TrainingData":
        """So many pairs, the first ones, with their clean images or without.

        Raises:
            ValueError: There are no clean images.
        """
        if clean and self.clean is None:
            raise ValueError("the pairs have no clean images; load them with `clean`")
        targets = self.clean[:count] if clean and self.clean is not None else None
        return replace(self, a=self.a[:count], b=self.b[:count], clean=targets)

    def after(self, count: int, most: int) -> tuple[Tensor, Tensor]:
        """The pairs that follow the first ones, at most so many."""
        return self.a[count:count + most], self.b[count:count + most]


@dataclass(frozen=True)
class ValidationData:
    """Images to measure on, N x C x H x W each, values 0-255.

    Attributes:
        noisy, clean: The images.
        about: Their number and checksum.
    """

    noisy: Tensor
    clean: Tensor
    about: dict


def add_data_options(parser: Parser) -> None:
    """Give a command -d and --validation."""
    parser.add_argument("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
                        help="folder that `python -m Miniproject_1 data` made; default: data")
    parser.add_argument("--validation", metavar="FILE", type=Path,
                        help="(noisy, clean) images to measure on; default: val_data.pkl in DIR")


def chosen_validation(arguments: argparse.Namespace) -> ValidationData:
    """The images that `add_data_options` lets choose; raises as `load_validation` does."""
    return load_validation(arguments.validation or arguments.data / "val_data.pkl")


def load_training(folder: Path, count: int | None = None, clean: bool = False) -> TrainingData:
    """Read the pairs that `python -m Miniproject_1 data` wrote.

    Args:
        folder: Has train_data.pkl, for clean targets clean_data.pkl, too, and may have about.json.
        count: Only so many pairs, the first ones; None: all.
        clean: Whether to read the clean images.

    Returns:
        The pairs.

    Raises:
        ValueError: A file is missing or damaged, does not fit to the others, or has too few pairs.
    """
    a, b = load_tensors(folder / "train_data.pkl")
    about = _about(folder, a, b)
    targets = _clean_targets(folder, a, b) if clean else None
    count = len(a) if count is None else count
    if count > len(a):
        raise ValueError(f"{folder / 'train_data.pkl'} has {len(a):,} pairs, expected at least "
                         f"{count:,}; choose fewer or make more")
    return TrainingData(a, b, targets, about).first(count, clean)


def load_validation(file: Path) -> ValidationData:
    """Read (noisy, clean) images.

    Args:
        file: A tuple of two tensors, written by torch.save.

    Returns:
        The images.

    Raises:
        ValueError: The file is missing or damaged.
    """
    noisy, clean = load_tensors(file)
    return ValidationData(noisy, clean,
                          {"images": len(noisy), "checksum": checksum(noisy, clean)})


def _about(folder: Path, a: Tensor, b: Tensor) -> dict:
    """Kind, number, seed and checksum of the pairs, with what about.json knows of them."""
    about = {"kind": "given", "pairs": len(a), "seed": None, "checksum": checksum(a, b)}
    file = folder / ABOUT
    if not file.is_file():
        return about
    told = read_results(file)[0]
    if told.get("checksum") != about["checksum"]:
        raise ValueError(f"{file} is about pairs of checksum {told.get('checksum')}, "
                         f"train_data.pkl beside it has {about['checksum']}; make both anew with "
                         "`python -m Miniproject_1 data`, or delete about.json")
    return about | {"kind": told.get("kind", "given"), "seed": told.get("seed")}


def _clean_targets(folder: Path, a: Tensor, b: Tensor) -> Tensor:
    """The clean image of each pair: clean_data.pkl has those of all a, then those of all b."""
    file = folder / "clean_data.pkl"
    remedy = "make both files anew with `python -m Miniproject_1 data --clean`"
    if not file.is_file():
        raise ValueError(f"{file}: no such file, which clean targets need; {remedy}")
    noisy, clean = load_tensors(file)
    count = len(a)
    fits = len(noisy) == 2 * count
    if not (fits and torch.equal(noisy[:count], a) and torch.equal(noisy[count:], b)):
        raise ValueError(f"{file} has other noisy images than train_data.pkl; {remedy}")
    if not torch.equal(clean[:count], clean[count:]):
        raise ValueError(f"{file} has two different clean images for a pair; {remedy}")
    return clean[:count]
