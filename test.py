"""Grade submissions of the Noise2Noise mini-project.

    python test.py -p PROJECT_FOLDER [-d DATA_FOLDER] [--epochs N]      one submission
    python test.py -p CLASS/* -d DATA_FOLDER -o RESULTS_FOLDER          a class

A submission is a folder, or a zip, that holds Miniproject_1/model.py with a class Model. *Required*
checks are what the course asks; *notes* are what else is worth knowing, and no part of the grade.
The course's score is the PSNR with peak 1 on values in [0, 1], averaged over images ("per image");
"pooled" is the PSNR of the mean error.

This one file can be copied to another machine; it needs Linux or macOS, Python 3.11 and PyTorch.
Exit code: 0 if every required check of every submission passed, 1 if not, 2 after `error: ...`,
130 after Ctrl-C.
"""

# Reads from top to bottom: the two parts of the grade (data, checks), then how a submission is run
# (judge, child, isolation), then the class (rows, files, tables) and the command line.

import argparse
import ast
import contextlib
import csv
import ctypes
import hashlib
import importlib
import io
import json
import os
import platform
import random
import re
import resource
import select
import shlex
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

PACKAGE = "Miniproject_1"
ROOT = Path(__file__).resolve().parent
PROTECTION = """\
What is protected: each submission runs in a process of its own, on a copy of its folder, and gives
back nothing but the bytes of its predictions. Clean images, PSNR, clocks, verdicts and files stay
with the judge, which ends the process and its descendants at a limit of time, memory or disk. In
the sandbox (Linux with util-linux, where unprivileged namespaces are allowed) it has no network,
writes to its copy only, and sees neither the data nor other submissions nor other processes.
Outside of it, code that is malicious rather than wrong can do all that your user account can: read
the clean images, end the judge, write to your files. docs/GRADING.md says what a cheat could do."""

COURSE_PAIRS = 50_000
COURSE_LIMIT = {"cuda": 10 * 60, "cpu": 45 * 60}  # seconds for training and testing together
BUDGET = 3  # times that for all required checks of a submission
SHORT_TRAINING = 10_000  # pairs, which many batch sizes divide: of the trainings for other checks
SHORTER_TRAINING = 5_000  # pairs, which many divide, too: of one for a note
BATCH = 100  # images per call of predict, a size that the course names
SUBSET = 200  # validation images after these trainings
SAME = 1.0  # grey levels: predictions that differ by less are the same
FOLLOWED = 0.9  # of the error to inverted images may be left when a training has followed them
SEED = 0

START_LIMIT = 300  # seconds for Python and torch to start
POLL = 0.25  # seconds between two looks at processes and memory
DISK_POLL = 5.0  # ... at the folder of a submission
HEADER = 1 << 16  # bytes of an answer's first line, at most
LOG = 1 << 20  # bytes of a submission's output that are kept
LARGEST_FILE = 1 << 30  # bytes that a submission may write to one file
LARGEST_FOLDER = 2 << 30  # bytes of a submission's folder, also while it runs
GIB = 1 << 30

# ---- data and PSNR -----------------------------------------------------------------------------


@dataclass
class Data:
    """What is trained and measured on: uint8 images in [0, 255], N x 3 x H x W."""

    noisy_a: Tensor
    noisy_b: Tensor
    noisy: Tensor
    clean: Tensor  # never leaves this process
    scenes: Tensor | None  # N x 3 x 256 x 256: the clean scenes of some images, for other noise

    @property
    def has_few_pairs(self) -> bool:
        """Whether a training may fail for that alone, as its batch size does not divide them."""
        return len(self.noisy_a) < SHORT_TRAINING

    def noisy_psnr(self, number: int | None = None) -> dict[str, float]:
        """PSNR of the first noisy validation images, or of all."""
        return psnr(self.noisy[:number], self.clean[:number])

    def checksum(self) -> str:
        digest = hashlib.sha256()
        for images in (self.noisy_a, self.noisy_b, self.noisy, self.clean, self.scenes):
            digest.update(b"none" if images is None else raw_bytes(images))
        return digest.hexdigest()[:12]


def raw_bytes(tensor: Tensor) -> bytes:
    """The numbers of a tensor on the CPU, without NumPy, which may be missing."""
    tensor = tensor.contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())


def load_data(folder: Path, validation: Path | None, pairs: int | None) -> Data:
    """Read train_data.pkl, val_data.pkl (or `validation`) and, if there is one, val_scenes.pkl."""
    noisy_a, noisy_b = load_pair(folder / "train_data.pkl")
    noisy, clean = load_pair(validation or folder / "val_data.pkl")
    scenes = None
    if (folder / "val_scenes.pkl").exists():
        scenes = load(folder / "val_scenes.pkl")
        require_images(folder / "val_scenes.pkl", scenes)
        if scenes.shape[2] % 16 or scenes.shape[3] % 16:
            sides = f"{scenes.shape[2]} x {scenes.shape[3]}"
            raise ValueError(f"val_scenes.pkl holds {sides} pixels, expected multiples of 16")
    return Data(noisy_a[:pairs], noisy_b[:pairs], noisy, clean, scenes)


def load(file: Path):
    if not file.is_file():
        raise ValueError(f"{file}: no such file; `python -m {PACKAGE} data` makes such a folder")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many
        raise ValueError(f"{file}: cannot be read, is it damaged? ({one_line(error)})") from None


def load_pair(file: Path) -> tuple[Tensor, Tensor]:
    content = load(file)
    if not isinstance(content, tuple) or len(content) != 2:
        raise ValueError(f"{file}: holds a {type(content).__name__}, expected a tuple of 2 tensors")
    for images in content:
        require_images(file, images)
    if content[0].shape != content[1].shape:
        raise ValueError(f"{file}: holds {shape(content[0])} and {shape(content[1])} images")
    return content


def require_images(file: Path, images: object) -> None:
    """ValueError unless they are N x 3 x H x W uint8 images."""
    expected = "expected N x 3 x H x W of torch.uint8"
    if not isinstance(images, Tensor):
        raise ValueError(f"{file}: holds a {type(images).__name__}, {expected}")
    if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or not len(images):
        raise ValueError(f"{file}: holds {shape(images)} of {images.dtype}, {expected}")


def shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def psnr(images: Tensor, clean: Tensor) -> dict[str, float]:
    """PSNR in dB of images in [0, 255], with peak 1 on values in [0, 1]."""
    mse = ((images.double() - clean.double()) / 255).square().flatten(1).mean(1)
    mse = mse.clamp(min=1e-10)  # an image without error counts 100 dB, not infinity
    return {
        "per_image": -10 * mse.log10().mean().item(),
        "pooled": -10 * mse.mean().log10().item(),
    }


def pixelate(scenes: Tensor, cell: int, generator: torch.Generator) -> Tensor:
    """The course's noise: of each cell of `cell` x `cell` pixels, one that is drawn at random."""
    n, _, height, width = scenes.shape
    places = (n, height // cell, width // cell)
    rows = torch.arange(0, height, cell)[:, None] + torch.randint(cell, places, generator=generator)
    columns = torch.arange(0, width, cell) + torch.randint(cell, places, generator=generator)
    return scenes[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


# ---- the checks, in the order in which they run --------------------------------------------------


class Failed(Exception):
    """The verdict of a check, with its cause."""


class NotRun(Exception):
    """A check that cannot be run on these data, with its reason."""


@dataclass(frozen=True)
class Check:
    """A function that returns what to show beside PASS, or raises Failed or NotRun."""

    name: str
    title: str
    run: Callable[["Exam"], str]
    limit: float | None  # seconds; None: the course's
    required: bool  # False: a note
    needs: tuple[str, ...]  # checks that must have passed
    unless: tuple[str, ...]  # checks that must not have failed


CHECKS: dict[str, Check] = {}


def check(
    title: str,
    *,
    limit: float | None,
    required: bool = True,
    needs: tuple[str, ...] = (),
    unless: tuple[str, ...] = (),
):
    """Decorate a function as a check."""

    def register(run: Callable[["Exam"], str]) -> Callable[["Exam"], str]:
        name = run.__name__
        CHECKS[name] = Check(name, title, run, limit, required, needs, unless)
        return run

    return register


@check("Miniproject_1.model has a class Model, made without arguments", limit=120)
def constructs(exam: "Exam") -> str:
    exam.hold_fresh()
    return ""


@check("imports only PyTorch and Python's own modules", limit=60, needs=("constructs",))
def imports(exam: "Exam") -> str:
    used = sorted(exam.foreign_imports(used=True) - exam.options.allow)
    if used:
        raise Failed(f"imports {', '.join(used)}; --allow permits a package")
    return ""


@check("load_pretrained_model() loads the weights", limit=120, needs=("constructs",))
def loads(exam: "Exam") -> str:
    exam.hold_pretrained()
    return ""


@check("predict keeps the shape of 100 x 3 x 32 x 32", limit=120, needs=("loads",))
def predicts(exam: "Exam") -> str:
    exam.hold_pretrained()
    exam.predict(exam.noisy(100, 32, 32))
    return ""


@check("predict answers on the scale of its input, 0 to 255", limit=120, needs=("predicts",))
def scale(exam: "Exam") -> str:
    exam.hold_pretrained()
    require_scale(exam.predict(exam.noisy(100, 32, 32)))
    return ""


@check("predict stays in [0, 255]", limit=120, needs=("scale",))
def value_range(exam: "Exam") -> str:
    exam.hold_pretrained()
    output = exam.predict(exam.noisy(100, 32, 32))
    low, high = output.min().item(), output.max().item()
    if low < 0 or high > 255:
        raise Failed(f"values from {low:.2f} to {high:.2f}")
    return ""


@check("predict gives the same result twice", limit=120, needs=("predicts",))
def repeats(exam: "Exam") -> str:
    exam.hold_pretrained()
    noisy = exam.noisy(100, 32, 32)
    cause = "predict is random (dropout without eval()?)"
    require_same(exam.predict(noisy), exam.predict(noisy), cause)
    return ""


@check("predict gives the same for uint8 and float input", limit=120, needs=("repeats",))
def floats(exam: "Exam") -> str:
    exam.hold_pretrained()
    noisy = exam.noisy(100, 32, 32)
    require_same(exam.predict(noisy), exam.predict(noisy.float()), "they differ")
    return ""


@check(
    "predict keeps the shape of 1 x 3 x 512 x 512, uint8 and float", limit=180, needs=("predicts",)
)
def large(exam: "Exam") -> str:
    exam.hold_pretrained()
    noisy = exam.noisy(1, 512, 512)
    for images in (noisy, noisy.float()):
        exam.predict(images)
    return ""


@check("the pretrained weights beat the noisy input", limit=600, needs=("scale",))
def pretrained(exam: "Exam") -> str:
    exam.hold_pretrained()
    exam.psnr["pretrained"] = exam.measure()
    return exam.require_beats_noisy(exam.psnr["pretrained"])


@check("Miniproject_1 itself gives Model, too", limit=60, required=False, needs=("constructs",))
def package(exam: "Exam") -> str:
    if not (exam.project / PACKAGE / "__init__.py").exists():
        raise Failed("there is no Miniproject_1/__init__.py")
    if exam.import_answer.get("package") is not True:
        raise Failed("Miniproject_1/__init__.py does not import it")
    return ""


@check("uses every package that it imports", limit=60, required=False, needs=("constructs",))
def unused_imports(exam: "Exam") -> str:
    unused = exam.foreign_imports(used=False)
    if unused:
        raise Failed(f"imports {', '.join(sorted(unused))} without using it")
    return ""


@check("predict keeps the shape of 3 x 3 x 37 x 53", limit=120, required=False, needs=("predicts",))
def odd_size(exam: "Exam") -> str:
    exam.hold_pretrained()
    exam.predict(exam.noisy(3, 37, 53))
    return ""


@check("predict leaves its input as it was", limit=120, required=False, needs=("predicts",))
def input_unchanged(exam: "Exam") -> str:
    exam.hold_pretrained()
    for images in (exam.noisy(2, 32, 32), exam.noisy(2, 32, 32).float()):
        exam.predict(images)
        if exam.answer.get("input_changed") is True:
            raise Failed(f"predict changes its {images.dtype} input in place")
    return ""


@check("predict returns no gradients", limit=120, required=False, needs=("predicts",))
def no_gradients(exam: "Exam") -> str:
    exam.hold_pretrained()
    exam.predict(exam.noisy(2, 32, 32))
    if exam.answer.get("requires_grad") is True:
        raise Failed("its output has requires_grad set")
    return ""


@check("loads its weights from any working directory", limit=120, required=False, needs=("loads",))
def elsewhere(exam: "Exam") -> str:
    exam.ask("work_in", place="../elsewhere")
    try:
        exam.hold_fresh()
        exam.hold_pretrained()
    finally:
        exam.ask("work_in", place=".")
    return ""


# From here on the submission trains, and may overwrite its weights.


@check(
    "load_pretrained_model(), then train(a, b, num_epochs=1), runs", limit=1200, needs=("scale",)
)
def continues(exam: "Exam") -> str:
    exam.hold_pretrained()
    exam.train(*exam.pairs(SHORT_TRAINING), num_epochs=1)
    return ""


@check("... and beats the noisy input", limit=120, needs=("continues",))
def keeps_psnr(exam: "Exam") -> str:
    return exam.require_beats_noisy(exam.measure(SUBSET), SUBSET)


@check(
    "a fresh Model(), trained within the limit, beats the noisy input",
    limit=None,
    needs=("constructs",),
    unless=("predicts", "scale", "continues"),
)
def trains(exam: "Exam") -> str:
    exam.hold_fresh()
    start = exam.clock()
    with exam.log.shown():
        exam.train(*exam.pairs(), exam.options.epochs)
    trained = exam.clock()
    exam.retrained = exam.predict_all(exam.data.noisy)
    tested = exam.clock()
    exam.seconds = {"training": trained - start, "testing": tested - trained}
    exam.psnr["retrained"] = psnr(exam.retrained, exam.data.clean)
    effort = f"after {exam.options.epochs} x {len(exam.data.noisy_a):,} pairs"
    return f"{exam.require_beats_noisy(exam.psnr['retrained'], effort=effort)} {effort}"


@check(
    "train follows its targets: from inverted ones it learns to invert",
    limit=2 * COURSE_LIMIT["cpu"],
    needs=("trains",),
)
def learns(exam: "Exam") -> str:
    noisy, inverted = exam.data.noisy[:SUBSET], 255.0 - exam.data.clean[:SUBSET]
    error_before = mean_square(exam.retrained[:SUBSET], inverted)
    exam.hold_fresh()
    for number, epochs in ((SHORT_TRAINING, 1), (SHORT_TRAINING, 4), (None, exam.options.epochs)):
        noisy_a, noisy_b = exam.pairs(number)
        exam.train(noisy_a, 255 - noisy_b, epochs)  # to invert is the task of a swapped pair, too
        error = mean_square(exam.predict_all(noisy), inverted)
        if error < FOLLOWED * error_before:
            return ""
    share = f"{100 * error / error_before:.0f} %"
    raise Failed(f"its error to inverted images is {share} of that without having seen them")


@check("training improves a fresh Model()", limit=300, required=False, needs=("trains",))
def improves(exam: "Exam") -> str:
    exam.hold_fresh()
    exam.psnr["untrained"] = exam.measure()
    before, after = (exam.psnr[key]["per_image"] for key in ("untrained", "retrained"))
    values = f"{before:.2f} dB before, {after:.2f} dB after"
    if not after > before:
        raise Failed(values)
    return values


# The last checks begin in a new child, with the weights that the submission came with. They come
# last because several samples of a validation image would tell its clean values.


def other_noise(exam: "Exam", cell: int, samples: int) -> str:
    """The gain of the pretrained weights on other noise, made from clean scenes."""
    scenes = exam.data.scenes
    if scenes is None:
        raise NotRun("the data folder has no val_scenes.pkl")
    generator = torch.Generator().manual_seed(SEED)
    draws = [pixelate(scenes, cell, generator).float() for _ in range(samples)]
    noisy = torch.stack(draws).mean(0).round().to(torch.uint8)
    clean = nn.functional.avg_pool2d(scenes.float(), cell).round()
    exam.hold_pretrained()
    before = psnr(noisy, clean)["per_image"]
    after = psnr(exam.predict_all(noisy), clean)["per_image"]
    exam.other_noise[f"{cell} x {cell}, {samples}"] = {"noisy": before, "denoised": after}
    values = f"{before:.2f} dB noisy, {after:.2f} dB denoised"
    if not after > before:
        raise Failed(values)
    return values


@check("denoises cells of 4 x 4", limit=300, required=False, needs=("scale",))
def small_cells(exam: "Exam") -> str:
    if exam.data.scenes is not None:
        exam.end()
    return other_noise(exam, cell=4, samples=1)


@check("denoises cells of 16 x 16", limit=300, required=False, needs=("scale",))
def large_cells(exam: "Exam") -> str:
    return other_noise(exam, cell=16, samples=1)


@check("denoises two samples per cell", limit=300, required=False, needs=("scale",))
def two_samples(exam: "Exam") -> str:
    return other_noise(exam, cell=8, samples=2)


@check("works with autograd switched off", limit=900, required=False, needs=("continues",))
def autograd_off(exam: "Exam") -> str:
    """The last check, as it leaves the child changed."""
    exam.ask("autograd_off")  # the course's second mini-project does it, in the same process
    exam.hold_pretrained()
    exam.train(*exam.pairs(SHORTER_TRAINING), num_epochs=1)
    return exam.require_beats_noisy(exam.measure(SUBSET), SUBSET)


def require_scale(output: Tensor) -> None:
    """Failed if a prediction for images in [0, 255] looks like one in [0, 1]."""
    low, high = output.min().item(), output.max().item()
    if high <= 1.5:
        raise Failed(f"values from {low:.2f} to {high:.2f}, which looks like [0, 1]")


def require_same(first: Tensor, second: Tensor, cause: str) -> None:
    """Failed, for that cause, if two predictions of the same images are not the same."""
    difference = (first - second).abs().max().item()
    if difference > SAME:
        raise Failed(f"{cause}: up to {difference:.1f} grey levels apart")


def mean_square(images: Tensor, targets: Tensor) -> float:
    return (images.double() - targets).square().mean().item()


# ---- the exam of one submission ------------------------------------------------------------------


class Status(StrEnum):
    """What became of a submission."""

    GRADED = "graded"  # every check was run, or depends on one that failed
    NO_SUBMISSION = "no submission"
    MISSING_PACKAGE = "missing package"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    HARNESS_ERROR = "harness error"  # ours


class Stopped(Exception):
    """The submission cannot go on, with its cause."""

    def __init__(self, status: Status, cause: str):
        super().__init__(cause)
        self.status = status


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM came to the main thread; raised in the thread of an exam."""


INTERRUPT = threading.Event()


@dataclass(frozen=True)
class Options:
    """What the command line says of all exams."""

    epochs: int  # of the training from scratch
    limit: float  # seconds for a submission, all checks together
    memory: float  # GiB for a submission, all its processes together
    allow: frozenset[str]  # packages that a submission may import
    compat: str | None  # "2022": torch's defaults of that year
    jobs: int  # exams at a time
    sandbox: bool
    hidden: tuple[Path, ...]  # files and folders that are not copied, and not seen in the sandbox
    base: Path  # the folder for the temporary files of this run

    @property
    def memory_bytes(self) -> int:
        return int(self.memory * GIB)


class Exam:
    """Runs the checks on one submission; all that is measured is measured here, by the judge."""

    def __init__(self, project: Path, data: Data, options: Options, log: "Log"):
        self.project = project  # the judge's copy of the folder that holds Miniproject_1/
        self.data, self.options, self.log = data, options, log
        self.clock = time.perf_counter  # the judge's, whatever a submission does to its own
        self.end_of_budget = self.clock() + options.limit
        self.set_limit(options.limit)
        self.child: Child | None = None
        self.holds_pretrained = False  # whether the child's model is as load_... left it
        self.answer: dict = {}  # what the child says of its last prediction, without proof
        self.import_answer: dict = {}  # ... and of the import
        self.parameters: int | None = None  # ... and of its networks
        self.psnr = {"noisy": data.noisy_psnr()}  # stage -> PSNR
        self.other_noise: dict[str, dict[str, float]] = {}
        self.seconds: dict[str, float] = {}  # "training" and "testing" of the training from scratch
        self.retrained: Tensor | None = None  # predictions after the training from scratch
        self.peak_memory = 0  # bytes
        self.status = Status.GRADED
        self.cause = ""  # of the first required check that failed
        self.verdicts: list[dict] = []

    # -- verdicts

    def run(self) -> None:
        """All checks, each with its verdict."""
        verdicts: dict[str, str] = {}
        try:
            for name, check in CHECKS.items():
                reason = self.why_not(check, verdicts)
                if reason:
                    verdicts[name] = "not run"
                    self.add_verdict(check, "not run", reason, 0.0)
                else:
                    verdicts[name] = self.run_one(check)
        finally:
            self.end()

    def why_not(self, check: Check, verdicts: dict[str, str]) -> str:
        """The reason for which a check is not run; empty if it is."""
        for name in check.needs:
            if verdicts[name] != "passed":
                return f"needs: {CHECKS[name].title}"
        for name in check.unless:
            if verdicts[name] == "failed":
                return f"failed: {CHECKS[name].title}"
        if self.clock() < self.end_of_budget:
            return ""
        reason = f"the {self.options.limit:,.0f} s for all checks are over"
        if check.required and self.status == Status.GRADED:
            self.status = Status.TIMED_OUT
            self.cause = reason
        return reason

    def run_one(self, check: Check) -> str:
        """The verdict of a check."""
        start = self.clock()
        verdict = "failed"
        self.set_limit(check.limit or COURSE_LIMIT[device()])
        try:
            detail = check.run(self)
            verdict = "passed"
        except NotRun as reason:
            verdict, detail = "not run", str(reason)
        except Failed as failure:
            detail = str(failure)
        except Stopped as stop:
            detail = str(stop)
            self.holds_pretrained = False
            if check.required and self.status == Status.GRADED:
                self.status = stop.status
                self.cause = self.cause or detail
        seconds = self.clock() - start
        if not check.required:  # a note costs the grade nothing
            self.end_of_budget += seconds
        self.add_verdict(check, verdict, detail, seconds)
        return verdict

    def add_verdict(self, check: Check, verdict: str, detail: str, seconds: float) -> None:
        if verdict == "failed" and check.required and not self.cause:
            self.cause = f"{check.title}: {detail}"
        row = {
            "check": check.title,
            "required": check.required,
            "verdict": verdict,
            "detail": detail,
            "seconds": round(seconds, 2),
        }
        self.verdicts.append(row)
        self.log.judge(verdict_line(row))

    # -- limits

    def set_limit(self, seconds: float) -> None:
        """What begins now has to end in so many seconds, or when the budget ends."""
        self.deadline = self.clock() + seconds
        self.overrun = f"stopped at the limit of {seconds:,.0f} s"
        if self.end_of_budget < self.deadline:
            self.deadline = self.end_of_budget
            self.overrun = f"stopped when the {self.options.limit:,.0f} s for all checks were over"

    def watch(self) -> None:
        """Called while the child works; raises what ends it."""
        if INTERRUPT.is_set():
            raise Interrupted
        if self.clock() > self.deadline:
            raise Stopped(Status.TIMED_OUT, self.overrun)
        used = self.child.memory()
        self.peak_memory = max(self.peak_memory, used)
        if used > self.options.memory_bytes:
            limit = f"{self.options.memory:g} GiB of memory"
            raise Stopped(Status.OUT_OF_MEMORY, f"used more than {limit}")
        if self.child.disk() > LARGEST_FOLDER:
            limit = f"{LARGEST_FOLDER / GIB:g} GiB to its folder"
            raise Stopped(Status.CRASHED, f"wrote more than {limit}")

    # -- what the child is asked

    def start(self) -> None:
        """A new child, which imports the submission. Its start is not the submission's time."""
        start, deadline = self.clock(), self.deadline
        self.deadline = start + START_LIMIT
        self.child = Child(self.project, self.options, self.log)
        try:
            self.child.start()
            self.child.receive(self.watch, 0)
        except (Stopped, OSError) as error:
            self.end()
            raise RuntimeError(f"no process for the submission could be started: {error}") from None
        seconds = self.clock() - start
        self.deadline = deadline + seconds
        self.end_of_budget += seconds
        self.import_answer = self.ask("load_module")

    def end(self) -> None:
        """End the child with all its descendants."""
        if self.child is not None:
            self.child.end()
        self.child, self.holds_pretrained = None, False

    def ask(self, what: str, tensors: tuple[Tensor, ...] = (), expect: int = 0, **more) -> dict:
        """Let the child do something.

        Returns what it says, with up to `expect` bytes as "payload"; Stopped if it fails.
        """
        if self.child is None:
            self.start()
        try:
            self.child.send({"do": what, **more}, tensors)
            answer = self.child.receive(self.watch, expect)
        except BaseException:
            self.end()
            raise
        if "error" in answer:
            raise explained(answer, own_modules(self.project))
        return answer

    def hold_fresh(self) -> None:
        """Let the child hold a fresh Model()."""
        self.holds_pretrained = False
        said = self.ask("construct").get("parameters")
        self.parameters = said if type(said) is int and 0 <= said < 2**63 else None

    def hold_pretrained(self) -> None:
        """Let the child hold a Model() with the pretrained weights."""
        if not self.holds_pretrained:
            self.hold_fresh()
            self.ask("load_weights")
            self.holds_pretrained = True

    def train(self, noisy_a: Tensor, noisy_b: Tensor, *epochs: int, **named: int) -> None:
        """`model.train(noisy_a, noisy_b, epochs)`, or with num_epochs by name."""
        self.holds_pretrained = False
        try:
            self.ask("train", (noisy_a, noisy_b), args=epochs, kwargs=named)
        except Stopped as stop:
            if stop.status == Status.CRASHED and self.data.has_few_pairs:
                pairs = f"on {len(noisy_a):,} pairs, where the course has {COURSE_PAIRS:,}"
                raise Stopped(stop.status, f"{stop} ({pairs})") from None
            raise

    def predict(self, noisy: Tensor) -> Tensor:
        """`model.predict(noisy)` as float32; Failed unless finite and of the same shape."""
        size = 4 * noisy.numel()
        self.answer = self.ask("predict", (noisy,), expect=size)
        if len(self.answer["payload"]) != size:
            returned = one_line(self.answer.get("returned"))
            raise Failed(f"predict returned {returned} for {shape(noisy)}")
        numbers = torch.frombuffer(bytearray(self.answer["payload"]), dtype=torch.float32)
        if not numbers.isfinite().all():
            raise Failed("predict returned NaN or infinity")
        return numbers.view(noisy.shape)

    def predict_all(self, noisy: Tensor) -> Tensor:
        """Predictions in calls of BATCH images."""
        return torch.cat([self.predict(batch) for batch in noisy.split(BATCH)])

    # -- what the checks measure

    def noisy(self, n: int, height: int, width: int) -> Tensor:
        """Noisy validation images, repeated to n x 3 x height x width."""
        images = self.data.noisy[torch.arange(n) % len(self.data.noisy)]
        down, right = -(-height // images.shape[2]), -(-width // images.shape[3])
        return images.repeat(1, 1, down, right)[..., :height, :width].contiguous()

    def pairs(self, number: int | None = None) -> tuple[Tensor, Tensor]:
        """The first training pairs, or all."""
        return self.data.noisy_a[:number], self.data.noisy_b[:number]

    def measure(self, number: int | None = None) -> dict[str, float]:
        """PSNR of the child's model on the first validation images, or on all."""
        return psnr(self.predict_all(self.data.noisy[:number]), self.data.clean[:number])

    def require_beats_noisy(
        self, result: dict[str, float], number: int | None = None, effort: str = ""
    ) -> str:
        """Failed unless `result`, of as many images, is above the noisy input."""
        noisy = self.data.noisy_psnr(number)["per_image"]
        values = f"{result['per_image']:.2f} dB"
        if not result["per_image"] > noisy:
            raise Failed(
                f"{' '.join([values, effort]).strip()}, where the noisy input has {noisy:.2f} dB"
            )
        return values

    def foreign_imports(self, used: bool) -> set[str]:
        """Packages, not PyTorch's and Python's own, that the imported files (do not) use."""
        found: dict[str, bool] = {}
        for file in imported_files(self.project, self.import_answer.get("files")):
            for name, is_used in imported_packages(file):
                found[name] = found.get(name, False) or is_used
        known = {"torch", *sys.stdlib_module_names, *own_modules(self.project)}
        return {name for name, is_used in found.items() if is_used == used} - known


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


HINTS = {
    "Weights only load failed": "--compat 2022 loads pickled networks, as torch did then",
    "unexpected keyword argument 'verbose'": "--compat 2022 accepts it, as torch did then",
    "deserialize object on a CUDA device": "torch.load needs map_location where there is no GPU",
}


def explained(answer: dict, own: set[str]) -> Stopped:
    """An exception that the child describes."""
    kind, text, place = (str(answer.get(key) or "") for key in ("error", "text", "where"))
    missing = str(answer.get("missing") or "").split(".")[0]
    if missing and missing not in own:
        cause = f"package {one_line(missing)} is not installed here"
        return Stopped(Status.MISSING_PACKAGE, cause)
    cause = one_line(f"{kind}: {text}") + (f" ({one_line(place)})" if place else "")
    if kind in ("MemoryError", "OutOfMemoryError") or "can't allocate memory" in text:
        return Stopped(Status.OUT_OF_MEMORY, cause)
    for sign, hint in HINTS.items():
        if sign in text:
            return Stopped(Status.CRASHED, f"{cause}; {hint}")
    return Stopped(Status.CRASHED, cause)


def one_line(text: object, most: int = 200) -> str:
    """Printable text on one line of bounded length."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= most else line[: most - 3] + "..."


def printable(line: str) -> str:
    """The line without colours and whatever else would act on a terminal."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return "".join(char for char in line if char.isprintable())


def verdict_line(row: dict) -> str:
    """Such as "PASS  predict keeps the shape  (0.1 s)"; notes are in small letters."""
    word = {"passed": "PASS", "failed": "FAIL", "not run": "----"}[row["verdict"]]
    if not row["required"]:
        word = {"PASS": "  ok", "FAIL": "note"}.get(word, word)
    detail = row["detail"] and f": {row['detail']}"
    seconds = "" if row["verdict"] == "not run" else f"  ({row['seconds']:.1f} s)"
    return f"{word}  {row['check']}{detail}{seconds}"


# ---- the submission's files ----------------------------------------------------------------------


def copied(source: Path, target: Path, hidden: tuple[Path, ...]) -> Path:
    """Copy a submission, a folder or a zip, to `target`; returns its folder of Miniproject_1/.

    A folder that holds one zip and no submission is taken for that zip. Stopped if there is no
    submission, or more than one, or if it is too large.
    """
    try:
        return project_in(source, target, hidden)
    except Stopped:
        raise
    except Exception as error:  # zipfile and the file systems have many
        cause = f"it cannot be copied: {one_line(f'{type(error).__name__}: {error}')}"
        raise Stopped(Status.NO_SUBMISSION, cause) from None


def project_in(source: Path, target: Path, hidden: tuple[Path, ...]) -> Path:
    if source.is_file():
        unzipped = target.with_name("unzipped")
        with zipfile.ZipFile(source) as archive:
            require_size(sum(entry.file_size for entry in archive.infolist()))
            archive.extractall(unzipped)  # which never leaves its folder
        source = unzipped
    elif not source.is_dir():
        raise Stopped(Status.NO_SUBMISSION, "it is neither a folder nor a zip")
    copy_folder(source, target, hidden)
    found = [path.parent.parent for path in target.glob(f"**/{PACKAGE}/model.py")]
    found = [path for path in found if len(path.parts) == min(len(p.parts) for p in found)]
    if len(found) == 1:
        return found[0]
    zips = list(target.glob("**/*.zip"))
    if not found and len(zips) == 1:
        return project_in(zips[0], target.with_name("from_zip"), hidden)
    several = ", ".join(sorted(path.name for path in found))
    cause = f"it holds several: {several}" if found else f"there is no {PACKAGE}/model.py in it"
    raise Stopped(Status.NO_SUBMISSION, one_line(cause))


def copy_folder(source: Path, target: Path, hidden: tuple[Path, ...]) -> None:
    """Copy the regular files, but hidden and generated ones and what lies outside of `source`."""
    size = 0
    top = source.resolve()
    out_of_bounds = [path for path in hidden if not top.is_relative_to(path)]
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        folders[:] = [name for name in folders if is_copied(here / name, top, out_of_bounds)]
        (target / here.relative_to(source)).mkdir(parents=True, exist_ok=True)
        for name in files:
            file = here / name
            if file.is_file() and is_copied(file, top, out_of_bounds):
                size += file.stat().st_size
                require_size(size)
                shutil.copyfile(file, target / file.relative_to(source))


def is_copied(path: Path, top: Path, out_of_bounds: list[Path]) -> bool:
    """Whether a file or folder belongs to the submission `top`."""
    if path.name.startswith(".") or path.name == "__pycache__" or (path / "pyvenv.cfg").exists():
        return False
    place = path.resolve()
    return place.is_relative_to(top) and not any(place.is_relative_to(p) for p in out_of_bounds)


def require_size(size: int) -> None:
    if size > LARGEST_FOLDER:
        limit = f"{LARGEST_FOLDER / GIB:g} GiB"
        raise Stopped(Status.NO_SUBMISSION, f"it has more than {limit}")


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def checksum_of(folder: Path) -> str:
    """Of the names and contents of its files."""
    digest = hashlib.sha256()
    for file in files_of(folder):
        with open(file, "rb") as content:
            of_file = hashlib.file_digest(content, "sha256").hexdigest()
        digest.update(os.fsencode(file.relative_to(folder)) + of_file.encode())
    return digest.hexdigest()[:12]


def own_modules(project: Path) -> set[str]:
    """What the submission's own modules may be called in an import."""
    files = files_of(project)
    folders = {part for file in files for part in file.relative_to(project).parts[:-1]}
    return folders | {file.stem for file in files if file.suffix == ".py"}


def imported_files(project: Path, names: object) -> list[Path]:
    """Those of the files that the child names, in the judge's copy."""
    known = {file.relative_to(project).as_posix(): file for file in files_of(project)}
    names = names if isinstance(names, list) else []
    return [known[name] for name in names if isinstance(name, str) and name in known]


def imported_packages(file: Path) -> Iterator[tuple[str, bool]]:
    """The packages that a file imports, each with whether it uses what it imports.

    Imports that may fail, in a `try`, or that run as a script only are left out.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # no Python
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    optional = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.Try) or is_script_part(branch)
        for part in branch.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in optional:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                yield root, (alias.asname or root) in names
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            bound = {alias.asname or alias.name for alias in node.names}
            yield node.module.split(".")[0], "*" in bound or bool(bound & names)


def is_script_part(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__":`."""
    if not isinstance(node, ast.If):
        return False
    return any(getattr(part, "id", None) == "__name__" for part in ast.walk(node.test))


# ---- the child process, as the judge sees it -----------------------------------------------------


class Child:
    """A process with a copy of the submission.

    A request is a line of JSON in a pipe and tensors in a file. An answer is a line of JSON and
    raw bytes in another pipe, neither of which the judge believes more than it must.
    """

    def __init__(self, project: Path, options: Options, log: "Log"):
        self.project = project
        self.options = options
        self.log = log
        self.request_file = project.parent / "request.pt"  # beside the judge's copy
        self.process: subprocess.Popen | None = None
        self.channels: list[int] = []  # the judge's ends
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=options.base))  # all it may write to
        self.folder = self.work / "submission"
        self.memory_measured = 0.0  # when
        self.memory_used = 0  # bytes
        self.disk_measured = time.monotonic()
        self.disk_used = 0

    def start(self) -> None:
        """Copy the submission, and start its process."""
        shutil.copytree(self.project, self.folder)
        (self.folder / PACKAGE / "__init__.py").touch()
        program = shutil.copyfile(__file__, self.work / "child.py")
        for name in ("home", "tmp", "elsewhere"):
            (self.work / name).mkdir()
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self.output, output = os.pipe()
        self.channels = [self.requests, self.answers, self.output]
        places = [str(requests), str(answers), str(self.request_file)]
        # -P: no module is looked for beside child.py
        command = [sys.executable, "-P", str(program), CHILD, *places, self.options.compat or ""]
        if self.options.sandbox:
            writable, readable = self.work, self.project.parent
            command = sandboxed(command, writable, readable, self.folder, self.options)
        try:
            self.process = start_process(
                command,
                cwd=self.folder,
                env=environment(self.work, self.options.jobs),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(requests, answers),
                start_new_session=True,
            )
        finally:
            for end in (requests, answers, output):
                os.close(end)

    def send(self, request: dict, tensors: tuple[Tensor, ...]) -> None:
        torch.save(tensors, self.request_file)
        with contextlib.suppress(BrokenPipeError):  # `receive` finds out why
            os.write(self.requests, json.dumps(request).encode() + b"\n")

    def receive(self, watch: Callable[[], None], expect: int) -> dict:
        """The answer, with its bytes as "payload"; Stopped if none comes.

        `watch` is called again and again, and ends the waiting by an exception.
        """
        received = bytearray()
        channels = {self.answers, self.output}
        while True:
            watch()
            ended = self.process.poll() is not None
            ready = select.select(channels, (), (), 0 if ended else POLL)[0]
            for channel in ready:
                chunk = os.read(channel, 1 << 20)
                if not chunk:
                    channels.remove(channel)
                elif channel == self.output:
                    self.log.write(chunk)
                else:
                    received += chunk
            answer = parsed(received, expect)
            if answer is not None:
                return answer
            if self.answers not in channels or (ended and not ready):
                raise Stopped(Status.CRASHED, self.fate())

    def fate(self) -> str:
        """How the process ended, if it did."""
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "it closed the judge's channel"
        if code == CLOSED:
            return "it closed the judge's channel"
        number = code - 128 if code > 128 else -code  # of a signal, as sh and as Popen have it
        if number <= 0:
            return f"it ended the process with exit code {code}"
        names = {sign.value: sign.name for sign in signal.Signals}
        return f"its process was killed by {names.get(number, f'signal {number}')}"

    def memory(self) -> int:
        """Bytes in use by all its processes, measured every POLL seconds."""
        if time.monotonic() - self.memory_measured > POLL:
            self.memory_measured = time.monotonic()
            processes = [self.process.pid, *descendants(self.process.pid)]
            self.memory_used = memory_of(processes)
            if self.memory_used > self.options.memory_bytes:  # forked processes share much of it
                self.memory_used = memory_of(processes, shared_once=True)
        return self.memory_used

    def disk(self) -> int:
        """Bytes of its folder, measured every DISK_POLL seconds."""
        if time.monotonic() - self.disk_measured > DISK_POLL:
            self.disk_measured = time.monotonic()
            self.disk_used = size_of(self.work)
        return self.disk_used

    def end(self) -> None:
        """End the process with all its descendants, and remove its folder."""
        if self.process is not None:
            kill_all(self.process)
        for channel in self.channels:
            os.close(channel)
        self.channels = []
        remove(self.work)


def start_process(command: list[str], **options) -> subprocess.Popen:
    """Popen of a process of the judge's own, which is no orphan that a submission left behind."""
    with FAMILY:
        process = subprocess.Popen(command, **options)
        OWN_CHILDREN.add(process.pid)
    return process


def parsed(received: bytearray, expect: int) -> dict | None:
    """The answer of these bytes, None if there is more to come; Stopped if they are no answer."""
    head, newline, payload = received.partition(b"\n")
    if len(head) > HEADER or len(payload) > expect:
        raise Stopped(Status.CRASHED, "it wrote to the judge's channel")
    if not newline:
        return None
    try:
        answer = json.loads(head)
        missing = answer["bytes"] - len(payload)
        if missing < 0:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Stopped(Status.CRASHED, "it wrote to the judge's channel") from None
    return answer | {"payload": bytes(payload)} if missing == 0 else None


def environment(work: Path, jobs: int) -> dict[str, str]:
    """The variables that Python, PyTorch and a GPU need, and no others."""
    kept = ("PATH", "PYTHONPATH", "LANG", "LC_", "LD_LIBRARY_", "CUDA_", "NVIDIA_", "OMP_", "MKL_")
    variables = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    search = variables.get("PYTHONPATH", "").split(os.pathsep)
    variables |= {
        "PYTHONPATH": os.pathsep.join(path for path in search if os.path.isabs(path)),
        "PYTHONUSERBASE": site.getuserbase(),  # as HOME is another
        "PYTHONUNBUFFERED": "1",
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
    }
    if jobs > 1:
        variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    return variables


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, which may be changing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def remove(folder: Path) -> None:
    """Remove a folder, also where a submission has forbidden it or nested it thousands deep."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        tool = start_process([*command, str(folder)], stderr=subprocess.DEVNULL)
        tool.wait()
        with FAMILY:
            OWN_CHILDREN.discard(tool.pid)


# ---- isolation -----------------------------------------------------------------------------------

FAMILY = threading.Lock()  # held while a child starts, which until then looks like an orphan
OWN_CHILDREN: set[int] = set()  # processes that the judge itself started
ADOPT_ORPHANS = 36  # prctl's PR_SET_CHILD_SUBREAPER
DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG
MOST_ROUNDS = 3000  # of killing, 30 seconds: a process that waits for a disk may take its time
IS_LINUX = sys.platform == "linux"


def adopt_orphans() -> None:
    """Make this process the parent of all descendants whose own parent ends."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1)


def children() -> dict[int, list[int]]:
    """The processes of this machine by the number of their parent; {} where there is no /proc."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if IS_LINUX else ():
        if name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                stat = Path("/proc", name, "stat").read_text(errors="replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                found.setdefault(parent, []).append(int(name))
    return found


def descendants(process: int) -> list[int]:
    by_parent, found = children(), [process]
    for parent in found:  # which grows
        found += by_parent.get(parent, ())
    return found[1:]


def orphans() -> list[int]:
    """Adopted processes. None is wanted: a submission may not outlive its own process."""
    with FAMILY:
        return [pid for pid in children().get(os.getpid(), ()) if pid not in OWN_CHILDREN]


def kill_all(process: subprocess.Popen) -> None:
    """End a child with its descendants, which may be making more of themselves."""
    for _ in range(MOST_ROUNDS):
        alive = descendants(process.pid)
        if process.poll() is None:
            alive.append(process.pid)
        alive += (adopted := orphans())
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                with contextlib.suppress(OSError):
                    os.kill(pid, sign)
        for pid in adopted:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        if not alive:
            break
        time.sleep(0.01)
    if not IS_LINUX:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    with FAMILY:
        OWN_CHILDREN.discard(process.pid)


def memory_of(processes: list[int], shared_once: bool = False) -> int:
    """Bytes of memory of these processes, 0 where there is no /proc.

    What several of them share counts for each, unless `shared_once`, which takes longer to find.
    """
    used = 0
    for pid in processes if IS_LINUX else ():
        with contextlib.suppress(OSError):  # it has just ended
            if shared_once:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                used += 1024 * int(re.search(r"Pss: +(\d+)", rollup)[1])
            else:
                pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
                used += int(pages) * resource.getpagesize()
    return used


def sandboxed(
    command: list[str], writable: Path, readable: Path, folder: Path, options: Options
) -> list[str]:
    """The command in namespaces of its own, as an unprivileged user may have them.

    No network, no other processes, no terminals and no sockets of others; all file systems are
    read-only but for the folder `writable` and small ones in memory; the temporary files of other
    exams and what is `hidden` are not seen. All of it ends when its first process ends, and that
    one with the thread that started it.
    """
    quoted = partial(map, lambda path: shlex.quote(str(path)))
    keep, show, start, base = quoted((writable, readable, folder, options.base))
    size = f"size={options.memory_bytes}"
    lines = [
        "mount -t tmpfs -o size=1m none /run",  # where the sockets of services are
        "mkdir /run/keep /run/show",
        f"mount --bind {keep} /run/keep",
        f"mount --bind {show} /run/show",
        *(f"mount -o remount,bind,ro {path} 2>/dev/null || :" for path in quoted(mount_points())),
        *(f"mount -t tmpfs -o {size} none {path}" for path in quoted(temporary_folders())),
        f"mkdir -p {base} && mount -t tmpfs -o size=1m none {base}",
        f"mkdir -p {keep} {show}",
        f"mount --bind /run/keep {keep}",
        f"mount --bind /run/show {show}",
        f"mount -o remount,bind,ro {show}",
        "umount /run/keep /run/show",
        f"mount -t tmpfs -o {size} none /dev/shm",
        "mount -t tmpfs -o ro none /dev/pts",
    ]
    empty = [options.base, Path("/run"), *temporary_folders()]  # folders that are empty already
    for path in sorted(options.hidden):
        if path.exists() and not any(path.is_relative_to(folder) for folder in empty):
            nothing = "-t tmpfs -o ro none" if path.is_dir() else "--bind /dev/null"
            lines.append(f"mount {nothing} {shlex.quote(str(path))}")
            empty.append(path)
    lines.append(f"cd {start}")
    lines.append('setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"')
    namespaces = ("--user", "--map-root-user", "--mount", "--net", "--ipc", "--pid", "--mount-proc")
    unshare = ["unshare", *namespaces, "--fork", "--kill-child"]
    shell = ["sh", "-ec", "\n".join(lines), "sh"]
    return ["setpriv", "--pdeathsig", "KILL", *unshare, *shell, *command]


def temporary_folders() -> list[Path]:
    """Those that can be empty in the sandbox: nothing that Python needs lies there."""
    folders = (Path("/tmp"), Path("/var/tmp"))
    return [folder for folder in folders if folder.is_dir() and not is_needed(folder)]


def is_needed(folder: Path) -> bool:
    """Whether a submission's process needs what lies in this folder."""
    needed = (sys.prefix, sys.base_prefix, torch.__file__)
    return any(Path(path).resolve().is_relative_to(folder) for path in needed)


def mount_points() -> list[str]:
    """Where file systems are mounted. /proc/self/mounts writes a space as \\040."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points]


def why_no_sandbox(options: Options) -> str | None:
    """Why there can be no sandbox on this machine; None if it works."""
    if not IS_LINUX:
        return "it needs Linux"
    open_to_all = {*map(str, temporary_folders()), "/dev/shm"}
    closed = [str(ROOT), *(point for point in mount_points() if point not in open_to_all)]
    writable = "' '.join(path for path in sys.argv[1:] if os.access(path, os.W_OK))"
    code = f"import os, sys; sys.exit({writable} or 0)"
    test = [sys.executable, "-P", "-c", code, *closed]
    folder = Path(tempfile.mkdtemp(dir=options.base))
    try:
        command = sandboxed(test, folder, folder, folder, options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return one_line(error)
    if done.returncode:
        return one_line(done.stderr) or f"exit code {done.returncode}"
    return None


# ---- in the child process ------------------------------------------------------------------------

CHILD = "--child"  # the first argument of a child
CLOSED = 117  # exit code of a child whose channel to the judge was closed


def serve(requests: str, answers: str, request_file: str, compat: str) -> None:
    """Do what the judge asks, one request after the other."""
    confine()
    if compat:
        COMPAT[compat]()
    sys.argv = [""]
    out = os.fdopen(int(answers), "wb")
    pupil = Pupil(Path(request_file))

    def reply(answer: dict) -> None:
        payload = answer.pop("payload", b"")
        try:
            out.write(json.dumps(answer | {"bytes": len(payload)}).encode() + b"\n" + payload)
            out.flush()
        except OSError:
            os._exit(CLOSED)

    reply({})
    for line in os.fdopen(int(requests)):
        try:
            answer = pupil.do(json.loads(line))
        except BaseException as error:  # SystemExit and KeyboardInterrupt as well
            answer = described(error, pupil.folder)
        reply(answer)


def confine() -> None:
    """What the system can limit in this process and those that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    if IS_LINUX:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go


def described(error: BaseException, folder: Path) -> dict:
    """An exception as the judge reads it, with its last place in the submission."""
    traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return {
        "error": type(error).__name__,
        "text": str(error).replace(str(folder), ".")[:1000],
        "where": f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "",
        "missing": error.name if isinstance(error, ModuleNotFoundError) else None,
    }


class Pupil:
    """Holds the submission's Model; each request of the judge is a method."""

    def __init__(self, request_file: Path):
        self.request_file = request_file
        self.folder = Path.cwd()
        self.model_class: type | None = None
        self.model = None

    def do(self, request: dict) -> dict:
        """The method that the request names."""
        what = request.pop("do")
        if what in ("predict", "train"):
            request["tensors"] = torch.load(self.request_file, weights_only=True)
        if what in ("construct", "train"):  # a grade can be repeated
            torch.manual_seed(SEED)
            random.seed(SEED)
        return getattr(self, what)(**request)

    def load_module(self) -> dict:
        sys.path.insert(0, str(self.folder))
        self.model_class = importlib.import_module(f"{PACKAGE}.model").Model
        files = [Path(getattr(module, "__file__", None) or "/") for module in sys.modules.values()]
        own = [file.relative_to(self.folder) for file in files if file.is_relative_to(self.folder)]
        package = getattr(sys.modules[PACKAGE], "Model", None) is self.model_class
        return {"files": [file.as_posix() for file in own], "package": package}

    def construct(self) -> dict:
        self.model = self.model_class()
        try:
            return {"parameters": parameters(self.model)}
        except Exception:  # a Model may be built in many ways
            return {"parameters": None}

    def load_weights(self) -> dict:
        self.model.load_pretrained_model()
        return {}

    def train(self, tensors: tuple, args: list, kwargs: dict) -> dict:
        self.model.train(*tensors, *args, **kwargs)
        return {}

    def predict(self, tensors: tuple) -> dict:
        (noisy,) = tensors
        before = noisy.clone()
        output = self.model.predict(noisy)
        if not isinstance(output, Tensor):
            return {"returned": f"a {type(output).__name__}"}
        answer = {
            "returned": shape(output),
            "requires_grad": output.requires_grad,
            "input_changed": not noisy.equal(before),
        }
        if output.shape == before.shape:
            answer["payload"] = raw_bytes(output.detach().to("cpu", torch.float32))
        return answer

    def work_in(self, place: str) -> dict:
        os.chdir(self.folder / place)
        return {}

    def autograd_off(self) -> dict:
        torch.set_grad_enabled(False)
        return {}


def parameters(model: object) -> int:
    """The number of parameters of a model and of the networks that are its attributes."""
    networks = [thing for thing in (model, *vars(model).values()) if isinstance(thing, nn.Module)]
    unique = {id(p): p for network in networks for p in network.parameters()}
    return sum(p.numel() for p in unique.values())


def as_in_2022() -> None:
    """torch.load takes pickled networks, and schedulers take `verbose`, as in torch 1.11."""
    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **{"weights_only": False} | kwargs)
    for scheduler in vars(torch.optim.lr_scheduler).values():
        if isinstance(scheduler, type) and issubclass(
            scheduler, torch.optim.lr_scheduler.LRScheduler
        ):
            scheduler.__init__ = without_verbose(scheduler.__init__)


def without_verbose(init: Callable) -> Callable:
    def accepts_verbose(*args, verbose: bool = False, **kwargs):
        return init(*args, **kwargs)

    return accepts_verbose


COMPAT = {"2022": as_in_2022}


# ---- a class: rows, files and tables -------------------------------------------------------------


class Log:
    """The output of a submission and the judge's verdicts, in a file and, if wanted, on screen."""

    def __init__(self, path: Path | None, verdicts: bool):
        self.path = path
        self.file: BinaryIO | None = None  # opened when there is something to write
        self.verdicts = verdicts  # whether to print them
        self.showing = False  # whether to print the submission's output now
        self.size = 0  # bytes of the submission's output
        self.begun = b""  # a line of it that has not ended

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Print the submission's output meanwhile, where verdicts are printed."""
        self.showing = self.verdicts
        try:
            yield
        finally:
            self.showing = False

    def write(self, chunk: bytes) -> None:
        """Output of the submission, of which LOG bytes are kept."""
        kept = chunk[: LOG - self.size]
        self.size += len(kept)
        self._to_file(kept)
        if kept and self.size == LOG:
            self._to_file(b"\n[more is not kept]\n")
        if self.showing:
            *lines, self.begun = (self.begun + kept).split(b"\n")
            for line in lines:
                print(" |", printable(line.decode(errors="replace"))[:200], flush=True)

    def judge(self, line: str) -> None:
        """A line of the judge's own."""
        self._to_file(f"=== {line}\n".encode(errors="replace"))
        if self.verdicts:
            print(line, flush=True)

    def _to_file(self, content: bytes) -> None:
        if self.path and not self.file:
            self.file = open(self.path, "wb")
        if self.file:
            self.file.write(content)
            self.file.flush()

    def close(self) -> None:
        if self.file:
            self.file.close()


def grade(
    source: Path, data: Data, options: Options, log: Log, is_done: Callable[[str], bool]
) -> dict | None:
    """Examine a submission; returns its row, None if `is_done` says so of its files' checksum.

    Whatever happens gives a row: a fault of the harness has a status of its own.
    """
    start = time.perf_counter()
    exam = None
    row: dict = {}
    folder = Path(tempfile.mkdtemp(prefix="exam-", dir=options.base))
    try:
        project = copied(source, folder / "submission", options.hidden)
        row["checksum"] = checksum_of(project)
        if is_done(row["checksum"]):
            return None
        exam = Exam(project, data, options, log)
        exam.run()
        row |= {"status": exam.status, "cause": exam.cause}
    except Stopped as stop:
        row |= {"status": stop.status, "cause": str(stop)}
    except Exception as error:
        log.judge("".join(traceback.format_exception(error)))
        cause = one_line(f"{type(error).__name__}: {error}")
        row |= {"status": Status.HARNESS_ERROR, "cause": cause}
    finally:
        remove(folder)
    if exam:
        row |= measured(exam)
    if row["status"] != Status.GRADED:
        log.judge(f"{row['status']}: {row['cause']}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return row | {"seconds": round(time.perf_counter() - start, 1), "date": date}


COLUMNS = (  # of results.csv; docs/GRADING.md explains them
    "submission",
    "status",
    "cause",
    "pretrained",
    "pretrained_pooled",
    "retrained",
    "retrained_pooled",
    "training_seconds",
    "testing_seconds",
    "parameters",
    "peak_memory_gib",
    "passed",
    "failed",
    "not_run",
    "notes",
    "failed_checks",
    "seconds",
    "date",
)


def measured(exam: Exam) -> dict:
    """What a row keeps of an exam."""
    required = [row for row in exam.verdicts if row["required"]]
    counts = {
        verdict: [row for row in required if row["verdict"] == verdict]
        for verdict in ("passed", "failed", "not run")
    }
    notes = [row for row in exam.verdicts if not row["required"] and row["verdict"] == "failed"]
    row: dict = {}
    for stage in ("pretrained", "retrained"):
        for key, name in (("per_image", stage), ("pooled", f"{stage}_pooled")):
            row[name] = rounded(exam.psnr.get(stage, {}).get(key), 3)
    return row | {
        "training_seconds": rounded(exam.seconds.get("training"), 1),
        "testing_seconds": rounded(exam.seconds.get("testing"), 1),
        "parameters": exam.parameters,
        "peak_memory_gib": round(exam.peak_memory / GIB, 2),
        "passed": len(counts["passed"]),
        "failed": len(counts["failed"]),
        "not_run": len(counts["not run"]),
        "notes": len(notes),
        "failed_checks": "; ".join(row["check"] for row in counts["failed"]),
        "psnr": exam.psnr,
        "other_noise": exam.other_noise,
        "checks": exam.verdicts,
    }


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def has_passed(row: dict) -> bool:
    """Whether every required check of a submission was seen to pass."""
    required = sum(check.required for check in CHECKS.values())
    return row["status"] == Status.GRADED and row.get("passed") == required


class Results:
    """The rows of a class, in memory and in RESULTS_FOLDER/results.json and .csv."""

    def __init__(self, folder: Path | None, settings: dict):
        self.folder, self.settings = folder, settings
        self.rows: dict[str, dict] = {}  # by name
        if folder:
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            self.read(folder / "results.json")
            self.write()

    def read(self, file: Path) -> None:
        """Take over earlier rows; ValueError if they are of other settings."""
        if not file.exists():
            return
        try:
            content = json.loads(file.read_text())
            settings, rows = content["settings"], content["submissions"]
            self.rows = {
                row["submission"]: row for row in rows if row["status"] != Status.HARNESS_ERROR
            }
            is_other = [key for key in self.settings if settings.get(key) != self.settings[key]]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{file} holds no results of test.py; choose another -o") from None
        other = [key for key in is_other if key != "jobs"]
        if other:
            raise ValueError(f"{file} has other {', '.join(other)}; choose another -o")

    def has(self, name: str, checksum: str) -> bool:
        return self.rows.get(name, {}).get("checksum") == checksum

    def log_file(self, name: str) -> Path | None:
        short = re.sub(r"[^\w.-]", "_", name)[:100]
        if short != name:  # two names may have the same
            short += f"_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
        return self.folder and self.folder / "logs" / f"{short}.log"

    def add(self, row: dict) -> None:
        self.rows[row["submission"]] = row
        self.write()

    def write(self) -> None:
        """Both files, each whole or not at all."""
        if self.folder is None:
            return
        content = {"settings": self.settings, "submissions": list(self.rows.values())}
        write_whole(self.folder / "results.json", json.dumps(content, indent=1, allow_nan=False))
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in self.rows.values():
            writer.writerow({key: no_formula(value) for key, value in row.items()})
        write_whole(self.folder / "results.csv", table.getvalue())


def no_formula(value: object) -> object:
    """A text that a spreadsheet does not take for a formula."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@"))
    return f"'{value}" if is_formula else value


def write_whole(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def grade_all(sources: dict[str, Path], data: Data, options: Options, results: Results) -> None:
    """Grade the submissions that have no row yet; each row is written as soon as it is known."""
    alone = len(sources) == 1
    start = time.perf_counter()
    graded = 0

    def grade_one(name: str) -> tuple[str, dict | None]:
        log = Log(results.log_file(name), verdicts=alone)
        try:
            is_done = partial(results.has, name)
            return name, grade(sources[name], data, options, log, is_done)
        finally:
            log.close()

    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(grade_one, name) for name in sources]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                name, row = future.result()
                place = f"{done:>3}/{len(sources)}"
                if row is None:
                    print(f"{place}  {name}: as before", flush=True)
                    continue
                graded += 1
                results.add({"submission": name} | row)
                if not alone:
                    each = (time.perf_counter() - start) / graded
                    print_row(place, results.rows[name], each * (len(sources) - done))
        except BaseException:
            INTERRUPT.set()
            pool.shutdown(cancel_futures=True)
            raise


def print_row(place: str, row: dict, left: float) -> None:
    """A submission of a class, when it is known."""
    what = [f"{row['submission']}: {row['status']}"]
    for stage in ("pretrained", "retrained"):
        if row.get(stage) is not None:
            what.append(f"{row[stage]:.2f} dB {stage}")
    minutes, seconds = divmod(round(left), 60)
    print(f"{place}  {', '.join(what)}; {minutes}:{seconds:02} left", flush=True)
    if not has_passed(row):
        print(f"{' ' * len(place)}  {row['cause']}", flush=True)


def leaderboard(rows: list[dict]) -> str:
    """A table, the highest PSNR of the pretrained weights first."""
    heads = ("submission", "status", "pretrained", "retrained", "seconds", "parameters", "GiB")
    heads += ("passed", "failed", "not run", "notes")
    cells = [heads]
    for row in sorted(rows, key=lambda row: -(row.get("pretrained") or 0)):
        seconds = [row.get("training_seconds"), row.get("testing_seconds")]
        cells.append(
            (
                row["submission"],
                row["status"],
                formatted(row.get("pretrained"), 2),
                formatted(row.get("retrained"), 2),
                formatted(None if None in seconds else sum(seconds), 0),
                formatted(row.get("parameters"), 0),
                formatted(row.get("peak_memory_gib"), 1),
                *(formatted(row.get(key), 0) for key in ("passed", "failed", "not_run", "notes")),
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for texts in cells:
        left = [text.ljust(width) for text, width in zip(texts[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(texts[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right))
    return "\n".join(lines)


def formatted(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def print_summary(row: dict, data: Data, options: Options) -> None:
    """PSNR and time of a single submission, after its verdicts."""
    if "psnr" not in row:
        return
    print(f"\n{'PSNR (dB)':<26}{'per image':>10}{'pooled':>10}")
    for stage in ("noisy", "pretrained", "untrained", "retrained"):
        values = row["psnr"].get(stage, {})
        cells = (formatted(values.get(key), 2) for key in ("per_image", "pooled"))
        print(f"{stage:<26}" + "".join(f"{cell:>10}" for cell in cells))
    training, testing = row["training_seconds"], row["testing_seconds"]
    if testing is not None:
        print(
            f"time: training {training:,.0f} s ({options.epochs} x {len(data.noisy_a):,} pairs) "
            f"and testing {testing:,.0f} s, of {COURSE_LIMIT[device()]:,} s"
        )
    print(f"memory: up to {row['peak_memory_gib']} GiB")


# ---- the command line ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"error: {message}; `{self.prog} --help` explains\n")


def positive(kind: type) -> Callable[[str], float]:
    """A type of argparse."""

    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    convert.__name__ = f"positive {kind.__name__}"
    return convert


def parser() -> Parser:
    arguments = Parser(
        description=__doc__,
        epilog=PROTECTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="python test.py [-p SUBMISSION ...] [-d DATA_FOLDER] [options]",
    )
    add = arguments.add_argument
    add(
        "-p",
        type=Path,
        nargs="+",
        action="extend",
        dest="submissions",
        metavar="SUBMISSION",
        help=f"folders or zips that hold {PACKAGE}/ (default: the folder of test.py)",
    )
    add(
        "-d",
        type=Path,
        dest="data",
        metavar="DATA_FOLDER",
        help="with train_data.pkl and val_data.pkl (default: data/ beside test.py, made once from "
        "built-in scenes)",
    )
    add("-o", type=Path, dest="out", metavar="RESULTS_FOLDER", help="for results and logs")
    add("--validation", type=Path, metavar="FILE", help="measure on this, not on val_data.pkl")
    add(
        "--epochs",
        type=positive(int),
        default=1,
        metavar="N",
        help="of the training from scratch; 1",
    )
    add("--pairs", type=positive(int), metavar="N", help="train on the first N pairs only")
    add("--jobs", type=positive(int), default=1, metavar="N", help="submissions at a time")
    add(
        "--limit",
        type=positive(float),
        metavar="SECONDS",
        help=f"for all required checks of a submission (default: {BUDGET} times the course's)",
    )
    add(
        "--memory",
        type=positive(float),
        default=8.0,
        metavar="GIB",
        help="of one submission (default: 8)",
    )
    add("--allow", nargs="+", default=[], metavar="PACKAGE", help="which may be imported")
    add("--compat", choices=sorted(COMPAT), help="torch's defaults of that year")
    add(
        "--sandbox",
        action=argparse.BooleanOptionalAction,
        help="require or forbid the sandbox (default: where the system allows it)",
    )
    return arguments


def named(paths: list[Path]) -> dict[str, Path]:
    """The submissions by printable names that tell them apart; ValueError if one does not exist."""
    paths = [path.resolve() for path in dict.fromkeys(paths)]
    names: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such submission")
        others = [other for other in paths if other != path]
        length = 1
        while any(path.parts[-length:] == other.parts[-length:] for other in others):
            length += 1
        name = one_line("/".join(path.parts[-length:]).encode(errors="replace").decode())
        if name in names:
            name = f"{name} ({len(names)})"
        names[name] = path
    return names


def built_in_data() -> Path:
    """data/ beside this file; made by the package beside it where it does not exist."""
    folder = ROOT / "data"
    if any((folder / name).exists() for name in ("train_data.pkl", "val_data.pkl")):
        return folder
    if not (ROOT / PACKAGE / "__main__.py").exists():
        raise ValueError(
            f"no -d DATA_FOLDER, and no {PACKAGE} beside {ROOT / 'test.py'} to make it"
        )
    print(f"no -d DATA_FOLDER: making built-in scenes in {folder}, once", flush=True)
    command = [sys.executable, "-m", PACKAGE, "data", "-o", str(folder)]
    subprocess.run([*command, "--pairs", str(SHORT_TRAINING)], cwd=ROOT, check=True)
    return folder


def hidden_paths(sources: list[Path], data: Path, args: argparse.Namespace) -> tuple[Path, ...]:
    """What is not copied and not seen: the data, the results, and the submissions themselves.

    Folders that hold what a submission's process needs stay visible, and read-only.
    """
    paths = [*sources, *data.glob("*.pkl"), args.validation, args.out]
    paths = [path.resolve() for path in paths if path]
    return tuple(path for path in paths if not is_needed(path) and not ROOT.is_relative_to(path))


def settings(data: Data, options: Options) -> dict:
    """What makes rows comparable, and where they were measured."""
    return {
        "data": data.checksum(),
        "pairs": len(data.noisy_a),
        "validation_images": len(data.noisy),
        "epochs": options.epochs,
        "limit": options.limit,
        "memory": options.memory,
        "allow": sorted(options.allow),
        "compat": options.compat,
        "jobs": options.jobs,
        "sandbox": options.sandbox,
        "seed": SEED,
        "device": device(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "harness": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12],
    }


def chosen_options(args: argparse.Namespace, hidden: tuple[Path, ...], base: Path) -> Options:
    options = Options(
        epochs=args.epochs,
        limit=args.limit or BUDGET * COURSE_LIMIT[device()],
        memory=args.memory,
        allow=frozenset(args.allow),
        compat=args.compat,
        jobs=args.jobs,
        sandbox=True,
        hidden=hidden,
        base=base,
    )
    reason = "--no-sandbox" if args.sandbox is False else why_no_sandbox(options)
    if reason and args.sandbox:
        raise ValueError(f"no sandbox on this machine: {reason}")
    print(f"sandbox: {'not in force: ' + reason if reason else 'in force'}", flush=True)
    return replace(options, sandbox=not reason)


def run(args: argparse.Namespace, base: Path) -> int:
    """Grade what the command line names, with temporary files in `base`; returns the exit code."""
    sources = named(args.submissions or [ROOT])
    folder = args.data or built_in_data()
    data = load_data(folder, args.validation, args.pairs)
    hidden = hidden_paths(list(sources.values()), folder, args)
    options = chosen_options(args, hidden, base)
    results = Results(args.out, settings(data, options))
    print_warning_of_few(data, options)
    adopt_orphans()
    grade_all(sources, data, options, results)

    rows = [results.rows[name] for name in sources]
    passed = sum(map(has_passed, rows))
    if len(rows) == 1:
        print_summary(rows[0], data, options)
        print(last_line(rows[0]))
    else:
        notes = sum(row.get("notes", 0) for row in rows)
        print(f"\n{leaderboard(rows)}\n")
        print(f"submissions: {passed} passed, {len(rows) - passed} failed, {notes} notes")
    return 0 if passed == len(rows) else 1


def print_warning_of_few(data: Data, options: Options) -> None:
    """Say where the trainings see less than one epoch of the course's data."""
    seen = options.epochs * len(data.noisy_a)
    if seen < COURSE_PAIRS or data.has_few_pairs:
        amount = f"{options.epochs} x {len(data.noisy_a):,} pairs"
        print(
            f"few data: {amount}, where one epoch of the course has {COURSE_PAIRS:,}; honest",
            end="",
        )
        print(" submissions may fail for that alone", flush=True)


def last_line(row: dict) -> str:
    counts = [f"{row.get(key, 0)} {key.replace('_', ' ')}" for key in ("passed", "failed")]
    return ", ".join([*counts, f"{row.get('not_run', 0)} not run", f"{row.get('notes', 0)} notes"])


def main(argv: list[str] | None = None) -> int:
    """Take the arguments (None: those of the process); returns the exit code."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    base = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
    try:
        return run(args, base)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {one_line(error, 1000)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = f"; the same command goes on from {args.out}" if args.out else ""
        print(f"interrupted{again}", file=sys.stderr)
        return 130
    finally:
        remove(base)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main())
