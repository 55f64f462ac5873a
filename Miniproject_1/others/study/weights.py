"""Make the pretrained weights: `python -m Miniproject_1.others.study.weights --photos DIR`.

One recipe, one training, on PAIRS pairs of crops of the photos, each with noise of its own. Stopped
or killed, the same command goes on where it was: pairs and training are kept in a folder.

The row of the results file has `kind` "pretraining", `recipe`, `parameters`, `seed`, `pairs`,
`epochs`, `pairs_seen`, `seconds` (of training, all sittings together), `data`, `validation`,
`command` and `history`; the PSNR in it is of images held out of the training, without
self-ensemble.
"""

import argparse
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from ...model import Model, Recipe, default_weights, read_model
from ..command_line import SIGNALLED, Parser, StopSignals, number, program, random_seed
from ..datasets import build
from ..files import check_writable
from ..results import append_results
from .data import TrainingData, ValidationData, load_training, load_validation
from .recipes import parameter_count

PROGRAM = "python -m Miniproject_1.others.study.weights"
RECIPE = Recipe(blocks=3)
PAIRS, EPOCHS = 250_000, 4
PAIRS_FILE = "train_data.pkl"


@program
def main(argv: list[str] | None = None) -> int:
    """Make the weights; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder
    for file in (arguments.output, arguments.results, folder / PAIRS_FILE):
        check_writable(file)
    if not (folder / PAIRS_FILE).exists():  # which `build` writes last
        build(folder, arguments.photos, pairs=arguments.pairs, seed=arguments.seed)
    training = load_training(folder)
    _check_same(training, arguments)
    checkpoint = folder / "training.pth"
    if checkpoint.exists() and not read_model(checkpoint)[1].get("training"):
        raise ValueError(f"{checkpoint} has come to its end: these are the weights; for another "
                         f"training, delete {folder} or choose another --folder")
    model, stopped_by = _train(training, load_validation(folder / "val_data.pkl"), checkpoint,
                               arguments)
    if model.stopped:
        print("interrupted: to go on, type the same command", file=sys.stderr)
        return SIGNALLED + (stopped_by or signal.SIGTERM)
    seen = sum(row["pairs"] for row in model.history)
    if seen != len(training.a) * arguments.epochs:
        raise ValueError(f"the training ended after {seen:,} pairs, and {arguments.output} is not "
                         f"written; its last good weights are {checkpoint}")
    model.save(arguments.output)
    print(f"wrote {arguments.output}")
    return 0


def _check_same(training: TrainingData, arguments: argparse.Namespace) -> None:
    """ValueError if the pairs of earlier sittings are other ones than the arguments ask for."""
    kind = "scenes" if arguments.photos is None else "photos"
    wanted = {"kind": kind, "pairs": arguments.pairs, "seed": arguments.seed}
    other = [f"{key} {training.about[key]}, now {value}" for key, value in wanted.items()
             if training.about[key] != value]
    if other:
        raise ValueError(f"{arguments.folder} has pairs of another training: {'; '.join(other)}; "
                         "type the same command as before, or choose another --folder")


def _train(training: TrainingData, validation: ValidationData, checkpoint: Path,
           arguments: argparse.Namespace) -> tuple[Model, int | None]:
    """Train, or go on; the model, and the number of the signal that stopped it, if one did."""
    with torch.random.fork_rng():
        torch.manual_seed(arguments.seed)
        model = Model(RECIPE)
    with StopSignals() as stop:
        model.train(training.a, training.b, arguments.epochs,
                    validation=(validation.noisy, validation.clean), time_limit=None,
                    seed=arguments.seed, checkpoint=checkpoint,
                    resume=checkpoint if checkpoint.exists() else None, stop=stop)
    if not model.stopped:
        append_results(arguments.results, _row(model, training, validation, arguments))
    return model, stop.received


def _row(model: Model, training: TrainingData, validation: ValidationData,
         arguments: argparse.Namespace) -> dict:
    """What the results say of a training."""
    photos = "" if arguments.photos is None else " --photos PHOTOS"
    return {
        "kind": "pretraining",
        "name": arguments.output.name,
        "recipe": asdict(model.recipe),
        "parameters": parameter_count(model),
        "seed": arguments.seed,
        "pairs": len(training.a),
        "epochs": arguments.epochs,
        "pairs_seen": sum(row["pairs"] for row in model.history),
        "seconds": model.history[-1]["seconds"],
        "data": training.about,
        "validation": validation.about,
        "command": f"{PROGRAM}{photos} --pairs {arguments.pairs} --epochs {arguments.epochs} "
                   f"--seed {arguments.seed}",
        "history": model.history,
    }


def _parser() -> argparse.ArgumentParser:
    summary = "Make the pretrained weights, in an hour or more."
    parser = Parser(prog=PROGRAM, description=summary)
    add = parser.add_argument
    add("--photos", metavar="DIR", type=Path, help="folder of photos; default: generated scenes")
    add("--folder", metavar="DIR", type=Path, default=Path("out/weights"),
        help="keeps pairs and training, to go on with; default: out/weights")
    add("--pairs", metavar="N", type=number(int), default=PAIRS, help=f"default: {PAIRS}")
    add("--epochs", metavar="E", type=number(int), default=EPOCHS, help=f"default: {EPOCHS}")
    add("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    add("-o", "--output", metavar="FILE", type=Path, default=default_weights(),
        help="default: bestmodel.pth")
    add("--results", metavar="FILE", type=Path, default=Path("out/weights/training.jsonl"),
        help="append the log, a line of JSON; default: out/weights/training.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
