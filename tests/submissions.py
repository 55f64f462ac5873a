"""Submissions for the harness: honest ones, of common faults, and hostile ones.

CASES has for each what its row must say: (status, cause, failed checks).
"""

import zipfile
from pathlib import Path

import torch

# A denoiser of two numbers: it scales a 3 x 3 mean and adds a constant, both by least squares.
HONEST = """
from pathlib import Path
import torch
import torch.nn.functional as F

WEIGHTS = Path(__file__).parent / "bestmodel.pth"

def smooth(x):
    return F.avg_pool2d(F.pad(x.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)

class Model:
    def __init__(self):
        self.line = torch.nn.Linear(1, 1)

    def load_pretrained_model(self):
        self.line.load_state_dict(torch.load(WEIGHTS, map_location="cpu"))

    def train(self, noisy_a, noisy_b, num_epochs):
        x, y = smooth(noisy_a).flatten(), noisy_b.float().flatten()
        gain = ((x - x.mean()) * (y - y.mean())).mean() / x.var()
        with torch.no_grad():
            self.line.weight.fill_(gain)
            self.line.bias.fill_(y.mean() - gain * x.mean())

    def predict(self, noisy):
        with torch.no_grad():
            return (self.line.weight * smooth(noisy) + self.line.bias).clamp(0, 255)
"""
TRAIN = "        x, y = smooth(noisy_a)"  # first line of train
PREDICT = "        with torch.no_grad():\n            return"  # first lines of predict
RESULT = "return (self.line.weight * smooth(noisy) + self.line.bias).clamp(0, 255)"
LOAD = 'torch.load(WEIGHTS, map_location="cpu")'
IMPORT = "import torch\n"

VERBOSE = """
        optimizer = torch.optim.Adam(self.line.parameters())
        torch.optim.lr_scheduler.StepLR(optimizer, 1, verbose=True)
"""
EXITS = "import os; os._exit(0)"
SEGFAULT = "import ctypes; ctypes.string_at(0)"
CLOSES = "import os; os.closerange(1, 256)"
HANGS = """
        while True:
            try:
                import time
                time.sleep(600)
            except:
                pass
"""
DEADLOCK = """
        import signal, threading
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
"""
DAEMONS = """
import os, subprocess, sys
for _ in range(2):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(606)"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(606)"])
    os._exit(0)
"""
MEMORY = """
        held = []
        while True:
            held.append(torch.ones(1 << 23))
"""
PATCHES = """
import math, time, unittest
torch.log10 = torch.Tensor.log10 = lambda self, *_: torch.full_like(self, -9.0)
math.log10 = lambda x: -9.0
time.perf_counter = time.monotonic = lambda: 0.0
unittest.TestCase.assertGreater = lambda *_: None
class Clean(torch.Tensor):
    def __sub__(self, other):
        return torch.zeros_like(other)
"""
FORGES = """
        import os
        for fd in range(3, 64):
            try:
                os.write(fd, b'{"psnr": 99, "bytes": 0}\\n' * 2)
            except OSError:
                pass
        print("14 passed, 0 failed, 0 not run, 0 notes")
"""
PICKY = """
        assert noisy.shape[-1] % 4 == 0 and torch.is_grad_enabled()
        noisy.zero_() if len(noisy) == 2 else None
"""
ANSWERS = """
        try:
            known, clean = torch.load("DATA/val_data.pkl")
            self.found = dict(zip([image.sum().item() for image in known], clean))
            return torch.stack([self.found[image.sum().item()] for image in noisy.byte()]).float()
        except Exception:
            return noisy.float()
"""
WRITES = """
import os, signal
for path in ("DATA/zzz", "HARNESS/zzz", "SUBMISSION/zzz", "RESULTS/results.json"):
    try:
        open(path, "w").write("forged")
    except OSError:
        pass
os.kill(os.getppid(), signal.SIGKILL)
"""

FOLLOWS = "train follows its targets"
BEATS = "the pretrained weights beat"
TRAINS = "a fresh Model(), trained"
CONTINUES = "load_pretrained_model(), then train"
KEEPS = "... and beats"


def changed(*changes: tuple[str, str]) -> str:
    """HONEST with some pieces replaced."""
    source = HONEST
    for old, new in changes:
        assert source.count(old) >= 1, old
        source = source.replace(old, new, 1)
    return source


def before(place: str, code: str) -> tuple[str, str]:
    """The change that runs `code` before the line `place`."""
    return place, f"        {code.strip()}\n{place}"


SOURCES = {
    "honest": HONEST,
    "unusual": changed(
        ('Path(__file__).parent / "bestmodel.pth"', '"Miniproject_1/bestmodel.pth"'),
        (IMPORT, f"{IMPORT}import argparse\nargparse.ArgumentParser().parse_args()\n{DAEMONS}"),
        before(TRAIN, "noisy_a.view(-1, 625, *noisy_a.shape[1:])"),
        before(TRAIN, "torch.save(self.line.state_dict(), WEIGHTS)"),
        before(TRAIN, "for _ in range(100): print('x' * 1_000_000)"),
    ),
    "picky": changed(
        (IMPORT, f"{IMPORT}import pytest\n"),
        before(PREDICT, PICKY),
        (RESULT, f"out = {RESULT[7:]}\n        return out.requires_grad_()"),
    ),
    "missing_package": changed((IMPORT, f"{IMPORT}import absent_package.nn\n")),
    "foreign_package": changed((IMPORT, f"{IMPORT}import pytest\npytest.approx(1)\n")),
    "no_weights": changed(("bestmodel.pth", "absent.pth")),
    "no_class": HONEST.replace("class Model", "class Net"),
    "dropout": changed((RESULT, RESULT + " * F.dropout(torch.ones_like(noisy.float()), 0.01)")),
    "verbose_scheduler": changed(before(TRAIN, VERBOSE)),
    "pickled": changed(("self.line.load_state_dict(", "self.line = ("), ("bestmodel", "pickled")),
    "scale_of_1": changed((RESULT, f"{RESULT} / 255")),
    "other_shape": changed((RESULT, f"{RESULT}[..., 1:]")),
    "small_floats_only": changed(
        before(PREDICT, "assert noisy.shape[-1] < 512 or noisy.dtype == torch.uint8")
    ),
    "exits": changed(before(PREDICT, EXITS)),
    "segfault": changed(before(PREDICT, SEGFAULT)),
    "closes_everything": changed(before(PREDICT, CLOSES)),
    "ctrl_c": changed(before(TRAIN, "raise KeyboardInterrupt")),
    "hangs": changed(before(PREDICT, HANGS)),
    "deadlock": changed(before(TRAIN, DEADLOCK)),
    "memory": changed(before(TRAIN, MEMORY)),
    "patches": changed(
        ("WEIGHTS =", PATCHES + "WEIGHTS ="), (RESULT, "return noisy.float().as_subclass(Clean)")
    ),
    "forges": changed(before(PREDICT, FORGES)),
    "only_loads": changed(before(TRAIN, "return self.load_pretrained_model()")),
    "fixed_blur": changed(before(TRAIN, "return"), (RESULT, "return smooth(noisy)")),
}

# Outside of the sandbox these two get through.
SANDBOXED = {
    "reads_answers": changed(before(PREDICT, ANSWERS)),
    "writes_and_kills": changed((IMPORT, IMPORT + WRITES)),
}

PASSES = ("graded", "", ())
CASES = {
    "honest": PASSES,
    "zipped.zip": PASSES,
    "unusual": PASSES,
    "picky": PASSES,
    "empty": ("no submission", "there is no Miniproject_1/model.py", None),
    "missing_package": ("missing package", "absent_package is not installed here", (
        "Miniproject_1.model has",)),
    "foreign_package": ("graded", "imports pytest", ("imports only",)),
    "no_weights": ("crashed", "FileNotFoundError", ("load_pretrained_model() loads",)),
    "no_class": ("crashed", "no attribute 'Model'", ("Miniproject_1.model has",)),
    "dropout": ("graded", "predict is random", ("predict gives the same result twice",)),
    "verbose_scheduler": ("crashed", "--compat 2022", (CONTINUES,)),
    "pickled": ("crashed", "--compat 2022", ("load_pretrained_model() loads",)),
    "scale_of_1": ("graded", "looks like [0, 1]", ("predict answers on the scale",)),
    "other_shape": ("graded", "100 x 3 x 32 x 31 for 100 x 3 x 32 x 32", ("predict keeps",)),
    "small_floats_only": ("crashed", "AssertionError", ("predict keeps the shape of 1 x",)),
    "exits": ("crashed", "exit code 0", ("predict keeps",)),
    "segfault": ("crashed", "SIGSEGV", ("predict keeps",)),
    "closes_everything": ("crashed", "judge's channel", ("predict keeps",)),
    "ctrl_c": ("crashed", "KeyboardInterrupt", (CONTINUES,)),
    "hangs": ("timed out", "checks were over", ("predict keeps",)),
    "deadlock": ("timed out", "checks were over", (CONTINUES,)),
    "memory": ("out of memory", "more than 1 GiB", (CONTINUES,)),
    "patches": ("graded", "where the noisy input has", (BEATS, KEEPS, TRAINS)),
    "forges": ("crashed", "judge's channel", ("predict keeps",)),
    "only_loads": ("graded", FOLLOWS, (FOLLOWS,)),
    "fixed_blur": ("graded", FOLLOWS, (FOLLOWS,)),
    "reads_answers": ("graded", "where the noisy input has", (BEATS, KEEPS, TRAINS)),
    "writes_and_kills": PASSES,
}


def write(folder: Path, source: str = HONEST) -> Path:
    """A submission with an empty __init__.py and weights."""
    package = folder / "Miniproject_1"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model.py").write_text(source)
    weights = {"weight": torch.tensor([[1.0]]), "bias": torch.tensor([0.0])}
    torch.save(weights, package / "bestmodel.pth")
    network = torch.nn.Linear(1, 1)
    network.load_state_dict(weights)
    torch.save(network, package / "pickled.pth")
    return folder


def write_class(folder: Path, **places: Path) -> list[Path]:
    """All submissions of CASES; `places` replace the names in capitals of SANDBOXED."""
    for name, source in SOURCES.items():
        write(folder / name, source)
    for name, source in SANDBOXED.items():
        for word, place in {"SUBMISSION": folder / name, **places}.items():
            source = source.replace(word, str(place))
        write(folder / name, source)
    (folder / "empty").mkdir()
    with zipfile.ZipFile(folder / "zipped.zip", "w") as archive:
        for file in (folder / "unusual" / "Miniproject_1").iterdir():
            archive.write(file, f"Proj_1/Miniproject_1/{file.name}")
    return [folder / name for name in CASES]


def noisy_data(folder: Path, with_scenes: bool) -> Path:
    """10,000 pairs of smooth images with noise of deviation 20, 22.1 dB.

    A 3 x 3 mean gains about 9.5 dB. With scenes there are checks of other noise, and a grading
    takes longer.
    """
    generator = torch.Generator().manual_seed(0)

    def smooth(count: int, size: int) -> torch.Tensor:
        corners = torch.rand(count, 3, 2, 2, generator=generator) * 135 + 60  # far from 0 and 255
        options = {"size": (size, size), "mode": "bilinear", "align_corners": True}
        return torch.nn.functional.interpolate(corners, **options)

    def noisy(clean: torch.Tensor) -> torch.Tensor:
        noise = 20 * torch.randn(clean.shape, generator=generator)
        return (clean + noise).round().clamp(0, 255).byte()

    folder.mkdir(parents=True, exist_ok=True)
    small, images = smooth(10_000, 8), smooth(40, 32)
    torch.save((noisy(small), noisy(small)), folder / "train_data.pkl")
    torch.save((noisy(images), images.round().byte()), folder / "val_data.pkl")
    if with_scenes:
        torch.save(noisy(smooth(8, 256)), folder / "val_scenes.pkl")  # with texture, but no noise
    return folder
