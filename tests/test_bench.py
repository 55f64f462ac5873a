"""The bench: settings, budgets, and the results file that its table shows."""

import dataclasses
import json
import math
import warnings

import pytest
import torch

from Miniproject_1 import Model, model
from Miniproject_1.others import bench
from Miniproject_1.others.pixelate import build, load_tensors, save_tensors

TINY = {"widths": (8, 16), "blocks": 1}
DEEPER = "two views, half rate, chroma weight 5, 3 blocks"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    build(folder, pairs=96, validation=8, progress=False, clean=True)
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    settings = {name: setting if setting.published else dataclasses.replace(setting, network=TINY | setting.network)
                for name, setting in bench.SETTINGS.items()}
    monkeypatch.setattr(bench, "SETTINGS", settings)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", bench.SETTINGS)
def test_every_setting_trains(name, data, tmp_path):
    """... on every pair in each epoch, and leaves model.py as it was."""
    before = dict(vars(model))
    arguments = ["-d", str(data), "--epochs", "2", "--no-throughput", "--results", str(tmp_path / "results.jsonl")]
    assert bench.main([name, *arguments]) == 0
    (row,) = rows(tmp_path / "results.jsonl")
    assert (row["setting"], row["epochs"], row["pairs_seen"]) == (name, 2, 192)
    assert 10 < row["psnr"] < 40 and row["torch"] == torch.__version__
    assert (row["data"], row["validation"]) == (str(data), str(data / "val_data.pkl"))
    assert dict(vars(model)) == before


@pytest.fixture
def quick(monkeypatch):
    """Throughput in one short turn."""
    monkeypatch.setattr(bench, "TURNS", 1)
    monkeypatch.setattr(bench, "TURN", 1.0)
    monkeypatch.setattr(bench, "PRODUCT", 64)


def test_throughput_on_clean_targets(data, quick):
    """... is that of stacked pairs: of others it would train on half of each image."""
    stacked = bench.stacked(*load_tensors(data / "clean_data.pkl"))
    (row,) = bench.throughput(["clean targets"], {True: stacked}, load_tensors(data / "val_data.pkl"))
    assert row["setting"] == "clean targets" and row["pairs_per_second"] > 0


def test_results_are_appended_and_shown(data, tmp_path, quick, capsys):
    path = tmp_path / "results.jsonl"
    common = ["ours", "Adam", "-d", str(data), "--results", str(path)]
    assert bench.main([*common, "--minutes", "0"]) == 0
    speed = rows(path)[0]
    assert 0 < speed["images_per_second_self_ensemble"] < speed["images_per_second"]  # 8 times the work
    capsys.readouterr()
    assert bench.main(["--table", str(path)]) == 0  # of throughput only
    (_, ours, adam) = capsys.readouterr().out.splitlines()
    assert ours.split()[0] == "ours" and ours.split()[-1] == f"{speed['images_per_second_self_ensemble']:,.0f}"
    assert adam.split()[0] == "Adam"
    kept = ["--weights", str(tmp_path / "weights")]
    assert bench.main([*common, *kept, "--minutes", "0.02", "--no-throughput", "--seeds", "3", "4"]) == 0
    assert [(row["kind"], row["setting"], row.get("seed")) for row in rows(path)] == [
        ("throughput", "ours", None), ("throughput", "Adam", None), ("training", "ours", 3), ("training", "Adam", 3),
        ("training", "ours", 4), ("training", "Adam", 4)]
    for name in ("ours-3", "ours-4", "Adam-3", "Adam-4"):
        Model().load_pretrained_model(tmp_path / f"weights/{name}.pth")
    assert all(row["share"] > 0 and row["pairs_per_second"] > 0 for row in rows(path)[:2])
    capsys.readouterr()
    assert bench.main(["--table", str(path)]) == 0
    speeds, _, trainings = capsys.readouterr().out.partition("\n\n")
    assert len(speeds.splitlines()) == 3
    lines = trainings.splitlines()
    assert len(lines) == 4 and {line.split(" | ")[0] for line in lines[2:]} == {"| ours", "| Adam"}
    values = [row["psnr"] for row in rows(path) if row["kind"] == "training" and row["setting"] == "ours"]
    assert f"| {sum(values) / 2:.3f} | {abs(values[0] - values[1]) / 2**0.5:.3f} | 2 |" in "\n".join(lines)


def test_several_validation_files(data, tmp_path, capsys):
    """... measure the same training, with a line of results for each, the first one that of the rows per epoch."""
    noisy, clean = load_tensors(data / "val_data.pkl")
    save_tensors((clean, clean), tmp_path / "clean.pkl")
    files = [str(data / "val_data.pkl"), str(tmp_path / "clean.pkl")]
    arguments = ["ours", "-d", str(data), "--epochs", "1", "--no-throughput", "--results", str(tmp_path / "two.jsonl")]
    assert bench.main([*arguments, "--validation", files[0], "--validation", files[1]]) == 0
    first, second = rows(tmp_path / "two.jsonl")
    assert [first["validation"], second["validation"]] == files
    assert first["psnr"] < 30 < second["psnr"]  # a training of 3 steps leaves clean images nearly as they are
    assert first["history"][-1]["psnr"] == pytest.approx(first["psnr"], abs=0.5) and "history" not in second
    assert first["seconds"] == second["seconds"]
    capsys.readouterr()
    assert bench.main(["--table", str(tmp_path / "two.jsonl")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4  # they do not compare: a line each


def test_two_views_have_the_gradient_of_the_mean_over_all():
    """Its mean over the pairs of views is the gradient of the squared error of the self-ensemble."""
    generator = torch.Generator().manual_seed(0)
    net = bench.TwoViewsUNet(**TINY)
    net.views = 8
    for weight in net.parameters():  # some of the new ones are 0
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    image, target = torch.rand(2, 3, 3, 8, 8, generator=generator)
    views = [(turns, axes) for turns in range(4) for axes in ((), (-1,))]

    def gradient(error):
        parts = torch.autograd.grad(error.square().sum() / 2, list(net.parameters()))
        return torch.cat([part.flatten() for part in parts])

    pairs, ensemble = [], 0
    for turns, axes in views:
        source, goal = (x.rot90(turns, (-2, -1)).flip(axes) for x in (image, target))
        # each call takes the next of seven second views; both halves are the first view of one pair
        pairs += [gradient(net(torch.cat((source, source))) - torch.cat((goal, goal))) / 2 for _ in range(7)]
        ensemble = ensemble + model.UNet.forward(net, source).flip(axes).rot90(-turns, (-2, -1)) / 8
    expected = gradient(ensemble - target)
    torch.testing.assert_close(torch.stack(pairs).mean(0), expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    with torch.no_grad():
        assert torch.equal(net(image), model.UNet.forward(net, image))


@pytest.mark.parametrize("name", ["ours", DEEPER])
def test_training_goes_on_from_weights(name, data, tmp_path, capsys):
    """... also of a network with fewer blocks, whose output the new ones do not change."""
    with bench.SETTINGS["ours"].model(seed=7) as start:
        for weight in start.net.parameters():  # new weights are the identity
            weight.add_(0.05)
        start.save(tmp_path / "start.pth")
    validation = bench.load_tensors(data / "val_data.pkl")
    reached = bench.psnr(start.predict(validation[0], self_ensemble=False), validation[1])
    assert abs(reached - bench.psnr(*validation)) > 0.01
    arguments = ["-d", str(data), "--epochs", "2", "--no-throughput", "--weights", str(tmp_path / "weights")]
    results = ["--results", str(tmp_path / "results.jsonl")]
    assert bench.main([name, *arguments, *results, "--from", str(tmp_path / "start.pth")]) == 0
    (row,) = rows(tmp_path / "results.jsonl")
    assert row["from"] == str(tmp_path / "start.pth") and row["history"][0]["psnr"] == pytest.approx(reached)
    assert f"| {name} from {tmp_path / 'start.pth'} | 2 epochs |" in capsys.readouterr().out
    trained = Model()
    trained.load_pretrained_model(tmp_path / f"weights/{name}-0.pth")
    assert bench.psnr(trained.predict(validation[0]), validation[1]) == pytest.approx(row["psnr"])
    assert trained.net.arguments["blocks"] == (3 if name == DEEPER else 1)
    for other in ("published", "wide") if name == "ours" else ("published", "ours"):
        assert bench.main([other, *arguments, "--from", str(tmp_path / f"weights/{name}-0.pth")]) == 2
        assert f"another network than {other}" in capsys.readouterr().err
    assert bench.main([name, *arguments, "--from", str(tmp_path / f"weights/{name}-0.pth")]) == 2
    assert "would be overwritten" in capsys.readouterr().err


def test_weights_are_kept_after_each_epoch(data, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Model, "save", lambda self, path: saved.append((path, len(self.history))))
    arguments = ["-d", str(data), "--epochs", "2", "--no-throughput", "--weights", str(tmp_path)]
    assert bench.main(["ours", *arguments]) == 0
    assert saved == [(tmp_path / "ours-0.pth", count) for count in (2, 3, 3)]  # rows of the history: epochs 0, 1, 2


def test_ctrl_c_keeps_the_weights(data, tmp_path, monkeypatch, capsys):
    """... of the second epoch, in the place of the first one's."""
    output, seen = tmp_path / "ours-0.pth", []

    def interrupted(*arguments):
        seen.append(output.read_bytes() if output.exists() else b"")
        if len(seen) == 6:  # in the last of three steps
            raise KeyboardInterrupt
        return bench.augment(*arguments)

    monkeypatch.setattr(model, "augment", interrupted)
    assert bench.main(["ours", "-d", str(data), "--epochs", "3", "--no-throughput", "--weights", str(tmp_path)]) == 130
    assert capsys.readouterr().err == f"interrupted: wrote the weights reached so far to {output}\n"
    assert seen[2] == b"" != seen[3] and seen[-1] != output.read_bytes()
    Model().load_pretrained_model(output)


@pytest.mark.parametrize("older", [True, False])
def test_ctrl_c_in_the_first_epoch(older, data, tmp_path, monkeypatch):
    """... keeps an older file, and else writes the weights reached."""
    output = tmp_path / "ours-0.pth"
    if older:
        output.write_bytes(b"older")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "augment", interrupted)
    assert bench.main(["ours", "-d", str(data), "--epochs", "2", "--no-throughput", "--weights", str(tmp_path)]) == 130
    if older:
        assert output.read_bytes() == b"older"
    else:
        Model().load_pretrained_model(output)


def test_weights_are_kept_without_an_epoch(data, tmp_path, monkeypatch, capsys):
    """... as the loss diverges in the first one: those that the training fell back on, which were measured."""
    monkeypatch.setattr(model, "noise2noise_loss", lambda denoised, *_: denoised.mean() * math.nan)
    results = ["--results", str(tmp_path / "results.jsonl")]
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert bench.main(["ours", "-d", str(data), "--epochs", "1", "--no-throughput", "--weights", str(tmp_path),
                           *results]) == 0
    assert "warning: the loss diverged" in capsys.readouterr().err
    kept = Model()
    kept.load_pretrained_model(tmp_path / "ours-0.pth")
    noisy, clean = load_tensors(data / "val_data.pkl")
    (row,) = rows(tmp_path / "results.jsonl")
    assert row["pairs_seen"] == 0 and bench.psnr(kept.predict(noisy), clean) == pytest.approx(row["psnr"])


def test_a_full_disk_does_not_end_the_other_trainings(data, tmp_path, monkeypatch, capsys):
    def full(self, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(Model, "save", full)
    results = ["--results", str(tmp_path / "results.jsonl"), "--seeds", "1", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert bench.main(["ours", "-d", str(data), "--epochs", "1", "--no-throughput", "--weights",
                           str(tmp_path / "weights"), *results]) == 2
    printed = capsys.readouterr()
    assert f"error: {tmp_path / 'weights/ours-2.pth'} not written: No space left on device\n" in printed.err
    assert len(rows(tmp_path / "results.jsonl")) == 2 and "| ours | 1 epochs |" in printed.out


def test_what_was_measured_is_printed_before_it_is_written(data, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(bench, "append_results", full)
    results = ["--results", str(tmp_path / "results.jsonl")]
    assert bench.main(["ours", "-d", str(data), "--epochs", "1", "--no-throughput", *results]) == 2
    printed = capsys.readouterr()
    assert "dB per image" in printed.out and printed.err == "error: No space left on device\n"


def test_data_of_another_kind_are_refused(tmp_path, capsys):
    """... in one line, though it is the training that refuses them."""
    grey = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    for name in ("train", "val"):
        save_tensors((grey, grey), tmp_path / f"{name}_data.pkl")
    assert bench.main(["ours", "-d", str(tmp_path), "--epochs", "1", "--no-throughput"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "expected N x 3" in error and error.count("\n") == 1


def test_a_table_of_other_rows_is_refused(tmp_path, capsys):
    for content in ("hello", '{"kind": "training"}', "[]"):
        (tmp_path / "other.jsonl").write_text(content)
        assert bench.main(["--table", str(tmp_path / "other.jsonl")]) == 2
        assert "other.jsonl holds other rows" in capsys.readouterr().err


def test_seconds_to_a_level():
    history = [{"psnr": 20.0, "seconds": 1.0}, {"psnr": None, "seconds": 2.0}, {"psnr": 25.5, "seconds": 3.0}]
    assert bench.seconds_to(25.4, history) == 3.0
    assert bench.seconds_to(26.0, history) is None


@pytest.mark.parametrize("arguments, words", [
    (["theirs"], "no setting theirs"), (["--minutes", "-1"], "--minutes"), (["--epochs", "0"], "--epochs"),
    (["--validation", "missing.pkl"], "missing.pkl"),
    (["--table", "missing.jsonl"], "missing.jsonl"), (["ours", "--from", "missing.pth"], "missing.pth")])
def test_bad_arguments(arguments, words, data, capsys):
    assert bench.main([*arguments, "-d", str(data)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and len(error.splitlines()) == 1


def test_missing_data_are_not_made_under_a_name_that_was_given(tmp_path, capsys):
    for name, options in (("ours", ""), ("clean targets", " --clean")):
        assert bench.main([name, "-d", str(tmp_path / "dta")]) == 2
        assert f"data{options} -o {tmp_path / 'dta'}`" in capsys.readouterr().err
    assert not (tmp_path / "dta").exists()


def test_clean_targets_without_clean_data(data, tmp_path, capsys):
    for name in ("train_data.pkl", "val_data.pkl"):
        (tmp_path / name).symlink_to(data / name)
    assert bench.main(["clean targets", "-d", str(tmp_path), "--epochs", "2"]) == 2
    assert f"data --clean -o {tmp_path}`" in capsys.readouterr().err


def steps(name, pairs, validation, monkeypatch):
    """Sources and targets of the steps of a training of two epochs."""
    setting, seen = bench.SETTINGS[name], []
    augment = setting.replaced.get("augment", model.augment)

    def recording(*arguments):
        seen.append(augment(*arguments))
        return seen[-1]

    replaced = setting.replaced | {"augment": recording}
    monkeypatch.setitem(bench.SETTINGS, name, dataclasses.replace(setting, replaced=replaced))
    bench.training(name, {"epochs": 2}, 0, pairs, validation)
    return seen


@pytest.mark.parametrize("name", [name for name, setting in bench.SETTINGS.items() if setting.clean])
def test_clean_targets_have_the_sources_of_noisy_ones(name, data, monkeypatch):
    """... in the same steps, turned alike, and each belongs to its source."""
    noisy, validation, every = (load_tensors(data / f"{kind}_data.pkl") for kind in ("train", "val", "clean"))
    partner = name.removeprefix("clean targets").removeprefix(", ") or "ours"
    assert bench.SETTINGS[name].passes == bench.SETTINGS[partner].passes
    assert bench.SETTINGS[name].replaced | {"augment": None} == bench.SETTINGS[partner].replaced | {"augment": None}
    expected = steps(partner, noisy, validation, monkeypatch)
    measured = steps(name, bench.stacked(*every), validation, monkeypatch)
    assert len(measured) == len(expected) == 6
    for (source, target), (same, clean) in zip(expected, measured, strict=True):
        assert torch.equal(source, same) and clean.shape == target.shape
        both, one = ((image.double() - target.double()).square().mean() for image in (source, clean))
        assert 0.4 * both < one < 0.6 * both  # the noise of one copy, and of two


def test_clean_targets_of_images_that_training_would_cut():
    with pytest.raises(ValueError, match="33 pixels high, expected 32 at most"):
        bench.stacked(*torch.zeros(2, 2, 3, 33, 32))


@pytest.mark.parametrize("optimizer, taken, factor", [(bench.FallingMuon, 1500, 0.5), (bench.WarmMuon, 25, 0.25),
                                                      (bench.WarmMuon, 200, 1.0)])
def test_rates(optimizer, taken, factor):
    """How far step `taken` goes, relative to Muon's at the same gradient and momentum."""
    moved = []
    for kind in (model.Muon, optimizer):
        weight = torch.zeros(4, 3, 3, 3)
        muon = kind([weight])
        muon.taken = taken - 1  # of which Muon takes no notice
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        muon.step(0.01)
        moved.append(weight)
    assert torch.equal(moved[1], factor * moved[0])


def test_one_direction():
    """Each pair in the one or the other, as often."""
    a, b = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1).expand(2, 400, 3, 4, 4)
    source, target = bench.one_direction(a, b, torch.Generator().manual_seed(0))
    assert source.shape == a.shape and torch.equal(source, -target) and (source == source[:, :1, :1, :1]).all()
    assert abs(source[:, 0, 0, 0].sum()) < 4.5 * 400**0.5  # binomial


def test_pixel_swap():
    """Each pixel with all of its channels, independently."""
    a, b = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1).expand(2, 50, 3, 16, 16)
    source, target = bench.pixel_swap(a, b, torch.Generator().manual_seed(0))
    assert torch.equal(source, -target) and (source == source[:, :1]).all()
    sign = source[:, 0]
    for product in (sign, sign[:, 1:] * sign[:, :-1], sign[..., 1:] * sign[..., :-1]):  # binomial
        assert abs(product.sum()) < 4.5 * product.numel() ** 0.5
