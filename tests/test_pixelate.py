"""The noise model, both sources of data and the data files of Miniproject_1.others.pixelate."""

import math
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from Miniproject_1.others import pixelate
from Miniproject_1.others.pixelate import CELL, SIZE, SOURCE, build, load_tensors, save_tensors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def source_pixels(sources: Tensor) -> Tensor:
    """N x C x H x W -> N x C x H/8 x W/8 x 64: the source pixels of each cell."""
    cells = sources.unflatten(3, (-1, CELL)).unflatten(2, (-1, CELL))
    return cells.transpose(3, 4).flatten(4)


def write_photos(folder: Path, count: int, size: tuple[int, int] = (300, 280)) -> None:
    """Photos of one colour each, so that a pixel tells its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (i, 255 - i, 77)).save(folder / f"{i}.png")


def colours(images: Tensor) -> set[int]:
    return set(images[:, 0].flatten().tolist())


def stored(folder: Path) -> list[Tensor]:
    return [*load_tensors(folder / "train_data.pkl"), *load_tensors(folder / "val_data.pkl")]


# ---- noise -------------------------------------------------------------------------------------------------


def test_a_noisy_pixel_is_one_source_pixel_of_its_cell_with_all_channels():
    sources = torch.randint(256, (3, 3, 40, 24), dtype=torch.uint8, generator=generator())
    noisy = pixelate.pixelate(sources, generator(1))
    assert noisy.shape == (3, 3, 5, 3) and noisy.dtype == torch.uint8
    assert (source_pixels(sources) == noisy[..., None]).all(1).any(-1).all()


def test_draws_are_uniform_over_the_cell():
    draws = 64_000
    sources = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(draws, -1, -1, -1)
    counts = torch.bincount(pixelate.pixelate(sources, generator()).flatten().long(), minlength=64)
    # Each count is binomial with mean 1000 and deviation sqrt(1000 * 63/64) = 31.4; 5 deviations for 64 counts.
    assert (counts - 1000).abs().max() < 5 * 31.4


def test_draws_are_unbiased_and_independent():
    draws = 20_000
    scene = torch.randint(256, (1, 3, 16, 16), generator=generator()).float()
    first, second = pixelate.noisy_noisy(scene.expand(draws, -1, -1, -1), generator(1))
    cells = source_pixels(scene)
    mean, deviation = cells.mean(-1), cells.std(-1, unbiased=False)
    a, b = (first - mean) / deviation, (second - mean) / deviation  # mean 0, variance 1
    # Means of 20,000 such values have deviation 1 / sqrt(20,000); 5 of them leave a false alarm below 1e-4.
    tolerance = 5 / math.sqrt(draws)
    assert a.mean(0).abs().max() < tolerance
    assert b.mean(0).abs().max() < tolerance
    assert (a * b).mean(0).abs().max() < tolerance  # between the copies
    assert (a[..., 0, 0] * a[..., 0, 1]).mean(0).abs().max() < tolerance  # between neighbouring pixels
    assert (a[..., 0, 0] * a[..., 1, 0]).mean(0).abs().max() < tolerance


def test_clean_is_the_rounded_mean_of_the_cell():
    sources = torch.randint(256, (2, 3, 16, 24), dtype=torch.uint8, generator=generator())
    _, clean = pixelate.noisy_clean(sources, generator())
    expected = source_pixels(sources).double().mean(-1)
    assert clean.dtype == torch.uint8
    assert (clean - expected).abs().max() <= 0.5


# ---- photos ------------------------------------------------------------------------------------------------


def test_build_from_photos_writes_the_course_format(tmp_path, capsys):
    write_photos(tmp_path / "photos" / "deep" / "er", 3)
    build(tmp_path / "new" / "data", tmp_path / "photos", pairs=10, validation=4, progress=False)
    noisy_a, noisy_b, noisy, clean = stored(tmp_path / "new" / "data")
    assert noisy_a.shape == noisy_b.shape == (10, 3, SIZE, SIZE)
    assert noisy.shape == clean.shape == (4, 3, SIZE, SIZE)
    assert {t.dtype for t in (noisy_a, noisy_b, noisy, clean)} == {torch.uint8}
    assert sorted(p.name for p in (tmp_path / "new" / "data").iterdir()) == ["train_data.pkl", "val_data.pkl"]
    assert capsys.readouterr().err == ""


def test_photos_are_split_by_file_and_used_equally(tmp_path):
    write_photos(tmp_path / "photos", 40)
    build(tmp_path, tmp_path / "photos", pairs=76, validation=8, progress=False)
    noisy_a, noisy_b, noisy, clean = stored(tmp_path)
    assert len(colours(clean)) == 2  # 5 % of 40 files
    assert len(colours(noisy_a)) == 38
    assert not colours(clean) & colours(noisy_a)
    assert noisy_a[:, 0, 0, 0].bincount().max() == 2  # 76 pairs of 38 photos
    assert torch.equal(noisy_a, noisy_b) and torch.equal(noisy, clean)  # no noise in flat areas


def test_clean_data_are_of_the_same_crops(tmp_path):
    """In a steep ramp a cell of 8 pixels spans 8 grey levels; other crops are mirrored, or of another place."""
    ramp = torch.arange(256, dtype=torch.uint8)[None, :, None].expand(256, 256, 3)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(ramp.numpy()).save(tmp_path / "photos" / name)
    build(tmp_path, tmp_path / "photos", pairs=20, validation=2, progress=False, clean=True)
    a, b = load_tensors(tmp_path / "train_data.pkl")
    noisy, clean = (images.int() for images in load_tensors(tmp_path / "clean_data.pkl"))
    assert torch.equal(noisy, torch.cat((a, b)).int())
    assert (noisy - clean).abs().max() <= 8
    assert (noisy - clean.roll(1, 0)).abs().flatten(1).amax(1).gt(8).sum() > 20


def test_validation_photos_are_whole_centre_squares(tmp_path):
    # A photo whose centre square has exactly the size of the sources, so that nothing is resampled.
    photo = torch.randint(256, (SOURCE, SOURCE + 20, 3), dtype=torch.uint8, generator=generator())
    Image.fromarray(photo.numpy()).save(tmp_path / "photo.png")
    noisy, clean = pixelate.photo_pairs(
        [tmp_path / "photo.png"], 5, pixelate.centre, pixelate.noisy_clean, 0, progress=False, workers=1
    )
    cells = source_pixels(photo[:, 10:-10].permute(2, 0, 1)[None])
    assert (clean - cells.double().mean(-1)).abs().max() <= 0.5
    assert (cells == noisy[..., None]).all(1).any(-1).all()
    assert not torch.equal(noisy[0], noisy[1])  # several draws of one photo


def test_crops_differ_in_place_scale_and_direction(tmp_path):
    width, height = 400, 300
    ramp = torch.arange(width) * 255 / (width - 1)
    photo = ramp.to(torch.uint8)[None, :, None].expand(height, width, 3)
    Image.fromarray(photo.numpy()).save(tmp_path / "ramp.png")
    crops = pixelate._crops(pixelate.open_photo(tmp_path / "ramp.png"), 200, generator())
    left, right = crops[:, 0, 0, 0].float(), crops[:, 0, 0, -1].float()
    side = (right - left).abs() * (width - 1) / 255
    assert side.min() > 0.74 * height and side.max() < 1.01 * height
    assert side.min() < 0.8 * height and side.max() > 0.95 * height
    mirrored = (right < left).sum().item()
    assert abs(mirrored - 100) < 5 * math.sqrt(200 / 4)  # binomial, 5 deviations
    assert torch.minimum(left, right).unique().numel() > 30


@pytest.mark.parametrize("count", [30, 2 * 2 * pixelate.CHUNK + 7])
def test_photo_pairs_depend_on_the_seed_and_not_on_the_workers(tmp_path, count):
    for i in range(2):
        pixels = torch.randint(256, (40, 50, 3), dtype=torch.uint8, generator=generator(i))
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{i}.png")
    files = pixelate.image_files(tmp_path)

    def make(seed, workers):
        made = pixelate.photo_pairs(
            files, count, pixelate._crops, pixelate.noisy_noisy, seed, progress=False, workers=workers
        )
        return torch.stack(made)

    expected = make(0, 1)
    assert torch.equal(make(0, 3), expected)
    assert not torch.equal(make(1, 1), expected)
    assert expected[0].flatten(1).unique(dim=0).shape[0] == count  # every crop is another one


def test_any_kind_of_image_becomes_upright_rgb(tmp_path, recwarn):
    # Black left half, white right half; turned by 90 degrees through its EXIF orientation: black above white.
    halves = Image.new("L", (64, 32), 0)
    halves.paste(255, (32, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    halves.save(tmp_path / "exif.jpg", exif=exif, quality=95)
    halves.save(tmp_path / "grey.png")
    halves.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    halves.convert("RGBA").save(tmp_path / "alpha.PNG")
    halves.convert("P").save(tmp_path / "palette.png", transparency=bytes([255, 128]))
    halves.convert("1").save(tmp_path / "bits.tif")
    Image.fromarray(torch.tensor([[0, 0xFFFF]], dtype=torch.uint16).numpy()).resize((64, 32), 0).save(
        tmp_path / "16bit.png"
    )
    for path in pixelate.image_files(tmp_path):
        image = pixelate.open_photo(path)
        first, last = (0, 0), (image.width - 1, image.height - 1)
        assert image.mode == "RGB"
        assert image.size == ((32, 64) if path.stem == "exif" else (64, 32))
        assert max(image.getpixel(first)) < 5 and min(image.getpixel(last)) > 250, path
    grey = torch.full((4, 4), 0x4000, dtype=torch.uint16)
    for name in ("dark.png", "dark.pgm"):
        Image.fromarray(grey.numpy()).save(tmp_path / name)
        assert pixelate.open_photo(tmp_path / name).getpixel((0, 0)) == (64, 64, 64)  # scaled, not clipped
    assert not recwarn.list


def test_unreadable_photos_are_skipped_counted_and_named(tmp_path):
    photos = tmp_path / "photos"
    write_photos(photos, 4)
    (photos / "text.jpg").write_text("no image")
    (photos / "half.png").write_bytes((photos / "0.png").read_bytes()[:200])
    with pytest.warns(UserWarning, match="skipped 2 unreadable photos") as caught:
        build(tmp_path, photos, pairs=6, validation=2, progress=False)
    assert "text.jpg" in str(caught[0].message) and "half.png" in str(caught[0].message)
    assert len(colours(stored(tmp_path)[0])) == 3


def test_folders_without_enough_photos_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no photo")
    write_photos(tmp_path / "one", 1)
    write_photos(tmp_path / "broken", 2)
    for path in (tmp_path / "broken").iterdir():
        path.write_bytes(b"broken")
    for folder, message in [
        ("empty", "no image file"),
        ("missing", "not a folder"),
        ("one", "1 of 1 photos can be read, expected at least 2"),
        ("broken", "0 of 2 photos can be read, expected at least 2.*0.png"),
    ]:
        with pytest.raises(ValueError, match=message):
            build(tmp_path / "out", tmp_path / folder, pairs=2, validation=2, progress=False)
    assert not list((tmp_path / "out").iterdir())


def test_photos_need_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ValueError, match="pip install"):
        pixelate.image_files(tmp_path)


# ---- scenes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def some_scenes() -> Tensor:
    return pixelate.scenes(64, generator())


def test_scenes_have_a_natural_power_spectrum(some_scenes):
    assert some_scenes.shape == (64, 3, SOURCE, SOURCE) and some_scenes.dtype == torch.uint8
    grey = some_scenes.float().mean(1)
    window = torch.hann_window(SOURCE, periodic=False)  # no jump from one border to the opposite one
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window * window[:, None]
    power = torch.fft.fft2(grey).abs().square().mean(0)
    frequency = torch.fft.fftfreq(SOURCE, 1 / SOURCE)
    radius = (frequency.square() + frequency[:, None].square()).sqrt().round().long().flatten()
    radial = torch.zeros(int(radius.max()) + 1).index_add_(0, radius, power.flatten()) / radius.bincount()
    octaves = torch.logspace(1, 6.5, 23, base=2).round().long().unique()  # 2 to 91 periods
    x, y = octaves.log(), radial[octaves].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    # Natural images: power ~ 1 / f^2, the exponents of data sets spread by about half.
    # White noise has slope 0; shapes of one size have -3 beyond their own frequency.
    assert -2.5 < slope < -1.5


def test_scenes_have_the_noise_of_the_benchmark(some_scenes):
    source = source_pixels(some_scenes).double() / 255
    mse = source.var(-1, unbiased=False).mean((1, 2, 3))  # the expectation over the draws
    # The deviation of an image is 2.9 dB, of the mean of 64 thus 0.36 dB; the scenes may be off by the rest.
    assert (-10 * mse.log10()).mean() == pytest.approx(20.84, abs=1)
    assert -10 * mse.mean().log10() == pytest.approx(19.99, abs=1)


def test_scenes_are_varied(some_scenes):
    means = some_scenes.float().mean((2, 3))
    assert means.std(0).min() > 15 and 100 < means.mean() < 150
    assert some_scenes.flatten(1).unique(dim=0).shape[0] == 64


def test_build_without_photos_is_deterministic_in_its_seed(tmp_path, monkeypatch):
    def make(name, seed, workers):
        monkeypatch.setattr(pixelate.os, "cpu_count", lambda: workers)
        build(tmp_path / name, pairs=20, validation=10, seed=seed, progress=False)
        return stored(tmp_path / name)

    before = torch.get_rng_state()
    expected, again, other = make("a", 0, 1), make("b", 0, 3), make("c", 1, 1)
    assert all(torch.equal(x, y) for x, y in zip(expected, again, strict=True))
    assert not torch.equal(expected[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone
    noisy_a, noisy_b, noisy, clean = expected
    assert [len(t) for t in expected] == [20, 20, 10, 10]
    # Copies share their scene, not their noise, and validation scenes are not training scenes: each image is
    # nearer to its partner than to an image of any other scene.
    one, other = torch.cat((noisy_a, noisy)), torch.cat((noisy_b, clean))
    distances = torch.cdist(one.flatten(1).float(), other.flatten(1).float())
    assert torch.equal(distances.argmin(1), torch.arange(30))
    assert distances.diagonal().min() > 0


def test_progress_goes_to_stderr(tmp_path, capsys, monkeypatch):
    build(tmp_path, pairs=9, validation=2)
    assert "9 pairs from scenes" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)  # not installed
    build(tmp_path, pairs=9, validation=2)
    assert "9 pairs from scenes: 100 %" in capsys.readouterr().err


# ---- bad arguments and files -------------------------------------------------------------------------------


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


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "data" / "val_data.pkl").mkdir(parents=True)
    monkeypatch.setattr(pixelate, "scenes", lambda *_: pytest.fail("the work began"))
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "data"):
        with pytest.raises(ValueError, match=f"cannot write {out}"):
            build(out, pairs=2, validation=2, progress=False)


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pairs.pt"
    pair = (torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    save_tensors(pair, path)

    def full_disk(_, file):
        Path(file).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc] unexpected pos")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="pairs.pt"):
        save_tensors(pair, path)
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.pt"]
    assert all(torch.equal(x, y) for x, y in zip(load_tensors(path), pair, strict=True))


class Malicious:
    """Unpickling it would create the file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_malicious_file_is_refused_and_nothing_executed(tmp_path, save):
    proof, path = tmp_path / "executed", tmp_path / "val_data.pkl"
    save((Malicious(proof), Malicious(proof)), path)
    with pytest.raises(ValueError, match="val_data.pkl: .*expected a tuple of two"):
        load_tensors(path)
    assert not proof.exists()
    pickle.loads(zipfile.ZipFile(path).read("val_data/data.pkl") if save is torch.save else path.read_bytes())
    assert proof.exists()  # the file was dangerous indeed


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(*arguments, **keywords):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "train_data.pkl").write_text("secret")
    monkeypatch.setattr(torch, "load", refused)
    with pytest.raises(PermissionError):
        load_tensors(tmp_path / "train_data.pkl")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "train_data.pkl"
    with pytest.raises(ValueError, match="train_data.pkl: no such file.*Miniproject_1 data"):
        load_tensors(path)
    with pytest.raises(ValueError, match="no such file"):
        load_tensors(tmp_path)
    save_tensors((torch.zeros(9, 3, 32, 32), torch.zeros(9, 3, 32, 32)), path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="train_data.pkl: .*expected a tuple of two.*Miniproject_1 data"):
            load_tensors(path)
    path.write_text("not a data file, but a text")
    with pytest.raises(ValueError, match="train_data.pkl: .*expected a tuple of two"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (torch.zeros(2, 3, 4, 4), "Tensor"),
        ({"a": torch.zeros(2, 3, 4, 4)}, "dict of 1"),
        ((torch.zeros(2, 3, 4, 4),), "tuple of 1"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)], "list of 2"),
        ((torch.zeros(2, 3, 4, 4), 5), "tuple of 2"),
        ((torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4)), r"\(2, 3, 4, 4\) and \(3, 3, 4, 4\)"),
        ((torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)), r"\(3, 4, 4\)"),
    ],
)
def test_other_content_is_refused(tmp_path, content, came):
    path = tmp_path / "val_data.pkl"
    torch.save(content, path)
    with pytest.raises(ValueError, match=f"val_data.pkl: holds .*{came}.*expected a tuple of two"):
        load_tensors(path)
