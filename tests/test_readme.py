"""The numbers in the tables of README.md and MODEL_CARD.md are those of the results files."""

import json
import math
import re
import statistics
from pathlib import Path

from Miniproject_1.model import COURSE_LIMIT

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


def training(setting, **wanted):
    """The one training of a setting in bench.jsonl, with its `minutes` or `epochs` and `seed`, as measured on the
    validation images, of which there is more than one file."""
    validation, = {row["validation"] for row in rows("bench.jsonl") if row["setting"] == "published"}
    wanted = {"kind": "training", "setting": setting, "validation": validation} | wanted
    row, = (row for row in rows("bench.jsonl") if wanted.items() <= row.items())
    return row


def trained(setting, **wanted):
    """[PSNR per image, pooled] of `training`."""
    row = training(setting, **wanted)
    return [row["psnr"], row["psnr_pooled"]]


def graded(name, stage):
    """The same of a stage of test.py."""
    return list(rows(name)[0]["psnr"][stage].values())


def test_speeds():
    names = {"ours": "ours, both directions of a pair", "3 blocks": "with 3 blocks, one direction",
             "published": "published network, one direction"}
    keys = ("images_per_second", "images_per_second_self_ensemble")
    expected = [[names[row["setting"]], f"{row['pairs_per_second']:.0f}", f"{row['share']:.0%}",
                 *(f"{row[key]:,.0f}" if key in row else "" for key in keys)]
                for row in rows("bench.jsonl") if row["kind"] == "throughput"]
    assert [row for row in tables() if row[0] in {row[0] for row in expected}] == expected


def test_results():
    """Line by line, by what its label means."""
    published, = (row for row in rows("bench.jsonl") if row["setting"] == "published" and row.get("minutes") == 10)
    halfway = min(published["history"], key=lambda row: abs(row["seconds"] - 300))["psnr"]
    expected = {
        "noisy input": graded("grade.json", "noisy"),
        "published network, 5 minutes": [halfway],
        "published network, 10 minutes": trained("published", minutes=10),
        "ours, 1 minute": trained("ours", minutes=1),
        "ours, 5 minutes": trained("ours", minutes=5),
        "ours, from scratch, 10 epochs": graded("grade.json", "retrained"),
        "the same with seed 1": trained("ours", epochs=10, seed=1),
        "the same with seed 3": trained("ours", epochs=10, seed=3),
        "`bestmodel.pth`": graded("pretrained.json", "pretrained")}
    shown = [row for row in tables() if row[-1].endswith((".json", ".jsonl"))]
    assert [row[1:3] for row in shown] == [[*(f"{value:.2f}" for value in values), ""][:2]
                                           for values in expected.values()]
    assert all(row[0].startswith(label) for row, label in zip(shown, expected, strict=True))


def test_pretrained_weights():
    """MODEL_CARD.md and README.md have the accuracy of bestmodel.pth, its training, and what its last steps gained."""
    card, readme = (" ".join((ROOT / name).read_text().split()) for name in ("MODEL_CARD.md", "README.md"))
    accuracy, noisy = (graded("pretrained.json", stage) for stage in ("pretrained", "noisy"))
    assert "{:.2f} dB per image, {:.2f} dB pooled".format(*accuracy) in card
    assert "noisy input {:.2f} and {:.2f} ".format(*noisy) in card
    steps = rows("bestmodel.jsonl")
    minutes = [f"{row.get('minutes', row['seconds'] / 60):.0f}" for row in steps]  # the first had epochs
    assert f"trained for {' + '.join(minutes[1:])} minutes more" in readme
    (training,) = (row[1] for row in tables("MODEL_CARD.md") if row[0] == "training")
    assert " + ".join(re.findall(r"(\d[\d +]*) minutes", training)) == " + ".join(minutes)
    assert re.findall(r"\d[\d,]*,\d{3}", training) == [f"{row['pairs_seen']:,}" for row in steps[1:]]
    assert re.findall(r"seed (\d+)", training) == [str(row["seed"]) for row in steps]
    days = re.findall(r"\d{4}-\d\d-\d\d", training)
    assert list(dict.fromkeys(days)) == list(dict.fromkeys(row["date"][:10] for row in steps))
    single = [row for row in rows("bestmodel.jsonl") if not row["setting"].startswith("two views")]
    before, after = single[-1], rows("bestmodel.jsonl")[-1]
    assert f"from {before['psnr']:.2f} to {after['psnr']:.2f} dB" in card
    assert f"from {before['psnr']:.2f} to {after['psnr']:.2f} dB" in readme
    assert f"went from {before['history'][-1]['psnr']:.3f} to {after['history'][-1]['psnr']:.3f} dB" in card


def test_speed_without_bfloat16():
    """The least and the most pairs per second of an epoch, and the epoch that such a training ends in, at half that."""
    slow, fast = ([round(row["pairs_per_second"]) for row in results["history"][1:]]
                  for results in (rows("bestmodel.jsonl")[1], *rows("grade.json")))
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"on {min(slow)} to {max(slow)} pairs per second" in text
    assert f"against {min(fast)} to {max(fast)} in grade.json" in text
    assert {math.ceil(0.98 * COURSE_LIMIT["cpu"] * speed / 2 / 49_000) for speed in slow} == {3}
    assert "would end itself in the third" in text


def test_gaps_to_clean_targets():
    """Its table has each recipe with noisy and with clean targets: ours, then those of gap.jsonl, whose "ours" is what
    had that name then, and in its last two rows another."""
    ours = [training(setting, epochs=10, seed=3) for setting in ("ours", "clean targets")]
    names = {"ours": "one direction, rate 5e-3",
             "both directions, half rate, batch 64, chroma weight 5": "both directions, rate 2.5e-3, more colour",
             "half rate, chroma weight 5": "one direction, rate 2.5e-3, more colour"}
    earlier = rows("gap.jsonl")
    labels = ["ours: both directions, rate 5e-3", *(names[row["setting"]] for row in earlier[:-2:2]),
              "both directions, rate 3e-3"]
    expected = []
    for label, noisy, clean in zip(labels, (ours + earlier)[::2], (ours + earlier)[1::2], strict=True):
        assert clean["setting"] == f"clean targets, {noisy['setting']}".removesuffix(", ours")
        assert (clean["seed"], clean["epochs"]) == (noisy["seed"], noisy["epochs"])
        shown = [f"{row['psnr']:.3f}" for row in (noisy, clean)]
        expected.append([f"{label}, seed {noisy['seed']}, {noisy['epochs']} epochs", *shown,
                         f"{float(shown[1]) - float(shown[0]):.3f}",
                         *(f"{row['psnr_pooled']:.2f}" for row in (noisy, clean)),
                         ", ".join(f"{row['seconds'] / 60:.0f}" for row in (noisy, clean))])
    assert [row for row in tables() if len(row) == 7][2:] == expected
    others = [training(setting, epochs=10, seed=3, validation="/tmp/lead/DATA/val_data.pkl")
              for setting in ("ours", "clean targets")]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "reached {:.3f} and {:.3f} dB (bench.jsonl)".format(*(row["psnr"] for row in others)) in text


def test_search():
    """Its table has every setting of search.jsonl: the mean PSNR over the seeds, and the mean of the pairs seen. Of
    what was measured twice, the last counts, as in `bench --table`. "one direction" was still ours."""
    measured = {}
    for row in {(row["setting"], row["seed"]): row for row in rows("search.jsonl")}.values():
        measured.setdefault({"ours": "one direction"}.get(row["setting"], row["setting"]), []).append(row)
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
