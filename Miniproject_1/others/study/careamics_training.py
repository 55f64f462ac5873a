"""CAREamics on the same pairs: what a user may pick instead, with its defaults for Noise2Noise.

It runs in an environment of its own, as its versions would not fit beside ours:

    python -m venv out/careamics
    out/careamics/bin/python -m pip install -r Miniproject_1/others/study/careamics.txt
    out/careamics/bin/python -m Miniproject_1.others.study.careamics_training -d DATA

The result is a row like that of a training of compare.py.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from ...model import psnr
from ..command_line import Parser, number, program, random_seed
from .compare import MINUTES, summary
from .data import TrainingData, ValidationData, load_training, load_validation
from .rows import Row, collect
from .training import pooled_psnr

PROGRAM = "python -m Miniproject_1.others.study.careamics_training"
BATCH = 64  # pairs; the patches are whole images


def train(minutes: float, seed: int, training: TrainingData, validation: ValidationData) -> Row:
    """Train CAREamics and measure it.

    Args:
        minutes: Of the training.
        seed: Of the training.
        training: The pairs.
        validation: The images to measure on.

    Returns:
        A row, without command.

    Raises:
        ValueError: CAREamics is missing.
    """
    try:
        import careamics
        from careamics import CAREamist
        from careamics.config import create_advanced_n2n_config
        from lightning.pytorch.callbacks import Timer
    except ImportError as error:
        raise ValueError(f"CAREamics is missing ({error}): run this with the Python of an "
                         "environment made from Miniproject_1/others/study/careamics.txt") from error
    side = training.a.shape[-1]
    config = create_advanced_n2n_config(
        experiment_name="pairs", data_type="array", axes="SCYX", patch_size=[side, side],
        batch_size=BATCH, num_epochs=10**6, n_channels_in=training.a.shape[1], seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = CAREamist(config, work_dir=folder, enable_progress_bar=False,
                            callbacks=[Timer(duration={"minutes": minutes})])
        began = time.monotonic()
        trainer.train(train_data=training.a.numpy(), train_data_target=training.b.numpy())
        seconds = time.monotonic() - began
        steps = trainer.trainer.global_step
        pages, _ = trainer.predict(validation.noisy.numpy())
    denoised = torch.as_tensor(pages[0]).reshape(validation.noisy.shape).clamp(0, 255)
    noisy, clean = validation.noisy, validation.clean
    return {
        "kind": "training",
        "name": f"CAREamics {careamics.__version__}",
        "network": "careamics",
        "recipe": config.model_dump(mode="json"),
        "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
        "minutes": minutes,
        "seed": seed,
        "clean_targets": False,
        "pairs": len(training.a),
        "pairs_seen": steps * BATCH,
        "seconds": seconds,
        "pairs_per_second": steps * BATCH / seconds,
        "psnr": psnr(denoised, clean),
        "psnr_pooled": pooled_psnr(denoised, clean),
        "psnr_without_self_ensemble": None,
        "noisy_psnr": psnr(noisy, clean),
        "noisy_psnr_pooled": pooled_psnr(noisy, clean),
        "data": training.about,
        "validation": validation.about,
        "history": [],
    }


@program
def main(argv: list[str] | None = None) -> int:
    """Train and measure; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    words = [*PROGRAM.split(), "-d", "DATA", "--validation", "VALIDATION", "--minutes",
             f"{arguments.minutes:g}"]
    collect(_measured(arguments), shlex.join(words), arguments.results, summary)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    validation = load_validation(arguments.validation or arguments.data / "val_data.pkl")
    yield train(arguments.minutes, arguments.seed, load_training(arguments.data), validation)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Train CAREamics on pairs and measure it.")
    add = parser.add_argument
    add("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
        help="folder that `python -m Miniproject_1 data` made; default: data")
    add("--validation", metavar="FILE", type=Path,
        help="(noisy, clean) images to measure on; default: val_data.pkl in DIR")
    add("--minutes", metavar="M", type=number(float), default=MINUTES,
        help=f"of the training; default: {MINUTES:g}")
    add("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    add("--results", metavar="FILE", type=Path, help="append the result, a line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
