"""The grading harness, run as its user runs it: honest, faulty and hostile submissions."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import submissions
import torch

ROOT = Path(__file__).resolve().parent.parent
HARNESS = ROOT / "test.py"
LIMIT = 20  # seconds for a submission: several times what one takes, since other tests run beside


def command(*arguments) -> list[str]:
    return [sys.executable, str(HARNESS), *map(str, arguments)]


def grade(*arguments, folder: Path) -> subprocess.CompletedProcess:
    """A run of the harness that has `folder` for temporary files."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env=variables(folder)
    )


def variables(folder: Path) -> dict[str, str]:
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    return os.environ | {"TMPDIR": str(temporary)}


def rows_in(out: Path) -> dict[str, dict]:
    content = json.loads((out / "results.json").read_text())
    return {row["submission"]: row for row in content["submissions"]}


def failed_titles(row: dict, required: bool) -> list[str]:
    checks = [check for check in row["checks"] if check["required"] == required]
    return [check["check"] for check in checks if check["verdict"] == "failed"]


def contents(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def is_running(text: str) -> bool:
    """Whether the command line of any process holds `text`."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any(text in line for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return submissions.noisy_data(tmp_path_factory.mktemp("data"), with_scenes=False)


@pytest.fixture
def honest(tmp_path):
    return submissions.write(tmp_path / "honest")


@pytest.fixture(scope="module")
def harness():
    """test.py as a module, for its parts and for what happens before it starts a submission."""
    spec = importlib.util.spec_from_file_location("harness", HARNESS)
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


# ---- a class -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def has_sandbox(tmp_path_factory, harness) -> bool:
    options = harness.Options(1, 1, 1, frozenset(), None, 1, True, (), tmp_path_factory.mktemp("s"))
    return harness.why_no_sandbox(options) is None


@pytest.fixture(scope="module")
def graded(tmp_path_factory, data, has_sandbox):
    """All submissions, graded in one run: (folder, rows, run, contents before)."""
    folder = tmp_path_factory.mktemp("class")
    out = folder / "out"
    places = {"DATA": data, "HARNESS": ROOT, "RESULTS": out}
    paths = submissions.write_class(folder / "class", **places)
    paths = [path for path in paths if has_sandbox or path.name not in submissions.SANDBOXED]
    before = contents(folder)
    options = ("--jobs", 4, "--limit", LIMIT, "--memory", 1)
    run = grade("-p", *paths, "-d", data, "-o", out, *options, folder=folder)
    assert (out / "results.json").exists(), run.stderr
    return folder, rows_in(out), run, before


@pytest.mark.parametrize("name", submissions.CASES)
def test_a_class(graded, has_sandbox, name):
    if name in submissions.SANDBOXED and not has_sandbox:
        pytest.skip("this machine has no sandbox")
    status, cause, checks = submissions.CASES[name]
    row = graded[1][name]
    assert row["status"] == status, row["cause"]
    assert cause in row["cause"]
    if checks is not None:
        titles = failed_titles(row, required=True)
        assert len(titles) == len(checks), titles
        assert all(title.startswith(start) for title, start in zip(titles, checks, strict=True))
        assert bool(row["cause"]) == bool(checks)


def test_a_class_ends_with_a_table_and_counts(graded):
    _, rows, run, _ = graded
    *_, table, last = run.stdout.strip().split("\n\n")
    assert len(table.splitlines()) == 1 + len(rows)
    scores = [line.split() for line in table.splitlines()]
    assert scores[1][2] == "31.30" and "-" in scores[-1]  # the highest PSNR first
    passed = sum(submissions.CASES[name] == submissions.PASSES for name in rows)
    assert last.startswith(f"submissions: {passed} passed, {len(rows) - passed} failed, ")
    assert run.returncode == 1


def test_a_class_leaves_nothing_behind(graded):
    folder, _, _, before = graded
    assert not is_running("sleep(606)")
    assert not list((folder / "temporary").iterdir())
    after = {file: hashed for file, hashed in contents(folder).items() if "/out/" not in file}
    assert after == before
    assert {path.name for path in (folder / "out").iterdir()} == {
        "results.json", "results.csv", "logs"}


def test_output_is_capped(graded):
    log = graded[0] / "out" / "logs" / "unusual.log"
    assert 1 << 20 <= log.stat().st_size < 1.1 * (1 << 20)


def test_what_the_course_does_not_ask_is_a_note(graded):
    assert graded[1]["picky"]["passed"] == graded[1]["honest"]["passed"]
    notes = failed_titles(graded[1]["picky"], required=False)
    assert len(notes) == graded[1]["picky"]["notes"] == 6
    notes = failed_titles(graded[1]["honest"], required=False)
    assert notes == ["Miniproject_1 itself gives Model, too"]


def test_old_code_runs_with_compat(tmp_path, data):
    for name in ("verbose_scheduler", "pickled"):
        submissions.write(tmp_path / name, submissions.SOURCES[name])
    out = tmp_path / "out"
    paths = (tmp_path / "verbose_scheduler", tmp_path / "pickled")
    run = grade("-p", *paths, "-d", data, "-o", out, "--compat", 2022, folder=tmp_path)
    rows = rows_in(out)
    assert [row["cause"] for row in rows.values()] == ["", ""]
    assert run.returncode == 0
    assert json.loads((out / "results.json").read_text())["settings"]["compat"] == "2022"


def test_a_killed_class_goes_on(tmp_path, data):
    slow = submissions.changed(submissions.before(submissions.TRAIN, "import time; time.sleep(1)"))
    paths = [submissions.write(tmp_path / name, slow) for name in ("first", "second")]
    out = tmp_path / "out"
    arguments = ("-p", *paths, "-d", data, "-o", out)
    environment = variables(tmp_path)
    run = subprocess.Popen(command(*arguments), env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ((out / "results.json").exists() and rows_in(out)):  # whole whenever it is read
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    run.send_signal(signal.SIGKILL)
    run.wait()
    first = rows_in(out)
    assert list(first) == ["first"]
    log = (out / "logs" / "first.log").read_bytes()
    while is_running(str(tmp_path / "temporary")):  # the child ends with its judge
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert grade(*arguments, folder=tmp_path).returncode == 0
    rows = rows_in(out)
    assert list(rows) == ["first", "second"]
    assert rows["first"] == first["first"]
    assert (out / "logs" / "first.log").read_bytes() == log
    assert len((out / "results.csv").read_text().splitlines()) == 3

    (paths[1] / "Miniproject_1" / "model.py").write_text("changed")
    assert grade(*arguments, folder=tmp_path).returncode == 1
    changed = rows_in(out)
    assert changed["first"] == rows["first"] and changed["second"]["status"] == "crashed"

    other = grade(*arguments, "--epochs", 2, folder=tmp_path)
    assert other.returncode == 2
    assert "other epochs; choose another -o" in other.stderr
    assert rows_in(out) == changed


# ---- one submission ----------------------------------------------------------------------------


def test_one_submission(tmp_path, honest):
    """Verdicts, a table and counts; the numbers agree with the definition of PSNR."""
    data = submissions.noisy_data(tmp_path / "data", with_scenes=True)
    pairs = ("--pairs", 1000, "--no-sandbox")  # 625 divides other numbers
    run = grade("-p", honest, "-d", data, "-o", tmp_path / "out", *pairs, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    row = rows_in(tmp_path / "out")["honest"]
    verdicts = [line[:4].strip() for line in run.stdout.splitlines()]
    assert verdicts.count("PASS") == row["passed"] and verdicts.count("note") == row["notes"] == 1
    last = f"{row['passed']} passed, 0 failed, 0 not run, 1 notes"
    assert run.stdout.splitlines()[-1] == last

    noisy, clean = torch.load(data / "val_data.pkl", weights_only=True)
    mse = [((a / 255 - b / 255) ** 2).mean() for a, b in zip(noisy, clean, strict=True)]
    per_image = sum(-10 * torch.log10(error).item() for error in mse) / len(mse)
    pooled = -10 * torch.log10(sum(mse) / len(mse)).item()
    expected = {"per_image": per_image, "pooled": pooled}
    assert row["psnr"]["noisy"] == pytest.approx(expected, abs=1e-4)
    table = {line.split()[0]: line.split()[1:] for line in run.stdout.splitlines() if line.strip()}
    assert table["noisy"] == [f"{per_image:.2f}", f"{pooled:.2f}"]
    assert row["psnr"]["pretrained"]["per_image"] == pytest.approx(row["pretrained"], abs=5e-4)
    assert row["pretrained"] > per_image + 9
    assert set(row["other_noise"]) == {"4 x 4, 1", "16 x 16, 1", "8 x 8, 2"}
    csv = (tmp_path / "out" / "results.csv").read_text().splitlines()
    page = (ROOT / "docs" / "GRADING.md").read_text()
    assert all(f"`{column}`" in page for column in csv[0].split(","))


def test_few_pairs_are_named_in_a_crash(tmp_path, data):
    batches = submissions.before(submissions.TRAIN, "noisy_a.view(-1, 625, *noisy_a.shape[1:])")
    project = submissions.write(tmp_path / "batches", submissions.changed(batches))
    run = grade("-p", project, "-d", data, "--pairs", 1000, folder=tmp_path)
    assert run.returncode == 1
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("FAIL"))
    assert "on 1,000 pairs, where the course has 50,000" in line


def test_ctrl_c(tmp_path, data):
    """... ends the judge and the submission, which does not see it."""
    project = submissions.write(tmp_path / "hangs", submissions.SOURCES["hangs"])
    run = subprocess.Popen(
        command("-p", project, "-d", data),
        env=variables(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    while "loads the weights" not in run.stdout.readline():
        assert run.poll() is None
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=30)
    assert (run.returncode, stderr) == (130, "interrupted\n")
    assert not list((tmp_path / "temporary").iterdir())


# ---- what is copied ----------------------------------------------------------------------------


def project_in(harness, source: Path, target: Path, *hidden: Path) -> Path:
    return harness.copied(source, target / "copy", hidden)


def test_a_copy_holds_no_links_out_no_data_and_no_generated_files(tmp_path, harness, honest):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for link, to in (("stolen.txt", secret), ("folder", tmp_path), ("env", "/proc/self/environ")):
        (honest / link).symlink_to(to)
    (honest / "inside.pth").symlink_to(honest / "Miniproject_1" / "bestmodel.pth")
    for name in ("data/val_data.pkl", ".git/config", "__pycache__/x.pyc", "env2/pyvenv.cfg"):
        (honest / name).parent.mkdir()
        (honest / name).write_text("...")
    os.mkfifo(honest / "fifo")
    hidden = (honest, honest / "data" / "val_data.pkl", tmp_path / "other")
    project = project_in(harness, honest, tmp_path, *hidden)
    names = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert names == {"inside.pth", *(f"Miniproject_1/{name}" for name in (
        "__init__.py", "model.py", "bestmodel.pth", "pickled.pth"))}


@pytest.mark.parametrize("kind", ["zip in a folder", "deep", "Latin-1 name"])
def test_a_submission_is_found(tmp_path, harness, kind):
    top = tmp_path / "given"
    submissions.write(top / "a" / "b" if kind == "deep" else top)
    if kind == "zip in a folder":
        shutil.make_archive(str(tmp_path / "Proj_1"), "zip", top)
        shutil.rmtree(top)
        top.mkdir()
        shutil.move(tmp_path / "Proj_1.zip", top)
    if kind == "Latin-1 name":
        Path(os.fsdecode(bytes(top) + b"/r\xe9sum\xe9.txt")).touch()
    project = project_in(harness, top, tmp_path)
    assert (project / "Miniproject_1" / "bestmodel.pth").exists()
    assert len(harness.checksum_of(project)) == 12


@pytest.mark.parametrize("kind", ["several", "fifo", "damaged zip", "no model"])
def test_what_is_no_submission_is_said(tmp_path, harness, kind):
    path = tmp_path / "given"
    if kind == "several":
        submissions.write(path / "a")
        submissions.write(path / "b")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "damaged zip":
        path.write_bytes(b"PK\x03\x04 and no more")
    else:
        (path / "Miniproject_1").mkdir(parents=True)
    with pytest.raises(harness.Stopped) as stop:
        project_in(harness, path, tmp_path)
    assert stop.value.status == "no submission" and str(stop.value)


def test_packages_that_a_file_imports(tmp_path, harness):
    file = tmp_path / "model.py"
    file.write_text(
        "import numpy as np, tqdm\nfrom PIL import Image\nfrom . import others\n"
        "try:\n    import absent\nexcept ImportError:\n    absent = None\n"
        "if __name__ == '__main__':\n    import argh\n"
        "np.zeros(1)\n"
    )
    assert dict(harness.imported_packages(file)) == {"numpy": True, "tqdm": False, "PIL": False}
    file.write_text("print 'Python 2'")
    assert not list(harness.imported_packages(file))


# ---- input of the harness ----------------------------------------------------------------------


def test_bad_usage(tmp_path, data, honest, harness, capsys):
    """One line of error and exit code 2, before anything is graded."""
    empty = tmp_path / "empty"
    empty.mkdir()
    torch.save((torch.zeros(2, 3, 8, 8),) * 2, tmp_path / "floats.pkl")
    torch.save([1, 2], tmp_path / "list.pkl")
    (tmp_path / "text.pkl").write_text("no tensors")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("{}")
    for arguments, reason in (
        (["-p", "absent", "-d", data], "absent: no such submission"),
        (["-d", empty], "train_data.pkl: no such file"),
        (["-d", data, "--validation", empty / "absent.pkl"], "absent.pkl: no such file"),
        (["-d", data, "--validation", tmp_path / "floats.pkl"], "expected N x 3 x H x W of"),
        (["-d", data, "--validation", tmp_path / "list.pkl"], "expected a tuple of 2 tensors"),
        (["-d", data, "--validation", tmp_path / "text.pkl"], "cannot be read"),
        (["-d", data, "-o", tmp_path / "out"], "holds no results of test.py"),
        (["-d", data, "-o", tmp_path / "text.pkl"], "text.pkl"),
    ):
        assert harness.main([str(word) for word in ("-p", honest, *arguments)]) == 2
        stderr = capsys.readouterr().err
        assert stderr.startswith("error: ") and reason in stderr and stderr.count("\n") == 1
    for arguments in (["--epochs", "0"], ["--limit", "-1"], ["--compat", "1999"]):
        with pytest.raises(SystemExit, match="2"):
            harness.main(arguments)
        stderr = capsys.readouterr().err
        assert stderr.startswith("error: ") and arguments[0] in stderr and stderr.count("\n") == 1


def test_names_tell_submissions_apart(tmp_path, harness):
    paths = [tmp_path / name for name in ("a/project", "b/project", "b/other")]
    for path in paths:
        path.mkdir(parents=True)
    assert list(harness.named([*paths, paths[0]])) == ["a/project", "b/project", "other"]


def test_names_are_printable(tmp_path, harness):
    names = ["a\n99 passed, 0 failed", os.fsdecode(b"Proj_\xe9"), "x" * 250]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.mkdir()
    found = list(harness.named(paths))
    assert all(name.isprintable() and name.encode() for name in found) and len(found) == 3
    results = harness.Results(tmp_path / "out", {})
    for name in found:
        results.log_file(name).touch()


def test_built_in_data(tmp_path, data, harness, monkeypatch):
    """Without -d scenes are made once beside test.py; without the package there it says so."""
    made = []

    def make(command, **_):
        made.append(command)
        shutil.copytree(data, command[command.index("-o") + 1])

    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(harness.subprocess, "run", make)
    with pytest.raises(ValueError, match="no -d DATA_FOLDER"):
        harness.built_in_data()
    (tmp_path / "Miniproject_1").mkdir()
    (tmp_path / "Miniproject_1" / "__main__.py").touch()
    for _ in range(2):
        assert harness.load_data(harness.built_in_data(), None, 7).noisy_a.shape == (7, 3, 8, 8)
    assert len(made) == 1


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
