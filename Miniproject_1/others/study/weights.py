"""Make the pretrained weights: `python -m Miniproject_1.others.study.weights --photos DIR`.

One recipe, one training, on PAIRS pairs of crops of the photos, each with noise of its own. Stopped
or killed, the same command goes on where it was: pairs and training are kept in a folder.

The row of the results file has `kind` "pretraining", `recipe`, `parameters`, `seed`, `pairs`,
`epochs`, `pairs_seen`, `seconds` (of training, all sittings together), `data`, `command` and
`history`; the PSNR in it is of photos held out of the training, without self-ensemble.
"""

import argparse
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from ...model import Model, Recipe, default_weights
from ..command_line import SIGNALLED, Parser, StopSignals, number, program, random_seed
from ..datasets import build
from ..files import check_writable
from ..results import append_results
from .data import load_training, load_validation
from .recipes import parameter_count

PROGRAM = "python -m Miniproject_1.others.study.weights"
RECIPE = Recipe(widths=(32, 64, 128))
PAIRS, EPOCHS = 500_000, 8


@program
def main(argv: list[str] | None = None) -> int:
    """Make the weights; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder
    for file in (arguments.output, arguments.results, folder / "train_data.pkl"):
        check_writable(file)
    if not (folder / "train_data.pkl").exists():  # which `build` writes last
        build(folder, arguments.photos, pairs=arguments.pairs, seed=arguments.seed)
    training = load_training(folder, arguments.pairs)
    validation = load_validation(folder / "val_data.pkl")
    checkpoint = folder / "training.pth"
    with torch.random.fork_rng():
        torch.manual_seed(arguments.seed)
        model = Model(RECIPE)
    with StopSignals() as stop:
        model.train(training.a, training.b, arguments.epochs,
                    validation=(validation.noisy, validation.clean), time_limit=None,
                    seed=arguments.seed, checkpoint=checkpoint,
                    resume=checkpoint if checkpoint.exists() else None, stop=stop)
    if model.stopped:
        print("interrupted: to go on, type the same command", file=sys.stderr)
        return SIGNALLED + (stop.received or signal.SIGTERM)
    model.save(arguments.output)
    append_results(arguments.results, {
        "kind": "pretraining",
        "recipe": asdict(model.recipe),
        "parameters": parameter_count(model),
        "seed": arguments.seed,
        "pairs": len(training.a),
        "epochs": arguments.epochs,
        "pairs_seen": sum(row["pairs"] for row in model.history),
        "seconds": model.history[-1]["seconds"],
        "data": training.about,
        "command": f"{PROGRAM} --photos PHOTOS --pairs {arguments.pairs} --epochs "
                   f"{arguments.epochs} --seed {arguments.seed}",
        "history": model.history,
    })
    print(f"wrote {arguments.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Make the pretrained weights; it takes hours.")
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
