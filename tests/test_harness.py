"""The grading harness, run as its user runs it, on small submissions of known faults."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from Miniproject_1.others.files import load_tensors, save_tensors

ROOT = Path(__file__).resolve().parent.parent
HARNESS = ROOT / "test.py"

# A denoiser that is the identity until it is trained or loaded, then a 3 x 3 mean.
GOOD = """
import torch
import torch.nn.functional as F

class Model:
    def __init__(self):
        self.smooth = False
        self.history = []

    def load_pretrained_model(self):
        self.smooth = True

    def train(self, noisy_a, noisy_b, num_epochs):
        self.history = [{"epoch": 1, "pairs": len(noisy_a)}]
        self.smooth = True

    def predict(self, noisy):
        x = noisy.float()
        if self.smooth:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return x
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Smooth scenes with noise of deviation 20, 22.1 dB; a 3 x 3 mean gains about 9.5."""
    folder = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    corners = (
        torch.rand(40, 3, 2, 2, generator=generator) * 135 + 60
    )  # three deviations from 0 and 255
    clean = torch.nn.functional.interpolate(
        corners, size=(32, 32), mode="bilinear", align_corners=True
    )

    def noisy():
        return (
            (clean + 20 * torch.randn(clean.shape, generator=generator))
            .round()
            .clamp(0, 255)
            .byte()
        )

    save_tensors((noisy(), noisy()), folder / "train_data.pkl")
    save_tensors((noisy(), clean.round().byte()), folder / "val_data.pkl")
    return folder


@pytest.fixture
def harness(monkeypatch):
    """test.py as a module, for what happens before it imports a submission."""
    spec = importlib.util.spec_from_file_location(
        "harness", HARNESS
    )  # "test" is a package of Python's own
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "harness", module)  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


def submission(folder, source, **replaced):
    """A project folder whose Miniproject_1/model.py is `source` with some pieces replaced."""
    for old, new in replaced.values():
        assert old in source
        source = source.replace(old, new)
    package = folder / "Miniproject_1"
    package.mkdir()
    (package / "__init__.py").write_text("from .model import Model\n")
    (package / "model.py").write_text(source)
    return folder


def grade(project, data, *options, command=(str(HARNESS),)):
    """(exit code, lines of FAIL or PASS, all of stdout, stderr) of a run of the harness."""
    done = subprocess.run(
        [sys.executable, *command, "-p", str(project), "-d", str(data), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=project,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASS  ", "FAIL  "))]
    return done.returncode, lines, done.stdout, done.stderr


def failed(lines):
    return [line for line in lines if line.startswith("FAIL")]


def verdict(lines, text):
    """The one line of the check whose title begins with `text`."""
    (line,) = (line for line in lines if line[6:].startswith(text))
    return line


def test_good_submission(tmp_path, data):
    """All checks pass; the numbers of results file and table agree with the definition."""
    project = submission(tmp_path, GOOD)
    out = tmp_path / "results" / "grade.json"
    code, lines, stdout, _ = grade(project, data, "--pairs", 30, "--epochs", 2, "--results", out)
    assert code == 0, stdout
    assert failed(lines) == []
    assert stdout.splitlines()[-1] == f"{len(lines)} passed, 0 failed"

    results = json.loads(out.read_text())
    assert [path.name for path in out.parent.iterdir()] == ["grade.json"]  # no temporary file left
    assert (results["pairs"], results["epochs"], results["validation_images"]) == (30, 2, 40)
    assert results["history"] == [{"epoch": 1, "pairs": 30}]
    assert len(results["checks"]) == len(lines)
    noisy, clean = torch.load(data / "val_data.pkl", weights_only=True)
    mse = [
        ((a.double() / 255 - b.double() / 255) ** 2).mean()
        for a, b in zip(noisy, clean, strict=True)
    ]
    per_image = sum(-10 * torch.log10(error).item() for error in mse) / len(mse)
    pooled = -10 * torch.log10(sum(mse) / len(mse)).item()
    assert results["psnr"]["noisy"] == pytest.approx(
        {"per_image": per_image, "pooled": pooled}, abs=1e-6
    )
    assert results["psnr"]["untrained"] == pytest.approx(results["psnr"]["noisy"])  # the identity
    assert results["psnr"]["retrained"] == results["psnr"]["pretrained"]  # the same mean
    table = {
        line.split()[0]: line.split()[1:] for line in stdout.splitlines() if len(line.split()) == 3
    }
    assert table["noisy"] == [f"{per_image:.2f}", f"{pooled:.2f}"]


def test_wrong_predictions(tmp_path, data):
    """Output in [0, 1], a lost column and a foreign import are named; prints are not shown."""
    project = submission(
        tmp_path,
        GOOD,
        scale=("return x", "print('NOISE'); return (x / 255)[..., :x.shape[-1] // 2 * 2]"),
        foreign=("import torch\n", "import torch\nimport colorsys, numpy.linalg\n"),
    )
    code, lines, stdout, _ = grade(project, data)
    assert code == 1
    for check in ("predict stays", "the pretrained weights", "training a fresh"):
        assert "looks like [0, 1]" in verdict(failed(lines), check)
    assert "3 x 3 x 37 x 52 for 3 x 3 x 37 x 53" in verdict(
        failed(lines), "predict keeps the shape of 3 x"
    )
    assert ": imports numpy  " in verdict(failed(lines), "imports only")
    assert verdict(lines, "predict keeps the shape of 100").startswith("PASS")
    assert "NOISE" not in stdout
    assert (
        stdout.splitlines()[-1]
        == f"{len(lines) - len(failed(lines))} passed, {len(failed(lines))} failed"
    )


def test_training_that_does_nothing(tmp_path, data):
    """No effect of training, gradients, input changed in place: each fails its own checks."""
    project = submission(
        tmp_path,
        GOOD,
        train=("len(noisy_a)}]\n        self.smooth = True", "len(noisy_a)}]"),
        gradients=("return x", "x = x.clone().requires_grad_(); noisy.add_(1); return x"),
    )
    code, lines, stdout, _ = grade(project, data)
    assert code == 1
    assert [line[6:22] for line in failed(lines)] == [
        "predict returns ",
        "predict leaves i",
        "training a fresh",
        "training from sc",
    ], stdout


def test_crash(tmp_path, data):
    """Code that raises, or exits, is a FAIL of one line, and the other checks still run."""
    crash = (
        "if num_epochs == 2: raise SystemExit(0)\n        raise RuntimeError('no\\nluck')\n        "
    )
    project = submission(tmp_path, GOOD, train=("self.history = [{", crash + "self.history = [{"))
    code, lines, _, _ = grade(project, data, "--epochs", 2)
    assert code == 1
    assert "RuntimeError: no luck (model.py:" in verdict(
        failed(lines), "load_pretrained_model, then train"
    )
    assert "SystemExit: 0 (model.py:" in verdict(failed(lines), "training a fresh")
    assert verdict(lines, "the pretrained weights").startswith("PASS")
    assert verdict(lines, "training and testing end").startswith(
        "FAIL"
    )  # quick, but without a result


def test_overrun(tmp_path, data):
    """Training past the limit, here of 5 seconds, is stopped and fails."""
    slow = "import time; time.sleep(60 if num_epochs == 2 else 0); self.history = [{"
    project = submission(tmp_path, GOOD, slow=("self.history = [{", slow))
    shortened = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import test; "
        "test.LIMIT = dict.fromkeys(test.LIMIT, 5); sys.exit(test.main())"
    )
    code, lines, _, _ = grade(project, data, "--epochs", 2, command=("-c", shortened))
    assert code == 1
    assert "stopped at the limit of 5 s" in verdict(failed(lines), "training a fresh")
    assert re.search(r"\d+ s of 5 s", verdict(failed(lines), "training and testing end"))


def test_a_warning_and_a_history_of_the_submission(tmp_path, data):
    """The warning is shown with its place; an odd history is not kept."""
    odd = "import warnings; warnings.warn('slow'); self.history = {(1, 2): 3} or [{"
    out = tmp_path / "grade.json"
    code, lines, _, stderr = grade(
        submission(tmp_path, GOOD, train=("self.history = [{", odd)), data, "--results", out
    )
    assert code == 0 and failed(lines) == []
    assert re.search(r"Miniproject_1/model.py:\d+: UserWarning: slow", stderr)
    assert json.loads(out.read_text())["history"] is None


def test_ctrl_c(tmp_path, data):
    """... in a check, which has redirected stderr, ends the grading in one line."""
    project = submission(tmp_path, GOOD, train=("self.history = [{", "raise KeyboardInterrupt\n#"))
    code, lines, _, stderr = grade(project, data)
    assert (code, stderr) == (130, "interrupted\n")
    assert lines and failed(lines) == []


def test_a_full_disk(tmp_path, data):
    """... ends the grading in one line, too, below the verdicts."""
    full = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import test; from unittest import mock; "
        "test.write_results = mock.Mock(side_effect=OSError('No space left on device')); "
        "sys.exit(test.main())"
    )
    project = submission(tmp_path, GOOD)
    code, lines, stdout, stderr = grade(
        project, data, "--results", tmp_path / "grade.json", command=("-c", full)
    )
    assert stdout.splitlines()[-1] == f"{len(lines)} passed, 0 failed"
    assert (code, stderr.splitlines()[-1]) == (2, "error: No space left on device")


def test_package_without_init(tmp_path, data):
    """Python takes it for a part of any Miniproject_1; ours must not be graded instead."""
    project = submission(tmp_path, GOOD)
    (project / "Miniproject_1" / "__init__.py").unlink()
    code, lines, _, _ = grade(project, data)
    assert code == 1
    assert failed(lines) == lines


def test_bad_usage(tmp_path, data, harness, capsys):
    """One line of error and exit code 2, before anything is graded."""
    empty, project = tmp_path / "empty", tmp_path / "project"
    empty.mkdir()
    project.mkdir()
    submission(project, GOOD)
    floats = tmp_path / "floats.pkl"
    save_tensors((torch.zeros(2, 3, 8, 8),) * 2, floats)
    for folder, dataset, options, reason in (
        (empty, data, (), "no Miniproject_1 folder in"),
        (project, empty, (), "train_data.pkl"),
        (project, data, ("--validation", str(empty / "absent.pkl")), "absent.pkl"),
        (project, data, ("--validation", str(floats)), "expected N x 3 x H x W of torch.uint8"),
        (project, data, ("--results", str(empty)), f"cannot write {empty}"),
    ):
        assert harness.main(["-p", str(folder), "-d", str(dataset), *options]) == 2
        stdout, stderr = capsys.readouterr()
        assert (
            stdout == ""
            and stderr.startswith("error: ")
            and reason in stderr
            and stderr.count("\n") == 1
        )
    with pytest.raises(SystemExit, match="2"):
        harness.main(["--epochs", "0"])
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ") and "--epochs" in stderr and stderr.count("\n") == 1


def test_built_in_data(tmp_path, data, harness, monkeypatch):
    """Without -d scenes are built once beside test.py; half a data set there is left alone."""
    built = []

    def build(folder):
        built.append(folder)
        for name in ("train_data.pkl", "val_data.pkl"):
            save_tensors(load_tensors(data / name), folder / name)

    monkeypatch.setattr(harness, "build", build)
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    for _ in range(2):
        train, validation = harness.load_data(None, None, 7)
        assert (len(train[0]), len(train[1]), len(validation[0])) == (7, 7, 40)
    assert built == [tmp_path / "data"]
    (tmp_path / "data" / "val_data.pkl").unlink()
    with pytest.raises(ValueError, match="val_data.pkl: no such file"):
        harness.load_data(None, None, None)
    assert built == [tmp_path / "data"]


def test_zip(tmp_path):
    """What `make zip` packs imports without the project, and finds its weights."""
    shutil.copytree(ROOT, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "data", "out"))
    subprocess.run(
        ["make", "zip", "SCIPERS=111111 222222"],
        cwd=tmp_path / "project",
        check=True,
        capture_output=True,
        timeout=60,
    )
    shutil.unpack_archive(tmp_path / "project/Proj_111111_222222.zip", tmp_path)
    code = "from Miniproject_1 import Model; Model().load_pretrained_model()"
    unpacked = tmp_path / "Proj_111111_222222"
    subprocess.run([sys.executable, "-c", code], cwd=unpacked, check=True, timeout=60)
    assert (tmp_path / "Proj_111111_222222/Miniproject_1/Report_1.pdf").stat().st_size > 0
