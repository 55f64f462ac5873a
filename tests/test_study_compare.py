"""The comparison of recipes: its command, its data and the speed."""

import json
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch
from helpers import QUICK, noisy_pairs, quick_model, rows_of

from Miniproject_1.others.files import load_tensors, save_tensors
from Miniproject_1.others.results import checksum
from Miniproject_1.others.study.compare import main, summary
from Miniproject_1.others.study.data import TrainingData, ValidationData, load_training
from Miniproject_1.others.study.published import PublishedRecipe
from Miniproject_1.others.study.speed import throughput
from Miniproject_1.others.study.training import Budget, train

COUNT = 24  # pairs


@pytest.fixture
def images():
    """(training data without clean targets, validation data)."""
    a, b, clean = noisy_pairs(COUNT)
    return TrainingData(a, b, None, {"kind": "given"}), ValidationData(a[:4], clean[:4], {})


def run(*arguments):
    return main([str(argument) for argument in arguments])


def assert_refused(capsys, *arguments, words):
    """Exit code 2 and one line on stderr with these words."""
    try:
        code = run(*arguments)
    except SystemExit as exit:
        code = exit.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


# ---- speed -------------------------------------------------------------------------------------


def test_speed_is_measured_of_each(images):
    recipes = {"quick": QUICK, "one direction": replace(QUICK, swap="none"),
               "published": PublishedRecipe()}
    rows = throughput(recipes, *images, turns=1, turn_seconds=0.2, product_side=64)
    quick, one, published = rows
    assert [row["name"] for row in rows] == list(recipes)
    assert quick["ratio"] == 1
    assert one["ratio"] == pytest.approx(one["pairs_per_second"] / quick["pairs_per_second"])
    assert quick["flops_per_pair"] == 2 * one["flops_per_pair"] > 0
    assert all(row[key] > 0 for row in rows
               for key in ("share", "product_flops", "images_per_second"))
    assert quick["images_per_second_self_ensemble"] > 0
    assert published["images_per_second_self_ensemble"] is None


def test_a_turn_that_is_too_short_is_refused(images):
    with pytest.warns(UserWarning, match="too short"), pytest.raises(ValueError, match="time"):
        throughput({"quick": QUICK}, *images, turns=1, turn_seconds=1e-9, product_side=8)


def test_the_summary_has_a_line_for_each_recipe_with_the_mean_over_seeds(images):
    rows = [train(name, QUICK, Budget(epochs=1), seed, *images, progress=False)
            for name in ("first", "second") for seed in (0, 1)]
    lines = summary(rows).splitlines()
    first = next(line for line in lines if "first" in line)
    assert f"{(rows[0]['psnr'] + rows[1]['psnr']) / 2:.3f} ±" in first and "0, 1" in first
    assert sum("second" in line for line in lines) == 1


# ---- data --------------------------------------------------------------------------------------


def test_data_are_named_by_what_they_are_made_of(data):
    loaded = load_training(data)
    named = {"kind": "scenes", "pairs": COUNT, "seed": 0}
    assert loaded.about == named | {"checksum": checksum(*load_tensors(data / "train_data.pkl"))}


def test_data_without_about_are_given(data, tmp_path):
    pairs = load_tensors(data / "train_data.pkl")
    save_tensors(pairs, tmp_path / "train_data.pkl")
    about = load_training(tmp_path).about
    assert about == {"kind": "given", "pairs": COUNT, "seed": None, "checksum": checksum(*pairs)}


def test_data_that_are_not_those_of_about_are_refused(data, tmp_path):
    (tmp_path / "about.json").write_text((data / "about.json").read_text())
    a, b = load_tensors(data / "train_data.pkl")
    save_tensors((b, a), tmp_path / "train_data.pkl")
    with pytest.raises(ValueError, match="about.json"):
        load_training(tmp_path)


def test_the_first_pairs_have_their_clean_images(data):
    some = load_training(data, 5, clean=True)
    both_noisy, both_clean = load_tensors(data / "clean_data.pkl")
    assert torch.equal(some.a, both_noisy[:5]) and torch.equal(some.clean, both_clean[:5])


@pytest.mark.parametrize("change", ["missing", "other noisy images", "two clean images a pair"])
def test_clean_images_that_do_not_fit_are_refused(data, tmp_path, change):
    pairs = load_tensors(data / "train_data.pkl")
    noisy, clean = load_tensors(data / "clean_data.pkl")
    save_tensors(pairs, tmp_path / "train_data.pkl")
    if change == "other noisy images":
        save_tensors((noisy.flip(0), clean), tmp_path / "clean_data.pkl")
    if change == "two clean images a pair":
        save_tensors((noisy, noisy), tmp_path / "clean_data.pkl")
    with pytest.raises(ValueError, match="clean_data.pkl.*data --clean"):
        load_training(tmp_path, clean=True)


def test_more_pairs_than_there_are_are_refused(data):
    with pytest.raises(ValueError, match="24 pairs, expected at least 25"):
        load_training(data, 25)


# ---- the command -------------------------------------------------------------------------------


def test_the_command_appends_rows_without_paths(data, tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    arguments = ["narrow", "no EMA", "-d", data, "--epochs", 1, "--pairs", 8]
    assert run(*arguments, "--seeds", 1, 2, "--clean-targets", "--results", results) == 0
    rows = rows_of(results)
    assert [(row["name"], row["seed"]) for row in rows] == [
        ("narrow", 1), ("no EMA", 1), ("narrow", 2), ("no EMA", 2)]
    for row in rows:
        assert row["clean_targets"] and row["pairs"] == row["pairs_seen"] == 8
        assert row["data"]["kind"] == "scenes" and row["validation"]["images"] == 4
        assert str(data) not in json.dumps(row) and "torch" in row
    options = "--pairs 8 --epochs 1 --seeds 1 2 --clean-targets"
    assert rows[0]["command"].endswith(f"narrow 'no EMA' -d DATA --validation VALIDATION {options}")
    assert "no EMA, clean targets" in capsys.readouterr().out


def test_the_command_measures_weights(data, tmp_path):
    quick_model().save(tmp_path / "some.pth")
    results = tmp_path / "results.jsonl"
    validation = data / "val_data.pkl"
    assert run("--weights", tmp_path / "some.pth", "--validation", validation,
               "--results", results) == 0
    (row,) = rows_of(results)
    assert row["name"] == "some.pth" and row["command"].endswith(
        "--weights some.pth --validation VALIDATION")


@pytest.mark.parametrize("arguments, words", [
    (["nothing"], ["nothing", "ours"]),
    (["--minutes", "0"], ["--minutes", "0"]),
    (["--epochs", "1.5"], ["--epochs", "1.5"]),
    (["--epochs", "1", "--throughput"], ["--throughput", "--epochs"]),
    (["ours", "published", "--clean-targets"], ["--clean-targets", "published"]),
    (["ours", "--clean-targets", "--throughput"], ["--clean-targets"]),
    (["ours", "--weights", "bestmodel.pth"], ["--weights", "ours"]),
    (["ours", "--pairs", "99"], ["99"]),
    (["--weights", "none.pth"], ["none.pth"]),
])
def test_bad_arguments(data, capsys, arguments, words):
    assert_refused(capsys, "-d", data, *arguments, words=words)


def test_ctrl_c_keeps_the_trainings_that_were_finished(data, tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    ended = threading.Event()

    def press_ctrl_c():
        deadline = time.monotonic() + 60  # seconds
        while not results.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended.wait(0.05):
            signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    presser = threading.Thread(target=press_ctrl_c)
    presser.start()
    try:
        code = run("narrow", "-d", data, "--epochs", 1, "--pairs", 8, "--seeds", *range(5_000),
                   "--results", results)
    finally:
        ended.set()
        presser.join(90)
        signal.signal(signal.SIGINT, handler)
    assert code == 130 and capsys.readouterr().err.startswith("interrupted")
    rows = rows_of(results)
    assert 0 < len(rows) < 5_000 and rows[0]["seed"] == 0
