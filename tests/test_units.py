"""Images in their own units: Recipe.value_range, Units, and what training makes of them.

"Units of the pairs" are those of a model whose Recipe.value_range is None.
"""

import math
import re
import warnings
from dataclasses import replace

import pytest
import torch
from helpers import noisy_pairs, quick_model, randomise, seeded, weights_of

from Miniproject_1.model import Dataset, Model, Recipe, Units, estimate_psnr, psnr

CPU = torch.device("cpu")
NOISY_A, NOISY_B, CLEAN = noisy_pairs(64)
A, B = NOISY_A.round(), NOISY_B.round()  # 1 to 254, so that every dtype holds them

# dtype -> (scale, offset): pairs whose values fill much of its range
SCALES = {
    torch.uint8: (1, 0), torch.uint16: (250, 500), torch.int16: (200, -25_000),
    torch.int32: (2**14, -(2**21)), torch.float32: (2**-10, -3),
}


def of_pairs(**changes) -> Model:
    """A quick model in the units of its pairs, which computes alike on every machine."""
    return quick_model(**{"value_range": None, "precision": "float32", **changes})


def trained(a, b, epochs=6, **changes) -> Model:
    """After 24 steps."""
    model = of_pairs(**changes)
    model.train(a, b, epochs, time_limit=None, progress=False)
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return trained(A, B)


# ------------------------------------------------------------------------------ Recipe.value_range


@pytest.mark.parametrize("value", [
    (255, 0), (0, 0), (0,), (0, 1, 2), (), 255, "01", ("0", "1"), (None, 1), (0, math.inf),
    (math.nan, 1), torch.tensor([0, 1]), {0: 1}], ids=repr)
def test_a_range_is_two_numbers_the_lower_one_first(value):
    with pytest.raises(ValueError, match="value_range"):
        Recipe(value_range=value)


def test_a_range_becomes_two_floats():
    recipe = Recipe(value_range=[-10, 2**16])
    assert recipe.value_range == (-10.0, 65536.0)
    assert {type(end) for end in recipe.value_range} == {float}
    assert Recipe(value_range=None).value_range is None


@pytest.mark.parametrize("low, high", [(0, 255), (0, 65535), (-1, 1)])
def test_predictions_keep_to_the_range(low, high):
    model = of_pairs(value_range=(low, high))
    randomise(model.net)
    images = low + (high - low) * torch.rand(4, 3, 16, 16, generator=seeded())
    denoised = model.predict(images)
    assert denoised.min() == low and denoised.max() == high


@pytest.mark.parametrize("low, high", [(0, 255), (-100, 60), (100, 60_000)])
def test_values_outside_the_range_are_refused(low, high):
    model = of_pairs(value_range=(low, high))
    good = torch.full((1, 3, 8, 8), float(high))
    for bad in (good + 1, good * 0 + low - 1):
        with pytest.raises(ValueError, match="noisy"):
            model.predict(bad)
        with pytest.raises(ValueError, match="noisy_b"):
            model.train(good, bad, 1, progress=False)
    assert torch.equal(model.predict(good), good)  # a new network is the identity, and this exact


def test_the_default_range_stays_as_it_is():
    """Training on dark images does not change it."""
    model = quick_model()
    model.train(A / 4, B / 4, 1, progress=False)
    assert (model.units.zero == 0).all() and (model.units.span == 255).all()
    assert model.recipe.value_range == (0, 255)
    assert model.predict(torch.zeros(1, 3, 8, 8)).min() >= 0
    assert model.predict(torch.full((1, 3, 8, 8), 255.0)).max() <= 255


# --------------------------------------------------------------------------- units from the pairs


@pytest.mark.parametrize("scale", [64, 2**-10])
def test_the_scale_does_not_matter(model, scale):
    """A power of two rounds nothing."""
    other = trained(A * scale, B * scale)
    assert torch.equal(weights_of(other), weights_of(model))
    assert torch.equal(other.predict(A * scale), model.predict(A) * scale)


def test_the_offset_does_not_matter(model):
    """The values of 40 x + 1000 are integers, and exact; in the network's they are rounded.

    By 2^-24 of up to 11,200, over a range of 8,000: by 1e-7 of it. 24 steps and the network may
    enlarge that a thousand times; the training itself moved weights and predictions by more than a
    hundred times as much as that allows.
    """
    other = trained(40 * A + 1000, 40 * B + 1000)
    span = model.units.span.max()
    tolerance = 1e-4
    moved = (weights_of(model) - weights_of(of_pairs())).abs().max()
    changed = (model.predict(A) - A).abs().max() / span
    assert moved > 100 * tolerance and changed > 100 * tolerance
    assert (weights_of(other) - weights_of(model)).abs().max() < tolerance
    back = (other.predict(40 * A + 1000) - 1000) / 40
    assert (back - model.predict(A)).abs().max() / span < tolerance


@pytest.mark.parametrize("dtype", SCALES, ids=str)
def test_it_denoises_in_the_units_of_the_pairs(dtype):
    scale, offset = SCALES[dtype]
    a, b = (A * scale + offset).to(dtype), (B * scale + offset).to(dtype)
    clean = CLEAN * scale + offset
    denoised = trained(a, b).predict(a)
    assert denoised.dtype == torch.float32 and denoised.shape == a.shape
    peak = 255 * scale
    # It gains 1 dB, and nothing without training.
    assert psnr(denoised, clean, peak) > psnr(a, clean, peak) + 0.5


@pytest.mark.parametrize("value_range", [None, (0, 65535)])
@pytest.mark.parametrize("dtype", [torch.uint16, torch.float64])
def test_the_dtype_of_the_images_does_not_matter(dtype, value_range):
    a, b = 250 * A, 250 * B
    floats = trained(a, b, 1, value_range=value_range)
    other = trained(a.to(dtype), b.to(dtype), 1, value_range=value_range)
    # float64 is brought to the network's values before it is rounded: 6e-8 of values near 1, which
    # a few steps may double some times.
    torch.testing.assert_close(weights_of(floats), weights_of(other), rtol=0, atol=1e-5)
    expected = floats.predict(a)
    torch.testing.assert_close(other.predict(a.to(dtype)), expected, rtol=0, atol=0.65)  # 1e-5


@pytest.mark.parametrize("dtype", SCALES, ids=str)
def test_pairs_keep_their_dtype(dtype):
    """Else they would take up to four times the memory."""
    a, b = A.to(dtype), B.to(dtype)
    dataset = Dataset((a, b, a), 8, CPU, memory=10**9)
    held = dataset.hold_out(20)
    some = dataset.at(dataset.index[:3])
    for part in (dataset.resident, held, some):
        assert {part.a.dtype, part.b.dtype, part.clean.dtype} == {dtype}
    assert some.to_unit(Units.of_images(a, b)).a.dtype == torch.float32


def test_an_untrained_model_has_no_units():
    model = of_pairs()
    assert model.units is None
    with pytest.raises(ValueError, match="value_range"):
        model.predict(A)


def test_a_second_training_keeps_the_units(model):
    again = of_pairs()
    again.train(A, B, 0, progress=False)
    before = again.units
    again.train(A * 3 + 5, B * 3 + 5, 1, progress=False)
    assert torch.equal(again.units.zero, before.zero)
    assert torch.equal(again.units.span, before.span)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_number_is_refused(model, bad):
    broken = A.clone()
    broken[5, 1, 2, 3] = bad
    for arguments in ((broken, B), (A, broken)):
        with pytest.raises(ValueError, match="noisy"):
            of_pairs().train(*arguments, 1, progress=False)
    with pytest.raises(ValueError, match="noisy"):
        model.predict(broken)


# ------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32])
def test_nothing_negative_comes_of_pairs_without_negative_values(dtype):
    """The other end is free: the network is far from the identity."""
    model = of_pairs()
    model.train(A.to(dtype), B.to(dtype), 0, progress=False)
    randomise(model.net)
    denoised = model.predict(A.to(dtype))
    assert denoised.min() == 0 and denoised.max() > A.max()


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("copy", [0, 1])
def test_negative_values_in_either_copy_allow_negative_predictions(dtype, copy):
    pairs = [A.to(dtype, copy=True), B.to(dtype, copy=True)]
    pairs[copy][3, 1, 4, 5] = -1
    model = of_pairs()
    model.train(*pairs, 0, progress=False)
    randomise(model.net)
    assert model.predict(A.to(dtype)).min() < -1


# ------------------------------------------------------------------------------ the range of values


def test_each_channel_has_a_range_of_its_own():
    """Uniform values: their mean is the middle, their range that of all, but for 1 in 1,000."""
    uniform = torch.rand(20, 2, 64, 64, generator=seeded())
    scales = torch.tensor([1.0, 1000.0]).view(1, 2, 1, 1)
    units = Units.of_images(uniform * scales, (1 - uniform) * scales)
    # The range is 0.998, with a deviation of sqrt(2 x 0.001 / 163,840) = 1e-4 from the sampling.
    torch.testing.assert_close(units.span, 0.998 * scales, rtol=1e-3, atol=0)
    torch.testing.assert_close(units.zero + units.span / 2, 0.5 * scales, rtol=1e-5, atol=0)
    assert units.peak == units.span.max()
    back = units.from_unit_(units.to_unit(uniform * scales))
    torch.testing.assert_close(back, uniform * scales, rtol=0, atol=1e-3)  # roundings of 1000


def test_the_mean_is_mid_grey_also_of_skewed_values():
    """Mostly dark ones: their mean is a quarter of the range."""
    dark = torch.rand(5, 1, 200, 200, generator=seeded()) ** 3
    # A sample of 100,000 values of deviation 0.28: six standard errors.
    assert Units.of_images(dark).to_unit(dark).double().mean() == pytest.approx(0.5, abs=0.0055)


@pytest.mark.parametrize("value", [65_535, 0])
def test_a_few_hot_or_dead_pixels_hardly_move_the_units(value):
    """One in 20,000 values, 64 times as far as the range, moves the mean by 64 / 20,000 of it.

    It moves the 0.999 quantile of uniform values by 1 / 20,000 of the range.
    """
    images = 30_000 + 1000 * torch.rand(5, 1, 200, 200, generator=seeded())
    hot = images.clone()
    hot.view(-1)[::20_000] = value
    plain, units = Units.of_images(images), Units.of_images(hot)
    assert abs(units.span - plain.span).item() < 0.001 * plain.span.item()
    assert abs(units.zero - plain.zero).item() < 0.004 * plain.span.item()


def test_images_of_a_few_bright_pixels_have_a_range():
    """Less than 1 in 1,000 values differ from the background."""
    stars = torch.full((1, 1, 100, 100), 50.0)
    stars[0, 0, 20, 30], stars[0, 0, 70, 10] = 900, 450
    assert Units.of_images(stars).span.item() == 850


@pytest.mark.parametrize("constant", [0.0, -1e6])
def test_a_constant_channel_stays_as_it_is(constant):
    a, b = A.clone(), B.clone()
    a[:, 1] = b[:, 1] = constant
    model = trained(a, b)
    assert (model.units.span > 0).all() and weights_of(model).isfinite().all()
    denoised = model.predict(a)
    # In the network's values it is 1/2, its middle, of a range of 1 that the other channels share.
    torch.testing.assert_close(denoised[:, 1], a[:, 1], rtol=0, atol=1)
    others = [0, 2]
    assert psnr(denoised[:, others], CLEAN[:, others]) > psnr(a[:, others], CLEAN[:, others]) + 0.5


def test_many_values_are_sampled_all_over_the_images():
    """4 million, in a ramp from 1 to 4000 over all pages."""
    pages = torch.arange(4, 0, -1).view(4, 1, 1, 1) * 1000
    ramp = (pages - torch.arange(1000)).expand(4, 1, 1050, 1000).to(torch.uint16)
    units = Units.of_images(ramp, ramp)
    # Uniform; a sample of every 4th value is off by up to 4.
    assert units.span.item() == pytest.approx(0.998 * 4000, abs=8)
    assert (units.zero + units.span / 2).item() == pytest.approx(2000.5, abs=4)


def test_columns_that_differ_are_all_sampled():
    """A colour filter's: 100 in even rows and columns, 900 in odd ones, 500 elsewhere."""
    colours = torch.full((1, 1, 2000, 2000), 500.0)
    colours[..., ::2, ::2], colours[..., 1::2, 1::2] = 100, 900
    assert Units.of_images(colours).span.item() == 800


def test_tiles_are_sampled_beyond_their_first_column():
    ramp = torch.arange(64, dtype=torch.uint8).expand(15_700, 1, 64, 64)
    assert Units.of_images(ramp).span.item() > 60


# --------------------------------------------------------------------------------------- the file


def test_units_are_saved_with_the_weights(tmp_path, model):
    model.save(tmp_path / "model.pth")
    loaded = Model()
    loaded.load_pretrained_model(tmp_path / "model.pth")
    assert loaded.recipe == model.recipe and loaded.recipe.value_range is None
    assert torch.equal(loaded.units.zero, model.units.zero)
    assert torch.equal(loaded.units.span, model.units.span)
    assert (loaded.units.low, loaded.units.high) == (0, math.inf)
    assert torch.equal(loaded.predict(A), model.predict(A))


def test_a_checkpoint_has_the_units(tmp_path):
    model = of_pairs()
    model.train(A - 500, B - 500, 1, progress=False, checkpoint=tmp_path / "model.pth")
    loaded = Model()
    loaded.load_pretrained_model(tmp_path / "model.pth")
    assert torch.equal(loaded.predict(A - 500), model.predict(A - 500))


def test_units_of_earlier_weights_do_not_stay(tmp_path, model):
    """Neither where the file has others, nor where it has none."""
    quick_model().save(tmp_path / "photos.pth")
    of_pairs().save(tmp_path / "untrained.pth")
    loaded = Model(model.recipe)
    loaded.train(A, B, 0, progress=False)
    loaded.load_pretrained_model(tmp_path / "photos.pth")
    assert (loaded.units.span == 255).all()
    loaded.load_pretrained_model(tmp_path / "untrained.pth")
    with pytest.raises(ValueError, match="units"):
        loaded.predict(A)


def test_files_from_before_there_were_units_are_of_0_to_255(tmp_path):
    model = quick_model(precision="float32")
    randomise(model.net)
    model.save(tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    del content["units"], content["recipe"]["value_range"]
    torch.save(content, tmp_path / "model.pth")
    loaded = Model()
    loaded.load_pretrained_model(tmp_path / "model.pth")
    assert loaded.recipe == model.recipe
    assert torch.equal(loaded.predict(A), model.predict(A))


def test_units_without_a_field_are_refused(tmp_path, model):
    model.save(tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    del content["units"]["span"]
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="model.pth"):
        Model().load_pretrained_model(tmp_path / "model.pth")


# --------------------------------------------------------------------------- worse than the images


@pytest.mark.parametrize("scale", [1, 257])
def test_the_psnr_of_the_noisy_images_is_kept(scale):
    """Its peak is the range of values, so that it is the same in all units."""
    a, b, clean = A * scale, B * scale, CLEAN * scale
    model = of_pairs()
    assert math.isnan(model.noisy_psnr)
    model.train(a, b, 0, validation=(a[:8], clean[:8]), progress=False)
    peak = model.units.span.max().item()
    assert model.noisy_psnr == pytest.approx(psnr(a[:8], clean[:8], peak), abs=1e-9)
    # A new network is the identity, to roundings of 1e-7 in errors of 0.1.
    assert model.history[0]["psnr"] == pytest.approx(model.noisy_psnr, abs=1e-4)
    model.train(a, b, 0, progress=False)
    held = a[::20], b[::20]
    assert model.noisy_psnr == pytest.approx(estimate_psnr(*held, *held, peak), abs=1e-9)
    model.train(a[:10], b[:10], 0, progress=False)  # too few to hold any out
    assert math.isnan(model.noisy_psnr)


def test_with_the_default_range_the_peak_is_255():
    model = quick_model()
    model.train(A, B, 0, validation=(A, CLEAN), progress=False)
    assert model.noisy_psnr == psnr(A, CLEAN)


@pytest.mark.parametrize("value_range", [None, (0.0, 255.0)])
def test_a_training_that_makes_images_worse_is_said(value_range):
    """The second copies are of other scenes: what it learns is the mean of all."""
    model = of_pairs(value_range=value_range)
    with pytest.warns(UserWarning, match="worse") as caught:
        model.train(A, B.roll(1, 0), 6, validation=(A, CLEAN), progress=False)
    assert len(caught) == 1 and caught[0].filename == __file__
    before, after = model.noisy_psnr, model.history[-1]["psnr"]
    assert after < before
    for number in (before, after):
        assert re.search(rf"\b{number:.2f}\b", str(caught[0].message))


def test_a_training_that_makes_no_image_worse_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = of_pairs()
        model.train(A, B, 2, validation=(A, CLEAN), progress=False)
        assert model.history[-1]["psnr"] > model.noisy_psnr
        of_pairs().train(A, B, 2, progress=False)  # estimated
        of_pairs().train(A[:10], B[:10], 1, progress=False)  # not measured
        # clean targets are a comparison, and nothing was trained in no epochs
        other = replace(model.recipe, value_range=(0, 255))
        Model(other).train(A, B, 0, validation=(CLEAN, CLEAN), progress=False)


def test_pairs_in_other_units_are_said_and_the_units_kept():
    model = trained(A, B, 1)
    units = model.units
    with pytest.warns(UserWarning, match="range") as caught:
        model.train(100 * A.float(), 100 * B.float(), 0, progress=False)
    assert len(caught) == 1 and model.units is units
    model.train(A, B, 0, progress=False)  # says nothing
