"""The measurement on other noise and sizes, with a small model and generated photos."""

import json

import pytest
import torch
from PIL import Image

from Miniproject_1 import Model
from Miniproject_1.others import robustness
from Miniproject_1.others.pixelate import scenes
from Miniproject_1.others.robustness import Case, main, measure


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, pixels in enumerate(scenes(3, torch.Generator().manual_seed(0))):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return folder


def untrained():
    return Model(widths=(8,), blocks=1)  # the identity


def test_noise_falls_with_the_samples_and_an_untrained_network_changes_nothing(photos):
    files = sorted(photos.iterdir())
    one, four = (measure(untrained(), Case(samples=samples), files, 0) for samples in (1, 4))
    assert one["images"] == 3 and one["case"] == "32 x 32, cells of 8 x 8, 1 sample"
    # The mean of four has a quarter of the variance, 6.02 dB; 3 images of 1,024 pixels give about 0.2 dB of deviation.
    assert four["noisy"] - one["noisy"] == pytest.approx(6.02, abs=1.0)
    for row in (one, four):
        assert row["denoised"] == pytest.approx(row["noisy"], abs=0.1) and abs(row["smallest_gain"]) < 0.1


def test_command(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "CASES", (Case(cell=4), Case(side=40, photos=1)))
    untrained().save(tmp_path / "model.pth")
    arguments = ["--photos", str(photos), "--model", str(tmp_path / "model.pth")]
    assert main([*arguments, "--results", str(tmp_path / "robustness.json")]) == 0
    written = json.loads((tmp_path / "robustness.json").read_text())
    assert [row["case"][:7] for row in written["cases"]] == ["32 x 32", "40 x 40"] and written["seed"] == 0
    assert [row["images"] for row in written["cases"]] == [1, 1]  # held out of training: 5 %, at least one
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["--photos", str(tmp_path / "none")]) == 2
    assert "none is not a folder" in capsys.readouterr().err
