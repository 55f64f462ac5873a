"""What all command lines share: errors of one line, warnings without their place, Ctrl-C, and the type of --seed."""

import argparse
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..model import Model


class Parser(argparse.ArgumentParser):
    """A usage error is one line on stderr and exit code 2, as every other error of the program."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; `{self.prog} --help` explains\n")


def program(main: Callable[[list[str] | None], int]) -> Callable[[list[str] | None], int]:
    """Decorates the `main` of a program, which takes arguments and returns the exit code: bad input and what torch or
    the disk refuses become `failed`, Ctrl-C the exit code 130; a warning is printed without its place."""
    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
            try:
                return main(argv)
            except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:  # the last: torch's
                return failed(error)
            except KeyboardInterrupt as interrupt:
                print(": ".join(("interrupted", *map(str, interrupt.args))), file=sys.stderr)
                return 130
    return run


@contextmanager
def saved_on_ctrl_c(model: Model, path: Path | None) -> Iterator[None]:
    """Ctrl-C in the `Model.train` within writes the weights reached so far to `path`, if any, and is raised again with
    a text that says so. But training must have begun, and in its first epoch an older file is worth more."""
    try:
        yield
    except KeyboardInterrupt:
        if not path:
            raise
        if len(model.history) > 1 or (model.history and not path.exists()):
            model.save(path)
            fate = f"wrote the weights reached so far to {path}"
        else:
            fate = f"{path} is {'left as it was' if path.exists() else 'not written'}"
        raise KeyboardInterrupt(fate) from None


def failed(error: Exception) -> int:
    """Print the error on one line of stderr; returns the exit code, 2."""
    print("error:", " ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
    return 2


def random_seed(text: str) -> int:
    """The value of --seed, as torch's generators take it."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no seed, expected an integer from 0 to 2^63 - 1")
    return int(text)
