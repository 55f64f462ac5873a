"""The picture of the denoiser at work."""

import re
import warnings

import pytest
import torch
from samples import random_image, write_image, write_photos

from Miniproject_1 import Model
from Miniproject_1.model import psnr
from Miniproject_1.others.images import read, to_tensor
from Miniproject_1.others.picture import compared, main, noisy_and_clean, page, strip


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A file of untrained weights."""
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    Model().save(path)
    return str(path)


def flat(value: int, side: int = 32) -> torch.Tensor:
    return torch.full((3, side, side), float(value))


def test_a_strip_shows_its_images_enlarged_side_by_side():
    image = random_image(3, 4, 4)
    shown = to_tensor(strip([flat(10, 4), image], ["", ""]))
    factor = shown.shape[2] // (2 * 4)
    enlarged = image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    assert torch.equal(shown[:, : 4 * factor, -4 * factor :], enlarged)
    assert (shown[:, : 4 * factor, : 4 * factor] == 10).all()


def test_a_caption_is_below_its_image():
    shown = to_tensor(strip([flat(255), flat(255), flat(255)], ["20 dB", "", ""]))
    below = shown[:, shown.shape[2] // 3 :]  # an image takes a third of the width, and is square
    left, rest = below.split((below.shape[2] // 3, below.shape[2] - below.shape[2] // 3), dim=2)
    assert left.min() < 128
    assert rest.min() == 255


def test_all_but_the_clean_image_have_their_psnr_below():
    image = compared({name: flat(value)[None] for name, value in (("a", 254), ("b", 255))})
    left, right = (image.convert("L").crop((side, image.height // 2, side + image.width // 2,
                                            image.height)) for side in (0, image.width // 2))
    assert left.getextrema()[0] < 128 and right.getextrema()[0] == 255


def test_six_photos_take_three_rows_of_two():
    strips = [strip([flat(10 * i)] * 3, [""] * 3) for i in range(6)]
    shown = to_tensor(page(strips, ("noisy", "denoised", "clean")))
    width, height = strips[0].size
    assert 2 * width < shown.shape[2] < 2.2 * width
    assert 3 * height < shown.shape[1] < 3.5 * height
    middle = shown[0, shown.shape[1] // 2].unique_consecutive()
    assert middle[middle < 255].tolist() == [20, 20, 20, 30, 30, 30]


def test_the_picture_and_the_line_show_the_photos_of_a_folder(tmp_path, capsys, weights):
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for seed, file in enumerate(files):
        write_image(random_image(3, 40, 50, seed=seed), file)
    output = tmp_path / "out" / "picture.png"
    arguments = ["--photos", str(tmp_path), "-o", str(output), "--model", weights, "--side", "16"]
    assert main([*arguments, "--seed", "3"]) == 0
    noisy, clean = noisy_and_clean(files, side=16, seed=3)
    model = Model()
    model.load_pretrained_model(weights)
    expected = [psnr(noisy, clean), psnr(model.predict(noisy), clean)]
    printed = re.findall(r"([\d.]+) dB", capsys.readouterr().out)
    assert printed == [f"{value:.2f}" for value in expected]
    assert read(output).pages.shape[1] == 3


def test_by_default_the_photos_are_public(tmp_path, weights):
    output = tmp_path / "picture.png"
    assert main(["-o", str(output), "--model", weights, "--side", "8"]) == 0
    assert 1000 < read(output).pages.shape[3] < 1300


def test_unreadable_photos_are_named_in_a_warning(tmp_path, capsys, weights):
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "cut.png").write_text("no image")
    arguments = ["--photos", str(tmp_path / "photos"), "-o", str(tmp_path / "picture.png")]
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert main([*arguments, "--model", weights]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "cut.png" in error
    assert ".py:" not in error  # the place in the code tells a user nothing


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--photos", "missing"], "missing"),
        (["-o", "picture.xyz"], "picture.xyz"),
        (["--side", "0"], "0"),
        (["--model", "missing.pth"], "missing.pth"),
    ],
)
def test_bad_arguments_are_named(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert main(["-o", "picture.png", *arguments]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
