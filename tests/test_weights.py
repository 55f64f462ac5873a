"""Model.save and Model.load_pretrained_model: round trip, where they look, what they refuse."""

import importlib.util
import os
import pickle
import shutil

import pytest
import torch
from helpers import ROOT, quick_model, randomise, seeded, weights_of

from Miniproject_1.model import Model, psnr


@pytest.fixture
def model():
    model = quick_model()
    randomise(model.net)
    return model


def test_saved_models_come_back(tmp_path, model):
    model.save(tmp_path / "model.pth")
    assert os.listdir(tmp_path) == ["model.pth"]
    loaded = Model()
    loaded.load_pretrained_model(tmp_path / "model.pth")
    noisy = 255 * torch.rand(1, 3, 9, 9, generator=seeded())
    assert torch.equal(loaded.predict(noisy), model.predict(noisy))


def test_a_path_may_be_text(tmp_path, model):
    model.save(str(tmp_path / "model.pth"))
    model.load_pretrained_model(str(tmp_path / "model.pth"))


def test_the_pretrained_weights_denoise():
    """The course's noise on a smooth scene: one pixel of a cell, here with a deviation of 20."""
    ramp = torch.linspace(60, 190, 32)
    clean = ramp.view(1, 1, 1, 32).expand(1, 3, 32, 32)
    noisy = clean + 20 * torch.randn(1, 1, 32, 32, generator=seeded()).clamp(-2.5, 2.5)
    model = Model()
    model.load_pretrained_model()
    assert psnr(model.predict(noisy), clean) > psnr(noisy, clean) + 3


def test_a_copy_beside_the_module_comes_first(tmp_path):
    folder = tmp_path / "Miniproject_1"
    folder.mkdir()
    shutil.copy(ROOT / "Miniproject_1/model.py", folder)
    spec = importlib.util.spec_from_file_location("copied", folder / "model.py")
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    model = copied.Model()
    with pytest.raises(FileNotFoundError, match="bestmodel.pth"):
        model.load_pretrained_model()
    quick_model(widths=(5,)).save(tmp_path / "bestmodel.pth")
    model.load_pretrained_model()
    assert model.recipe.widths == (5,)
    quick_model(widths=(6,)).save(folder / "bestmodel.pth")
    model.load_pretrained_model()
    assert model.recipe.widths == (6,)


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


def truncated(path, model):
    model.save(path)
    path.write_bytes(path.read_bytes()[:1000])


def with_recipe(**changes):
    def write(path, model):
        model.save(path)
        content = torch.load(path, weights_only=True)
        content["recipe"].update(changes)
        torch.save(content, path)
    return write


DAMAGED = {
    "truncated": truncated,
    "empty": lambda path, _: path.write_bytes(b""),
    "text": lambda path, _: path.write_text("hello"),
    "another tensor": lambda path, _: torch.save(torch.zeros(3), path),
    "malicious": lambda path, _: torch.save(Malicious(), path),
    "malicious pickle": lambda path, _: path.write_bytes(pickle.dumps(Malicious())),
    "other widths": with_recipe(widths=(8, 8)),
    "bad value": with_recipe(loss="l3"),
    "unknown field": with_recipe(dropout=0.1),
}


@pytest.mark.parametrize("write", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_and_nothing_in_them_is_run(tmp_path, monkeypatch, model, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    write(path, model)
    before = weights_of(model).clone()
    with pytest.raises(ValueError, match="model.pth"):
        model.load_pretrained_model(path)
    assert os.listdir(tmp_path) == ["model.pth"]
    assert torch.equal(weights_of(model), before)  # still whole


def test_a_missing_file_is_named(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="none.pth"):
        model.load_pretrained_model(tmp_path / "none.pth")


def test_save_to_a_missing_folder_leaves_nothing(tmp_path, model):
    with pytest.raises(OSError, match="missing"):
        model.save(tmp_path / "missing/model.pth")
    assert os.listdir(tmp_path) == []
