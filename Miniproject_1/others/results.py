"""Results files: what was measured, where and when, as JSON.

report/RESULTS.md and the report are made from these files. Results name their data by `checksum`.
"""

import ctypes
import hashlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from .files import write_text

CPU_INFO = Path("/proc/cpuinfo")
CHECKSUM_DIGITS = 12  # hex digits: 48 bits tell data sets apart and are short enough to compare


def processor() -> str:
    """The processor that torch computes on.

    Returns:
        The name of the GPU. Where there is none, that of the CPU with its vector instructions, as
        torch names them: CPUs with and without bfloat16 may share the name.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"


def _cpu_name() -> str:
    """As Linux names it, with the family, since generations share names; else as Python does."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    facts = {key.strip(): value.strip() for key, value in pairs}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    family = f" (family {facts['cpu family']})" if "cpu family" in facts else ""
    return facts["model name"] + family


def circumstances() -> dict:
    """What belongs to every figure.

    Returns:
        `date` (UTC, ISO 8601), `device` ("cpu" or "cuda"), `processor`, `threads`, the versions
        `torch` and `python`, and `commit`.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of this code.

    Returns:
        Its first digits, with "+" where files were changed since; None outside a clone of git.
    """
    root = Path(__file__).resolve().parents[2]
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None  # a copy, such as an installed one, within another repository
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        return _git(root, "rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    """What git prints; CalledProcessError where it fails."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True,
                          check=True)
    return done.stdout.strip()


def checksum(*tensors: Tensor) -> str:
    """The name of some data by their content.

    Args:
        tensors: Tensors of any shape and dtype, on any device.

    Returns:
        The first 12 hex digits of the SHA-256 of dtype, shape and bytes of all tensors in turn.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        stored = tensor.detach().cpu().contiguous()
        if stored.numel():
            memory = ctypes.c_char * stored.nbytes  # read in place: data sets have 300 MB
            digest.update(memory.from_address(stored.data_ptr()))
    return digest.hexdigest()[:CHECKSUM_DIGITS]


def strict(measured: dict | list) -> dict | list:
    """Results as JSON can hold them.

    Args:
        measured: Dicts, lists, numbers, texts and what `str` makes a text of.

    Returns:
        The same, with None for NaN and infinity.
    """
    return json.loads(json.dumps(measured, default=str), parse_constant=lambda _: None)


def write_results(path: str | os.PathLike, seed: int, measured: dict) -> None:
    """Write one result with seed and `circumstances`, whole or not at all.

    Args:
        path: A .json file, which is replaced.
        seed: The seed of what was measured.
        measured: The result.

    Raises:
        OSError: The file cannot be written.
    """
    row = strict({"seed": seed} | circumstances() | measured)
    write_text(path, json.dumps(row, indent=1) + "\n")


def append_results(path: str | os.PathLike, measured: dict) -> None:
    """Append one result with `circumstances`, as a line of JSON.

    Args:
        path: A .jsonl file, which is made if it does not exist.
        measured: The result.

    Raises:
        OSError: The file cannot be written.
    """
    row = strict(measured | circumstances())
    with Path(path).open("a") as file:
        file.write(json.dumps(row) + "\n")


def read_results(path: str | os.PathLike) -> list[dict]:
    """Read what `write_results` or `append_results` wrote.

    Args:
        path: A .json file, which holds one row, or a .jsonl file, which holds a row per line.

    Returns:
        The rows, in the order of the file.

    Raises:
        ValueError: The suffix is another one, or the file is damaged; names the file and line.
        OSError: The file cannot be opened.
    """
    path = Path(path)
    text = results_text(path)
    if path.suffix == ".json":
        return [_row(text, path, 1)]
    return rows_of_lines(text, path)


def results_text(path: Path) -> str:
    """What a file of results holds; raises as `read_results` does."""
    if path.suffix not in (".json", ".jsonl"):
        raise ValueError(f"{path} is no file of results, expected one that ends in .json or .jsonl")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}; write these results again") from error


def rows_of_lines(text: str, path: Path) -> list[dict]:
    """The rows of a text with one per line; ValueError names the line, of the file at `path`."""
    lines = enumerate(text.splitlines(), 1)
    return [_row(line, path, number) for number, line in lines if line.strip()]


def _row(text: str, path: Path, line: int) -> dict:
    """The dict that `text`, which begins at a line of a file, holds."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}, line {line + error.lineno - 1}"
        raise ValueError(f"{place}: no JSON ({error.msg}); write these results again") from error
    if not isinstance(row, dict):
        kind = type(row).__name__
        raise ValueError(f"{path}, line {line}: a {kind}, expected a JSON object; write it again")
    return row
