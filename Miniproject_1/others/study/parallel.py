"""Several processes against one on the same cores: `python -m Miniproject_1.others.study.parallel`.

In turns it trains a network in one process, and in several that share its threads. The medians over
the turns are a row of the results file:

    kind               "processes"
    name, recipe       of what is trained
    processes          how many, beside one
    one, several       pairs per second
    ratio              of several to one, the median over turns
    turns, turn_seconds
    command            makes the row again

with date, device, processor, threads and torch.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from ...model import Model, Recipe
from ..command_line import Parser, number, program
from ..processes import joined
from .recipes import OURS
from .rows import Row, collect, markdown
from .speed import ENDLESS, TURN_SECONDS, TURNS, pairs_per_second

PROGRAM = "python -m Miniproject_1.others.study.parallel"
PAIRS, SIDE = 2_000, 32  # of the images, which are random: their values do not matter here
HEADS = ("recipe", "processes", "pairs/s of one", "pairs/s of all", "ratio")


def measure(processes: int, turns: int, seconds: float) -> Row:
    """Train in one process and in several, in turns.

    Args:
        processes: How many several are.
        turns: How many.
        seconds: Of each training.

    Returns:
        A row, without command.

    Raises:
        RuntimeError: A training failed.
    """
    rates = [(rate(1, seconds), rate(processes, seconds)) for _ in range(turns)]
    return {
        "kind": "processes",
        "name": OURS,
        "recipe": asdict(Recipe()),
        "processes": processes,
        "turns": turns,
        "turn_seconds": seconds,
        "one": statistics.median(one for one, _ in rates),
        "several": statistics.median(several for _, several in rates),
        "ratio": statistics.median(several / one for one, several in rates),
    }


def rate(processes: int, seconds: float) -> float:
    """The speed of a training.

    Args:
        processes: That share the threads of this one.
        seconds: Of the training.

    Returns:
        Pairs per second.

    Raises:
        RuntimeError: The training failed.
    """
    threads = max(1, torch.get_num_threads() // processes)
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    run = subprocess.run([*launcher, __spec__.name, "--worker", str(seconds)], text=True,
                         env=os.environ | {"OMP_NUM_THREADS": str(threads)}, capture_output=True,
                         check=False)
    if run.returncode != 0:
        raise RuntimeError(f"the training in {processes} processes failed: {run.stderr}")
    return float(run.stdout)


def _train(seconds: float) -> None:
    """Train here, as one of the processes; the first one prints the rate."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(256, (2, PAIRS, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    with joined() as rank:
        model = Model()
        model.train(a, b, ENDLESS, validation=(a[:1], b[:1]), time_limit=seconds, progress=False)
        if rank == 0:
            print(pairs_per_second(model.history))


def table(rows: list[Row]) -> str:
    """A line of Markdown per row."""
    return markdown(HEADS, [[row["name"], str(row["processes"]), f"{row['one']:.0f}",
                             f"{row['several']:.0f}", f"{row['ratio']:.2f}"] for row in rows])


@program
def main(argv: list[str] | None = None) -> int:
    """Measure; `program` says what it takes and returns."""
    arguments = _arguments(argv)
    if arguments.worker:
        _train(arguments.worker)
        return 0
    collect(_measured(arguments), command(arguments), arguments.results, table)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    yield measure(arguments.processes, arguments.turns, arguments.seconds)


def command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same."""
    words = [*PROGRAM.split(), "--processes", str(arguments.processes)]
    if arguments.turns != TURNS:
        words += ["--turns", str(arguments.turns)]
    if arguments.seconds != TURN_SECONDS:
        words += ["--seconds", f"{arguments.seconds:g}"]
    return shlex.join(words)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=PROGRAM, description="Compare several processes with one.")
    add = parser.add_argument
    add("--processes", metavar="N", type=number(int), default=2, help="default: 2")
    add("--turns", metavar="N", type=number(int), default=TURNS, help=f"default: {TURNS}")
    add("--seconds", metavar="S", type=number(float), default=TURN_SECONDS,
        help=f"of each training; default: {TURN_SECONDS:g}")
    add("--worker", metavar="S", type=number(float), help=argparse.SUPPRESS)
    add("--results", metavar="FILE", type=Path, help="append the row, a line of JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
