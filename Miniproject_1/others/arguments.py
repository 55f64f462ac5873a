"""What all command lines share: usage errors of one line, and the type of --seed."""

import argparse


class Parser(argparse.ArgumentParser):
    """A usage error is one line on stderr and exit code 2, as every other error of the program."""

    def error(self, message: str):
        self.exit(2, f"error: {message}; `{self.prog} --help` explains\n")


def random_seed(text: str) -> int:
    """The value of --seed, as torch's generators take it."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no seed, expected an integer from 0 to 2^63 - 1")
    return int(text)
