"""Kill trainings and go on with them: `python -m Miniproject_1.others.study.kills`.

A small training that writes its checkpoint after every step is killed at a random moment (SIGKILL),
often while it writes, and resumed. Its weights are then compared with those of the same training
in one go. The counts are a row of the results file:

    kind               "kills"
    name               of what is trained
    seed               of the moments
    kills              how many trainings were killed
    identical          how many of them ended with the same weights, to the bit
    corrupt            how many left a file that cannot be read
    command            makes the row again

with date, device, processor, threads and torch.
"""

import argparse
import multiprocessing
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ... import model as module
from ...model import Model, Recipe
from ..command_line import Parser, number, program, progress_bar, random_seed
from .rows import Row, collect, markdown

PROGRAM = "python -m Miniproject_1.others.study.kills"
KILLS = 200
EPOCHS, PAIRS, SIDE = 6, 90, 16  # of each training
RECIPE = Recipe(widths=(8, 16), blocks=1, batch=8)
HEADS = ("killed", "ended with the same weights", "corrupt files")


@dataclass(frozen=True)
class Counts:
    """What became of trainings that were killed."""

    kills: int = 0
    identical: int = 0
    corrupt: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.kills + other.kills, self.identical + other.identical,
                      self.corrupt + other.corrupt)


def measure(kills: int, seed: int, progress: bool = True) -> Row:
    """Kill so many trainings, and go on with each.

    Args:
        kills: How many.
        seed: Of the moments.
        progress: Whether to show progress on stderr.

    Returns:
        A row, without command.

    Raises:
        RuntimeError: A training failed that nobody had killed.
    """
    moments = random.Random(seed)
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        began = time.monotonic()
        expected = _finished(file)
        seconds = time.monotonic() - began
        for _ in progress_bar(range(kills), kills, "kills", progress):
            while not (count := _killed(file, seconds * moments.random(), expected)).kills:
                seconds *= 0.9  # it had come to its end before
            counts += count
    return {"kind": "kills", "name": "small network", "seed": seed, **vars(counts)}


def _killed(file: Path, after: float, expected: Tensor) -> Counts:
    """Kill a training after some seconds, and go on with it; all 0 if it had ended by then."""
    file.unlink(missing_ok=True)
    training = _start(file)
    training.join(after)
    training.kill()
    training.join()
    if training.exitcode == 0:
        return Counts()
    if training.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"a training ended with exit code {training.exitcode}")
    if _is_corrupt(file):
        return Counts(kills=1, corrupt=1)
    return Counts(kills=1, identical=int(torch.equal(_finished(file), expected)))


def _is_corrupt(file: Path) -> bool:
    try:
        if file.exists():
            module.read_model(file)
    except ValueError:
        return True
    return False


def _finished(file: Path) -> Tensor:
    """The weights of a training that goes on from the file, if there is one, to its end."""
    training = _start(file)
    training.join()
    if training.exitcode != 0:
        raise RuntimeError(f"a training ended with exit code {training.exitcode}")
    model = Model()
    model.load_pretrained_model(file)
    return torch.cat([weight.flatten() for weight in model.net.parameters()])


def _start(file: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_train, args=(file,))
    process.start()
    return process


def _train(file: Path) -> None:
    """Train in a process of its own, from the start or from the file."""
    torch.set_num_threads(1)  # after a fork, more would wait for ever
    module.WRITE_EVERY = 0.0  # after each step
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(256, (2, PAIRS, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    resume = file if file.exists() else None
    if resume and "training" not in module.read_model(file)[1]:
        return  # it was killed after its end
    torch.manual_seed(0)  # of the initial weights
    Model(RECIPE).train(a, b, EPOCHS, time_limit=None, progress=False, checkpoint=file,
                        resume=resume)


def table(rows: list[Row]) -> str:
    """A line of Markdown per row."""
    return markdown(HEADS, [[str(row[key]) for key in ("kills", "identical", "corrupt")]
                            for row in rows])


@program
def main(argv: list[str] | None = None) -> int:
    """Kill trainings; `program` says what it takes and returns."""
    arguments = _arguments(argv)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU cannot be used after a fork
    torch.set_num_threads(1)
    collect(_measured(arguments), command(arguments), arguments.results, table)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    yield measure(arguments.kills, arguments.seed, sys.stderr.isatty())


def command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same."""
    words = [*PROGRAM.split(), "--kills", str(arguments.kills)]
    if arguments.seed:
        words += ["--seed", str(arguments.seed)]
    return shlex.join(words)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=PROGRAM, description="Kill trainings at random moments and go on.")
    add = parser.add_argument
    add("--kills", metavar="N", type=number(int), default=KILLS, help=f"default: {KILLS}")
    add("--seed", metavar="S", type=random_seed, default=0, help="of the moments; default: 0")
    add("--results", metavar="FILE", type=Path, help="append the row, a line of JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
