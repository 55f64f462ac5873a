"""What all command lines share: errors of one line, and the type of --seed."""

import argparse
import functools
import sys
from collections.abc import Callable


class Parser(argparse.ArgumentParser):
    """A usage error is one line on stderr and exit code 2, as every other error of the program."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; `{self.prog} --help` explains\n")


def program(main: Callable[[list[str] | None], int]) -> Callable[[list[str] | None], int]:
    """Decorates the `main` of a program, which takes arguments and returns the exit code: bad input and what torch or
    the disk refuses become `failed`, Ctrl-C the exit code 130."""
    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        try:
            return main(argv)
        except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:  # the last: torch's
            return failed(error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return run


def failed(error: Exception) -> int:
    """Print the error on one line of stderr; returns the exit code, 2."""
    print("error:", " ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
    return 2


def random_seed(text: str) -> int:
    """The value of --seed, as torch's generators take it."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no seed, expected an integer from 0 to 2^63 - 1")
    return int(text)
