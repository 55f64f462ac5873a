"""The numbers in the tables of README.md and MODEL_CARD.md are those of the results files."""

import json
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "report/results"


def tables(name="README.md"):
    """Rows of all tables of a text, as lists of cells without bold type."""
    lines = (ROOT / name).read_text().replace("**", "").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def rows(name):
    """A results file's rows; a JSON file is one row."""
    text = (RESULTS / name).read_text()
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]


def psnrs(content):
    """All PSNR anywhere in a results file, with two decimals."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("psnr", "psnr_pooled", "per_image", "pooled") and isinstance(value, float):
                yield f"{value:.2f}"
            yield from psnrs(value)
    elif isinstance(content, list):
        for value in content:
            yield from psnrs(value)


def test_speeds():
    names = {"ours": "ours", "published": "published network", "3 blocks": "with 3 blocks"}
    keys = ("images_per_second", "images_per_second_self_ensemble")
    expected = [[f"{names[row['setting']]}, {row['date'][:10]}",
                 f"{row['pairs_per_second']:.0f}", f"{row['share']:.0%}",
                 *(f"{row[key]:,.0f}" if key in row else "" for key in keys)] for row in rows("speed.jsonl")]
    assert [row for row in tables() if row[0] in {row[0] for row in expected}] == expected


@pytest.mark.parametrize("name", ["grade.json", "bench.jsonl", "gap.jsonl", "pretrained.json"])
def test_results(name):
    shown = [cell for row in tables() if row[-1] == name for cell in row[1:-1] if cell]
    assert shown and set(shown) <= set(psnrs(rows(name)))


def test_gaps_to_clean_targets():
    """The text has the PSNR of both kinds of target, and their difference, of our recipe and of the other one."""
    text = " ".join((ROOT / "README.md").read_text().split())
    ours = [row for row in rows("bench.jsonl") if row.get("epochs") == 10 and row["seed"] == 2]
    for pair in (ours, rows("gap.jsonl")):
        noisy, clean = (f"{row['psnr']:.3f}" for row in pair)
        paragraph = text[text.index(f" {noisy}"):][:150]
        assert f" {clean}, which is {float(clean) - float(noisy):.3f} dB more" in paragraph


def test_search():
    """Its table has every setting of search.jsonl: the mean PSNR over the seeds, and the mean of the pairs seen. Of
    what was measured twice, the last counts, as in `bench --table`."""
    measured = {}
    for row in {(row["setting"], row["seed"]): row for row in rows("search.jsonl")}.values():
        measured.setdefault(row["setting"], []).append(row)
    expected = [[name, f"{statistics.mean(row['psnr'] for row in group):.2f}",
                 f"{statistics.mean(row['pairs_seen'] for row in group):,.0f}", f"{group[0]['parameters']:,}"]
                for name, group in measured.items()]
    expected.sort(key=lambda row: -statistics.mean(each["psnr"] for each in measured[row[0]]))
    assert [row for row in tables() if row[0] in measured and len(row) == 4] == expected


def test_model_card():
    """Its table has every case of robustness.json."""
    expected = [[case["case"], str(case["images"]), f"{case['noisy']:.2f}", f"{case['denoised']:.2f}",
                 f"{case['smallest_gain']:+.2f}", str(case["worse"])] for case in rows("robustness.json")[0]["cases"]]
    assert [row for row in tables("MODEL_CARD.md") if len(row) == 6][2:] == expected
