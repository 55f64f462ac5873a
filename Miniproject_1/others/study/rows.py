"""Rows of results: collected, grouped, summed up, and shown as Markdown."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..files import check_writable
from ..results import append_results

Row = dict  # of a results file, as training.py and noises.py document it


def collect(measured: Iterable[Row], command: str, results: Path | None,
            shown: Callable[[list[Row]], str]) -> None:
    """Keep rows as they are measured, and print what they say at the end.

    Args:
        measured: Gives the rows one by one.
        command: What measures them again; each row gets it.
        results: A file that each row is appended to at once, so that Ctrl-C loses none.
        shown: Makes a text of all rows.

    Raises:
        OSError: The file cannot be written, which is found out before anything is measured.
    """
    if results:
        check_writable(results)
    rows: list[Row] = []
    try:
        for row in measured:
            row["command"] = command
            rows.append(row)
            if results:
                append_results(results, row)
    finally:
        if rows:
            print(f"\n{shown(rows)}")


def grouped(rows: Iterable[Row], keys: Sequence[str]) -> list[list[Row]]:
    """Put rows together that agree in some of what they say.

    Args:
        rows: Of one or several results files.
        keys: What they have to agree in; a missing key counts as None.

    Returns:
        The groups, in order of their first rows.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(repr([row.get(key) for key in keys]), []).append(row)
    return list(groups.values())


def latest(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Of rows that agree in `keys`, the last one, as what was measured anew replaces the old."""
    return [group[-1] for group in grouped(rows, keys)]


def mean(rows: Sequence[Row], key: str) -> float:
    """The mean of a quantity; NaN where there is no row, or one has none."""
    values = [math.nan if row.get(key) is None else float(row[key]) for row in rows]
    return statistics.mean(values) if values else math.nan


def decibels(rows: Sequence[Row], key: str = "psnr", digits: int = 2) -> str:
    """Such as "25.91", for several seeds "25.91 ± 0.01" (standard deviation), "-" for none."""
    value = mean(rows, key)
    if math.isnan(value):
        return "-"
    text = f"{value:.{digits}f}"
    if len(rows) == 1:
        return text
    return f"{text} ± {statistics.stdev(row[key] for row in rows):.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Such as "+0.10", for several "+0.10 ± 0.01" (standard deviation), "-" for none."""
    if not values:
        return "-"
    text = f"{statistics.mean(values):+.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"


def budget(row: Row) -> str:
    """Such as "10 epochs" or "5 min"; "" for what was not trained here."""
    if "epochs" in row:
        return f"{row['epochs']:g} epoch{'' if row['epochs'] == 1 else 's'}"
    if "minutes" in row:
        return f"{row['minutes']:g} min"
    return ""


def title(row: Row) -> str:
    """The name of what was measured, with what stands in no recipe."""
    return f"{row['name']}, clean targets" if row.get("clean_targets") else row["name"]


def seeds(rows: Iterable[Row]) -> str:
    """Such as "0, 1"."""
    return ", ".join(str(row["seed"]) for row in rows if row.get("seed") is not None)


def after_start(row: Row) -> list[dict]:
    """The history of a training without the state before it, whose PSNR is far below."""
    return [state for state in row["history"] if state["epoch"] > 0]


def listed(values: Iterable[object]) -> str:
    """Such as "32, 64 and 128"."""
    return " and ".join(", ".join(map(str, values)).rsplit(", ", 1))


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table whose columns are aligned in the source, too.

    Args:
        heads: A text per column.
        lines: As many texts per line.
        texts: So many columns, the first ones, hold texts; the others hold numbers.

    Returns:
        The table, without a newline at its end.
    """
    cells = [list(heads), *map(list, lines)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(heads))]
    rule = ["-" * width for width in widths[:texts]]
    rule += ["-" * (width - 1) + ":" for width in widths[texts:]]
    shown = []
    for line in [cells[0], rule, *cells[1:]]:
        padded = []
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            padded.append(cell.ljust(width) if column < texts else cell.rjust(width))
        shown.append(f"| {' | '.join(padded)} |")
    return "\n".join(shown)
