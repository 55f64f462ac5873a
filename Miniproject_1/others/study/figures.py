"""The report's figures and numbers: `python -m Miniproject_1.others.study.figures`.

It reads the results files only, and writes figures/*.pdf and results/numbers.tex.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from ...model import Recipe
from ..command_line import Parser, program
from ..files import check_writable, replacing, write_text
from .macros import PROGRAM, latex, macros
from .measurements import Results, read
from .page import RESULTS
from .plots import TEXT_WIDTH, draw_network, draw_training, save

FIGURES = ("network", "training")


@program
def main(argv: list[str] | None = None) -> int:
    """Write figures and numbers; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    folder = arguments.output / "figures"
    numbers = arguments.output / "results/numbers.tex"
    results = read(arguments.results)
    text = latex(macros(results))
    for file in (numbers, *(folder / f"{name}.pdf" for name in FIGURES)):
        check_writable(file)
    draw(results, folder)
    write_text(numbers, text)
    print(f"wrote {numbers} and the figures in {folder}")
    return 0


def draw(results: Results, folder: Path) -> None:
    """Write all figures.

    Args:
        results: What was measured.
        folder: For the files.

    Raises:
        ValueError: Matplotlib or a measurement is missing.
    """
    drawn = {
        "network": (partial(draw_network, recipe=Recipe()), TEXT_WIDTH, 1.6),
        "training": (partial(draw_training, results=results), TEXT_WIDTH, 2.1),
    }
    for name, (fill, width, height) in drawn.items():
        with replacing(folder / f"{name}.pdf") as temporary:
            save(temporary, fill, width, height)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Write the report's figures and numbers.")
    add = parser.add_argument
    add("--results", metavar="DIR", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    add("-o", "--output", metavar="DIR", type=Path, default=RESULTS.parent,
        help=f"folder of report.tex; default: {RESULTS.parent}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
