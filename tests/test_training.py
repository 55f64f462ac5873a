"""Model.train: what it learns, reports, bears and leaves alone."""

import contextlib
import copy
import importlib.util
import math
import os
import re
import resource
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import pytest
import torch
from helpers import (
    BAD_IMAGES,
    GREY,
    ROOT,
    CtrlC,
    global_state,
    noisy_pairs,
    quick_model,
    seeded,
    weights_of,
)
from torch.utils._python_dispatch import TorchDispatchMode

from Miniproject_1 import model as module
from Miniproject_1.model import Model, Recipe, psnr

A, B, CLEAN = noisy_pairs(96)
NOISY = psnr(A, CLEAN)  # dB


def trained_model(**options) -> Model:
    """It gains 3.5 dB."""
    model = quick_model()
    model.train(A, B, 8, time_limit=None, progress=False, **options)
    return model


def gain(model: Model) -> float:
    """dB, of the denoised images over the noisy ones."""
    return psnr(model.predict(A), CLEAN) - NOISY


# ---------------------------------------------------------------------------------------- learning


def test_it_denoises():
    model = quick_model()
    assert gain(model) == pytest.approx(0, abs=0.05)  # bfloat16, where the processor has it
    model.train(A, B, 8, progress=False)
    assert gain(model) > 2


def test_it_is_deterministic_in_its_seed():
    first, same, other = quick_model(), quick_model(), quick_model()
    for model, seed in ((first, 3), (same, 3), (other, 4)):
        model.train(A, B, 1, seed=seed, progress=False)
    assert torch.equal(weights_of(first), weights_of(same))
    assert not torch.equal(weights_of(first), weights_of(other))


def test_it_goes_on_from_the_weights():
    model = trained_model()
    before = gain(model)
    model.train(A, B, 1, progress=False)
    assert gain(model) > before - 0.5  # one epoch from new weights gains 0.1


def test_zero_epochs_change_nothing():
    model = trained_model()
    before = weights_of(model).clone()
    model.train(A, B, 0, progress=False)
    assert torch.equal(weights_of(model), before)
    assert len(model.history) == 1


@pytest.mark.parametrize("count, shape", [(1, (3, 1, 1)), (3, (3, 5, 7)), (65, (3, 4, 4)),
                                          (2, (3, 70, 100)), (20, (1, 8, 8))])
def test_it_takes_any_count_and_size(count, shape):
    a = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=seeded())
    model = quick_model(channels=shape[0])
    before = weights_of(model).clone()
    model.train(a, 255 - a, 1, progress=False)
    assert weights_of(model).isfinite().all() and not torch.equal(weights_of(model), before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float64])
def test_the_dtype_of_the_images_does_not_matter(dtype):
    a, b = A.round(), B.round()
    model, other = quick_model(), quick_model()
    model.train(a, b, 1, progress=False)
    other.train(a.to(dtype), b.to(dtype), 1, progress=False)
    assert torch.equal(weights_of(model), weights_of(other))


def test_clean_targets_take_the_place_of_the_noisy_ones():
    """A shift of all clean targets is learnt, as nothing else could teach it."""
    model = trained_model(clean=CLEAN + 20)
    assert (model.predict(A) - CLEAN).mean() > 10


@pytest.mark.parametrize("learning_rate, optimizer", [(1e3, "muon"), (1e30, "adam")])
def test_a_divergence_ends_it_with_the_last_good_weights(learning_rate, optimizer):
    """It rises far with Muon, whose steps are bounded, and is no number with Adam."""
    model = trained_model()
    good = weights_of(model).clone()
    model.recipe = replace(model.recipe, learning_rate=learning_rate, optimizer=optimizer)
    with pytest.warns(UserWarning, match="diverged") as caught:
        model.train(A, B, 100, progress=False)
    assert caught[0].filename == __file__
    assert torch.equal(weights_of(model), good)
    assert len(model.history) < 20


def test_after_a_divergence_the_checkpoint_has_the_last_good_weights(tmp_path):
    model = quick_model(learning_rate=1e3)
    with pytest.warns(UserWarning, match="diverged"):
        model.train(A, B, 100, progress=False, checkpoint=tmp_path / "model.pth")
    saved = Model()
    saved.load_pretrained_model(tmp_path / "model.pth")
    assert torch.equal(weights_of(saved), weights_of(model))


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_layer_that_is_not_used_does_no_harm(optimizer):
    model = quick_model(optimizer=optimizer)
    model.net.spare = torch.nn.Conv2d(3, 3, 3)
    model.train(A, B, 8, time_limit=None, progress=False)
    assert gain(model) > 1


# ---------------------------------------------------------------------------------------- its ends


def test_a_time_limit_ends_it():
    trained_model()  # the first steps of a process take a second
    model = quick_model()
    began = time.monotonic()
    model.train(A, B, 500, time_limit=1.5, progress=False)  # epochs of 0.03 s
    assert time.monotonic() - began < 10
    assert model.history[-1]["epoch"] < 500
    assert gain(model) > 0.1  # it gains 8 where nothing else runs


def test_a_limit_too_short_for_a_step_is_said():
    model = quick_model()
    before = weights_of(model).clone()
    with pytest.warns(UserWarning, match="1e-06 s") as caught:
        model.train(A, B, 1, time_limit=1e-6, progress=False)
    assert caught[0].filename == __file__
    assert torch.equal(weights_of(model), before)


def test_ctrl_c_leaves_the_weights_reached_so_far(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WRITE_EVERY", 0.0)
    model = quick_model()
    with contextlib.redirect_stdout(CtrlC(epoch=8)), pytest.raises(KeyboardInterrupt):
        model.train(A, B, 20, checkpoint=tmp_path / "model.pth")
    saved = Model()
    saved.load_pretrained_model(tmp_path / "model.pth")
    assert gain(model) > 2 and gain(saved) > 2
    assert torch.equal(weights_of(model), weights_of(saved))


# ------------------------------------------------------------------------------------- its reports


def test_without_validation_the_history_has_the_estimated_psnr():
    a, b, clean = noisy_pairs(320)
    model = quick_model()
    model.train(a, b, 2, progress=False)
    first, *rows = model.history
    assert math.isnan(first["loss"]) and first["pairs"] == 0
    assert [row["epoch"] for row in model.history] == [0, 1, 2]
    assert {row["kind"] for row in model.history} == {"est."}
    assert {row["pairs"] for row in rows} == {320 - 16}  # 1 in 20 is held out
    assert all(row["pairs_per_second"] > 0 and row["seconds"] > 0 for row in rows)
    assert rows[1]["loss"] < rows[0]["loss"]
    mse = (model.predict(a, self_ensemble=False) - clean).square().mean() / 255**2
    # 16 pairs of 768 values, noise of deviation 23, an error of about 15 after two epochs: a
    # squared error of 225 with a deviation of 23 x sqrt(2 x 15^2 + 23^2) / sqrt(16 x 768) = 6.5,
    # 0.13 dB; the estimate is of other images than `mse`, which are not all equally hard.
    assert rows[1]["psnr"] == pytest.approx(-10 * mse.log10().item(), abs=0.8)


def test_with_validation_the_history_has_the_psnr_per_image():
    model = quick_model()
    model.train(A, B, 1, validation=(A[:8], CLEAN[:8]), progress=False)
    denoised = model.predict(A[:8], self_ensemble=False)
    assert model.history[-1]["psnr"] == psnr(denoised, CLEAN[:8])
    assert {row["kind"] for row in model.history} == {"per image"}
    assert model.history[-1]["pairs"] == 96  # none is held out


def test_after_epoch_sees_the_weights_of_each_epoch_and_adds_to_its_row():
    def add(row):
        row["mine"] = psnr(model.predict(A[:8], self_ensemble=False), CLEAN[:8])

    model = quick_model()
    model.train(A, B, 2, validation=(A[:8], CLEAN[:8]), progress=False, after_epoch=add)
    assert [row["mine"] for row in model.history] == [row["psnr"] for row in model.history]


def test_progress_is_a_row_per_epoch(capsys):
    model = quick_model()
    model.train(A, B, 2)
    heading, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    for row, record in zip(rows, model.history, strict=True):
        assert f"{record['psnr']:.2f}" in row and "nan" not in row


def test_without_progress_nothing_is_printed(capsys):
    quick_model().train(A, B, 1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_checkpoints_are_the_weights(tmp_path):
    model = trained_model(checkpoint=tmp_path / "model.pth")
    saved = Model()
    saved.load_pretrained_model(tmp_path / "model.pth")
    assert torch.equal(weights_of(saved), weights_of(model))


@pytest.fixture
def full_disk():
    """No file can grow beyond 10 kB, less than a third of the weights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_does_not_end_it(tmp_path, full_disk):
    (tmp_path / "model.pth").write_bytes(b"older")
    model = quick_model()
    with pytest.warns(UserWarning, match="checkpoint") as caught:
        model.train(A, B, 2, progress=False, checkpoint=tmp_path / "model.pth")
    assert ["epoch 1" in str(warning.message) for warning in caught] == [True]
    assert caught[0].filename == __file__
    assert len(model.history) == 3
    assert (tmp_path / "model.pth").read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["model.pth"]


def test_a_checkpoint_in_a_missing_folder_is_refused_at_once(tmp_path):
    model = quick_model()
    with pytest.raises(OSError, match="missing/model.pth"):
        model.train(A, B, 1, checkpoint=tmp_path / "missing/model.pth")
    assert model.history == []


# ------------------------------------------------------------------------------- the process around


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_with_autograd_off(mode, tmp_path):
    model = trained_model()
    with mode():
        again = trained_model()
        again.save(tmp_path / "model.pth")
        again.load_pretrained_model(tmp_path / "model.pth")
        assert not again.predict(A).requires_grad
    assert torch.equal(weights_of(again), weights_of(model))
    again.train(A, B, 1, progress=False)


def test_it_does_not_depend_on_the_default_dtype():
    model = trained_model()
    torch.set_default_dtype(torch.float64)
    try:
        other = trained_model()
        assert other.predict(A).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert gain(other) == pytest.approx(gain(model), abs=1)  # from other initial weights


@pytest.mark.parametrize("autograd", [True, False])
def test_no_method_changes_global_state(autograd, tmp_path):
    with torch.set_grad_enabled(autograd):
        before = global_state()
        model = Model(replace(Recipe(), widths=(4,), blocks=0))
        model.train(A, B, 1, progress=False)
        model.save(tmp_path / "model.pth")
        model.load_pretrained_model(tmp_path / "model.pth")
        model.predict(A)
        assert global_state() == before


class Recorder(TorchDispatchMode):
    """The names of PyTorch's operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_importing_the_module_has_no_effect():
    before = global_state()
    spec = importlib.util.spec_from_file_location("again", ROOT / "Miniproject_1/model.py")
    with Recorder() as recorder:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert recorder.names == [] and global_state() == before


def test_steps_use_freed_memory_again():
    """After the first ones, a step of 16 pairs gets less than 4 MiB from the system.

    Counted by the page faults of a process of its own, without settings of malloc. Without
    keep_freed_memory each step gets all of its memory, some 20 MiB, anew.
    """
    code = """
import resource, torch
from Miniproject_1.model import Model, Recipe
noisy = torch.randint(256, (2, 64, 3, 32, 32), dtype=torch.uint8)
model, faults = Model(Recipe(batch=16)), []
for epochs in (1, 2):
    model.train(*noisy, epochs, validation=(noisy[0, :1], noisy[1, :1]), progress=False)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print((faults[1] - faults[0]) * resource.getpagesize() // 8)
"""
    tuned = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "THP_MEM")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(tuned)}
    environment["OMP_NUM_THREADS"] = "1"  # two would wait for each other on a busy machine
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=ROOT, env=environment, timeout=60)
    assert int(run.stdout) < 4 * 2**20


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("images, error, named", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_are_named(images, error, named):
    model = quick_model()
    for name, arguments, options in [
            ("noisy_a", (images, GREY), {}),
            ("noisy_b", (GREY, images), {}),
            ("validation[0]", (GREY, GREY), {"validation": (images, GREY)}),
            ("validation[1]", (GREY, GREY), {"validation": (GREY, images)}),
            ("clean", (GREY, GREY), {"clean": images})]:
        with pytest.raises(error, match=re.escape(name)) as caught:
            model.train(*arguments, 1, progress=False, **options)
        assert named in str(caught.value)


def test_validation_that_is_no_pair_is_named():
    with pytest.raises(TypeError, match="validation is a Tensor"):
        quick_model().train(A, B, 1, validation=A)


def test_images_of_different_shapes_are_refused():
    model = quick_model()
    for arguments, options in [
            ((GREY, GREY[:1]), {}),
            ((GREY, GREY), {"clean": GREY[:1]}),
            ((GREY, GREY), {"validation": (GREY, GREY[:1])})]:
        with pytest.raises(ValueError, match=r"2, 3, 4, 4.*1, 3, 4, 4"):
            model.train(*arguments, 1, progress=False, **options)


@pytest.mark.parametrize("name", ["num_epochs", "seed"])
@pytest.mark.parametrize("value, error", [(-1, ValueError), (1.5, TypeError), ("3", TypeError),
                                          (True, TypeError), (None, TypeError)])
def test_bad_counts_are_named(name, value, error):
    with pytest.raises(error, match=f"{name} is {value!r}"):
        quick_model().train(A, B, **{"num_epochs": 1, name: value})


@pytest.mark.parametrize("limit", [0, -5, math.nan, "none", [60]])
def test_bad_time_limits_are_named(limit):
    with pytest.raises(ValueError, match=re.escape(f"time_limit is {limit!r}")):
        quick_model().train(A, B, 1, time_limit=limit)


def test_counts_of_any_kind_of_integer_are_taken():
    model = quick_model()
    model.train(A, B, torch.tensor(2), seed=torch.tensor(3), progress=False)
    assert model.history[-1]["epoch"] == 2


def test_images_scaled_to_one_get_a_hint_once():
    with pytest.warns(UserWarning) as caught:
        quick_model().train(A / 255, B, 0, progress=False)
        quick_model().train(A, B, 2, validation=(A / 255, CLEAN), progress=False)
    names = [str(warning.message).split()[0] for warning in caught]
    assert names == ["noisy_a", "validation[0]"]
    assert {warning.filename for warning in caught} == {__file__}


def test_identical_copies_get_a_warning():
    with pytest.warns(UserWarning, match="noisy_a and noisy_b") as caught:
        quick_model().train(A, A.clone(), 0, progress=False)
    assert caught[0].filename == __file__


def test_good_input_gets_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick_model().train(A, B, 1, progress=False)
        copies = copy.copy(A), 255 - A
        quick_model().train(*copies, 1, progress=False, clean=CLEAN)
