"""The command line, called in this process: what it writes, prints and returns."""

import contextlib
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from helpers import QUICK, ROOT, CtrlC, noisy_pairs, weights_of
from PIL import Image
from samples import numbers, random_image, write_image, write_photos

from Miniproject_1.__main__ import main
from Miniproject_1.model import Model, Recipe
from Miniproject_1.others.files import load_tensors, save_tensors
from Miniproject_1.others.images import read
from Miniproject_1.others.look import look


@pytest.fixture
def data(tmp_path):
    """A folder with 40 training and 4 validation pairs of 16 x 16 pixels."""
    folder = tmp_path / "data"
    folder.mkdir()
    images = random_image(40 * 3, 16, 16).view(40, 3, 16, 16)
    save_tensors((images, images.flip(0)), folder / "train_data.pkl")
    save_tensors((images[:4], images[4:8]), folder / "val_data.pkl")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A model file whose network halves the red's distance from 127.5, and changes nothing else.

    Its recipe trains fast: each tile of 16 x 16 pixels is a step.
    """
    model = Model(Recipe(widths=(4,), blocks=0, batch=1, tile=16, precision="float32"))
    for weight in model.net.parameters():
        weight.zero_()
    model.net.head.weight[0, 0, 1, 1] = 1
    model.net.tail.weight[0, 0, 1, 1] = -0.5
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    model.save(path)
    return path


def run(*arguments):
    """The exit code of the command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        return main([str(argument) for argument in arguments])


def loaded(path):
    model = Model()
    model.load_pretrained_model(path)
    return model


def assert_refused(capsys, arguments, *named):
    """`arguments` give exit code 2 and one line on stderr, `error: ...`, that contains `named`."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    for name in named:
        assert str(name) in lines[0]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------ the command itself


@pytest.mark.parametrize("command", [[], ["data"], ["train"], ["denoise"]], ids=str)
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert " ".join(["python -m Miniproject_1", *command]) in capsys.readouterr().out


@pytest.mark.parametrize("command, named", [
    ([], "COMMAND"), (["grade"], "grade"), (["denoise", "x.png"], "-o"),
    (["train", "--epochs", "ten"], "--epochs"), (["train", "--seed", str(2**63)], "--seed"),
    (["data", "--seed", "-1"], "--seed")], ids=str)
def test_usage_errors_are_one_line(capsys, command, named):
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and named in err


def test_it_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "Miniproject_1", "train", "-d", str(tmp_path / "none.pkl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "none.pkl" in done.stderr


# -------------------------------------------------------------------------------------------- data


def test_data_from_photos(tmp_path, capsys):
    write_photos(tmp_path / "photos", 3)
    out = tmp_path / "out"
    assert run("data", "--photos", tmp_path / "photos", "-o", out, "--pairs", 5, "--clean") == 0
    first, second = load_tensors(out / "train_data.pkl")
    assert first.shape == second.shape == (5, 3, 32, 32)
    printed = capsys.readouterr().out
    for name in ("train_data.pkl", "val_data.pkl", "clean_data.pkl"):
        assert (out / name).is_file() and str(out / name) in printed


@pytest.mark.parametrize("arguments, named", [
    (["--photos", "empty"], "empty"), (["--pairs", 0], "0"), (["-o", "file/out"], "file/out")],
    ids=str)
def test_data_refuses(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert_refused(capsys, ["data", "-o", "out", *arguments], named)
    assert not list(tmp_path.rglob("*.pkl"))


# ------------------------------------------------------------------------------------------- train


def test_train_on_a_data_folder(tmp_path, data, capsys):
    output = tmp_path / "model.pth"
    assert run("train", "-d", data, "--epochs", 2, "-o", output) == 0
    _, *rows, gain, wrote = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert all("per image" in line for line in (*rows, gain))  # on val_data.pkl
    noisy, denoised, difference = map(float, re.findall(r"[-+]?[0-9]+\.[0-9]+", gain))
    # The first and the last row, but for the roundings of bfloat16 and to 0.01.
    assert noisy == pytest.approx(float(rows[0].split()[2]), abs=0.05)
    assert denoised == float(rows[2].split()[2])
    assert difference == pytest.approx(denoised - noisy, abs=0.011)
    assert wrote == f"wrote {output}"
    assert (weights_of(loaded(output)) != weights_of(Model())).any()


@pytest.mark.parametrize("name", ["pairs.pt", "pairs"])
def test_train_on_a_file_without_validation(tmp_path, data, weights, capsys, name):
    (data / "train_data.pkl").rename(tmp_path / name)
    output = tmp_path / "model.pth"
    command = ["train", "-d", tmp_path / name, "--epochs", 1, "--from", weights, "-o", output]
    assert run(*command) == 0
    assert "est." in capsys.readouterr().out and output.is_file()


def test_train_on_two_folders(tmp_path, weights, capsys):
    for folder, other in (("a", 0), ("b", 255)):
        (tmp_path / folder).mkdir()
        write_image(random_image(3, 32, 40) ^ other, tmp_path / folder / "one.png")
        write_image(random_image(3, 50, 32) ^ other, tmp_path / folder / "two.png")
    output = tmp_path / "model.pth"
    command = ["train", "-a", tmp_path / "a", "-b", tmp_path / "b", "-o", output]
    assert run(*command, "--from", weights, "--epochs", 1, "--quiet") == 0
    assert capsys.readouterr().out == f"wrote {output}\n" and output.is_file()


@pytest.mark.parametrize("tiles, epochs", [(1, 250), (5, 50), (40, 10)])
def test_train_takes_500_steps_or_10_epochs_by_default(tmp_path, weights, capsys, tiles, epochs):
    """Two images, of so many tiles each; each tile is a step."""
    images = random_image(2 * 3, 16, 16 * tiles).view(2, 3, 16, -1)
    save_tensors((images, images.flip(0)), tmp_path / "pairs.pkl")
    output = tmp_path / "model.pth"
    assert run("train", "-d", tmp_path / "pairs.pkl", "--from", weights, "-o", output) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row.isdigit()] == [str(row) for row in range(epochs + 1)]


def test_train_is_repeatable_and_leaves_the_global_generator_alone(tmp_path, data):
    before = torch.get_rng_state()
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        output = tmp_path / name
        command = ["train", "-d", data, "--epochs", 1, "--seed", seed, "-o", output, "--quiet"]
        assert run(*command) == 0
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (weights_of(loaded(tmp_path / name)) for name in ("one", "same", "other"))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("minutes", [1e-9, 1e-3 / 60])
def test_a_limit_too_short_for_a_step_is_an_error(tmp_path, data, weights, capsys, minutes):
    output = tmp_path / "model.pth"
    command = ["train", "-d", data, "--from", weights, "--minutes", minutes, "-o", output]
    assert run(*command) == 2
    out, err = capsys.readouterr()
    warning, error = err.splitlines()
    assert warning.startswith("warning: ") and ".py:" not in warning
    assert error.startswith("error: ") and str(output) in error
    assert "wrote" not in out and not output.exists()


def test_train_leaves_an_older_file_if_no_epoch_was_done(tmp_path, data, capsys):
    output = tmp_path / "model.pth"
    output.write_bytes(b"older")
    assert run("train", "-d", data, "--minutes", 1e-3 / 60, "-o", output) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and str(output) in error
    assert output.read_bytes() == b"older"


def test_ctrl_c_saves_the_weights(tmp_path, data, weights, capsys):
    output = tmp_path / "model.pth"
    command = ["train", "-d", data, "--epochs", 9, "--from", weights, "-o", output]
    with contextlib.redirect_stdout(CtrlC(epoch=2)):
        assert run(*command) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"--resume {output}" in error
    assert not torch.equal(weights_of(loaded(output)), weights_of(loaded(weights)))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_was_stopped_goes_on(tmp_path, data, weights, number, code):
    whole, output = tmp_path / "whole.pth", tmp_path / "model.pth"
    command = ["train", "-d", data, "--epochs", 4, "--from", weights]
    assert run(*command, "-o", whole) == 0
    before = signal.getsignal(number)
    with contextlib.redirect_stdout(CtrlC(epoch=2, number=number)):
        assert run(*command, "-o", output) == code
    assert signal.getsignal(number) == before
    assert run(*command, "--resume", output) == 0
    assert torch.equal(weights_of(loaded(output)), weights_of(loaded(whole)))
    assert output.read_bytes() == whole.read_bytes()


def test_ctrl_c_before_the_first_epoch_is_done_leaves_an_older_file(tmp_path, data, capsys):
    output = tmp_path / "model.pth"
    output.write_bytes(b"older")
    with contextlib.redirect_stdout(CtrlC(epoch=0)):
        assert run("train", "-d", data, "--epochs", 9, "-o", output) == 130
    assert str(output) in capsys.readouterr().err
    assert output.read_bytes() == b"older"


@pytest.mark.parametrize("arguments, named", [
    (["-d", "none"], ["none/train_data.pkl"]),
    (["-d", "cut.pkl"], ["cut.pkl"]),
    (["-d", "empty.pkl"], ["0, 3, 8, 8"]),
    (["-a", "a"], ["-a", "-b"]),
    (["-b", "a"], ["-a", "-b"]),
    (["-a", "a/0.png", "-b", "b"], ["a/0.png", "b"]),
    (["-a", "a", "-b", "b/0.png"], ["a", "b/0.png"]),
    (["-a", "a", "-b", "b", "--frames", "a/0.png"], ["--frames"]),
    (["-d", "data", "--frames", "a/0.png"], ["--frames"]),
    (["--frames", "a/0.png"], ["a/0.png"]),  # of one page
    (["-a", "a", "-b", "b", "-d", "data"], ["-d"]),
    (["-a", "a", "-b", "b/../a"], ["-a", "-b"]),
    (["-a", "a", "-b", "none"], ["none"]),
    (["-d", "data", "--epochs", 0], ["--epochs", "0"]),
    (["-d", "data", "--minutes", 0], ["--minutes", "0"]),
    (["-d", "data", "--memory", 0], ["--memory", "0"]),
    (["-d", "data", "--resume", "none.pth"], ["none.pth"]),
    (["-d", "data", "--resume", "cut.pkl"], ["cut.pkl"]),
    (["-d", "data", "--resume", "grey.pth"], ["grey.pth"]),
    (["-d", "data", "--from", "cut.pkl"], ["cut.pkl"]),
    (["-d", "data", "--from", "data/../model.pth"], ["--from", "model.pth"]),
    (["-d", "data", "--from", "grey.pth"], ["grey.pth", "1"]),
    (["-d", "none", "-o", "a"], ["a"]),  # before the data are read
], ids=str)
def test_train_refuses(tmp_path, data, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_photos(tmp_path / name, 1)
    (tmp_path / "cut.pkl").write_bytes((data / "train_data.pkl").read_bytes()[:1000])
    torch.save((torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8)), "empty.pkl")
    Model(Recipe(channels=1)).save("grey.pth")
    assert_refused(capsys, ["train", "-o", "model.pth", *arguments], *named)
    assert not (tmp_path / "model.pth").exists()


def test_a_divergence_in_the_first_epoch_keeps_an_older_file(tmp_path, capsys):
    wild = Recipe(widths=(4,), blocks=0, batch=1, optimizer="adam", learning_rate=1e30)
    Model(wild).save(tmp_path / "wild.pth")
    images = random_image(60 * 3, 16, 16).view(60, 3, 16, 16)
    save_tensors((images, images.flip(0)), tmp_path / "pairs.pkl")
    (tmp_path / "model.pth").write_bytes(b"older")
    assert run("train", "-d", tmp_path / "pairs.pkl", "--from", tmp_path / "wild.pth",
               "-o", tmp_path / "model.pth", "--quiet") == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "diverged" in warning and "model.pth" in error
    assert (tmp_path / "model.pth").read_bytes() == b"older"


# ------------------------------------------------------------------------------ images of one's own


@pytest.fixture
def quick(tmp_path):
    """Writes weights to start from: untrained, and in the units of the pairs to come."""
    def write(channels):
        recipe = replace(QUICK, channels=channels, value_range=None, precision="float32", batch=4)
        Model(recipe).save(tmp_path / "quick.pth")
        return tmp_path / "quick.pth"
    return write


def exposures(count, scale=1, offset=0):
    """(a, b, clean), count x 48 x 48: two exposures of each of some scenes, 64-192 x scale."""
    copies = noisy_pairs(count, side=48)
    return [(images[:, 0].numpy() * scale + offset) for images in copies]


def train_on(tmp_path, quick, a, b, channels=1, epochs=1):
    """The weights, trained on two .npy files."""
    for name, array in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", array)
    command = ["train", "-a", tmp_path / "a.npy", "-b", tmp_path / "b.npy", "--epochs", epochs]
    output = tmp_path / "own.pth"
    assert run(*command, "--from", quick(channels), "-o", output, "--quiet") == 0
    return output


def predicted(path, array, axes="NYX"):
    """What the weights make of an array, N x C x H x W, page by page."""
    images = torch.from_numpy(np.ascontiguousarray(array))
    images = images[:, None] if axes == "NYX" else images.permute(2, 0, 1)[None]
    model = loaded(path)
    return torch.cat([model.predict(page) for page in images.split(1)])


def write_folders(tmp_path, a, b, **options):
    for folder, images in (("a", a), ("b", b)):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(images):
            tifffile.imwrite(tmp_path / folder / f"{number}.tif", image, **options)


def test_sixteen_bit_scans_are_denoised_in_kind(tmp_path, quick):
    """Two folders of exposures, of which the first are then denoised."""
    a, b, clean = exposures(12, scale=200, offset=5000)
    a, b = a.round().astype("uint16"), b.round().astype("uint16")
    written = {"resolution": (100, 50), "resolutionunit": "CENTIMETER",
               "description": "exposure 5 s", "compression": "zlib", "metadata": None}
    write_folders(tmp_path, a, b, **written)
    output, out = tmp_path / "model.pth", tmp_path / "out"
    command = ["train", "-a", tmp_path / "a", "-b", tmp_path / "b", "--from", quick(1)]
    assert run(*command, "--epochs", 12, "-o", output) == 0
    assert run("denoise", tmp_path / "a", "-o", out, "--model", output) == 0
    results = []
    for number in range(12):
        with tifffile.TiffFile(out / f"{number}.tif") as tif:
            results.append(tif.asarray())
            tags = tif.pages[0].tags
            assert tags["XResolution"].value == (100, 1) and tags["YResolution"].value == (50, 1)
            assert tags["ResolutionUnit"].value == 3 and tags["Compression"].value == 8
            assert tags["ImageDescription"].value == "exposure 5 s"
    denoised = np.stack(results)
    assert denoised.dtype == "uint16" and denoised.shape == a.shape
    # It leaves a third of the squared error; without training it stays as it is.
    assert np.square(denoised - clean).mean() < 0.7 * np.square(a - clean).mean()
    assert np.array_equal(denoised, predicted(output, a)[:, 0].round().numpy())


@pytest.mark.parametrize("option", ["-a", "--frames"])
def test_a_stack_gives_a_stack(tmp_path, quick, option):
    """Page by page, also where one is to see noisy and denoised."""
    a, b, _ = exposures(6, scale=200)
    frames = np.stack((a, b), axis=1).reshape(12, 48, 48)
    written = {"a": a, "b": b, "movie": frames}
    for name, stack in written.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", stack.round().astype("uint16"), imagej=True,
                         metadata={"axes": "TYX", "finterval": 0.5})
    given = {"-a": ["-a", tmp_path / "a.tif", "-b", tmp_path / "b.tif"],
             "--frames": ["--frames", tmp_path / "movie.tif"]}[option]
    output, out = tmp_path / "model.pth", tmp_path / "out"
    assert run("train", *given, "--from", quick(1), "--epochs", 2, "-o", output) == 0
    assert run("denoise", tmp_path / "movie.tif", "-o", out, "--model", output, "--compare") == 0
    with tifffile.TiffFile(out / "movie.tif") as tif:
        denoised = tif.asarray()
        assert tif.series[0].axes == "TYX" and tif.imagej_metadata["finterval"] == 0.5
    noisy = frames.round().astype("uint16")
    assert denoised.dtype == "uint16"
    assert np.array_equal(denoised, predicted(output, noisy)[:, 0].round().numpy())
    assert not np.array_equal(denoised, noisy)
    both = tifffile.imread(out / "movie-compare.tif")
    assert np.array_equal(both, np.concatenate((noisy, denoised), axis=2))


def test_frames_and_two_stacks_give_the_same_weights(tmp_path, quick):
    a, b, _ = exposures(4)
    frames = np.stack((a, b), axis=1).reshape(8, 48, 48)
    own = train_on(tmp_path, quick, a, b)
    for name, pages in (("1", frames[:6]), ("2", frames[6:])):
        np.save(tmp_path / f"{name}.npy", pages)
    command = ["train", "--frames", tmp_path / "1.npy", tmp_path / "2.npy", "--epochs", 1]
    output = tmp_path / "frames.pth"
    assert run(*command, "--from", tmp_path / "quick.pth", "-o", output, "--quiet") == 0
    assert torch.equal(weights_of(loaded(output)), weights_of(loaded(own)))


def test_floats_with_negative_values_stay_as_they_are(tmp_path, quick):
    a, b, _ = (images.astype("float32") for images in exposures(6, scale=0.01, offset=-1.5))
    own = train_on(tmp_path, quick, a, b)
    out = tmp_path / "out"
    assert run("denoise", tmp_path / "a.npy", "-o", out, "--model", own) == 0
    result = np.load(out / "a.npy")
    assert result.dtype == "float32" and result.min() < -0.1 and result.max() > 0.1
    assert np.array_equal(result, predicted(own, a)[:, 0].numpy())


def test_float32_of_integers_keeps_fractions(tmp_path, quick):
    a, b, _ = (images.round().astype("int16") for images in exposures(6, scale=4, offset=-500))
    own = train_on(tmp_path, quick, a, b)
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "a.npy", "-o", out, "--model", own]
    assert run(*command) == 0
    integers = np.load(out / "a.npy")
    assert run(*command, "--dtype", "float32") == 0
    floats = np.load(out / "a.npy")
    assert integers.dtype == "int16" and floats.dtype == "float32"
    assert np.array_equal(floats, predicted(own, a)[:, 0].numpy())
    assert np.array_equal(integers, floats.round()) and not np.array_equal(integers, floats)


def test_images_of_two_channels(tmp_path, quick, capsys):
    """Weights for them refuse images of other numbers of channels, and go on."""
    a, b, _ = (np.moveaxis(images[:2], 0, -1).astype("float32") for images in exposures(2))
    own = train_on(tmp_path, quick, a, b, channels=2)
    assert loaded(own).recipe.channels == 2
    np.save(tmp_path / "other.npy", a[..., :1])
    capsys.readouterr()
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "other.npy", tmp_path / "a.npy", "-o", out, "--model", own]
    assert_refused(capsys, command, tmp_path / "other.npy", "2")
    assert [path.name for path in contents(out)] == ["a.npy"]
    expected = predicted(own, a, axes="YXC")[0].permute(1, 2, 0)
    assert np.array_equal(np.load(out / "a.npy"), expected.numpy())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_weights_of_one_channel_take_colours_one_by_one(tmp_path, quick, dtype):
    a, b, _ = (images.round().astype(dtype) for images in exposures(6))
    own = train_on(tmp_path, quick, a, b)
    colours = np.ascontiguousarray(np.moveaxis(a[:3], 0, -1))
    tifffile.imwrite(tmp_path / "colour.tif", colours, photometric="rgb")
    out = tmp_path / "out"
    assert run("denoise", tmp_path / "colour.tif", "-o", out, "--model", own) == 0
    result = tifffile.imread(out / "colour.tif")
    expected = predicted(own, a[:3])[:, 0].round().numpy()
    assert result.dtype == dtype and np.array_equal(np.moveaxis(result, -1, 0), expected)


def test_weights_that_know_no_units_denoise_nothing(tmp_path, quick, capsys):
    np.save(tmp_path / "a.npy", numbers((8, 8), "float32"))
    command = ["denoise", tmp_path / "a.npy", "-o", tmp_path / "out", "--model", quick(1)]
    assert_refused(capsys, command, tmp_path / "a.npy")
    assert not contents(tmp_path / "out")


def test_nan_is_refused_and_the_others_are_denoised(tmp_path, quick, capsys):
    a, b, _ = (images.astype("float32") for images in exposures(6))
    own = train_on(tmp_path, quick, a, b)
    broken = a[0].copy()
    broken[3, 4] = np.nan
    np.save(tmp_path / "broken.npy", broken)
    capsys.readouterr()
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "broken.npy", tmp_path / "a.npy", "-o", out, "--model", own]
    assert_refused(capsys, command, tmp_path / "broken.npy")
    assert [path.name for path in contents(out)] == ["a.npy"]


@pytest.mark.parametrize("change, warns", [(lambda x: x / 1000, True), (lambda x: x + 10, False)])
def test_images_in_other_units_than_the_model_are_said(tmp_path, quick, capsys, change, warns):
    a, b, _ = (images.astype("float32") for images in exposures(6))
    own = train_on(tmp_path, quick, a, b)
    np.save(tmp_path / "other.npy", change(a[0]))
    capsys.readouterr()
    assert run("denoise", tmp_path / "other.npy", "-o", tmp_path / "out", "--model", own) == 0
    assert ("other.npy" in capsys.readouterr().err) == warns


@pytest.mark.parametrize("output", ["a/1.tif", "new.png", "a"])
def test_weights_are_never_written_over_images(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    a, b, _ = (images.astype("uint16") for images in exposures(2))
    for name, image in (("a", a[0]), ("b", b[0])):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "1.tif", image)
    before = contents(tmp_path)
    assert_refused(capsys, ["train", "-a", "a", "-b", "b", "-o", output], output)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("path", ["folder", "absent.tif"])
def test_frames_have_to_be_a_file(tmp_path, capsys, path):
    (tmp_path / "folder").mkdir()
    assert_refused(capsys, ["train", "--frames", tmp_path / path, "-o", tmp_path / "x.pth"], path)


# ---- the look at the pairs


def test_a_look_at_the_pairs_comes_before_the_training(tmp_path, quick, capsys):
    a, b, _ = (images.astype("float32") for images in exposures(6))
    train_on(tmp_path, quick, a, b)
    assert capsys.readouterr() == (f"wrote {tmp_path / 'own.pth'}\n", "")
    output = tmp_path / "model.pth"
    command = ["train", "-a", tmp_path / "a.npy", "-b", tmp_path / "b.npy", "--epochs", 1]
    assert run(*command, "--from", tmp_path / "quick.pth", "-o", output) == 0
    out, err = capsys.readouterr()
    pairs = (torch.from_numpy(images)[:, None] for images in (a, b))
    lines = look(*pairs).lines()
    assert out.splitlines()[:len(lines)] == lines
    assert out.splitlines()[len(lines)].startswith("recipe ") and err == ""
    assert out.splitlines()[-1] == f"wrote {output}"


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_what_harms_a_training_is_said_on_stderr(tmp_path, quick, capsys, quiet):
    """The second exposures are half as bright."""
    a, b, _ = (images.astype("float32") for images in exposures(6))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b / 2)
    command = ["train", "-a", tmp_path / "a.npy", "-b", tmp_path / "b.npy", "--epochs", 1]
    assert run(*command, "--from", quick(1), "-o", tmp_path / "model.pth", *quiet) == 0
    out, err = capsys.readouterr()
    pairs = (torch.from_numpy(images)[:, None] for images in (a, b / 2))
    warned = look(*pairs).warnings()
    assert warned and "brightness" in warned[0]
    lines = err.splitlines()
    assert [f"warning: {warning}" for warning in warned] == lines[:len(warned)]
    assert all(line.startswith("warning: ") for line in lines) and ".py:" not in err
    assert ("brightness" in out) == (not quiet) and (out.count("\n") == 1) == bool(quiet)


def test_identical_copies_are_said(tmp_path, quick, capsys):
    a, _, _ = (images.round().astype("uint8") for images in exposures(6))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(a):
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
    command = ["train", "-a", tmp_path / "a", "-b", tmp_path / "b", "--epochs", 1, "--quiet"]
    assert run(*command, "--from", quick(1), "-o", tmp_path / "model.pth") == 0
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: ") and "identical" in first


def test_images_left_out_are_named_in_a_warning(tmp_path, quick, capsys):
    a, b, _ = (images.astype("float32") for images in exposures(6))
    a[2, 3, 4] = np.nan
    write_folders(tmp_path, a, b)
    command = ["train", "-a", tmp_path / "a", "-b", tmp_path / "b", "--epochs", 1, "--quiet"]
    assert run(*command, "--from", quick(1), "-o", tmp_path / "model.pth") == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: ") and str(tmp_path / "a/2.tif") in warning


def test_a_new_model_has_the_channels_and_the_units_of_the_images(tmp_path):
    """Of images of one's own; data files have those of the course."""
    a, b, _ = exposures(2, scale=100, offset=-7000)
    a, b = (np.moveaxis(images, 0, -1)[:16, :16].astype("float32") for images in (a, b))
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    command = ["train", "-a", tmp_path / "a.npy", "-b", tmp_path / "b.npy", "--epochs", 1]
    assert run(*command, "-o", tmp_path / "own.pth", "--quiet") == 0
    own = loaded(tmp_path / "own.pth")
    assert own.recipe == look(*(torch.from_numpy(images).permute(2, 0, 1)[None].contiguous()
                                for images in (a, b))).recipe()
    assert (own.recipe.channels, own.recipe.swap) == (2, "pixels")
    images = torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None]
    assert own.predict(images).min() < -1000


# ----------------------------------------------------------------------------------------- denoise


def test_denoise_can_be_silenced(tmp_path, weights, capsys):
    write_image(random_image(3), tmp_path / "image.png")
    command = ["denoise", tmp_path / "image.png", "-o", tmp_path / "out", "--model", weights]
    assert run(*command, "--quiet") == 0
    assert capsys.readouterr() == ("", "") and (tmp_path / "out" / "image.png").is_file()


def towards_middle(image, share):
    return image + share * (127.5 - image.float())


@pytest.mark.parametrize("name, channels", [("grey.bmp", 1), ("grey alpha.png", 2),
                                            ("colour.png", 3), ("colour alpha.png", 4)])
def test_denoise_keeps_name_size_and_mode(tmp_path, weights, capsys, name, channels):
    """The network moves red halfway to 127.5, and grey, the mean of three channels, a sixth."""
    image = random_image(channels, 5, 9)
    write_image(image, tmp_path / name)
    out = tmp_path / "out"
    assert run("denoise", tmp_path / name, "-o", out, "--model", weights) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / name} -> {out / name}: 9 x 5, ")
    expected = image.clone()
    expected[0] = towards_middle(image[0], 1 / 2 if channels > 2 else 1 / 6).round()
    result = read(out / name)
    assert torch.equal(torch.cat((result.pages, result.alpha), 1)[0], expected)
    assert result.alpha.shape[1] == 1 - channels % 2


@pytest.mark.parametrize("channels, share", [(1, 1 / 6), (3, 1 / 2)])
def test_weights_for_photos_take_sixteen_bits(tmp_path, weights, channels, share):
    """Their 0 to 65535 is the 0 to 255 of 8 bits."""
    array = numbers((5, 9, 3)[:2 + (channels == 3)], "uint16")
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "deep.tif", array, photometric=kind)
    assert run("denoise", tmp_path / "deep.tif", "-o", tmp_path / "out", "--model", weights) == 0
    result = tifffile.imread(tmp_path / "out/deep.tif")
    expected = array.astype("float64")
    first = expected[..., :1] if channels == 3 else expected
    first += share * (65535 / 2 - first)
    assert result.dtype == "uint16"
    # Rounded to 1/2; float32 has roundings of 65536 x 2^-24 = 1/256, in some ten operations.
    assert np.abs(result - expected).max() <= 0.5 + 10 / 256


def test_float32_keeps_the_fractions_of_a_png(tmp_path, weights):
    """The file is a TIFF with the same pixels."""
    image = random_image(3, 5, 9)
    write_image(image, tmp_path / "image.png")
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "image.png", "-o", out, "--model", weights]
    assert run(*command, "--dtype", "float32", "--compare") == 0
    assert {path.name for path in contents(out)} == {"image.tif", "image-compare.tif"}
    result = read(out / "image.tif")
    assert result.dtype == torch.float32
    expected = image.float()
    expected[0] = towards_middle(image[0], 1 / 2)
    # Halves of integers; float32 has roundings of 255 x 2^-24 in some ten operations.
    torch.testing.assert_close(result.pages[0], expected, rtol=0, atol=2e-4)
    assert (result.pages[0, 0] % 1 > 0.2).any()
    both = torch.cat((image[None].float(), result.pages), dim=-1)
    assert torch.equal(read(out / "image-compare.tif").pages, both)


def test_weights_for_photos_refuse_floats_and_go_on(tmp_path, weights, capsys):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in/float.tif", numbers((5, 9), "float32"))
    for name in ("a.png", "z.png"):
        write_image(random_image(3, 4, 6), tmp_path / "in" / name)
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "in", "-o", out, "--model", weights]
    assert_refused(capsys, command, tmp_path / "in/float.tif", "float32")
    assert {path.name for path in contents(out)} == {"a.png", "z.png"}


def test_denoise_searches_folders(tmp_path, weights):
    (tmp_path / "in/deeper").mkdir(parents=True)
    for name in ("in/a.png", "in/deeper/b.png", "c.png"):
        write_image(random_image(3, 4, 6), tmp_path / name)
    command = ["denoise", tmp_path / "in", tmp_path / "c.png", "-o", tmp_path / "out"]
    assert run(*command, "--model", weights) == 0
    written = {str(path.relative_to(tmp_path / "out")) for path in contents(tmp_path / "out")}
    assert written == {"a.png", "deeper/b.png", "c.png"}


def test_denoise_compare(tmp_path, weights):
    image = random_image(3, 4, 6)
    write_image(image, tmp_path / "image.png")
    command = ["denoise", tmp_path / "image.png", "-o", tmp_path / "out", "--model", weights]
    assert run(*command, "--compare") == 0
    beside = read(tmp_path / "out/image-compare.png").pages
    denoised = read(tmp_path / "out/image.png").pages
    assert torch.equal(beside, torch.cat((image[None], denoised), dim=3))


def test_denoise_without_self_ensemble(tmp_path):
    """The pretrained network gives other pixels with its eight views than with one."""
    image = random_image(3, 8, 8)
    write_image(image, tmp_path / "image.png")
    model = loaded(None)
    for options, ensemble in (([], True), (["--no-self-ensemble"], False)):
        out = tmp_path / str(ensemble)
        assert run("denoise", tmp_path / "image.png", "-o", out, *options) == 0
        expected = model.predict(image[None], self_ensemble=ensemble).round().byte()
        assert torch.equal(read(out / "image.png").pages, expected)


def test_denoise_leaves_its_earlier_results_out(tmp_path, weights, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(random_image(3, 4, 4), "image.png")
    for _ in range(2):
        assert run("denoise", ".", "-o", "denoised", "--model", weights) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("image.png -> denoised/image.png: ")


def test_denoise_goes_on_after_a_bad_image(tmp_path, weights, capsys):
    (tmp_path / "a.png").write_text("not an image")
    write_image(random_image(3, 4, 4), tmp_path / "b.png")
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "a.png", tmp_path / "b.png", "-o", out, "--model", weights]
    assert_refused(capsys, command, tmp_path / "a.png")
    assert [path.name for path in contents(out)] == ["b.png"]


def test_denoise_leaves_out_what_it_cannot_write(tmp_path, weights, capsys):
    (tmp_path / "in").mkdir()
    write_image(random_image(3, 4, 4), tmp_path / "in/a.png")
    (tmp_path / "in/clip.mpg").write_text("a film")
    assert run("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", weights) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and ".mpg" in error and error.count("\n") == 1
    assert [path.name for path in contents(tmp_path / "out")] == ["a.png"]


@pytest.mark.parametrize("arguments, named", [
    (["a/x.png", "b/x.png"], ["a/x.png", "b/x.png"]),  # of one name
    (["a", "--compare"], ["out/y-compare.png"]),  # is also the output of a/y-compare.png
    (["a", "-o", "a"], ["a/x.png"]),  # is an input
    (["a/x.png", "b", "-o", "b/../b"], ["x.png"]),
    (["a/x.png", "-o", "file"], ["file"]),
    (["none.png"], ["none.png"]),
    (["clip.mpg"], ["clip.mpg"]),
    (["empty"], ["empty"]),
    (["file"], ["file"]),
    (["a/x.png", "--model", "none"], ["none"]),
    (["a/x.png", "--model", "file"], ["file"]),
], ids=str)
def test_denoise_refuses_before_the_work(tmp_path, weights, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "empty"):
        (tmp_path / folder).mkdir()
    for name in ("a/x.png", "b/x.png", "a/y.png", "a/y-compare.png"):
        write_image(random_image(3, 4, 4), name)
    for name in ("file", "clip.mpg"):
        (tmp_path / name).touch()
    before = contents(tmp_path)
    assert_refused(capsys, ["denoise", "--model", weights, "-o", "out", *arguments], *named)
    assert contents(tmp_path) == before
