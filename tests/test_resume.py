"""Trainings that are stopped or killed and go on, and those that run short of memory."""

import re
from itertools import count

import pytest
import torch
from helpers import noisy_pairs, quick_model, weights_of

from Miniproject_1 import model as module
from Miniproject_1.model import Model, Recipe, Schedule, UNet
from Miniproject_1.others.study import kills

A, B, CLEAN = noisy_pairs(40)
EPOCHS, STEPS = 3, 5  # of the trainings here; steps of an epoch: 38 pairs, 2 more are held out
BATCH = 8


def small_model(**fields) -> Model:
    return quick_model(**{"batch": BATCH, **fields})


def after(steps):
    """What stops a training after so many steps."""
    calls = count(1)
    return lambda: next(calls) >= steps


def trained(model, **options) -> Model:
    model.train(A, B, EPOCHS, **{"time_limit": None, "progress": False, **options})
    return model


def stopped_file(tmp_path, steps=STEPS + 2, model=None, **options):
    """The checkpoint of a training that was stopped after so many steps."""
    file = tmp_path / "model.pth"
    model = model or small_model()
    trained(model, checkpoint=file, stop=after(steps), **options)
    assert model.stopped
    return file


# -------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("fields", [{}, {"optimizer": "adam", "learning_rate": 2e-3},
                                    {"value_range": None, "loss": "weighted", "swap": "pixels"}],
                         ids=["muon", "adam", "own units"])
@pytest.mark.parametrize("steps", [1, STEPS - 1, STEPS, STEPS + 2])
def test_it_goes_on_as_if_nothing_had_happened(tmp_path, steps, fields):
    """From within an epoch, and from its last step; the weights are the same to the bit."""
    whole = trained(small_model(**fields))
    file = stopped_file(tmp_path, steps, small_model(**fields))
    resumed = small_model(**fields)
    torch.nn.init.ones_(resumed.net.head.weight)  # what it starts from is in the file
    trained(resumed, resume=file)
    assert not resumed.stopped
    assert torch.equal(weights_of(resumed), weights_of(whole))
    for row, expected in zip(resumed.history, whole.history, strict=True):
        for key in ("epoch", "psnr", "kind", "pairs"):
            assert row[key] == expected[key]
        assert row["loss"] == pytest.approx(expected["loss"], nan_ok=True)


def test_it_goes_on_from_a_file_of_a_whole_epoch(tmp_path):
    """Where it was killed in the second epoch, whose steps are done again."""
    files = []

    class Copying:
        def __call__(self):
            files.append((tmp_path / "model.pth").read_bytes()
                         if (tmp_path / "model.pth").exists() else b"")
            return False

    whole = trained(small_model(), checkpoint=tmp_path / "model.pth", stop=Copying())
    (tmp_path / "killed.pth").write_bytes(files[STEPS + 2])
    resumed = trained(small_model(), resume=tmp_path / "killed.pth")
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_the_file_serves_to_denoise(tmp_path):
    file = stopped_file(tmp_path)
    model = Model()
    model.load_pretrained_model(file)
    assert model.predict(A).isfinite().all()


def test_the_time_that_was_used_counts():
    clock = count()
    schedule = Schedule(Recipe(), 10**6, 100.0, clock=lambda: float(next(clock)))
    for _ in range(30):
        schedule.advance()
    state = schedule.state()
    clock = count(1000)
    later = Schedule(Recipe(), 10**6, 100.0, clock=lambda: float(next(clock)))
    later.restore(state)
    later.advance()
    # At a second a look at the clock, that of `state` and of `advance` included.
    assert later.progress == pytest.approx(0.32, abs=0.011)
    assert later.taken == 31


def test_a_file_is_written_every_minute(tmp_path, monkeypatch):
    """Here after each step, so that the last one but the end is known."""
    monkeypatch.setattr(module, "WRITE_EVERY", 0.0)
    steps = []

    def looked_at():
        if (tmp_path / "model.pth").exists():
            content = torch.load(tmp_path / "model.pth", weights_only=True)
            steps.append(content["training"]["schedule"]["taken"])
        return False

    trained(small_model(), checkpoint=tmp_path / "model.pth", stop=looked_at)
    assert steps == list(range(1, EPOCHS * STEPS))


def test_at_the_end_the_file_has_the_weights_only(tmp_path):
    model = trained(small_model(), checkpoint=tmp_path / "model.pth")
    model.save(tmp_path / "saved.pth")
    assert (tmp_path / "model.pth").read_bytes() == (tmp_path / "saved.pth").read_bytes()


def test_an_older_file_is_worth_more_than_the_first_steps(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"older")
    model = trained(small_model(), checkpoint=tmp_path / "model.pth", stop=after(2))
    assert model.stopped and (tmp_path / "model.pth").read_bytes() == b"older"


def test_kills_at_random_moments_lose_nothing():
    row = kills.measure(kills=3, seed=1, progress=False)
    assert (row["kills"], row["identical"], row["corrupt"]) == (3, 3, 0)


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("fields, options, named", [
    ({"batch": 4}, {}, "batch 8, now 4"),
    ({"loss": "mse"}, {}, "loss 'log', now 'mse'"),
    ({}, {"seed": 3}, "seed 0, now 3"),
    ({}, {"time_limit": 60}, "time_limit None, now 60"),
    ({}, {"validation": (A, CLEAN)}, "validation"),
    ({}, {"memory": 10**6}, "memory"),
    ({}, {"clean": CLEAN}, "images '"),
], ids=["batch", "loss", "seed", "time limit", "validation", "memory", "clean targets"])
def test_other_settings_are_refused(tmp_path, fields, options, named):
    file = stopped_file(tmp_path)
    with pytest.raises(ValueError, match=re.escape(named)) as caught:
        trained(small_model(**fields), resume=file, **options)
    assert str(file) in str(caught.value)


def test_other_epochs_and_images_are_refused(tmp_path):
    file = stopped_file(tmp_path)
    for a, epochs, named in ((A, 4, "num_epochs 3, now 4"), (A.flip(0), EPOCHS, "images '"),
                             (A.double(), EPOCHS, "images '")):
        with pytest.raises(ValueError, match=named):
            small_model().train(a, B, epochs, time_limit=None, progress=False, resume=file)


def test_files_without_a_training_are_refused(tmp_path):
    file = stopped_file(tmp_path)
    content = torch.load(file, weights_only=True)
    content["training"]["format"] = 99
    torch.save(content, tmp_path / "newer.pth")
    (tmp_path / "cut.pth").write_bytes(file.read_bytes()[:-1000])
    small_model().save(tmp_path / "weights.pth")
    for name, named in (("newer.pth", "format 99"), ("cut.pth", "damaged"),
                        ("weights.pth", "no training")):
        with pytest.raises(ValueError, match=named) as caught:
            trained(small_model(), resume=tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="none.pth"):
        trained(small_model(), resume=tmp_path / "none.pth")


# ---------------------------------------------------------------------------------- short of memory


@pytest.fixture(params=[torch.OutOfMemoryError, MemoryError,
                        lambda text: RuntimeError(f"DefaultCPUAllocator: can't allocate {text}")],
                ids=["GPU", "Python", "CPU"])
def short_of_memory(request, monkeypatch):
    """The network has memory for eight images at first; once, in a second pass, for four."""
    forward = UNet.forward
    calls = []

    def limited(self, image):
        calls.append(len(image))
        if self.training and (len(image) > 8 or len(image) == 8 and calls.count(8) == 2):
            raise request.param("memory")
        return forward(self, image)

    monkeypatch.setattr(UNet, "forward", limited)


def test_out_of_memory_takes_more_passes(short_of_memory, monkeypatch):
    fields = {"optimizer": "adam", "learning_rate": 1e-4, "precision": "float32"}
    short = small_model(**fields)
    with pytest.warns(UserWarning, match="out of memory") as caught:
        trained(short)
    assert len(caught) == 1 and caught[0].filename == __file__
    monkeypatch.undo()
    whole = trained(small_model(**fields))
    start = weights_of(small_model(**fields))
    moved = (weights_of(whole) - start).abs().max()
    # Adam moves a weight by its rate whatever the size of the gradient, also where that is all
    # rounding: a few weights may part, not their mean. A lost pass would part all of them.
    assert (weights_of(short) - weights_of(whole)).abs().mean() < 1e-3 * moved


def test_out_of_memory_for_one_image_is_an_error(monkeypatch):
    def forward(self, image):
        raise torch.OutOfMemoryError("too large")

    model = small_model(held_out=0)
    monkeypatch.setattr(UNet, "forward", forward)
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="out of memory"):
        model.train(A, B, 1, progress=False)


def test_other_errors_are_not_taken_for_it(monkeypatch):
    model = small_model(held_out=0)
    monkeypatch.setattr(UNet, "forward", lambda self, image: torch.zeros(1) @ torch.zeros(2))
    with pytest.raises(RuntimeError, match="size"):
        model.train(A, B, 1, progress=False)
