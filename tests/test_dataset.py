"""The tiles that a training draws, also where they do not all fit into its memory."""

import numpy as np
import pytest
import torch
from helpers import noisy_pairs, quick_model, seeded, weights_of

from Miniproject_1.model import Dataset, tiles

CPU = torch.device("cpu")
COUNT, SIDE, TILE = 30, 20, 8  # 2 x 2 tiles each, that leave out four pixels
TILES = 4 * COUNT
BYTES = 2 * 2 * TILE**2  # of a pair of tiles, uint16


def numbered():
    """Images of which no two pixels have the same value."""
    images = torch.arange(COUNT * SIDE**2, dtype=torch.int64).view(COUNT, 1, SIDE, SIDE)
    return images.to(torch.uint16)


def dataset_of(images, memory):
    return Dataset((images, images), TILE, CPU, memory)


def batches(dataset, seed=0, start=0, batch=7):
    return [pairs.a.int() for pairs in dataset.shuffled(batch, seed, start)]


@pytest.mark.parametrize("held", [0, 12])
@pytest.mark.parametrize("memory", [10**9, 70 * BYTES, 30 * BYTES, 1], ids="all 70 30 1".split())
def test_an_epoch_has_each_tile_once(memory, held):
    images = numbered()
    dataset = dataset_of(images, memory)
    out = dataset.hold_out(held)
    drawn = batches(dataset)
    assert len(dataset) == TILES - (0 if out is None else len(out))
    assert [len(batch) for batch in drawn[:-1]] == [7] * (len(drawn) - 1)
    seen = torch.cat(drawn + ([] if out is None else [out.a.int()]))
    first_pixels = seen[:, 0, 0, 0].sort().values
    assert torch.equal(first_pixels, tiles(images, TILE)[:, 0, 0, 0].int().sort().values)
    every = {tuple(tile.flatten().tolist()) for tile in tiles(images, TILE).int()}
    assert {tuple(tile.flatten().tolist()) for tile in seen} == every


@pytest.mark.parametrize("memory", [10**9, 70 * BYTES, 30 * BYTES])
def test_the_order_follows_the_seed_and_can_be_taken_up(memory):
    dataset = dataset_of(numbered(), memory)
    first, same, other = batches(dataset), batches(dataset), batches(dataset, seed=1)
    assert all(map(torch.equal, first, same))
    assert not torch.equal(torch.cat(first), torch.cat(other))
    for start in (1, 5, len(first) - 1, len(first)):
        rest = batches(dataset, start=start)
        assert len(rest) == len(first) - start
        assert all(map(torch.equal, rest, first[start:]))


def test_a_window_mixes_images_from_everywhere():
    """Those of a large one, a quarter of all, are of both halves of the data."""
    images = torch.arange(4000).view(4000, 1, 1, 1).expand(-1, 1, 64, 64).to(torch.int32)
    dataset = Dataset((images, images), 64, CPU, memory=3000 * 2 * 4 * 64**2)
    order = batches(dataset, batch=1000)[1][:, 0, 0, 0]
    # It has 16 of 63 runs of 64 images. Of n = 16 of N = 63, the share in one half has a deviation
    # of sqrt(1 / 4n x (N - n) / (N - 1)) = 0.11.
    assert (order < 2000).float().mean() == pytest.approx(0.5, abs=5 * 0.11)
    assert (order.diff() == 1).float().mean() < 0.01  # within it, single images are shuffled


def test_what_is_held_stays_within_the_memory(monkeypatch):
    """The window, the next one, and the copy while it is read."""
    memory = 30 * BYTES
    dataset = dataset_of(numbered(), memory)
    read = []
    monkeypatch.setattr(dataset, "at", lambda index: read.append(len(index))
                        or Dataset.at(dataset, index))
    batches(dataset, batch=2)
    assert read[:4] == [2, 4, 8, 10] and 3 * max(read) * BYTES <= memory  # the first ones are small


def mapped(tmp_path, images, kind):
    """The same images, read from a file as they are needed."""
    if kind == "npy":
        np.save(tmp_path / "images.npy", images.numpy())
        return torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    torch.save(images, tmp_path / "images.pth")
    return torch.load(tmp_path / "images.pth", mmap=True, weights_only=True)


@pytest.mark.parametrize("kind", ["npy", "pth"])
def test_mapped_images_train_the_same_weights(tmp_path, kind):
    a, b, _ = (images.round().to(torch.uint8) for images in noisy_pairs(60, side=20))
    models = []
    for map_a in (False, True):
        model = quick_model(tile=8, batch=4)
        model.train(mapped(tmp_path, a, kind) if map_a else a, b, 1, memory=40_000, progress=False)
        assert len(a) * 4 * 2 * 3 * 64 > 40_000  # not all fit
        models.append(model)
    assert torch.equal(weights_of(models[0]), weights_of(models[1]))


def test_a_training_in_windows_denoises():
    a, b, clean = noisy_pairs(96)
    model = quick_model()
    model.train(a, b, 8, memory=30 * 2 * 4 * 768, time_limit=None, progress=False)
    before, after = ((images - clean).square().mean() for images in (a, model.predict(a)))
    assert after < before / 2


def test_it_goes_on_within_a_window(tmp_path):
    a, b, _ = noisy_pairs(60)
    options = {"memory": 30 * 2 * 4 * 768, "progress": False}
    calls = []
    whole, part, resumed = (quick_model(batch=4) for _ in range(3))
    whole.train(a, b, 2, **options)
    part.train(a, b, 2, checkpoint=tmp_path / "model.pth", **options,
               stop=lambda: calls.append(0) or len(calls) == 4)
    resumed.train(a, b, 2, resume=tmp_path / "model.pth", **options)
    assert part.stopped and torch.equal(weights_of(resumed), weights_of(whole))


@pytest.mark.parametrize("memory, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_bad_memory_is_named(memory, error):
    images = torch.randint(256, (2, 2, 3, 8, 8), generator=seeded(), dtype=torch.uint8)
    with pytest.raises(error, match="memory"):
        quick_model().train(*images, 1, memory=memory)
