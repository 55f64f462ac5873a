"""The command line, called in this process: what it writes, prints and returns."""

import os
import signal
import threading
import time
import warnings

import pytest
import torch

from Miniproject_1 import Model, model
from Miniproject_1.__main__ import main
from Miniproject_1.others import bench, figures, picture, robustness
from Miniproject_1.others.images import read, write
from Miniproject_1.others.pixelate import load_tensors, save_tensors


def random_images(*shape):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def data(tmp_path):
    """A folder with 40 training and 4 validation pairs of 16 x 16 pixels."""
    (tmp_path / "data").mkdir()
    images = random_images(40, 3, 16, 16)
    save_tensors((images, images.flip(0)), tmp_path / "data/train_data.pkl")
    save_tensors((images[:4], images[4:8]), tmp_path / "data/val_data.pkl")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A model file whose network halves the first channel's distance from 127.5 and changes nothing else."""
    model = Model()
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.zero_()
        model.net.head.weight[0, 0, 1, 1] = 1
        model.net.tail.weight[0, 0, 1, 1] = -0.5
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    model.save(path)
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def assert_refused(capsys, arguments, *words):
    """`arguments` give exit code 2 and one line on stderr, `error: ...`, that contains `words`."""
    assert run(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    for word in words:
        assert str(word) in lines[0]


# ---- the command itself


@pytest.mark.parametrize("command", [[], ["data"], ["train"], ["denoise"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "usage: python -m Miniproject_1" in text
    assert all(f"Miniproject_1 {name}" in text for name in command)


@pytest.mark.parametrize("run, command, word", [
    (main, [], "COMMAND"), (main, ["denoise", "x.png"], "-o"), (main, ["train", "--epochs", "ten"], "--epochs"),
    (main, ["grade"], "grade"), (main, ["train", "--seed", str(2**63)], "--seed"),
    (main, ["data", "--seed", "-1"], "--seed"), (bench.main, ["--seeds", "1", "x"], "--seeds"),
    (picture.main, ["--seed", "-1"], "--seed"), (robustness.main, ["--seed", "1.5"], "--seed"),
    (figures.main, ["--pictures"], "--pictures")])
def test_usage_errors(capsys, run, command, word):
    with pytest.raises(SystemExit) as stopped:
        run(command)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and word in err


# ---- data


def test_data_from_photos(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        write(random_images(3, 40, 50), tmp_path / f"photos/{number}.png")
    assert run("data", "--photos", tmp_path / "photos", "-o", tmp_path / "out", "--pairs", 5) == 0
    first, second = load_tensors(tmp_path / "out/train_data.pkl")
    assert first.shape == second.shape == (5, 3, 32, 32) and not torch.equal(first, second)
    assert str(tmp_path / "out/train_data.pkl") in capsys.readouterr().out


def test_data_refuses(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert_refused(capsys, ["data", "--photos", tmp_path / "empty", "-o", tmp_path / "out"], tmp_path / "empty")
    assert_refused(capsys, ["data", "--pairs", 0, "-o", tmp_path / "out"], "pairs is 0")
    assert_refused(capsys, ["data", "-o", tmp_path / "file/out"], tmp_path / "file/out")


# ---- train


def test_train_on_data_folder(tmp_path, data, capsys):
    assert run("train", "-d", data, "--epochs", 2, "-o", tmp_path / "model.pth") == 0
    out = capsys.readouterr().out
    assert out.count("per image") == 3 and "est." not in out  # epochs 0, 1 and 2, on val_data.pkl
    assert "nan" not in out  # epoch 0 has no loss and no speed
    assert out.splitlines()[-1] == f"wrote {tmp_path / 'model.pth'}"
    model = Model()
    model.load_pretrained_model(tmp_path / "model.pth")
    assert (model.predict(random_images(1, 3, 8, 8)) != random_images(1, 3, 8, 8)).any()  # it left the identity


def test_train_on_a_file_without_validation(tmp_path, data, capsys):
    (data / "val_data.pkl").unlink()
    (data / "train_data.pkl").rename(tmp_path / "pairs.pt")
    assert run("train", "-d", tmp_path / "pairs.pt", "--epochs", 1, "-o", tmp_path / "model.pth") == 0
    assert "est." in capsys.readouterr().out


def test_train_on_two_folders(tmp_path, capsys):
    for folder, other in (("a", 0), ("b", 255)):
        (tmp_path / folder).mkdir()
        write(random_images(3, 32, 40) ^ other, tmp_path / folder / "one.png")
        write(random_images(1, 50, 32) ^ other, tmp_path / folder / "two.png")
    folders = ["-a", tmp_path / "a", "-b", tmp_path / "b", "-o", tmp_path / "model.pth"]
    assert run("train", *folders, "--epochs", 1, "--quiet") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'model.pth'}\n"
    assert (tmp_path / "model.pth").exists()
    assert run("train", *folders) == 0  # by default as many epochs as make 500 steps
    assert capsys.readouterr().out.splitlines()[-2].startswith("  500 ")


def test_epochs_by_default_count_tiles(tmp_path, monkeypatch):
    """Two long images are 80 tiles, three batches: 166 epochs for 500 steps."""
    asked = []
    monkeypatch.setattr(Model, "train", lambda self, noisy_a, noisy_b, epochs, **others: asked.append(epochs))
    images = random_images(2, 3, 64, 40 * 64)
    save_tensors((images, images.flip(0)), tmp_path / "pairs.pkl")
    assert run("train", "-d", tmp_path / "pairs.pkl", "-o", tmp_path / "model.pth") == 0
    assert asked == [166]


def test_train_is_repeatable_and_leaves_the_global_generator_alone(tmp_path, data):
    before = torch.get_rng_state()
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert run("train", "-d", data, "--epochs", 1, "--seed", seed, "-o", tmp_path / name, "--quiet") == 0
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = (torch.load(tmp_path / name, weights_only=True)["weights"] for name in ("one", "same", "other"))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_train_from_weights_within_a_time_limit(tmp_path, data, weights, capsys):
    """One millisecond leaves no time for a step: the weights come out as they went in, and it is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert run("train", "-d", data, "--from", weights, "--minutes", 1e-3 / 60, "-o", tmp_path / "model.pth") == 0
    assert "nothing was trained" in capsys.readouterr().err
    before, after = (torch.load(path, weights_only=True)["weights"] for path in (weights, tmp_path / "model.pth"))
    assert all(torch.equal(before[key], after[key]) for key in before)
    (tmp_path / "model.pth").write_bytes(b"older")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_refused(capsys, ["train", "-d", data, "--minutes", 1e-3 / 60, "-o", tmp_path / "model.pth"],
                       "no epoch was done", "left as it was")
    assert (tmp_path / "model.pth").read_bytes() == b"older"


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: a shell starts jobs in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_the_weights(tmp_path, data, capsys, ctrl_c):
    output = tmp_path / "model.pth"

    def press():
        while not output.exists():  # the checkpoint after the first epoch
            time.sleep(0.01)
        output.unlink()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    assert run("train", "-d", data, "--epochs", 10**6, "-o", output, "--quiet") == 130
    thread.join()
    assert f"to {output}" in capsys.readouterr().err
    Model().load_pretrained_model(output)


@pytest.mark.parametrize("function, older, written", [("tiles", False, False), ("augment", True, False),
                                                      ("augment", False, True)])
def test_ctrl_c_before_an_epoch_is_done(function, older, written, tmp_path, data, capsys, monkeypatch):
    """Before training has begun nothing is written; in its first epoch the weights, unless there is an older file."""
    output = tmp_path / "model.pth"
    if older:
        output.write_bytes(b"older")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, function, interrupted)
    assert run("train", "-d", data, "--epochs", 2, "-o", output, "--quiet") == 130
    error = capsys.readouterr().err
    if written:
        assert error == f"interrupted: wrote the weights reached so far to {output}\n"
        Model().load_pretrained_model(output)
    else:
        assert error == f"interrupted: {output} is {'left as it was' if older else 'not written'}\n"
        assert output.read_bytes() == b"older" if older else not output.exists()


def test_train_refuses(tmp_path, data, capsys):
    output = ["-o", tmp_path / "model.pth"]
    folder = tmp_path / "a"
    folder.mkdir()
    write(random_images(3, 32, 32), folder / "one.png")
    (data / "cut.pkl").write_bytes((data / "train_data.pkl").read_bytes()[:1000])
    assert_refused(capsys, ["train", "-d", tmp_path / "none", *output], tmp_path / "none/train_data.pkl")
    assert_refused(capsys, ["train", "-d", data / "cut.pkl", *output], data / "cut.pkl")
    torch.save((torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8)), data / "empty.pkl")
    assert_refused(capsys, ["train", "-d", data / "empty.pkl", *output], "(0, 3, 8, 8)")
    assert_refused(capsys, ["train", "-a", folder, *output], "-a and -b together")
    assert_refused(capsys, ["train", "-a", folder, "-b", folder, "-d", data, *output], "without -d")
    assert_refused(capsys, ["train", "-a", folder, "-b", tmp_path / "a/../a", *output], "-a and -b are both")
    assert_refused(capsys, ["train", "-a", folder, "-b", tmp_path / "none", *output], tmp_path / "none")
    assert_refused(capsys, ["train", "-d", data, "--epochs", 0, *output], "--epochs is 0")
    assert_refused(capsys, ["train", "-d", data, "--minutes", 0, *output], "--minutes is 0")
    assert_refused(capsys, ["train", "-d", data, "--from", data / "cut.pkl", *output], data / "cut.pkl")
    assert_refused(capsys, ["train", "-d", data, "--from", data / "../model.pth", *output], "would be overwritten")
    Model(channels=1).save(tmp_path / "grey.pth")
    assert_refused(capsys, ["train", "-d", data, "--from", tmp_path / "grey.pth", *output],
                   "grey.pth is for images of 1 ")
    assert_refused(capsys, ["train", "-d", tmp_path / "none", "-o", folder], folder)  # before the data is read
    assert not (tmp_path / "model.pth").exists()


def test_train_takes_a_file_without_suffix(tmp_path, data):
    (data / "train_data.pkl").rename(tmp_path / "pairs")
    assert run("train", "-d", tmp_path / "pairs", "--epochs", 1, "-o", tmp_path / "model.pth", "--quiet") == 0


def test_warnings_are_one_line(tmp_path, capsys):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    save_tensors((images, images), tmp_path / "pairs.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert run("train", "-d", tmp_path / "pairs.pkl", "--epochs", 1, "-o", tmp_path / "model.pth") == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "multiply it by 255" in error and ".py:" not in error


# ---- denoise


def test_denoise_keeps_size_name_and_mode(tmp_path, weights, capsys):
    """The fixture's network moves red halfway to 127.5, and grey, the mean of three channels, a sixth of the way."""
    (tmp_path / "in/deeper").mkdir(parents=True)
    colour, alpha = random_images(3, 5, 9), random_images(1, 5, 9)
    grey = colour[:1]
    write(colour, tmp_path / "in/colour.png")
    write(torch.cat((colour, alpha)), tmp_path / "in/deeper/alpha.png")
    write(grey, tmp_path / "in/grey.bmp")
    write(grey.float() + 0.5, tmp_path / "in/deep.tif", sixteen_bit=True)
    write(torch.cat((grey, alpha)), tmp_path / "single.png")
    out = tmp_path / "out"
    assert run("denoise", tmp_path / "in", tmp_path / "single.png", "-o", out, "--model", weights) == 0
    assert len(capsys.readouterr().out.splitlines()) == len([path for path in out.rglob("*") if path.is_file()]) == 5

    def towards_middle(image, share):
        return (image + share * (127.5 - image.float())).round().to(torch.uint8)

    halved = torch.cat((towards_middle(colour[:1], 1 / 2), colour[1:]))
    sixth = towards_middle(grey, 1 / 6)
    assert torch.equal(read(out / "colour.png"), halved)
    assert torch.equal(read(out / "deeper/alpha.png"), torch.cat((halved, alpha)))
    assert torch.equal(read(out / "grey.bmp"), sixth)
    assert torch.equal(read(out / "single.png"), torch.cat((sixth, alpha)))
    # 16 bits: within their step of 1/257, where bfloat16 does not compute (there: 1 part in 256)
    deep = read(out / "deep.tif")
    assert deep.dtype == torch.float32
    torch.testing.assert_close(deep, (grey + 0.5) * 5 / 6 + 127.5 / 6, atol=0.5, rtol=0)
    assert (deep != deep.round()).any()


def test_denoise_compare(tmp_path, weights):
    image = random_images(3, 4, 6)
    write(image, tmp_path / "image.png")
    arguments = ["denoise", tmp_path / "image.png", "-o", tmp_path / "out", "--model", weights, "--compare"]
    assert run(*arguments, "--no-self-ensemble") == 0
    beside = read(tmp_path / "out/image-compare.png")
    assert torch.equal(beside, torch.cat((image, read(tmp_path / "out/image.png")), dim=2))


def test_denoise_into_a_folder_of_the_input_twice(tmp_path, weights, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(random_images(3, 4, 4), tmp_path / "image.png")
    for _ in range(2):
        assert run("denoise", ".", "-o", "denoised", "--model", weights) == 0
        assert capsys.readouterr().out.splitlines() == ["image.png -> denoised/image.png"]


def test_denoise_goes_on_after_a_bad_image(tmp_path, weights, capsys):
    (tmp_path / "a.png").write_text("not an image")
    write(random_images(3, 4, 4), tmp_path / "b.png")
    assert_refused(capsys, ["denoise", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out", "--model",
                            weights], tmp_path / "a.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_denoise_leaves_out_what_it_cannot_write(tmp_path, weights, capsys):
    """... of a folder; a file that was asked for by name is refused."""
    (tmp_path / "in").mkdir()
    write(random_images(3, 4, 4), tmp_path / "in/a.png")
    (tmp_path / "in/clip.mpg").write_text("a film")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert run("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", weights) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "clip.mpg is left out" in error and error.count("\n") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert_refused(capsys, ["denoise", tmp_path / "in/clip.mpg", "-o", tmp_path / "out", "--model", weights],
                   tmp_path / "in/clip.mpg", ".png")
    (tmp_path / "in/a.png").unlink()  # nothing is left
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", weights) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "clip.mpg is left out" in warning and error.startswith(f"error: no image to denoise in {tmp_path / 'in'}; ")
    (tmp_path / "in/clip.mpg").unlink()
    assert_refused(capsys, ["denoise", tmp_path, "-o", tmp_path / "out", "--model", weights], "no image",
                   f"below {tmp_path / 'out'}")


def test_denoise_refuses_before_the_work(tmp_path, weights, capsys):
    for name in ("a/x.png", "b/x.png", "a/y.png", "a/y-compare.png", "empty/none", "file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(random_images(3, 4, 4), tmp_path / "image.png")
        (tmp_path / "image.png").rename(tmp_path / name)
    a, out = tmp_path / "a", tmp_path / "out"
    model = ["--model", weights]
    Model(channels=1).save(tmp_path / "grey.pth")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert_refused(capsys, ["denoise", a / "x.png", tmp_path / "b/x.png", "-o", out, *model], a / "x.png", out)
    assert_refused(capsys, ["denoise", a, "-o", out, "--compare", *model], out / "y-compare.png")
    assert_refused(capsys, ["denoise", a, "-o", a, *model], "overwrite")
    assert_refused(capsys, ["denoise", a / "x.png", tmp_path / "b", "-o", tmp_path / "b/../b", *model], "x.png")
    assert_refused(capsys, ["denoise", a / "x.png", "-o", tmp_path / "file", *model], tmp_path / "file",
                   "expected a folder")
    assert_refused(capsys, ["denoise", tmp_path / "none.png", "-o", out, *model], tmp_path / "none.png")
    assert_refused(capsys, ["denoise", tmp_path / "empty", "-o", out, *model], tmp_path / "empty")
    assert_refused(capsys, ["denoise", tmp_path / "file", "-o", out, *model], tmp_path / "file")
    assert_refused(capsys, ["denoise", a / "x.png", "-o", out, "--model", tmp_path / "none"], tmp_path / "none")
    assert_refused(capsys, ["denoise", a / "x.png", "-o", out, "--model", a / "x.png"], a / "x.png")
    assert_refused(capsys, ["denoise", a / "x.png", "-o", out, "--model", tmp_path / "grey.pth"],
                   "grey.pth is for images of 1 ")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
