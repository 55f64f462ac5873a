"""The report's figures and numbers: `python -m Miniproject_1.others.study.figures`.

It reads the results files only, and writes figures/*.pdf and results/numbers.tex.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...model import Recipe
from ..command_line import Parser, program
from ..files import check_writable, replacing, write_text
from .macros import PROGRAM, latex, macros
from .measurements import RESULTS, Results, add_results_options, chosen_results, our_recipe
from .plots import (
    COLUMN_WIDTH,
    TEXT_WIDTH,
    draw_data,
    draw_grid,
    draw_network,
    draw_training,
    save,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing = tuple[Callable[["Figure"], None], float, float]  # what draws it; width, height in inches


@program
def main(argv: list[str] | None = None) -> int:
    """Write figures and numbers; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    folder = arguments.output / "figures"
    numbers = arguments.output / "results/numbers.tex"
    results = chosen_results(arguments)
    text = latex(macros(results))
    drawn = figures(results)
    for file in (numbers, *(folder / f"{name}.pdf" for name in drawn)):
        check_writable(file)
    for name, (draw, width, height) in drawn.items():
        with replacing(folder / f"{name}.pdf") as temporary:
            save(temporary, draw, width, height)
    write_text(numbers, text)
    print(f"wrote {numbers} and {', '.join(drawn)} in {folder}")
    return 0


def figures(results: Results) -> dict[str, Drawing]:
    """All figures.

    Args:
        results: What was measured.

    Returns:
        By name.
    """
    recipe = Recipe(**our_recipe(results))
    return {
        "network": (partial(draw_network, recipe=recipe), COLUMN_WIDTH, 1.15),
        "grid": (partial(draw_grid, rows=results.table1), TEXT_WIDTH, 1.45),
        "training": (partial(draw_training, results=results), TEXT_WIDTH, 1.45),
        "data": (partial(draw_data, results=results), TEXT_WIDTH, 1.45),
    }


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Write the report's figures and numbers.")
    add_results_options(parser)
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=RESULTS.parent,
                        help=f"folder of report.tex; default: {RESULTS.parent}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
