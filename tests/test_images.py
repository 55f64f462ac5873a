"""The front of image files: folders, names, values, arrays and pictures from damaged bytes."""

import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import numbers, random_image, same_picture, write_image, write_photos

from Miniproject_1.others.images import (
    check_suffix,
    described,
    image_files,
    output_name,
    read,
    to_pillow,
    write,
)

# ---- folders and names -------------------------------------------------------------------------


def test_image_files_are_found_below_a_folder(tmp_path):
    expected = write_photos(tmp_path / "deep" / "er", 2) + write_photos(tmp_path / "flat", 1)
    (tmp_path / "folder.png").mkdir()
    assert image_files(tmp_path) == expected


@pytest.mark.parametrize(
    "name",
    [".hidden.png", "._a.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "Thumbs.db",
     "desktop.ini", ".DS_Store"],
)  # fmt: skip
def test_what_systems_leave_behind_is_left_out_silently(tmp_path, name):
    expected = write_photos(tmp_path, 1)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert image_files(tmp_path) == expected


def test_a_hidden_folder_can_be_asked_for(tmp_path):
    expected = write_photos(tmp_path / ".cache", 1)
    assert image_files(tmp_path / ".cache") == expected


def test_other_files_are_counted_in_one_warning(tmp_path):
    expected = write_photos(tmp_path, 1)
    for name in ("a.NEF", "b.nef", "c.dcm", "notes.txt", "README"):
        (tmp_path / name).touch()
    listed = r"1 without suffix, 1 \.dcm, 2 \.nef, 1 \.txt; convert"
    with pytest.warns(UserWarning, match=rf"left out of .*: {listed}") as caught:
        assert image_files(tmp_path) == expected
    assert len(caught) == 1


@pytest.mark.parametrize("name, found", [("empty", "no files"), ("raw", "1 .nef"), ("no", "no")])
def test_folders_without_images_are_named(tmp_path, name, found):
    (tmp_path / "empty").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.nef").touch()
    with pytest.raises(ValueError, match=f"{name}.*{found}"):
        image_files(tmp_path / name)


@pytest.mark.parametrize("name", ["image.xyz", "image", "a.nef", "a.lsm"])
def test_files_that_are_not_written_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"II*\0")
    for function in (check_suffix, read):
        with pytest.raises(ValueError, match=name):
            function(tmp_path / name)


def test_images_need_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # as if not installed
    with pytest.raises(ValueError, match="pip install"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    "name, dtype, expected",
    [("a.png", None, "a.png"), ("a.PNG", "float32", "a.tif"), ("b/a.TIF", "float32", "b/a.TIF"),
     ("a.npy", "float32", "a.npy"), ("a.ome.tif", "float32", "a.ome.tif")],
)  # fmt: skip
def test_names_of_results(name, dtype, expected):
    assert str(output_name(name, dtype)) == expected


def test_a_picture_is_written_as_its_kind_only(tmp_path):
    write_image(random_image(3), tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    for name in ("b.tif", "b.jpg", "b.npy"):
        with pytest.raises(ValueError, match=f"{name}.*PNG.*b.png"):
            write(picture, tmp_path / name)


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, low, high",
    [("uint8", 0, 255), ("uint16", 0, 65535), ("int16", -32768, 32767), ("int8", -128, 127),
     ("uint32", 0, 2**32 - 1), ("int32", -(2**31), 2**31 - 1)],
)  # fmt: skip
def test_values_are_rounded_and_clipped(tmp_path, dtype, low, high):
    np.save(tmp_path / "a.npy", np.zeros((1, 7), dtype))
    picture = read(tmp_path / "a.npy")
    values = [-1e30, low - 0.6, 0.4, 0.6, high + 0.6, 1e30, float("nan")]
    pages = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, 7)
    write(replace(picture, pages=pages), tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").tolist() == [[low, low, 0, 1, high, high, 0]]


def test_the_largest_integers_do_not_turn_negative(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 2), "int64"))
    picture = read(tmp_path / "a.npy")
    pages = torch.tensor([[[[1e30, -1e30]]]], dtype=torch.float64)
    write(replace(picture, pages=pages), tmp_path / "b.npy")
    high, low = np.load(tmp_path / "b.npy")[0].tolist()
    assert high > 2**62 and low < -(2**62)


def test_digits_that_float32_does_not_hold_are_said_to_be_lost(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 1), "int32"))
    picture = read(tmp_path / "a.npy")
    write(replace(picture, pages=torch.tensor([[[[2.0**24]]]])), tmp_path / "b.npy")  # without
    with pytest.warns(UserWarning, match=r"b.npy.*float32"):
        write(replace(picture, pages=torch.tensor([[[[-1e9]]]])), tmp_path / "b.npy")


def test_integers_of_another_type_are_clipped(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 3), "uint16"))
    picture = read(tmp_path / "a.npy")
    pages = torch.tensor([[[[-5, 70000, 1234]]]])
    write(replace(picture, pages=pages), tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").tolist() == [[0, 65535, 1234]]


def test_transposed_and_sliced_tensors_are_written_as_they_look(tmp_path):
    write_image(random_image(3), tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    pages = random_image(3, 6, 8).transpose(1, 2)[None, :, 1:5]
    write(replace(picture, pages=pages), tmp_path / "b.png")
    assert torch.equal(read(tmp_path / "b.png").pages, pages)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_floats_of_another_kind_of_file_become_a_tiff(tmp_path, channels):
    to_pillow(random_image(channels)).save(tmp_path / "a.png", dpi=(300, 300), icc_profile=b"icc")
    picture = read(tmp_path / "a.png")
    pages = picture.pages / 7
    write(replace(picture, pages=pages), tmp_path / "a.tif", dtype="float32")
    result = read(tmp_path / "a.tif")
    assert torch.equal(result.pages, pages) and torch.equal(result.alpha, picture.alpha.float())
    assert result.origin.icc == b"icc" and result.origin.unit == 2


@pytest.mark.parametrize("name, dtype", [("a.png", "float32"), ("a.tif", "int32")])
def test_types_that_a_file_cannot_hold_are_named(tmp_path, name, dtype):
    write_image(random_image(3), tmp_path / "a.png")
    with pytest.raises(ValueError, match=dtype):
        write(read(tmp_path / "a.png"), tmp_path / name, dtype=dtype)


# ---- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, pages, text",
    [((5, 7), (1, 1, 5, 7), "7 x 5, 1 channel, int16 (axes taken as H x W)"),
     ((5, 7, 3), (1, 3, 5, 7), "7 x 5, 3 channels, int16 (axes taken as H x W x C)"),
     ((3, 5, 7), (3, 1, 5, 7), "3 pages of 7 x 5, 1 channel, int16 (axes taken as N x H x W)"),
     ((6, 5, 7, 2), (6, 2, 5, 7),
      "6 pages of 7 x 5, 2 channels, int16 (axes taken as N x H x W x C)")],
)  # fmt: skip
def test_arrays(tmp_path, shape, pages, text):
    array = numbers(shape, "int16")
    np.save(tmp_path / "a.npy", array)
    picture = read(tmp_path / "a.npy")
    assert picture.pages.shape == pages and described(picture) == text
    write(picture, tmp_path / "b.npy")
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()


@pytest.mark.parametrize("dtype", [">u2", "<f8", "f2", "i8", "u4", "i1"])
def test_types_of_arrays(tmp_path, dtype):
    array = numbers((5, 7), np.dtype(dtype).newbyteorder("=").name).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    picture = read(tmp_path / "a.npy")
    write(picture, tmp_path / "b.npy")
    result = np.load(tmp_path / "b.npy")
    assert result.dtype == array.dtype and np.array_equal(result, array)


def test_float32_arrays_on_request(tmp_path):
    np.save(tmp_path / "a.npy", numbers((5, 7), "uint8"))
    picture = read(tmp_path / "a.npy")
    write(replace(picture, pages=picture.pages / 3), tmp_path / "b.npy", dtype="float32")
    result = np.load(tmp_path / "b.npy")
    assert result.dtype == np.float32 and np.allclose(result * 3, np.load(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "array, value",
    [(np.zeros((4, 4), "complex64"), "complex64"), (np.zeros((4, 4), bool), "bool"),
     (np.array([["a"]]), "U1"), (np.zeros((4, 4), [("a", "i4")]), "a"), (np.zeros(4), r"\(4,\)"),
     (np.zeros((0, 4)), r"\(0, 4\)|empty"), (np.zeros((4, 4, 4, 7)), r"\(4, 4, 4, 7\)"),
     (np.zeros((1,) * 5), r"1, 1, 1"), (np.array([[None]]), "objects"),
     (np.zeros((4, 4), "u8"), "uint64")],
)  # fmt: skip
def test_arrays_that_are_no_image_are_named(tmp_path, array, value):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"a\.npy: .*{value}") as caught:
        read(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(10**9, 4)", "(-1, 4)", "(4"])
def test_headers_of_arrays_that_lie_are_refused(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode()
    start = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    (tmp_path / "a.npy").write_bytes(start + bytes(64))
    with pytest.raises(ValueError, match=r"a\.npy"):
        read(tmp_path / "a.npy")


def test_pictures_have_the_same_pixels_or_not(tmp_path):
    write_image(random_image(4), tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert same_picture(picture, read(tmp_path / "a.png"))
    assert not same_picture(picture, replace(picture, dtype=torch.int8))
