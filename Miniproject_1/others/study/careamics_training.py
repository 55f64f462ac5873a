"""CAREamics on the same pairs: what a user may pick instead, with its defaults for Noise2Noise.

It runs in an environment of its own, as its versions would not fit beside ours:

    python -m venv out/careamics
    out/careamics/bin/python -m pip install -r Miniproject_1/others/study/careamics.txt
    out/careamics/bin/python -m Miniproject_1.others.study.careamics_training -d DATA

The result is a row as training.py has it, with the configuration of CAREamics as the recipe.
"""

import argparse
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..command_line import Parser, number, program, random_seed
from .compare import MINUTES, summary
from .data import (
    TrainingData,
    ValidationData,
    add_data_options,
    chosen_validation,
    load_training,
)
from .rows import Row, collect
from .speed import ENDLESS
from .training import scores

PROGRAM = "python -m Miniproject_1.others.study.careamics_training"
NETWORK = "careamics"  # in the rows
TOGETHER = ", channels together"  # in the name of what is not the default
BATCH = 64  # pairs; the patches are whole images
HELD = 100  # pairs for its own validation: its own choice of them is slow where there are many


def train(minutes: float, seed: int, joint: bool, training: TrainingData,
          validation: ValidationData) -> Row:
    """Train CAREamics and measure it.

    Args:
        minutes: Of the training.
        seed: Of the training.
        joint: Whether one network sees all channels; by default it trains one for each.
        training: The pairs.
        validation: The images to measure on.

    Returns:
        A row, without command.

    Raises:
        ValueError: CAREamics is missing.
    """
    noisy = validation.noisy
    a, b = training.a.numpy(), training.b.numpy()
    if len(a) <= HELD:
        raise ValueError(f"{len(a)} pairs given, expected more than the {HELD} held out")
    with tempfile.TemporaryDirectory() as folder:
        careamist = _careamist(minutes, seed, joint, a.shape, folder)
        began = time.monotonic()
        careamist.train(train_data=a[:-HELD], train_data_target=b[:-HELD], val_data=a[-HELD:],
                        val_data_target=b[-HELD:])
        seconds = time.monotonic() - began
        epochs, rest = divmod(careamist.trainer.global_step, math.ceil(len(a[:-HELD]) / BATCH))
        (pages, *_), _ = careamist.predict(noisy.numpy())
    denoised = torch.as_tensor(pages).reshape(noisy.shape).clamp(0, 255)
    seen = epochs * len(a[:-HELD]) + rest * BATCH
    return {
        "kind": "training",
        "name": f"CAREamics {version('careamics')}{TOGETHER if joint else ''}",
        "network": NETWORK,
        "recipe": careamist.config.model_dump(mode="json", exclude={"data_config": {"seed"}}),
        "parameters": sum(weight.numel() for weight in careamist.model.parameters()),
        "minutes": minutes,
        "seed": seed,
        "clean_targets": False,
        "pairs": len(a),
        "pairs_seen": seen,
        "seconds": seconds,
        "pairs_per_second": seen / seconds,
        **scores(denoised, None, validation),
        "data": training.about,
        "validation": validation.about,
        "history": [],
    }


def _careamist(minutes: float, seed: int, joint: bool, shape: tuple[int, ...], folder: str) -> Any:
    """What trains, for so many minutes, on arrays N x C x S x S."""
    try:
        from careamics import CAREamist
        from careamics.config import create_advanced_n2n_config
        from lightning.pytorch.callbacks import Timer
    except ImportError as error:
        raise ValueError(f"CAREamics is missing ({error}): run this with the Python of an "
                         "environment made from Miniproject_1/others/study/careamics.txt"
                         ) from error
    config = create_advanced_n2n_config(
        experiment_name="pairs", data_type="array", axes="SCYX", target_axes="SCYX",
        patch_size=shape[-2:], batch_size=BATCH, num_epochs=ENDLESS, n_channels_in=shape[1],
        independent_channels=not joint, seed=1 + seed)  # which it wants above 0
    return CAREamist(config, work_dir=folder, enable_progress_bar=False,
                     callbacks=[Timer(duration={"minutes": minutes})])


@program
def main(argv: list[str] | None = None) -> int:
    """Train and measure; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    words = [*PROGRAM.split(), "-d", "DATA", "--validation", "VALIDATION", "--minutes",
             f"{arguments.minutes:g}", "--seed", str(arguments.seed)]
    words += ["--joint-channels"] if arguments.joint_channels else []
    collect(_measured(arguments), shlex.join(words), arguments.results, summary)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    validation = chosen_validation(arguments)
    yield train(arguments.minutes, arguments.seed, arguments.joint_channels,
                load_training(arguments.data), validation)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Train CAREamics on pairs and measure it.")
    add = parser.add_argument
    add_data_options(parser)
    add("--minutes", metavar="M", type=number(float), default=MINUTES,
        help=f"of the training; default: {MINUTES:g}")
    add("--joint-channels", action="store_true",
        help="one network for all channels; default: one for each, as CAREamics has it")
    add("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    add("--results", metavar="FILE", type=Path, help="append the result, a line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
