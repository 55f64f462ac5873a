"""Results files: what was measured, where and when, as JSON. README and report take their figures from these."""

import contextlib
import json
import platform
from datetime import datetime, timezone
from pathlib import Path

import torch

from .pixelate import replacing


def processor() -> str:
    """The name of the GPU; where there is none, that of the CPU with its vector instructions, as PyTorch names them:
    CPUs with and without bfloat16 may share the name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def circumstances() -> dict:
    """Date, device and torch version, which belong to every figure."""
    return {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "device": "cuda" if torch.cuda.is_available() else "cpu", "processor": processor(),
            "threads": torch.get_num_threads(), "torch": torch.__version__}


def strict(measured: dict | list) -> dict | list:
    """The same as JSON can hold it: None for NaN and infinity."""
    return json.loads(json.dumps(measured, default=str), parse_constant=lambda _: None)


def write_results(path: str | Path, seed: int, measured: dict) -> None:
    """Write `measured` with seed, device, torch version and date to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(strict({"seed": seed} | circumstances() | measured), indent=1) + "\n")


def append_results(path: str | Path, measured: dict) -> None:
    """Append `measured` with device, torch version and date to `path`, as a line of JSON."""
    with Path(path).open("a") as file:
        file.write(json.dumps(strict(measured | circumstances())) + "\n")
