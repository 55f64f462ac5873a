"""Pairs from scenes and from photos, and the data files of the course."""

import sys
from pathlib import Path

import pytest
import torch
from samples import random_image, reds, source_pixels, write_image, write_photos
from torch import Tensor

from Miniproject_1.others import streams
from Miniproject_1.others.datasets import (
    CROPS_AT_ONCE,
    TRAINING,
    VALIDATION,
    build,
    photo_pairs,
    scene_pairs,
)
from Miniproject_1.others.files import load_tensors
from Miniproject_1.others.noise import SIZE, SOURCE, cell_mean
from Miniproject_1.others.photos import centres, crops
from Miniproject_1.others.results import checksum, read_results


def stored(folder: Path) -> list[Tensor]:
    """noisy_a, noisy_b, noisy, clean."""
    return [*load_tensors(folder / "train_data.pkl"), *load_tensors(folder / "val_data.pkl")]


# ---- random streams ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "part", "seed"),
    [
        (streams.TRAINING, [8], 4051124485392195268),
        (streams.VALIDATION, [8], 12579167063369544534),
        (streams.SPLIT, [], 9312748774423416588),
    ],
)
def test_data_of_a_seed_stay_the_same(stream, part, seed):
    """The generators' own seeds are those that published data were made with."""
    assert streams.generator(1, stream, *part).initial_seed() == seed


# ---- pairs -------------------------------------------------------------------------------------


def test_copies_share_their_scene_and_not_their_noise():
    """Each image is nearer to its partner than to an image of any other scene."""
    noisy_a, noisy_b = scene_pairs(20, TRAINING, seed=0)
    noisy, clean = scene_pairs(10, VALIDATION, seed=0)
    one = torch.cat((noisy_a, noisy)).flatten(1).float()
    other = torch.cat((noisy_b, clean)).flatten(1).float()
    distances = torch.cdist(one, other)
    assert torch.equal(distances.argmin(1), torch.arange(30))
    assert distances.diagonal().min() > 0


@pytest.fixture(scope="module")
def two_photos(tmp_path_factory) -> list[Path]:
    """Photos of nothing but noise."""
    folder = tmp_path_factory.mktemp("photos")
    files = [folder / f"{i}.png" for i in range(2)]
    for i, file in enumerate(files):
        write_image(random_image(3, 40, 50, seed=i), file)
    return files


@pytest.mark.parametrize("count", [30, 2 * 2 * CROPS_AT_ONCE + 7])
def test_photo_pairs_depend_on_the_seed_and_not_on_the_workers(two_photos, count):
    one = torch.stack(photo_pairs(two_photos, count, crops, TRAINING, seed=0, workers=1))
    three = torch.stack(photo_pairs(two_photos, count, crops, TRAINING, seed=0, workers=3))
    other = torch.stack(photo_pairs(two_photos, count, crops, TRAINING, seed=1, workers=1))
    assert torch.equal(one, three)
    assert not torch.equal(one, other)


def test_every_crop_is_another_one(two_photos):
    noisy_a, _ = photo_pairs(two_photos, 150, crops, TRAINING, seed=0)
    assert noisy_a.flatten(1).unique(dim=0).shape[0] == 150


def test_scene_pairs_depend_on_the_seed_and_not_on_the_workers():
    one = torch.stack(scene_pairs(20, TRAINING, seed=0, workers=1))
    three = torch.stack(scene_pairs(20, TRAINING, seed=0, workers=3))
    other = torch.stack(scene_pairs(20, TRAINING, seed=1, workers=1))
    assert torch.equal(one, three)
    assert not torch.equal(one, other)


def test_the_global_generator_is_left_alone(two_photos):
    before = torch.get_rng_state()
    scene_pairs(2, TRAINING, seed=0)
    photo_pairs(two_photos, 2, crops, TRAINING, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_photos_are_whole_centre_squares_with_several_draws(tmp_path):
    photo = random_image(3, SOURCE, SOURCE + 20)  # so that nothing is resampled
    write_image(photo, tmp_path / "photo.png")
    noisy, clean = photo_pairs([tmp_path / "photo.png"], 5, centres, VALIDATION, seed=0)
    cells = source_pixels(photo[None, :, :, 10:-10])
    assert (clean - cells.double().mean(-1)).abs().max() <= 0.5
    assert (cells == noisy[..., None]).all(1).any(-1).all()
    assert not torch.equal(noisy[0], noisy[1])


# ---- the course's format -----------------------------------------------------------------------


@pytest.mark.parametrize("photos", [True, False])
def test_validation_scenes_are_those_of_the_clean_images(tmp_path, photos):
    folder = tmp_path / "photos" if photos else None
    if folder:
        folder.mkdir()
        for name in "123":
            write_image(random_image(3, 300, 280), folder / f"{name}.png")
    build(tmp_path, folder, pairs=1, validation=10, progress=False)
    scenes = torch.load(tmp_path / "val_scenes.pkl", weights_only=True)
    assert len(scenes) == (1 if photos else 10)  # one photo of three is held out
    assert torch.equal(cell_mean(scenes), stored(tmp_path)[3][: len(scenes)])


def test_build_writes_the_course_format(tmp_path, capsys):
    write_photos(tmp_path / "photos" / "deep" / "er", 3)
    out = tmp_path / "new" / "data"
    build(out, tmp_path / "photos", pairs=10, validation=4, progress=False)
    noisy_a, noisy_b, noisy, clean = stored(out)
    assert noisy_a.shape == noisy_b.shape == (10, 3, SIZE, SIZE)
    assert noisy.shape == clean.shape == (4, 3, SIZE, SIZE)
    assert {t.dtype for t in (noisy_a, noisy_b, noisy, clean)} == {torch.uint8}
    names = sorted(file.name for file in out.iterdir())
    assert names == ["about.json", "train_data.pkl", "val_data.pkl", "val_scenes.pkl"]
    (about,) = read_results(out / "about.json")
    assert (about["kind"], about["pairs"], about["seed"]) == ("photos", 10, 0)
    assert about["checksum"] == checksum(noisy_a, noisy_b)
    assert capsys.readouterr().err == ""


def test_build_without_photos_stores_pairs_from_scenes(tmp_path):
    build(tmp_path, pairs=9, validation=3, seed=4, progress=False)
    expected = [*scene_pairs(9, TRAINING, seed=4), *scene_pairs(3, VALIDATION, seed=4)]
    assert all(torch.equal(x, y) for x, y in zip(stored(tmp_path), expected, strict=True))


def test_photos_are_split_by_file_and_used_equally(tmp_path):
    write_photos(tmp_path / "photos", 40)
    build(tmp_path, tmp_path / "photos", pairs=76, validation=8, progress=False)
    noisy_a, noisy_b, noisy, clean = stored(tmp_path)
    assert len(reds(clean)) == 2  # 5 % of 40 files
    assert len(reds(noisy_a)) == 38
    assert not reds(clean) & reds(noisy_a)
    assert noisy_a[:, 0, 0, 0].bincount().max() == 2  # 76 pairs of 38 photos
    assert torch.equal(noisy_a, noisy_b) and torch.equal(noisy, clean)  # no noise in flat areas


def test_validation_files_replace_scenes(tmp_path):
    files = write_photos(tmp_path / "photos", 3)
    build(tmp_path, pairs=2, validation=6, progress=False, validation_files=files)
    noisy_a, noisy_b, _, clean = stored(tmp_path)
    assert not torch.equal(noisy_a, noisy_b)  # scenes, which are not flat
    assert clean[:, 0, 0, 0].tolist() == [0, 1, 2] * 2


def test_with_validation_files_no_photo_is_held_out(tmp_path):
    write_photos(tmp_path / "train", 4)
    (file,) = write_photos(tmp_path / "held out", 1)
    folder = tmp_path / "train"
    build(tmp_path, folder, pairs=8, validation=2, progress=False, validation_files=[file])
    assert reds(stored(tmp_path)[0]) == {0, 1, 2, 3}
    assert reds(stored(tmp_path)[3]) == {0}


def test_a_photo_to_train_and_to_validate_on_is_refused(tmp_path):
    files = write_photos(tmp_path / "photos", 3)
    folder = tmp_path / "photos"
    with pytest.raises(ValueError, match="1.png"):
        build(tmp_path, folder, pairs=2, validation=2, progress=False, validation_files=files[1:2])


def test_clean_data_are_of_the_same_crops(tmp_path):
    """In a steep ramp a cell of 8 pixels spans 8 grey levels; other crops differ by more."""
    ramp = torch.arange(256, dtype=torch.uint8)[:, None].expand(3, 256, 256)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        write_image(ramp, tmp_path / "photos" / name)
    build(tmp_path, tmp_path / "photos", pairs=20, validation=2, progress=False, clean=True)
    noisy, clean = (images.int() for images in load_tensors(tmp_path / "clean_data.pkl"))
    assert torch.equal(noisy, torch.cat(load_tensors(tmp_path / "train_data.pkl")).int())
    assert (noisy - clean).abs().max() <= 8
    assert (noisy - clean.roll(1, 0)).abs().flatten(1).amax(1).gt(8).sum() > 20


def test_unreadable_photos_are_left_out(tmp_path):
    write_photos(tmp_path / "photos", 4)
    (tmp_path / "photos" / "text.jpg").write_text("no image")
    with pytest.warns(UserWarning, match="text.jpg"):
        build(tmp_path, tmp_path / "photos", pairs=6, validation=2, progress=False)
    assert len(reds(stored(tmp_path)[0])) == 3


@pytest.mark.parametrize("folder", ["empty", "missing", "one"])
def test_folders_without_enough_photos_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    write_photos(tmp_path / "one", 1)
    with pytest.raises(ValueError, match="1 of 1" if folder == "one" else folder):
        build(tmp_path / "out", tmp_path / folder, pairs=2, validation=2, progress=False)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"pairs": 0}, ValueError),
        ({"validation": 0}, ValueError),
        ({"seed": -1}, ValueError),
        ({"pairs": 2.0}, TypeError),
        ({"validation": "3"}, TypeError),
        ({"seed": True}, TypeError),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        build(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["file", "file/below", "data"])
def test_an_output_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "data" / "val_data.pkl").mkdir(parents=True)
    with pytest.raises(ValueError, match=name):
        build(tmp_path / name, pairs=2, validation=2, progress=False)


def test_progress_goes_to_stderr(tmp_path, capsys):
    build(tmp_path, pairs=9, validation=2)
    captured = capsys.readouterr()
    assert "9 pairs" in captured.err and captured.out == ""


def test_progress_needs_no_tqdm(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if not installed
    build(tmp_path, pairs=9, validation=2)
    assert "100 %" in capsys.readouterr().err
