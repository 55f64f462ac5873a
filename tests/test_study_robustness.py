"""The measurement on other noise and sizes, with a small model and generated photos."""

import pytest
import torch
from helpers import quick_model
from PIL import Image

from Miniproject_1.others.results import read_results
from Miniproject_1.others.scenes import scenes
from Miniproject_1.others.study.robustness import Case, images_of, main, measure, study


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, pixels in enumerate(scenes(3, torch.Generator().manual_seed(0))):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return folder


def files_of(photos):
    return sorted(photos.iterdir())


def test_noise_falls_with_the_samples(photos):
    one, four = (measure(quick_model(), Case(samples=samples), files_of(photos), 0)
                 for samples in (1, 4))
    # A quarter of the variance is 6.02 dB; 3 images of 1,024 pixels deviate by about 0.2 dB.
    assert four["noisy"] - one["noisy"] == pytest.approx(6.02, abs=1.0)


def test_an_untrained_network_changes_nothing(photos):
    row = measure(quick_model(), Case(), files_of(photos), 0)
    assert row["denoised"] == pytest.approx(row["noisy"], abs=0.01)
    assert row["smallest_gain"] == pytest.approx(0, abs=0.01)


def test_harm_is_counted(photos):
    model = quick_model()
    with torch.no_grad():
        model.net.tail.weight[:, 0, 1, 1] = 10  # adds what no image shows
        model.net.head.weight[0] = 1
    row = measure(model, Case(), files_of(photos), 0)
    assert row["worse"] == row["images"] == 3 and row["smallest_gain"] < -1


@pytest.mark.parametrize("case, shape", [
    (Case(), (3, 3, 32, 32)),
    (Case(side=40, cell=4, photos=2), (2, 3, 40, 40)),
])
def test_images_are_those_of_the_case(photos, case, shape):
    noisy, clean = images_of(case, files_of(photos), 0)
    assert noisy.shape == clean.shape == shape


def test_a_row_for_each_case(photos):
    cases = (Case(cell=4), Case(side=40, photos=1))
    rows = study(quick_model(), files_of(photos), 0, cases)
    assert [(row["case"], row["images"]) for row in rows] == [
        (str(case), count) for case, count in zip(cases, (3, 1), strict=True)]


def test_the_command_writes_what_it_measures_without_paths(photos, tmp_path):
    quick_model().save(tmp_path / "some.pth")
    output = tmp_path / "robustness.json"
    assert main(["--photos", str(photos), "--model", str(tmp_path / "some.pth"), "--seed", "1",
                 "--results", str(output)]) == 0
    (row,) = read_results(output)
    assert row["name"] == "some.pth" and row["data"]["photos"] == 1  # 5 %, at least one
    assert row["command"].endswith("--photos PHOTOS --model some.pth --seed 1")
    assert str(tmp_path) not in output.read_text()


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert main(["--photos", str(tmp_path / "none")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "none" in lines[0]
