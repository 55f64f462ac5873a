"""Model.predict: shapes, ranges, squares, self-ensemble and memory."""

import os
import re
import subprocess
import sys
import warnings

import pytest
import torch
from helpers import BAD_IMAGES, GREY, ROOT, quick_model, randomise, seeded

from Miniproject_1.model import CORE, Model, View


def random_model(**changes) -> Model:
    """Its network is far from the identity, and computes in float32 on every machine."""
    model = quick_model(precision="float32", **changes)
    randomise(model.net)
    return model


def random_images(*shape):
    return torch.randint(256, shape, dtype=torch.uint8, generator=seeded())


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 3), (70, 3, 32, 32), (1, 3, 470, 33)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float64])
def test_it_keeps_shape_and_range_and_its_input(shape, dtype):
    noisy = random_images(*shape).to(dtype)
    before = noisy.clone()
    denoised = random_model().predict(noisy, self_ensemble=False)
    assert denoised.shape == noisy.shape and denoised.dtype == torch.float32
    assert denoised.min() >= 0 and denoised.max() <= 255 and denoised.isfinite().all()
    assert not denoised.requires_grad
    assert torch.equal(noisy, before)


def test_values_are_0_to_255():
    """A new network is the identity, to roundings of 1e-7 of 255."""
    noisy = random_images(1, 3, 6, 7)
    denoised = quick_model(precision="float32").predict(noisy)
    torch.testing.assert_close(denoised, noisy.float(), rtol=0, atol=1e-4)


def test_it_clamps_what_leaves_the_range():
    denoised = random_model().predict(random_images(4, 3, 16, 16), self_ensemble=False)
    assert denoised.min() == 0 and denoised.max() == 255


def test_the_dtype_of_the_images_does_not_matter():
    noisy, model = random_images(2, 3, 9, 9), random_model()
    denoised = model.predict(noisy)
    for dtype in (torch.uint16, torch.uint32, torch.int64, torch.float64):
        assert torch.equal(denoised, model.predict(noisy.to(dtype)))


def test_a_batch_gives_the_same_as_its_images():
    """70 images of 32 x 32 are more than one pass takes."""
    noisy, model = random_images(70, 3, 32, 32), random_model()
    together = model.predict(noisy, self_ensemble=False)
    alone = torch.cat([model.predict(image[None], self_ensemble=False) for image in noisy])
    # The sums may be in another order: some roundings of 6e-8 in values of about 255.
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("height, width", [(37, 2 * CORE + 101), (CORE + 61, 30)])
def test_squares_equal_the_whole(height, width):
    noisy, model = random_images(1, 3, height, width), random_model(widths=(4, 6, 8))
    with torch.no_grad():
        whole = (255 * model.net(noisy / 255)).clamp(0, 255)
    denoised = model.predict(noisy, self_ensemble=False)
    torch.testing.assert_close(denoised, whole, rtol=0, atol=1e-3)  # roundings, as above


def test_squares_equal_the_whole_with_eight_levels():
    """Whose coarsest pixels are 128 wide; squares begin beyond the context of the first ones."""
    model = random_model(widths=(2,) * 8, blocks=0, channels=1)
    noisy = random_images(1, 1, 8, CORE + model.net.reach + 200)
    with torch.no_grad():
        whole = (255 * model.net(noisy / 255)).clamp(0, 255)
    denoised = model.predict(noisy, self_ensemble=False)
    torch.testing.assert_close(denoised, whole, rtol=0, atol=1e-3)  # roundings, as above


@pytest.mark.parametrize("turn", [
    lambda x: x.flip(-1), lambda x: x.rot90(1, (-2, -1)), lambda x: x.transpose(-1, -2),
], ids=["flip", "rotation", "transposition"])
def test_self_ensemble_commutes_with(turn):
    noisy, model = random_images(1, 3, 16, 12), random_model()
    turned, plain = model.predict(turn(noisy)), model.predict(noisy)
    torch.testing.assert_close(turned, turn(plain), rtol=0, atol=1e-3)  # roundings, as above
    assert not torch.allclose(plain, model.predict(noisy, self_ensemble=False), atol=1)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("flips", [(), (-1,), (-2,), (-2, -1)], ids=str)
def test_a_box_of_a_view_is_the_view_of_its_place(transposed, flips):
    images = random_images(1, 2, 5, 8)
    view = View(transposed, flips, 5, 8)
    whole = view.of(images)
    assert whole.shape[-2:] == view.shape and torch.equal(view.undone(whole), images)
    rows, columns = view.place(1, 3, 2, 5)
    assert torch.equal(view.of(images[..., rows, columns]), whole[..., 1:3, 2:5])


def test_the_share_that_is_done_is_told():
    shares = []
    random_model().predict(random_images(1, 3, CORE + 1, CORE + 1), report=shares.append)
    assert shares == pytest.approx([number / 32 for number in range(1, 33)])  # 4 squares, 8 views


@pytest.mark.parametrize("count, side", [(1, 2048), (1024, 64)])
def test_its_memory_is_bounded(count, side):
    """4 million pixels add less than 180 MiB, of which the result is 48 MiB.

    Of a process of its own, by its peak. At once, the eight channels would be 128 MiB in each
    layer, and a view, its output and that turned back 48 MiB each.
    """
    code = f"""
import re, torch
from pathlib import Path
from Miniproject_1.model import Model, Recipe
def kilobytes(name):
    return int(re.search(name + r":\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
model = Model(Recipe(widths=(8,), blocks=0, precision="float32"))
noisy = torch.zeros({count}, 3, {side}, {side}, dtype=torch.uint8)
model.predict(noisy[:1, :, :64, :64])
before = kilobytes("VmRSS")
model.predict(noisy)
print(1024 * (kilobytes("VmHWM") - before))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=ROOT, env=environment, timeout=60)
    assert 4 * 3 * 2048**2 <= int(run.stdout) < 180 * 2**20  # at least the result


@pytest.mark.parametrize("images, error, named", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_are_named(images, error, named):
    with pytest.raises(error, match=re.escape(named)) as caught:
        quick_model().predict(images)
    assert "noisy" in str(caught.value)


def test_images_scaled_to_one_get_a_hint():
    with pytest.warns(UserWarning, match="255") as caught:
        quick_model().predict(GREY / 255)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick_model().predict(torch.zeros(1, 3, 4, 4))  # black is black on either scale
        quick_model().predict(torch.ones(1, 3, 4, 4, dtype=torch.uint8))
