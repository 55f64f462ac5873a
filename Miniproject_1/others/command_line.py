"""What all command lines share: errors of one line, Ctrl-C, types of options, a progress bar."""

import argparse
import functools
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from .processes import first_to_fail

Step = TypeVar("Step")
Main = Callable[..., int]  # takes arguments, or None for those of the process; exit code

USAGE_ERROR = 2  # exit code after `error: ...`, also where the input is bad
SIGNALLED = 128  # and the number of a signal: exit code after that, as shells have it
LINE_EVERY = 10  # seconds between two lines of progress where tqdm is missing


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose usage errors are one line on stderr, as are all other errors."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(USAGE_ERROR, f"error: {message}; `{self.prog} --help` explains\n")


def program(main: Main) -> Main:
    """Decorate the `main` of a program, so that errors, warnings and Ctrl-C each take one line.

    Args:
        main: Takes the arguments (None: those of the process) and returns the exit code.

    Returns:
        `main`, which returns 2 after an error that bad input, torch or the disk cause, and 130
        after Ctrl-C; it prints warnings without the place in the code that they come from.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return main(argv)
            except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:
                return failed(error)  # a RuntimeError is torch's
            except KeyboardInterrupt as interrupt:
                print(": ".join(("interrupted", *map(str, interrupt.args))), file=sys.stderr)
                return SIGNALLED + signal.SIGINT

    return run


class StopSignals:
    """Ctrl-C and SIGTERM, turned into what `Model.train` asks after each step.

        with StopSignals() as stop:
            model.train(..., stop=stop)

    A second Ctrl-C does what it always does; schedulers may send SIGTERM several times.

    Attributes:
        received: The number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether one came."""
        return self.received is not None

    def _receive(self, number: int, _: object) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])


def failed(error: Exception) -> int:
    """Print an error on one line of stderr.

    Args:
        error: What went wrong.

    Returns:
        The exit code, 2.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if first_to_fail():
        print("error:", text, file=sys.stderr)
    return USAGE_ERROR


def some(names: list) -> str:
    """A list for an error.

    Args:
        names: Any number of paths or texts.

    Returns:
        The first five, and how many there are more.
    """
    listed = ", ".join(map(str, names[:5]))
    return f"{listed} and {len(names) - 5} more" if len(names) > 5 else listed


def random_seed(text: str) -> int:
    """The value of --seed.

    Args:
        text: What stands on the command line.

    Returns:
        An integer from 0 to 2^63 - 1, as torch's generators take it.

    Raises:
        argparse.ArgumentTypeError: The text is no such integer.
    """
    if not text.isdecimal() or int(text) >= 2**63:
        expected = "expected an integer from 0 to 2^63 - 1"
        raise argparse.ArgumentTypeError(f"{text} is no seed, {expected}")
    return int(text)


def number(kind: type[int] | type[float]) -> Callable[[str], float]:
    """The type of an option that takes a finite number above 0."""

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < math.inf:
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text} given, expected {noun} above 0")
        return value

    return parsed


def progress_bar(steps: Iterable[Step], total: int, label: str, show: bool) -> Iterator[Step]:
    """Pass on the steps of some work, with progress on stderr.

    Args:
        steps: What is passed on, one by one.
        total: The number of steps.
        label: The name of the work.
        show: Whether to show anything: a tqdm bar or, where tqdm is missing, a line every 10 s.

    Yields:
        Each step, when it is done.
    """
    if not show:
        yield from steps
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _progress_lines(steps, total, label)
    else:
        yield from tqdm(steps, total=total, desc=label, mininterval=1.0)


@contextmanager
def share_shown(label: str, show: bool) -> Iterator[Callable[[float], None]]:
    """Show on stderr how much of some work is done, once it has taken a second.

    Args:
        label: The name of the work.
        show: Whether to show anything: a tqdm bar or, where tqdm is missing, a line every 10 s.

    Yields:
        What is to be told the share that is done, from 0 to 1.
    """
    if not show:
        yield lambda share: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield _printed_share(label)
    else:
        form = "{l_bar}{bar}| {elapsed}<{remaining}"
        with tqdm(total=1.0, desc=label, delay=1.0, bar_format=form) as bar:
            yield lambda share: bar.update(share - bar.n)


def _printed_share(label: str) -> Callable[[float], None]:
    """`share_shown` in plain lines."""
    printed = time.monotonic()

    def report(share: float) -> None:
        nonlocal printed
        if share == 1 or time.monotonic() - printed > LINE_EVERY:
            printed = time.monotonic()
            print(f"{label}: {100 * share:.0f} %", file=sys.stderr, flush=True)

    return report


def _progress_lines(steps: Iterable[Step], total: int, label: str) -> Iterator[Step]:
    """`progress_bar` in plain lines."""
    report = _printed_share(label)
    for done, step in enumerate(steps, 1):
        yield step
        report(done / total)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """warnings.showwarning without the place in the code."""
    print(f"warning: {message}", file=sys.stderr)
