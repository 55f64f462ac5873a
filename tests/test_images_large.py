"""Files so large that they are left on the disk until they are needed; here all count as such."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from helpers import QUICK, weights_of

from Miniproject_1.__main__ import main
from Miniproject_1.model import Model
from Miniproject_1.others import files, images, pairs
from Miniproject_1.others.images import arrays, extras, read, tiff, write

GREY = np.arange(4 * 48 * 50, dtype="uint16").reshape(4, 48, 50)
RGB = np.stack((GREY, GREY[::-1], GREY + 7), axis=-1)


@pytest.fixture
def large(monkeypatch):
    """Called, it makes all files large ones."""
    def make():
        for module in (files, images, arrays, pairs, tiff):
            monkeypatch.setattr(module, "LARGE_FILE", 0)
    return make


def npy(path, array):
    np.save(path, array)


def npy_of_big_endian(path, array):
    np.save(path, array.astype(">u2"))


def tif(**options):
    return lambda path, array: tifffile.imwrite(path, array, **options)


FILES = {  # how they are written: array, whether they can be left on the disk
    "grey.tif": (tif(photometric="minisblack"), GREY, True),
    "rgb.tif": (tif(photometric="rgb"), RGB, True),
    "big-endian.tif": (tif(photometric="minisblack", byteorder=">"), GREY, False),
    "deflate.tif": (tif(photometric="minisblack", compression="zlib"), GREY, False),
    "grey.npy": (npy, GREY, True),
    "rgb.npy": (npy, RGB, True),
    "big-endian.npy": (npy_of_big_endian, GREY, False),
}


@pytest.mark.parametrize("name", FILES)
def test_they_are_read_and_written_alike(tmp_path, large, name):
    save, array, _ = FILES[name]
    save(tmp_path / name, array)
    plain = read(tmp_path / name)
    large()
    mapped = read(tmp_path / name)
    assert torch.equal(mapped.pages.int(), plain.pages.int())
    for folder, picture in (("plain", plain), ("mapped", mapped)):
        (tmp_path / folder).mkdir()
        write(picture, tmp_path / folder / name)
    assert (tmp_path / "mapped" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_they_stay_on_the_disk_if_they_can(tmp_path, large, name):
    save, array, stays = FILES[name]
    save(tmp_path / name, array)
    large()
    pages = read(tmp_path / name).pages
    before = pages.clone()
    content = (tmp_path / name).read_bytes()
    with open(tmp_path / name, "r+b") as file:  # in place: other numbers in the last rows
        file.seek(len(content) - 1000)
        file.write(b"\1" * 1000)
    assert torch.equal(pages.int(), before.int()) == (not stays)


def test_two_large_stacks_train_the_same_weights(tmp_path, large):
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        noisy = 1000 + generator.normal(0, 30, (4, 64, 128))
        np.save(tmp_path / f"{name}.npy", noisy.astype("uint16"))
    Model(replace(QUICK, channels=1, value_range=None)).save(tmp_path / "start.pth")
    command = ["train", "-a", tmp_path / "a.npy", "-b", tmp_path / "b.npy", "--epochs", 1,
               "--from", tmp_path / "start.pth", "--quiet", "-o"]
    trained = []
    for name in ("plain.pth", "mapped.pth"):
        assert main([*map(str, command), str(tmp_path / name)]) == 0
        model = Model()
        model.load_pretrained_model(tmp_path / name)
        trained.append(weights_of(model))
        large()
    assert torch.equal(*trained)


def test_a_result_larger_than_the_memory_is_refused(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "a.npy", GREY)
    monkeypatch.setattr(images, "memory", lambda: 4 * GREY.size - 1)
    command = ["denoise", tmp_path / "a.npy", "-o", tmp_path / "out"]
    assert main([*map(str, command)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "a.npy" in error
    assert extras.memory() > 0 and not (tmp_path / "out/a.npy").exists()
