"""Sweeps: their grids, and results files that are gone on with."""

import json
from dataclasses import replace

import pytest
from helpers import QUICK, rows_of

from Miniproject_1.model import Recipe
from Miniproject_1.others.datasets import build
from Miniproject_1.others.study import presets
from Miniproject_1.others.study.presets import PRESETS, Setting, grid
from Miniproject_1.others.study.published import PublishedRecipe
from Miniproject_1.others.study.recipes import NETWORKS
from Miniproject_1.others.study.sweep import Pace, main


@pytest.fixture
def small(monkeypatch):
    """A preset of three quick trainings, and quick recipes to make grids of."""
    narrow = replace(QUICK, widths=(4,))
    settings = [Setting(QUICK, 8, 1, name="quick"), Setting(narrow, 8, 1, name="narrow"),
                Setting(QUICK, 8, 1, clean_targets=True, name="quick")]
    monkeypatch.setitem(PRESETS, "table1", lambda: iter(settings))
    monkeypatch.setitem(NETWORKS, "ours", QUICK)


def run(*arguments):
    return main([str(argument) for argument in arguments])


# ---- grids -------------------------------------------------------------------------------------


def test_a_grid_has_all_combinations():
    base = Recipe()
    recipes = grid(base, {"batch": (16, 64), "loss": ("mse", "l1", "log")})
    assert [(recipe.batch, recipe.loss) for recipe in recipes] == [
        (16, "mse"), (16, "l1"), (16, "log"), (64, "mse"), (64, "l1"), (64, "log")]
    assert {replace(recipe, batch=base.batch, loss=base.loss) for recipe in recipes} == {base}


@pytest.mark.parametrize("values, words", [
    ({"bach": (1,)}, "bach.*batch"), ({"batch": (0,)}, "batch.*0"), ({"loss": ("l2",)}, "l2.*mse"),
])
def test_an_unknown_field_or_value_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        grid(Recipe(), values)


def test_the_published_grid_has_18_settings_of_each_network():
    settings = list(PRESETS["table1"]())
    published = [setting.recipe for setting in settings
                 if isinstance(setting.recipe, PublishedRecipe)]
    assert len(settings) == 36 and len(set(published)) == 18
    assert {(recipe.loss, recipe.batch) for recipe in published} == {
        (loss, batch) for loss in ("l1", "mse") for batch in (32, 64, 128)}
    rates = sorted({recipe.learning_rate for recipe in published})
    assert rates == pytest.approx([1e-4, 1e-3, 2e-3])
    assert {setting.pairs * setting.epochs for setting in settings} == {10_000}


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_trains_a_setting_twice(preset):
    settings = list(PRESETS[preset]())
    assert len({replace(setting, name="same") for setting in settings}) == len(settings)
    assert max(setting.pairs for setting in settings) <= presets.PAIRS


def test_batches_are_compared_at_equal_pairs_and_at_equal_steps():
    seen = [(setting.recipe.batch, setting.pairs * setting.epochs)
            for setting in PRESETS["batches"]()]
    equal_pairs = {batch for batch, pairs in seen if pairs == presets.BATCH_PAIRS}
    equal_steps = {batch for batch, pairs in seen if pairs == presets.STEPS * batch}
    assert equal_pairs == equal_steps == set(presets.BATCH_SIZES)


# ---- results files -----------------------------------------------------------------------------


def test_each_training_is_a_row_with_its_epochs_measured(data, small, tmp_path):
    file = tmp_path / "rows.jsonl"
    assert run("table1", "-d", data, "--seeds", 1, 2, "--results", file, "--quiet") == 0
    rows = rows_of(file)
    assert [(row["name"], row["seed"], row["clean_targets"]) for row in rows] == [
        ("quick", 1, False), ("narrow", 1, False), ("quick", 1, True),
        ("quick", 2, False), ("narrow", 2, False), ("quick", 2, True)]
    for row in rows:
        assert (row["preset"], row["network"], row["pairs_seen"]) == ("table1", "ours", 8)
        assert row["data"]["checksum"] and row["pairs_per_second"] > 0 and "commit" in row
        assert all(epoch["psnr_pooled"] and epoch["est_psnr"] for epoch in row["history"])
        assert str(data) not in json.dumps(row)
    assert rows[0]["psnr"] != rows[3]["psnr"]


def test_what_is_there_is_not_trained_again(data, small, tmp_path):
    file = tmp_path / "rows.jsonl"
    arguments = ["table1", "-d", data, "--results", file, "--quiet"]
    run(*arguments, "--seeds", 1)
    before = file.read_text()
    run(*arguments, "--seeds", 1)
    assert file.read_text() == before
    run(*arguments, "--seeds", 1, 2, "--only", "widths", "(4,)", "--only", "name", "narrow")
    assert file.read_text().startswith(before)
    assert [(row["name"], row["seed"]) for row in rows_of(file)[3:]] == [("narrow", 2)]


@pytest.mark.parametrize("changed", [
    ["--pairs", 9], ["--epochs", 2], ["--validation", "other.pkl"]])
def test_other_trainings_are_not_taken_for_these(data, small, tmp_path, changed):
    file = tmp_path / "rows.jsonl"
    arguments = ["table1", "-d", data, "--seeds", 0, "--results", file, "--quiet"]
    other = tmp_path / "other.pkl"
    build(tmp_path / "more", pairs=1, validation=5, progress=False)
    (tmp_path / "more/val_data.pkl").rename(other)
    run(*arguments)
    run(*arguments, *(other if word == "other.pkl" else word for word in changed))
    assert len(rows_of(file)) == 6


def test_a_last_line_that_was_cut_short_is_trained_again(data, small, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    arguments = ["table1", "-d", data, "--seeds", 0, "--results", file, "--quiet"]
    run(*arguments)
    rows = rows_of(file)
    file.write_text(file.read_text()[:-20])
    assert run(*arguments) == 0
    again = rows_of(file)
    assert [row["psnr"] for row in again] == [row["psnr"] for row in rows]
    assert "cut short" in capsys.readouterr().err


def test_a_last_line_that_only_lacks_its_end_is_kept(data, small, tmp_path):
    file = tmp_path / "rows.jsonl"
    arguments = ["table1", "-d", data, "--seeds", 0, "--results", file, "--quiet"]
    run(*arguments)
    before = file.read_text()
    file.write_text(before.rstrip())
    run(*arguments)
    assert file.read_text() == before


@pytest.mark.filterwarnings("default:.*diverged")
def test_a_training_that_diverges_is_named_and_the_others_are_done(data, small, tmp_path, capsys,
                                                                   monkeypatch):
    wild = replace(QUICK, optimizer="adam", learning_rate=1e9)
    settings = [Setting(wild, 8, 3, name="wild"), Setting(QUICK, 8, 1, name="quick")]
    monkeypatch.setitem(PRESETS, "table1", lambda: iter(settings))
    file = tmp_path / "rows.jsonl"
    assert run("table1", "-d", data, "--seeds", 0, "--results", file, "--quiet") == 2
    assert [row["name"] for row in rows_of(file)] == ["quick"]
    assert "1 of 2 trainings failed: wild" in capsys.readouterr().err


def test_what_is_asked_for_twice_is_trained_once(data, small, tmp_path):
    file = tmp_path / "rows.jsonl"
    assert run("--vary", "batch", 8, 8, "-d", data, "--pairs", 8, "--epochs", 1, "--seeds", 0, 0,
               "--results", file) == 0
    assert len(rows_of(file)) == 1


@pytest.mark.parametrize("content, words", [
    ('{"kind": "training"}\n', ["line 1", "preset"]), ("nonsense\n{}\n", ["line 1"]),
    ("nonsense", ["line 1"])])
def test_another_file_is_left_as_it_is(data, small, tmp_path, capsys, content, words):
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    assert run("table1", "-d", data, "--results", file) == 2
    assert file.read_text() == content
    error = capsys.readouterr().err
    assert all(word in error for word in [file.name, *words])


def test_a_grid_of_ones_own(data, small, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    grid_of = ["--vary", "batch", 4, 8, "--vary", "loss", "mse", "log"]
    assert run(*grid_of, "-d", data, "--pairs", 8, "--epochs", 1, "--seeds", 0, "--results",
               file) == 0
    rows = rows_of(file)
    assert [(row["recipe"]["batch"], row["recipe"]["loss"]) for row in rows] == [
        (4, "mse"), (4, "log"), (8, "mse"), (8, "log")]
    assert rows[0]["command"].endswith("--vary batch 4 8 --vary loss mse log -d DATA "
                                       "--validation VALIDATION --pairs 8 --epochs 1 --seeds 0")
    shown = capsys.readouterr().out
    assert "4 of 4 done" in shown and "batch 4; loss mse" in shown


@pytest.mark.parametrize("arguments, words", [
    (["--vary", "bach", "1"], ["bach", "batch"]),
    (["--vary", "batch", "0"], ["batch", "0"]),
    (["--vary", "batch"], ["batch", "value"]),
    (["--vary", "batch", "8", "--vary", "batch", "16"], ["batch", "once"]),
    (["table1", "--vary", "batch", "8"], ["--vary", "--only"]),
    (["table1", "--only", "bach", "8"], ["bach", "batch"]),
    (["table1", "--only", "batch", "7"], ["--only"]),
    (["table1", "--network", "published"], ["--network"]),
    (["table1", "--pairs", "99"], ["99", "24"]),
    (["table1", "--results", "{folder}/train_data.pkl/x.jsonl"], ["train_data.pkl"]),
    (["--epochs", "0"], ["--epochs"]),
    (["table2"], ["table2", "table1"]),
])
def test_bad_arguments_are_found_out_before_anything_is_trained(data, small, capsys, arguments,
                                                                words):
    arguments = [word.format(folder=data) for word in arguments]
    try:
        code = run("-d", data, *arguments)
    except SystemExit as exit:
        code = exit.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words)


def test_the_time_left_is_that_of_the_pairs_left_by_network():
    pace = Pace()
    ours = Setting(Recipe(), 100, 2)
    pace.add(ours, 10.0)
    pace.add(Setting(PublishedRecipe(), 100, 1), 20.0)
    assert pace.left([(ours, 0)]) == pytest.approx(10)
    assert pace.left([(Setting(PublishedRecipe(), 50, 1), 0), (ours, 1)]) == pytest.approx(20)
