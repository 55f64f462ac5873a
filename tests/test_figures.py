"""The figure and the numbers of the report, from small results files."""

import json
import math
import re
from pathlib import Path

import pytest

from Miniproject_1.model import UNet
from Miniproject_1.others import figures
from Miniproject_1.others.figures import main, scientific

WHERE = {"date": "2026-01-02T03:04:05+00:00", "seed": 0, "device": "cpu", "processor": "A_B 100%", "threads": 2,
         "torch": "2.0"}
REPORT = Path(__file__).parents[1] / "report/report.tex"


def history(*values):
    """Rows as `Model.history` has them: the loss of epoch 0 is NaN."""
    return [{"epoch": epoch, "loss": -5.0 if epoch else math.nan, "psnr": value, "seconds": 60.0 * epoch}
            for epoch, value in enumerate(values)]


@pytest.fixture
def results(tmp_path):
    """A folder with the three results files; nothing else is in it."""
    folder = tmp_path / "measured"
    folder.mkdir()
    psnr = {stage: {"per_image": value, "pooled": value - 1}
            for stage, value in (("noisy", 20.5), ("pretrained", 25.8), ("untrained", 20.5), ("retrained", 25.254))}
    grade = {"pairs": 50_000, "validation_images": 1_000, "epochs": 2, "limit": 2700, "psnr": psnr,
             "seconds": {"training": 90.0, "testing": 14.0}, "history": history(20.0, 24.0, 24.561)}
    parameters = sum(weight.numel() for weight in UNet().parameters())
    common = WHERE | {"parameters": parameters, "data": "data", "validation": "data/val_data.pkl", "pairs": 50_000,
                       "validation_images": 1_000, "psnr_pooled": 24.5, "seconds": 120.0}
    rows = [
        {"kind": "throughput", "setting": "ours", "parameters": parameters, "flops_per_pair": 1_200_000_000,
         "passes": 2, "pairs_per_second": 400.0, "share": 0.5} | WHERE,
        {"kind": "throughput", "setting": "published", "parameters": 1_354_000, "flops_per_pair": 2_700_000_000,
         "passes": 1, "pairs_per_second": 80.0, "share": 0.25} | WHERE,
        common | {"kind": "training", "setting": "ours", "minutes": 5, "psnr": 25.5, "pairs_seen": 120_000,
                  "history": history(20.5, 25.0, 25.42)},
        common | {"kind": "training", "setting": "published", "minutes": 10, "psnr": 25.1, "pairs_seen": 48_000,
                  "history": [{"epoch": 1, "psnr": 24.75, "seconds": 300.2},
                              {"epoch": 1, "psnr": 25.1, "seconds": 600.1}]},
        common | {"kind": "training", "setting": "ours", "minutes": 1, "psnr": 25.2, "pairs_seen": 24_000,
                  "history": history(20.5, 25.15)},
        common | {"kind": "training", "setting": "ours", "epochs": 2, "seed": 1, "psnr": 25.1, "pairs_seen": 100_000},
        common | {"kind": "training", "setting": "ours", "epochs": 2, "psnr": 25.2541, "pairs_seen": 100_000},
        common | {"kind": "training", "setting": "clean targets", "epochs": 2, "psnr": 25.2791, "pairs_seen": 100_000},
    ]
    (folder / "grade.json").write_text(json.dumps(WHERE | grade))
    newer = {"psnr": psnr | {"pretrained": {"per_image": 26.0, "pooled": 25.0}}}
    (folder / "pretrained.json").write_text(json.dumps(WHERE | newer | {"date": "2026-01-05T00:00:00+00:00"}))
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def change(path, edit):
    """Edit the content of a JSON file, or the rows of a JSONL file."""
    lines = path.suffix == ".jsonl"
    content = [json.loads(line) for line in path.read_text().splitlines()] if lines else json.loads(path.read_text())
    edit(content)
    path.write_text("".join(json.dumps(row) + "\n" for row in content) if lines else json.dumps(content))


def run(results, output):
    return main(["--results", str(results), "-o", str(output)])


def assert_refused(capsys, results, output, *words):
    """Exit code 2, one line on stderr with these words, and nothing written."""
    assert run(results, output) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    assert not list(output.rglob("*.*"))


def test_numbers(results, tmp_path):
    assert run(results, tmp_path / "report") == 0
    text = (tmp_path / "report/results/numbers.tex").read_text()
    numbers = dict(re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}$", text, re.MULTILINE))
    expected = {
        "Pairs": "50,000", "Epochs": "2", "TrainingMinutes": "1.5", "TestingSeconds": "14", "LimitMinutes": "45",
        "NoisyPerImage": "20.50", "NoisyPooled": "19.50", "RetrainedPerImage": "25.25",
        "PretrainedPerImage": "26.00", "PretrainedPooled": "25.00",
        "EstimatePooled": "24.56", "FirstDate": "2026-01-02", "LastDate": "2026-01-05",
        "GradeMachine": r"A\_B 100\%, 2 threads, PyTorch 2.0",
        "OursFlops": "200", "PublishedFlops": "900", "FlopsRatio": "4.5", "PublishedParameters": "1.35",
        "OursThroughput": "400", "ThroughputRatio": "5.0", "OursShare": r"50\%", "PublishedEqualTime": "24.75",
        "EqualTimeGain": "0.75", "EnsembleGain": "0.08", "EqualMinutes": "5", "OursEqualEpochs": "2.4",
        "PublishedLong": "25.10", "OursShort": "25.20", "NoisyTargets": "25.254",
        "CleanTargets": "25.279", "TargetGap": "0.025",
    }
    assert numbers | expected == numbers
    assert "% Written by `python -m Miniproject_1.others.figures`" in text
    assert "% bench.jsonl: 2026-01-02T03:04:05+00:00, PyTorch 2.0, cpu" in text


def test_report_uses_only_known_numbers(results, tmp_path):
    """The capitalised macros of report.tex, but for \\E, the mean, are those of numbers.tex."""
    assert run(results, tmp_path) == 0
    known = set(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}", (tmp_path / "results/numbers.tex").read_text()))
    used = set(re.findall(r"\\([A-Z][A-Za-z]+)", REPORT.read_text()))
    assert used == known


def test_figure(results, tmp_path):
    assert run(results, tmp_path / "report") == 0
    figure = tmp_path / "report/figures/training.pdf"
    first = figure.read_bytes()
    assert first.startswith(b"%PDF")
    assert [path.name for path in figure.parent.iterdir()] == ["training.pdf"]  # no temporary file is left
    assert run(results, tmp_path / "report") == 0
    assert figure.read_bytes() == first


@pytest.mark.parametrize("name, command", [("grade.json", "test.py"), ("pretrained.json", "--pairs 1000"),
                                           ("bench.jsonl", "others.bench")])
def test_missing(results, tmp_path, capsys, name, command):
    (results / name).unlink()
    assert_refused(capsys, results, tmp_path / "report", name, command)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"date": 1}', "\0"])
@pytest.mark.parametrize("name", ["grade.json", "pretrained.json", "bench.jsonl"])
def test_foreign(results, tmp_path, capsys, name, content):
    (results / name).write_text(content)
    assert_refused(capsys, results, tmp_path / "report", name, figures.COMMANDS[name])


def test_bench_without_trainings(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows.pop(2))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "no training of ours, minutes 5")


def test_trainings_that_went_on_from_other_weights_do_not_count(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows[2].update({"from": "bestmodel.pth"}))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "no training of ours, minutes 5")


def test_clean_and_noisy_targets_need_the_same_seed(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows[-1].update(seed=3))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl",
                   "no training of ours, epochs 2, validation data/val_data.pkl, seed 3")


def test_clean_and_noisy_targets_need_as_many_pairs(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows[-1].update(pairs_seen=60_000))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "saw 60,000 and 100,000 pairs")


def test_only_the_validation_images_of_the_other_results_count(results, tmp_path):
    expected, other = tmp_path / "expected", {"validation": "other.pkl", "psnr": 1.0}
    assert run(results, expected) == 0
    change(results / "bench.jsonl", lambda rows: rows.extend([row | other for row in rows[-2:]]))
    assert run(results, tmp_path / "report") == 0
    texts = [(folder / "results/numbers.tex").read_text() for folder in (expected, tmp_path / "report")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("row, name", [(-1, "clean targets"), (-2, "ours")])
def test_clean_and_noisy_targets_need_the_validation_images_of_the_other_results(results, tmp_path, capsys, row, name):
    change(results / "bench.jsonl", lambda rows: rows[row].update(validation="other"))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl",
                   f"no training of {name}, epochs 2, validation data/val_data.pkl")


@pytest.mark.parametrize("row", [-1, -2])  # on clean targets, on noisy ones
@pytest.mark.parametrize("key", ["data", "pairs", "parameters"])
def test_clean_and_noisy_targets_need_the_same_data_and_network(results, tmp_path, capsys, key, row):
    change(results / "bench.jsonl", lambda rows: rows[row].update({key: "other"}))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", key, "other", "must be equal")


def test_published_network_without_a_row_after_five_minutes(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows[3]["history"].pop(0))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "no row after 5 minutes")


def test_rows_of_several_machines(results, tmp_path, capsys):
    change(results / "bench.jsonl", lambda rows: rows[4].update(processor="another"))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "several machines")


@pytest.mark.parametrize("row", [0, 2, 4])
def test_bench_of_another_network(results, tmp_path, capsys, row):
    change(results / "bench.jsonl", lambda rows: rows[row].update(parameters=1_000))
    assert_refused(capsys, results, tmp_path / "report", "bench.jsonl", "1,000 parameters")


def test_earlier_rows_may_be_of_another_network(results, tmp_path):
    change(results / "bench.jsonl", lambda rows: rows.insert(0, rows[2] | {"parameters": 1_000}))
    assert run(results, tmp_path / "report") == 0


def test_different_data(results, tmp_path, capsys):
    change(results / "grade.json", lambda grade: grade.update(pairs=49_000))
    assert_refused(capsys, results, tmp_path / "report", "49000", "50000")


def test_different_validation_images(results, tmp_path, capsys):
    change(results / "pretrained.json", lambda results: results["psnr"]["noisy"].update(pooled=19.4))
    assert_refused(capsys, results, tmp_path / "report", "pretrained.json", "different validation images")


def test_output_that_cannot_be_written(results, tmp_path, capsys):
    (tmp_path / "report").write_text("a file, not a folder")
    assert run(results, tmp_path / "report") == 2
    assert str(tmp_path / "report") in capsys.readouterr().err


@pytest.mark.parametrize("value, text", [(2e-3, r"2 \times 10^{-3}"), (1e-4, "10^{-4}"), (150, r"1.5 \times 10^{2}")])
def test_scientific(value, text):
    assert scientific(value) == rf"\ensuremath{{{text}}}"
