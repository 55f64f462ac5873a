"""Training pairs from image files: which belong together, their values, and what is left out."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from samples import numbers

from Miniproject_1.others.pairs import from_files, from_frames

DTYPES = ["uint8", "uint16", "int16", "float32"]
SIZE = (20, 20)  # of images that are one tile


def save(array, path):
    """An array as a file: of colours where the last axis is 3 or 4, else of pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(path, array)
    elif suffix in (".tif", ".tiff"):
        colours = array.shape[-1] in (3, 4)
        tifffile.imwrite(path, array, photometric="rgb" if colours else "minisblack")
    else:
        Image.fromarray(array).save(path)


def values(*shape, dtype="uint8", seed=0):
    """Random values, others for each seed."""
    return np.roll(numbers(shape, dtype), 1 + seed)


def folders(tmp_path, images, images_b=None):
    """The folders a and b, with {name: array} each; b's values are a's, turned upside down."""
    if images_b is None:
        images_b = {name: array[::-1].copy() for name, array in images.items()}
    for folder, content in (("a", images), ("b", images_b)):
        for name, array in content.items():
            save(array, tmp_path / folder / name)
    return tmp_path / "a", tmp_path / "b"


def as_array(tile):
    """H x W or H x W x C of a C x H x W tile."""
    array = tile.numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


# ---- two folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_have_the_values_and_the_type_of_the_images(tmp_path, dtype):
    """One image of 2 x 2 tiles, with strips left out between them, and one of 2 x 1."""
    images = {"1.tif": values(40, 50, dtype=dtype), "sub/2.tif": values(40, 20, dtype=dtype)}
    noisy_a, noisy_b = from_files(*folders(tmp_path, images), tile=20)
    assert noisy_a.shape == noisy_b.shape == (4 + 2, 1, 20, 20)
    assert noisy_a.dtype == noisy_b.dtype == getattr(torch, dtype)
    for copies, turn in ((noisy_a, 1), (noisy_b, -1)):
        tiles = [as_array(tile) for tile in copies]
        one, two = (image[::turn] for image in images.values())
        for image, corners in ((one, [(y, x) for y in (0, 20) for x in (3, 26)]),
                               (two, [(0, 0), (20, 0)])):
            for top, left in corners:
                wanted = image[top:top + 20, left:left + 20]
                assert sum(np.array_equal(tile, wanted) for tile in tiles) == 1


def test_copies_stay_together(tmp_path):
    """Each tile of b is that of a, plus 100: at the same place of the same scene."""
    scenes = {f"{i}.tif": values(30 + i, 70 - i, dtype="int16", seed=i) // 2 for i in range(12)}
    partners = {name: scene + 100 for name, scene in scenes.items()}
    noisy_a, noisy_b = from_files(*folders(tmp_path, scenes, partners), tile=25)
    assert torch.equal(noisy_b, noisy_a + 100)


@pytest.mark.parametrize(
    "shape, channels", [((), 1), ((3,), 3), ((4,), 3)], ids=["grey", "colour", "alpha"]
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_stays_one_channel_and_alpha_is_dropped(tmp_path, shape, channels, suffix):
    image = values(*SIZE, *shape)
    noisy_a, _ = from_files(*folders(tmp_path, {f"x.{suffix}": image}), tile=64)
    assert noisy_a.shape == (1, channels, *SIZE)
    wanted = image[..., :3] if shape else image
    assert np.array_equal(as_array(noisy_a[0]), wanted)


def test_only_one_copy_may_have_alpha(tmp_path):
    image = values(*SIZE, 4)
    a, b = folders(tmp_path, {"x.png": image}, {"x.png": image[..., :3].copy()})
    noisy_a, noisy_b = from_files(a, b, tile=64)
    assert torch.equal(noisy_a, noisy_b)


@pytest.mark.parametrize(
    "name_a, name_b", [("s1.PNG", "s1.png"), ("s1.png", "s1.tif"), ("d/s.1.tif", "d/s.1.npy")]
)
def test_the_suffix_may_differ(tmp_path, name_a, name_b):
    """Among files that have a partner of the very name."""
    common, one, two = (values(*SIZE, seed=seed) for seed in range(3))
    a, b = folders(tmp_path, {"s.png": common, name_a: one}, {"s.png": common, name_b: two})
    noisy_a, noisy_b = from_files(a, b, tile=64)
    pairs = {(as_array(x).tobytes(), as_array(y).tobytes())
             for x, y in zip(noisy_a, noisy_b, strict=True)}
    assert pairs == {(common.tobytes(), common.tobytes()), (one.tobytes(), two.tobytes())}


@pytest.mark.parametrize(
    "names_a, names_b, named",
    [
        (["x.png", "y.png"], ["x.png"], ["a/y.png"]),
        (["x.png"], ["x.png", "y.tif"], ["b/y.tif"]),
        (["x.png"], ["d/x.png"], ["a/x.png", "b/d/x.png"]),
        (["x.png"], ["x.tif", "x.npy"], ["a/x.png", "b/x.tif", "b/x.npy"]),  # which one?
        (["x.png", "x.tif"], ["x.npy"], ["a/x.png", "a/x.tif", "b/x.npy"]),
        (["x.png", "x.tif"], ["x.png"], ["a/x.tif"]),
    ],
)
def test_files_without_a_partner_are_named(tmp_path, names_a, names_b, named):
    image = values(*SIZE)
    names = dict.fromkeys(names_a, image), dict.fromkeys(names_b, image)
    a, b = folders(tmp_path, *names)
    with pytest.raises(ValueError) as caught:
        from_files(a, b, tile=64)
    files = [f"a/{name}" for name in names_a] + [f"b/{name}" for name in names_b]
    assert [file for file in files if str(tmp_path / file) in str(caught.value)] == named


def test_of_many_files_without_a_partner_five_are_named(tmp_path):
    image = values(*SIZE)
    many = {f"x{number}.png": image for number in range(12)}
    a, b = folders(tmp_path, {"x.png": image}, {"x.png": image, **many})
    with pytest.raises(ValueError) as caught:
        from_files(a, b, tile=64)
    assert str(caught.value).count(".png") == 5 and "7 more" in str(caught.value)


@pytest.mark.parametrize("name", ["._s1.png", ".ipynb_checkpoints/s1.png"])
def test_hidden_files_are_ignored(tmp_path, name):
    a, b = folders(tmp_path, {"s1.png": values(*SIZE)})
    (b / name).parent.mkdir(exist_ok=True)
    (b / name).write_bytes(b"\0\5\26\7")
    assert len(from_files(a, b, tile=64)[0]) == 1


def test_an_empty_folder_is_named(tmp_path):
    a, _ = folders(tmp_path, {"s1.png": values(*SIZE)})
    (tmp_path / "empty").mkdir()
    for paths in ((a, tmp_path / "empty"), (tmp_path / "empty", a)):
        with pytest.raises(ValueError, match="empty"):
            from_files(*paths, tile=64)


def test_a_damaged_file_is_named(tmp_path):
    a, b = folders(tmp_path, {"s1.png": values(*SIZE), "s2.png": values(*SIZE)})
    (b / "s2.png").write_bytes((a / "s2.png").read_bytes()[:100])
    with pytest.raises(ValueError, match="b/s2.png"):
        from_files(a, b, tile=64)


# ---- two files, and stacks ---------------------------------------------------------------------


def test_two_files_need_no_common_name(tmp_path):
    one, two = values(30, 20, dtype="uint16"), values(30, 20, dtype="uint16", seed=1)
    save(one, tmp_path / "first.tif")
    save(two, tmp_path / "second.npy")
    noisy_a, noisy_b = from_files(tmp_path / "first.tif", tmp_path / "second.npy", tile=64)
    assert noisy_a.shape == (1, 1, 20, 20)  # the middle of 30 rows
    assert np.array_equal(as_array(noisy_a[0]), one[5:25])
    assert np.array_equal(as_array(noisy_b[0]), two[5:25])


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_stacks_are_paired_page_by_page(tmp_path, dtype):
    one, two = values(5, *SIZE, dtype=dtype), values(5, *SIZE, dtype=dtype, seed=1)
    a, b = folders(tmp_path, {"x.tif": one}, {"x.tif": two})
    for paths in ((a, b), (a / "x.tif", b / "x.tif")):
        noisy_a, noisy_b = from_files(*paths, tile=64)
        assert np.array_equal(noisy_a.numpy()[:, 0], one)
        assert np.array_equal(noisy_b.numpy()[:, 0], two)


def test_a_folder_and_a_file_are_refused(tmp_path):
    a, b = folders(tmp_path, {"x.png": values(*SIZE)})
    for paths in ((a, b / "x.png"), (a / "x.png", b), (a, tmp_path / "none")):
        with pytest.raises(ValueError, match=paths[1].name):
            from_files(*paths, tile=64)


# ---- repeated exposures ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_are_paired_with_the_next_one(tmp_path, dtype):
    frames = values(6, *SIZE, dtype=dtype)
    more = values(2, *SIZE, dtype=dtype, seed=1)
    save(frames, tmp_path / "1.tif")
    save(more, tmp_path / "2.npy")
    noisy_a, noisy_b = from_frames([tmp_path / "1.tif", tmp_path / "2.npy"], tile=64)
    assert noisy_a.dtype == getattr(torch, dtype)
    assert np.array_equal(noisy_a.numpy()[:, 0], np.concatenate((frames[0::2], more[:1])))
    assert np.array_equal(noisy_b.numpy()[:, 0], np.concatenate((frames[1::2], more[1:])))


def test_the_last_of_an_odd_number_of_frames_is_left_out(tmp_path):
    frames = values(5, *SIZE)
    save(frames, tmp_path / "x.tif")
    with pytest.warns(UserWarning, match="x.tif") as caught:
        noisy_a, noisy_b = from_frames([tmp_path / "x.tif"], tile=64)
    assert len(caught) == 1
    assert np.array_equal(noisy_a.numpy()[:, 0], frames[[0, 2]])
    assert np.array_equal(noisy_b.numpy()[:, 0], frames[[1, 3]])


def test_a_single_frame_is_refused(tmp_path):
    save(values(2, *SIZE), tmp_path / "x.tif")
    save(values(*SIZE), tmp_path / "single.tif")
    with pytest.raises(ValueError, match="single.tif"):
        from_frames([tmp_path / "x.tif", tmp_path / "single.tif"], tile=64)


def test_stacks_of_other_kinds_are_named(tmp_path):
    names = ["1.tif", "2.tif", "deep.tif"]
    for name in names:
        save(values(2, *SIZE, dtype="uint16" if name == "deep.tif" else "uint8"), tmp_path / name)
    with pytest.raises(ValueError, match="deep.tif.*uint16"):
        from_frames([tmp_path / name for name in names], tile=64)


def test_a_stack_of_several_axes_tells_no_exposures(tmp_path):
    """Of times and depths, pages 1 and 2 show different depths."""
    array = values(3, 2, *SIZE, dtype="uint16")
    tifffile.imwrite(tmp_path / "tz.tif", array, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ValueError, match="tz.tif.* 3 x 2 pages"):
        from_frames([tmp_path / "tz.tif"], tile=64)
    tifffile.imwrite(tmp_path / "t.tif", array[:2, :1], imagej=True, metadata={"axes": "TZYX"})
    assert len(from_frames([tmp_path / "t.tif"], tile=64)[0]) == 1


# ---- sizes -------------------------------------------------------------------------------------


def test_thumbnails_are_left_out_and_named(tmp_path):
    """Two of 24 x 24 beside two of 128 x 128: 3.4 % of the pixels, in tiles of 64."""
    images = {f"{name}.png": values(128, 128) for name in "12"}
    images |= {f"thumb{name}.png": values(24, 24) for name in "12"}
    with pytest.warns(UserWarning, match="thumb1.png.*thumb2.png") as caught:
        noisy_a, noisy_b = from_files(*folders(tmp_path, images), tile=64)
    assert len(caught) == 1 and "a/1.png" not in str(caught[0].message)
    assert noisy_a.shape == noisy_b.shape == (2 * 4, 1, 64, 64)


def test_a_tiny_thumbnail_does_no_harm(tmp_path):
    images = {"1.png": values(128, 128), "icon.png": values(8, 8)}
    with pytest.warns(UserWarning, match="icon.png"):
        assert len(from_files(*folders(tmp_path, images), tile=64)[0]) == 4


@pytest.mark.parametrize("count", [1, 5])
def test_small_images_among_small_ones_set_the_tile(tmp_path, count):
    """The narrowest holds more than a tenth of all pixels, so that none is left out."""
    images = {"narrow.png": values(20, 50)}
    images |= {f"{number}.png": values(32, 32) for number in range(count)}
    noisy_a, _ = from_files(*folders(tmp_path, images), tile=64)
    assert noisy_a.shape == (3 + 4 * count, 1, 16, 16)  # which covers 32 x 32


def test_no_tile_is_above_the_size_asked_for(tmp_path):
    noisy_a, _ = from_files(*folders(tmp_path, {"x.png": values(100, 60)}), tile=32)
    assert noisy_a.shape[-2:] == (30, 30)


@pytest.mark.parametrize("shape, fits", [((16, 40), True), ((15, 40), False), ((40, 15), False)])
def test_images_below_16_pixels_are_refused(tmp_path, shape, fits):
    paths = folders(tmp_path, {"first.png": values(40, 40), "thin.png": values(*shape)})
    if fits:
        assert from_files(*paths, tile=64)[0].shape[-2:] == (16, 16)
        return
    with pytest.raises(ValueError, match=r"thin.png.*\b15\b"):
        from_files(*paths, tile=64)


# ---- values that are none ----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("folder", ["a", "b"])
def test_images_with_nan_are_left_out_and_named(tmp_path, bad, folder):
    images = {f"{number}.tif": values(*SIZE, dtype="float32", seed=number) for number in range(3)}
    a, b = folders(tmp_path, images)
    broken = images["1.tif"].copy()
    broken[3, 4] = bad
    save(broken, tmp_path / folder / "1.tif")
    with pytest.warns(UserWarning, match="1.tif") as caught:
        noisy_a, noisy_b = from_files(a, b, tile=64)
    assert len(caught) == 1 and "2.tif" not in str(caught[0].message)
    assert noisy_a.shape == noisy_b.shape == (2, 1, *SIZE)
    assert noisy_a.isfinite().all() and noisy_b.isfinite().all()


def test_pages_with_nan_are_left_out_and_named(tmp_path):
    one, two = values(4, *SIZE, dtype="float32"), values(4, *SIZE, dtype="float32", seed=1)
    one[1, 0, 0] = two[2, 5, 5] = np.nan
    a, b = folders(tmp_path, {"x.tif": one}, {"x.tif": two})
    with pytest.warns(UserWarning, match="x.tif.*2 of 4"):
        noisy_a, noisy_b = from_files(a, b, tile=64)
    assert np.array_equal(noisy_a.numpy()[:, 0], one[[0, 3]])
    assert np.array_equal(noisy_b.numpy()[:, 0], two[[0, 3]])


def test_nothing_but_nan_is_refused(tmp_path):
    nan = np.full(SIZE, np.nan, dtype="float32")
    with pytest.raises(ValueError, match="1.tif.*2.tif"):
        from_files(*folders(tmp_path, {"1.tif": nan, "2.tif": nan}), tile=64)


# ---- copies and images that are not alike ------------------------------------------------------


@pytest.mark.parametrize(
    "other, named",
    [
        (values(20, 21), ["20 x 20", "21 x 20"]),
        (values(20, 20, 3), ["1 channel", "3 channels"]),
        (values(20, 20, dtype="uint16"), ["uint8", "uint16"]),
        (values(2, 20, 20), ["2 pages"]),
    ],
    ids=["size", "channels", "dtype", "pages"],
)
def test_copies_that_differ_are_named(tmp_path, other, named):
    image = values(20, 20)
    a, b = folders(tmp_path, {"1.tif": image, "2.tif": image}, {"1.tif": image, "2.tif": other})
    with pytest.raises(ValueError) as caught:
        from_files(a, b, tile=64)
    for text in (str(a / "2.tif"), str(b / "2.tif"), *named):
        assert text in str(caught.value)
    assert "1.tif" not in str(caught.value)


@pytest.mark.parametrize(
    "other, named",
    [(values(20, 20, 3), "3 channels"), (values(20, 20, dtype="uint16"), "uint16")],
    ids=["channels", "dtype"],
)
def test_images_unlike_most_are_named(tmp_path, other, named):
    image = values(20, 20)
    images = {"1.tif": other, "2.tif": image, "3.tif": image}
    with pytest.raises(ValueError) as caught:
        from_files(*folders(tmp_path, images), tile=64)
    assert str(tmp_path / "a/1.tif") in str(caught.value) and named in str(caught.value)
    assert "2.tif" not in str(caught.value) and "3.tif" not in str(caught.value)
