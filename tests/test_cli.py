"""The command line, called in this process: what it writes, prints and returns."""

import contextlib
import subprocess
import sys
import warnings

import pytest
import torch
from helpers import ROOT, CtrlC, weights_of
from samples import random_image, write_photos

from Miniproject_1.__main__ import main
from Miniproject_1.model import Model, Recipe
from Miniproject_1.others.files import load_tensors, save_tensors
from Miniproject_1.others.images import read, write


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
    out = capsys.readouterr().out
    assert out.count("per image") == 3 and "est." not in out  # epochs 0, 1 and 2, on val_data.pkl
    assert out.splitlines()[-1] == f"wrote {output}"
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
        write(random_image(3, 32, 40) ^ other, tmp_path / folder / "one.png")
        write(random_image(1, 50, 32) ^ other, tmp_path / folder / "two.png")
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
    last = capsys.readouterr().out.splitlines()[-2]
    assert last.split()[0] == str(epochs)


def test_train_is_repeatable_and_leaves_the_global_generator_alone(tmp_path, data):
    before = torch.get_rng_state()
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        output = tmp_path / name
        command = ["train", "-d", data, "--epochs", 1, "--seed", seed, "-o", output, "--quiet"]
        assert run(*command) == 0
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (weights_of(loaded(tmp_path / name)) for name in ("one", "same", "other"))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_train_goes_on_from_weights_and_says_that_time_was_too_short(tmp_path, data, weights,
                                                                     capsys):
    """A millisecond leaves no time for a step: the weights come out as they went in."""
    output = tmp_path / "model.pth"
    command = ["train", "-d", data, "--from", weights, "--minutes", 1e-3 / 60, "-o", output]
    assert run(*command) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and error.count("\n") == 1 and ".py:" not in error
    assert torch.equal(weights_of(loaded(output)), weights_of(loaded(weights)))


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
    assert error.count("\n") == 1 and str(output) in error
    assert not torch.equal(weights_of(loaded(output)), weights_of(loaded(weights)))


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
    (["-a", "a", "-b", "b", "-d", "data"], ["-d"]),
    (["-a", "a", "-b", "b/../a"], ["-a", "-b"]),
    (["-a", "a", "-b", "none"], ["none"]),
    (["-d", "data", "--epochs", 0], ["--epochs", "0"]),
    (["-d", "data", "--minutes", 0], ["--minutes", "0"]),
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


# ----------------------------------------------------------------------------------------- denoise


def towards_middle(image, share):
    return image + share * (127.5 - image.float())


@pytest.mark.parametrize("name, channels", [("grey.bmp", 1), ("grey alpha.png", 2),
                                            ("colour.png", 3), ("colour alpha.png", 4)])
def test_denoise_keeps_name_size_and_mode(tmp_path, weights, capsys, name, channels):
    """The network moves red halfway to 127.5, and grey, the mean of three channels, a sixth."""
    image = random_image(channels, 5, 9)
    write(image, tmp_path / name)
    out = tmp_path / "out"
    assert run("denoise", tmp_path / name, "-o", out, "--model", weights) == 0
    assert capsys.readouterr().out == f"{tmp_path / name} -> {out / name}\n"
    expected = image.clone()
    expected[0] = towards_middle(image[0], 1 / 2 if channels > 2 else 1 / 6).round()
    assert torch.equal(read(out / name), expected)


def test_denoise_keeps_sixteen_bits(tmp_path, weights):
    image = random_image(1, 5, 9) * (254 / 255) + 0.5
    write(image, tmp_path / "deep.tif", sixteen_bit=True)
    assert run("denoise", tmp_path / "deep.tif", "-o", tmp_path / "out", "--model", weights) == 0
    denoised = read(tmp_path / "out/deep.tif")
    # Both files are rounded to 1/257.
    torch.testing.assert_close(denoised, towards_middle(image, 1 / 6), rtol=0, atol=1.01 / 257)


def test_denoise_searches_folders(tmp_path, weights):
    (tmp_path / "in/deeper").mkdir(parents=True)
    for name in ("in/a.png", "in/deeper/b.png", "c.png"):
        write(random_image(3, 4, 6), tmp_path / name)
    command = ["denoise", tmp_path / "in", tmp_path / "c.png", "-o", tmp_path / "out"]
    assert run(*command, "--model", weights) == 0
    written = {str(path.relative_to(tmp_path / "out")) for path in contents(tmp_path / "out")}
    assert written == {"a.png", "deeper/b.png", "c.png"}


def test_denoise_compare(tmp_path, weights):
    image = random_image(3, 4, 6)
    write(image, tmp_path / "image.png")
    command = ["denoise", tmp_path / "image.png", "-o", tmp_path / "out", "--model", weights]
    assert run(*command, "--compare") == 0
    beside = read(tmp_path / "out/image-compare.png")
    assert torch.equal(beside, torch.cat((image, read(tmp_path / "out/image.png")), dim=2))


def test_denoise_without_self_ensemble(tmp_path):
    """The pretrained network gives other pixels with its eight views than with one."""
    image = random_image(3, 8, 8)
    write(image, tmp_path / "image.png")
    model = loaded(None)
    for options, ensemble in (([], True), (["--no-self-ensemble"], False)):
        out = tmp_path / str(ensemble)
        assert run("denoise", tmp_path / "image.png", "-o", out, *options) == 0
        expected = model.predict(image[None], self_ensemble=ensemble)[0].round().byte()
        assert torch.equal(read(out / "image.png"), expected)


def test_denoise_leaves_its_earlier_results_out(tmp_path, weights, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(random_image(3, 4, 4), "image.png")
    for _ in range(2):
        assert run("denoise", ".", "-o", "denoised", "--model", weights) == 0
        assert capsys.readouterr().out.splitlines() == ["image.png -> denoised/image.png"]


def test_denoise_goes_on_after_a_bad_image(tmp_path, weights, capsys):
    (tmp_path / "a.png").write_text("not an image")
    write(random_image(3, 4, 4), tmp_path / "b.png")
    out = tmp_path / "out"
    command = ["denoise", tmp_path / "a.png", tmp_path / "b.png", "-o", out, "--model", weights]
    assert_refused(capsys, command, tmp_path / "a.png")
    assert [path.name for path in contents(out)] == ["b.png"]


def test_denoise_leaves_out_what_it_cannot_write(tmp_path, weights, capsys):
    (tmp_path / "in").mkdir()
    write(random_image(3, 4, 4), tmp_path / "in/a.png")
    (tmp_path / "in/clip.mpg").write_text("a film")
    assert run("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", weights) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "clip.mpg" in error and error.count("\n") == 1
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
    (["a/x.png", "--model", "grey.pth"], ["grey.pth", "1"]),
], ids=str)
def test_denoise_refuses_before_the_work(tmp_path, weights, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "empty"):
        (tmp_path / folder).mkdir()
    for name in ("a/x.png", "b/x.png", "a/y.png", "a/y-compare.png"):
        write(random_image(3, 4, 4), name)
    for name in ("file", "clip.mpg"):
        (tmp_path / name).touch()
    Model(Recipe(channels=1)).save("grey.pth")
    before = contents(tmp_path)
    assert_refused(capsys, ["denoise", "--model", weights, "-o", "out", *arguments], *named)
    assert contents(tmp_path) == before
