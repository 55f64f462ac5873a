"""The command that makes the pretrained weights."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from helpers import QUICK, rows_of, weights_of

from Miniproject_1.model import Model
from Miniproject_1.others.datasets import build
from Miniproject_1.others.study import weights


class Stop:
    """Ctrl-C that comes at once."""

    received = 2

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self):
        return True


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The pairs that the command would make, but for fewer validation images."""
    folder = tmp_path_factory.mktemp("pairs")
    build(folder, pairs=32, validation=4, progress=False)
    return folder


@pytest.fixture
def run(pairs, tmp_path, monkeypatch):
    """The command in a folder of its own, which has its pairs; -> its exit code."""
    monkeypatch.setattr(weights, "RECIPE", QUICK)

    def command(name, *more):
        if not (tmp_path / name).exists():
            shutil.copytree(pairs, tmp_path / name)
        arguments = ["--folder", tmp_path / name, "-o", tmp_path / f"{name}.pth", "--pairs", 32,
                     "--epochs", 2, "--results", tmp_path / f"{name}.jsonl", *more]
        return weights.main([str(argument) for argument in arguments])

    return command


def loaded(file):
    model = Model()
    model.load_pretrained_model(file)
    return model


def test_one_command_makes_the_weights_and_their_log(run, tmp_path):
    (tmp_path / "one").mkdir()  # without pairs
    assert run("one") == 0
    assert loaded(tmp_path / "one.pth").recipe == QUICK
    (row,) = rows_of(tmp_path / "one.jsonl")
    assert (row["pairs"], row["pairs_seen"], row["seed"]) == (32, 64, 0)
    assert row["history"][-1]["psnr"] > row["history"][0]["psnr"]
    assert row["data"]["checksum"] and str(tmp_path) not in json.dumps(row)


def test_stopped_it_goes_on_where_it_was(run, tmp_path, monkeypatch, capsys):
    assert run("straight") == 0
    with monkeypatch.context() as patched:
        patched.setattr(weights, "StopSignals", Stop)
        assert run("sittings") == 130
    assert not (tmp_path / "sittings.pth").exists()
    assert "same command" in capsys.readouterr().err
    assert run("sittings") == 0
    assert "goes on" in capsys.readouterr().out
    one, other = (weights_of(loaded(tmp_path / f"{name}.pth")) for name in ("straight", "sittings"))
    assert torch.equal(one, other)


def test_after_its_end_the_same_command_says_so(run, tmp_path, capsys):
    assert run("one") == 0
    before = (tmp_path / "one.pth").read_bytes()
    assert run("one") == 2
    assert "end" in capsys.readouterr().err and (tmp_path / "one.pth").read_bytes() == before


@pytest.mark.parametrize("changed", [["--pairs", 31], ["--pairs", 33], ["--seed", 1]])
def test_other_pairs_than_those_of_the_folder_are_refused(run, tmp_path, capsys, changed):
    assert run("one") == 0
    assert run("one", *changed) == 2
    assert changed[0].strip("-") in capsys.readouterr().err


@pytest.mark.filterwarnings("default:.*diverged")
def test_weights_that_diverged_are_not_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "RECIPE", replace(QUICK, optimizer="adam", learning_rate=1e9))
    assert run("one") == 2
    assert not (tmp_path / "one.pth").exists()
    assert "diverged" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_found_out_first(run, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("one", "-o", tmp_path / "file/weights.pth") == 2
    assert "file" in capsys.readouterr().err and not (tmp_path / "one/training.pth").exists()
