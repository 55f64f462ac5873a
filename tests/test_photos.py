"""Which photos are used, and the squares that are cut from them."""

import math

import pytest
import torch
from helpers import seeded
from PIL import Image
from samples import random_image, write_image, write_photos
from torch import Tensor

from Miniproject_1.others.images import read_rgb
from Miniproject_1.others.noise import SOURCE
from Miniproject_1.others.photos import (
    centre,
    centres,
    crops,
    public_domain_photos,
    readable,
    split_files,
)

# ---- files -------------------------------------------------------------------------------------


def test_the_public_domain_photos_are_readable():
    files = public_domain_photos()
    assert len(files) == 6
    assert readable(files, least=6) == files


def test_unreadable_photos_are_skipped_and_named(tmp_path):
    files = write_photos(tmp_path, 3)
    text, half = tmp_path / "text.jpg", tmp_path / "half.png"
    text.write_text("no image")
    half.write_bytes(files[0].read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"(?s)\b2\b.*text.jpg.*half.png"):
        assert readable([text, *files, half]) == files


def test_too_few_readable_photos_are_refused(tmp_path):
    (file,) = write_photos(tmp_path, 1)
    assert readable([file], least=1) == [file]
    with pytest.raises(ValueError, match="1 of 1"):
        readable([file])
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match="0.png"):
        readable([file], least=1)


def test_a_twentieth_of_the_files_is_held_out(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(40)]
    training, validation = split_files(files, seed=0)
    assert len(validation) == 2
    assert sorted(training + validation) == sorted(files)


def test_at_least_one_file_is_held_out(tmp_path):
    training, validation = split_files([tmp_path / "a", tmp_path / "b"], seed=0)
    assert len(training) == len(validation) == 1


def test_the_split_follows_the_seed(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(40)]
    assert split_files(files, seed=1) == split_files(files, seed=1)
    assert split_files(files, seed=1) != split_files(files, seed=2)


# ---- squares -----------------------------------------------------------------------------------


def test_the_centre_square_is_whole(tmp_path):
    """Of a photo whose centre square has the size of the sources, nothing is resampled."""
    photo = random_image(3, SOURCE, SOURCE + 20)
    write_image(photo, tmp_path / "photo.png")
    assert torch.equal(centre(read_rgb(tmp_path / "photo.png")), photo[:, :, 10:-10])


def test_the_centre_square_may_have_another_size():
    assert centre(Image.new("RGB", (50, 40)), size=24).shape == (3, 24, 24)


def test_centres_repeat_the_centre_square(tmp_path):
    write_image(random_image(3, 60, 80), tmp_path / "photo.png")
    photo = read_rgb(tmp_path / "photo.png")
    squares = centres(photo, 3, seeded())
    assert squares.shape == (3, 3, SOURCE, SOURCE)
    assert all(torch.equal(square, centre(photo)) for square in squares)


RAMP = (400, 300)  # width and height of a photo that is darkest at the left


@pytest.fixture(scope="module")
def ramp_ends(tmp_path_factory) -> tuple[Tensor, Tensor]:
    """The places, in pixels, of the left and the right border of 200 crops of a ramp."""
    width, height = RAMP
    grey = (torch.arange(width) * 255 / (width - 1)).to(torch.uint8)
    file = tmp_path_factory.mktemp("ramp") / "ramp.png"
    write_image(grey.expand(3, height, width), file)
    cut = crops(read_rgb(file), 200, seeded()).float() * (width - 1) / 255
    return cut[:, 0, 0, 0], cut[:, 0, 0, -1]


def test_crops_differ_in_size(ramp_ends):
    left, right = ramp_ends
    side = (right - left).abs() / RAMP[1]  # as a share of the short side; a grey level is 0.005
    assert 0.74 < side.min() < 0.8
    assert 0.95 < side.max() < 1.01


def test_crops_differ_in_place(ramp_ends):
    assert torch.minimum(*ramp_ends).unique().numel() > 30


def test_half_of_the_crops_are_mirrored(ramp_ends):
    left, right = ramp_ends
    mirrored = (right < left).sum().item()
    assert abs(mirrored - 100) < 5 * math.sqrt(200 / 4)  # binomial, 5 deviations
