"""The look at training pairs: each mistake is found and measured, and honest pairs pass."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import seeded
from torch import Tensor, nn

from Miniproject_1.others.look import (
    LONE,
    LONE_TWICE,
    MAX_TILES,
    MAX_VALUES,
    Look,
    chance,
    look,
    parts,
    sample,
)
from Miniproject_1.others.noise import noisy_noisy
from Miniproject_1.others.scenes import scenes


def smooth(count: int, channels: int = 1, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth scenes in [0, 1]."""
    coarse = torch.rand(count, channels, 8, 8, generator=seeded(seed))
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def gaussian(a: Tensor, b: Tensor, sigma: float = 20.0, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Both with Gaussian noise."""
    generator = seeded(seed)
    noise_a, noise_b = (sigma * torch.randn(a.shape, generator=generator) for _ in range(2))
    return a + noise_a, b + noise_b


def poisson(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Two counts of photons."""
    generator = seeded(1)
    return torch.poisson(mean, generator=generator), torch.poisson(mean, generator=generator)


def blurred(noise: Tensor) -> Tensor:
    """The mean of 3 x 3 pixels: neighbours share 6 of 9, so their correlation is 2/3."""
    padded = nn.functional.pad(noise, (1, 1, 1, 1), mode="circular")
    return nn.functional.avg_pool2d(padded, 3, stride=1)


def findings(found: Look) -> set[str]:
    """What the measured numbers say, apart from the words of the warnings."""
    said = {
        "brightness": found.brightness_differs, "shift": found.shifted,
        "unrelated": found.unrelated, "clipped": found.low.clipped or found.high.clipped,
        "identical": found.identical > 0, "lone": found.lone > LONE,
        "lone twice": found.lone_twice > LONE_TWICE, "correlated": found.correlated,
    }
    return {name for name, is_so in said.items() if is_so}


# ---- what is measured --------------------------------------------------------------------------


def test_noise_and_signal_have_their_true_size():
    scene = 200 * smooth(64)
    found = look(*gaussian(scene, scene, sigma=20.0))
    # The variance of n normal differences has a relative error of sqrt(2/n), the deviation of half.
    assert found.noise == pytest.approx(20, rel=5 / math.sqrt(2 * scene.numel()))
    signal = scene.var().item()
    # cov(a, b) errs by about sqrt((signal + 400)^2 + signal^2) / sqrt(n), and the noise as above.
    relative = 2 * (1 + 400 / signal) / math.sqrt(scene.numel())
    assert found.snr == pytest.approx(10 * math.log10(signal / 400), abs=5 * 4.35 * relative)


@pytest.mark.parametrize("sigma_b", [10.0, 60.0])
def test_gain_is_free_of_attenuation_also_with_unequal_noise(sigma_b):
    scene = 200 * smooth(64)
    a = scene + 40 * torch.randn(scene.shape, generator=seeded(1))
    b = 1.1 * scene - 7 + sigma_b * torch.randn(scene.shape, generator=seeded(2))
    found = look(a, b)
    assert found.gain.value == pytest.approx(1.1, abs=5 * found.gain.error)
    assert 5 * found.gain.error < 0.05  # regression of b on a would give 0.7
    # The offset is the mean of b less gain times that of a, which is about 100.
    assert found.offset == pytest.approx(-7, abs=5 * (100 * found.gain.error + 0.5))


def test_standard_errors_are_right():
    gains = [look(*gaussian(scene, scene, sigma=30.0, seed=seed)).gain
             for scene in [100 * smooth(24)] for seed in range(40)]
    values = torch.tensor([gain.value for gain in gains])
    errors = torch.tensor([gain.error for gain in gains])
    # The deviation of 40 values is known to 1 / sqrt(80) = 11 %: 4 of these.
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.45)
    assert abs(values.mean().item() - 1) < 5 * values.std().item() / math.sqrt(40)


SHIFTS = [(0, 0), (0, 3), (-2, 1), (4, -4), (0.3, 0), (-0.4, 1.6)]


@pytest.mark.parametrize(("down", "right"), SHIFTS)
def test_shift_is_measured_with_its_direction(down, right):
    whole = 200 * smooth(60, side=48)
    y = torch.fft.fftfreq(48)[:, None] * down
    x = torch.fft.rfftfreq(48) * right
    turned = torch.fft.rfft2(whole) * torch.exp(-2j * math.pi * (y + x))
    moved = torch.fft.irfft2(turned, s=(48, 48))
    a, b = gaussian(whole[..., 8:40, 8:40], moved[..., 8:40, 8:40], sigma=10.0)
    found = look(a, b)
    # 60 x 1024 pixels place the scene to some thousandths; a parabola is off by up to 0.1.
    assert found.shift == pytest.approx((down, right), abs=0.12)
    assert found.shifted == (math.hypot(down, right) > 0.5)
    assert not findings(found) & {"brightness", "unrelated", "clipped", "lone", "lone twice"}


def test_a_shift_alone_says_nothing_of_brightness_or_neighbours():
    scene = 200 * smooth(40, 3)
    a, b = gaussian(scene[..., :-3], scene[..., 3:])
    assert look(a, b).shift == pytest.approx((0, -3), abs=0.12)
    assert findings(look(a, b)) == {"shift"}


def test_correlation_of_neighbours():
    generator = seeded(1)
    scene = 200 * smooth(60, 3)
    noise = 30 * torch.randn(2, *scene.shape, generator=generator)
    noise = noise + noise.roll(1, -1)  # across 1/2, down 0
    found = look(scene + noise[0], scene + noise[1])
    tolerance = 5 / math.sqrt(3 * 60 * 1024)  # three independent channels
    assert found.across.value == pytest.approx(0.5, abs=tolerance)
    assert found.down.value == pytest.approx(0, abs=tolerance)
    assert findings(found) == {"correlated"}


# ---- mistakes ----------------------------------------------------------------------------------


def test_identical_copies_are_named_and_nothing_else():
    a, _ = gaussian(200 * smooth(24), 200 * smooth(24))
    found = look(a, a.clone())
    assert found.noise == 0 and found.identical == 1
    assert len(found.warnings()) == 1


@pytest.mark.parametrize("change", [lambda a: a + 20, lambda a: a.roll(3, -1)])
def test_copies_without_noise_are_named_beside_what_else_is_wrong(change):
    a = 200 * smooth(40, 1)
    first, second = look(a[..., 4:-4], change(a)[..., 4:-4]).warnings()
    assert "identical" not in first and "noise" in first
    assert "brightness" in second or "shift" in second


def test_some_identical_pairs():
    scene = 200 * smooth(40)
    a, b = gaussian(scene, scene)
    b[7] = a[7]
    assert look(a, b).identical == 1 / 40
    assert findings(look(a, b)) == {"identical"}
    assert len(look(a, b).warnings()) == 1


def test_black_images():
    black = torch.zeros(24, 3, 32, 32, dtype=torch.uint8)
    found = look(black, black)
    assert found.low.value == found.high.value == 0
    assert len(found.warnings()) == 1


@pytest.mark.parametrize(("gain", "offset"), [(1.2, 0), (0.9, 0), (1, 5), (1.05, -5)])
def test_another_brightness(gain, offset):
    scene = 200 * smooth(24, 3)
    found = look(*gaussian(scene, gain * scene + offset))
    assert findings(found) == {"brightness"} and len(found.warnings()) == 1


def test_a_brighter_copy_that_reaches_white_is_brighter_first():
    scene = 255 * smooth(24)
    copies = gaussian(scene, 1.3 * scene, sigma=10.0)
    found = look(*(copy.round().clamp(0, 255).to(torch.uint8) for copy in copies))
    assert found.high.share > 0.05
    assert findings(found) == {"brightness"}


def test_another_brightness_of_one_channel_only():
    scene = 200 * smooth(40, 3)
    balance = torch.tensor([0.0, 4, -4]).view(3, 1, 1)  # no difference on average
    found = look(*gaussian(scene, scene + balance))
    assert findings(found) == {"brightness"}


def test_other_scenes():
    found = look(*gaussian(200 * smooth(60), 200 * smooth(60, seed=5)))
    assert findings(found) >= {"unrelated"} and len(found.warnings()) == 1


def test_other_scenes_with_more_contrast_at_their_borders():
    # There, less overlap has a smaller difference, which is no proof of a shift.
    vignette = torch.linspace(-1, 1, 32).square()
    first, second = (200 * vignette * (smooth(60, seed=seed) - 0.5) for seed in (0, 5))
    found = look(*gaussian(first, second, sigma=5.0))
    assert findings(found) == {"unrelated"} and all(map(math.isnan, found.shift))


def test_a_negative():
    texture = 200 * torch.rand(60, 1, 32, 32, generator=seeded(3))
    for scene in (200 * smooth(60), texture):
        assert "unrelated" in findings(look(*gaussian(scene, 200 - scene)))


@pytest.mark.parametrize("low", [True, False])
def test_clipped_noise(low):
    scene = 30 * smooth(24) if low else 255 - 30 * smooth(24)
    a, b = (copy.round().clamp(0, 255).to(torch.uint8) for copy in gaussian(scene, scene))
    found = look(a, b)
    assert (found.low.clipped, found.high.clipped) == (low, not low)
    share = ((a == (0 if low else 255)).double().mean()
             + (b == (0 if low else 255)).double().mean()) / 2
    assert (found.low if low else found.high).share == pytest.approx(share.item())
    assert len(found.warnings()) == 1


def test_hot_pixels_that_come_and_go():
    scene = 60 + 100 * smooth(24, 3)
    a, b = gaussian(scene, scene)
    generator = seeded(3)
    for copy in (a, b):
        hot = torch.rand(24, 1, 32, 32, generator=generator) < 0.03
        copy.masked_fill_(hot, 255)
    found = look(a, b)
    assert 0.004 < found.lone < 0.06  # 3 % of each copy; those near others or on white are missed
    assert findings(found) == {"lone"} and len(found.warnings()) == 1


def test_hot_pixels_at_the_same_place():
    scene = 60 + 60 * smooth(40)
    a, b = gaussian(scene, scene, sigma=10.0)
    hot = torch.rand(scene.shape, generator=seeded(3)) < 0.005
    found = look(a.masked_fill(hot, 255), b.masked_fill(hot, 255))
    assert found.lone_twice == pytest.approx(0.005, rel=0.3)  # 184 of them, and 8 % touch another
    assert findings(found) == {"lone twice"} and len(found.warnings()) == 1


# ---- honest pairs ------------------------------------------------------------------------------


def camera() -> tuple[Tensor, Tensor]:
    a, b = gaussian(*poisson(1000 * smooth(24)), sigma=3.0)
    return (a + 100).round().to(torch.uint16), (b + 100).round().to(torch.uint16)


def channels() -> tuple[Tensor, Tensor]:
    scene, noise = 300 * smooth(24, 3), torch.tensor([5.0, 20, 50]).view(3, 1, 1)
    a, b = gaussian(0 * scene, 0 * scene, sigma=1.0)
    return scene + noise * a, scene + noise * b


HONEST = {
    "Gaussian": lambda: gaussian(200 * smooth(24, 3), 200 * smooth(24, 3)),
    "counts of 1 to 12": lambda: [x.to(torch.uint8) for x in poisson(1 + 11 * smooth(24))],
    "many zeros": lambda: [x.to(torch.uint8) for x in poisson(3 * smooth(24))],
    "hardly any photon": lambda: [x.to(torch.uint8) for x in poisson(0.03 * smooth(60))],
    "zeros beside a scene": lambda: poisson(9 * (smooth(24) - 0.6).clamp(min=0)),
    "counts times 40": lambda: [(40 * x).to(torch.int32) for x in poisson(4 * smooth(24))],
    "camera": camera,
    "the course's noise": lambda: noisy_noisy(scenes(24, seeded()), seeded(1)),
    "dark": lambda: [x.round().to(torch.int16) for x in
                     gaussian(20 + 40 * smooth(24), 20 + 40 * smooth(24), sigma=3.0)],
    "one pair": lambda: gaussian(200 * smooth(1, 3), 200 * smooth(1, 3)),
    "one tiny pair": lambda: gaussian(200 * smooth(1, side=16), 200 * smooth(1, side=16)),
    "tiny tiles": lambda: gaussian(200 * smooth(40, side=16), 200 * smooth(40, side=16)),
    "constant": lambda: gaussian(torch.zeros(24, 1, 32, 32), torch.zeros(24, 1, 32, 32)),
    "channels with different noise": channels,
    "a noisier copy": lambda: (gaussian(200 * smooth(24), smooth(24), sigma=10.0)[0],
                               gaussian(smooth(24), 200 * smooth(24), sigma=60.0)[1]),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_pairs_pass(name):
    found = look(*HONEST[name]())
    assert findings(found) == set() and found.warnings() == []


@pytest.mark.parametrize("brightness", [0, 100])
def test_smooth_noise_is_no_mistake_but_is_named(brightness):
    scene = brightness * smooth(40)
    a, b = gaussian(0 * scene, 0 * scene, sigma=60.0)
    found = look(scene + blurred(a), scene + blurred(b))
    assert found.across.value == pytest.approx(2 / 3, abs=5 * found.across.error)
    assert findings(found) == {"correlated"} and len(found.warnings()) == 1


def test_white_skies_are_no_identical_copies():
    scene = 60 + 100 * smooth(40)
    a, b = gaussian(scene, scene)
    a[:10] = b[:10] = 255
    assert look(a, b).identical == 0


def test_honest_pairs_pass_with_many_seeds():
    for seed in range(40):
        scene = 200 * smooth(6, 1, 24, seed)
        assert look(*gaussian(scene, scene, sigma=30.0, seed=seed)).warnings() == []


# ---- samples, types, errors --------------------------------------------------------------------


def test_units_do_not_matter():
    a, b = HONEST["camera"]()
    first, second = look(a, b), look(a.float() * 1e-4 + 3, b.float() * 1e-4 + 3)
    assert second.noise == pytest.approx(first.noise * 1e-4, rel=1e-3)  # float32 of 3 has 2e-7
    assert second.gain.value == pytest.approx(first.gain.value, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.int32])
def test_each_dtype_gives_what_float32_gives(dtype):
    scene = 60 + 100 * smooth(20)
    a, b = (copy.round().clamp(0, 255) for copy in gaussian(scene, scene))
    found, expected = look(a.to(dtype), b.to(dtype)), look(a, b)
    assert found.lines()[1:] == expected.lines()[1:]
    assert found.dtype == str(dtype).removeprefix("torch.")


def test_five_lines():
    empty = torch.zeros(1, 2, 1, 3)
    for pair in (HONEST["one pair"](), HONEST["hardly any photon"](), (empty, empty)):
        lines = look(*pair).lines()
        assert len(lines) == 5 and all(len(line) <= 100 and "nan" not in line for line in lines)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 2, 2), (3, 2, 1, 7), (20, 1, 5, 3)])
def test_images_of_any_size_are_looked_at(shape):
    a, b = torch.rand(2, *shape, generator=seeded())
    assert look(a, b).warnings() == []


def test_the_sample_is_bounded_and_always_the_same():
    many = torch.arange(5_000).view(-1, 1, 1, 1)
    assert len(sample(many)) == MAX_TILES == len(sample(many).unique())
    assert torch.equal(sample(many), sample(many))
    wide = torch.zeros(1, dtype=torch.uint8).expand(50_000, 3, 64, 64)
    assert MAX_VALUES - 3 * 64 * 64 < sample(wide).numel() <= MAX_VALUES
    assert sample(wide[:1].expand(1, 3, 64, 64).repeat(1, 1, 50, 50)).numel() <= MAX_VALUES


def test_few_images_are_cut_into_parts_that_keep_each_pixel():
    image = torch.arange(64.0 * 32).view(1, 1, 64, 32)
    assert parts(image).shape == (16, 1, 16, 8)
    assert torch.equal(parts(image).flatten().sort().values, image.flatten())
    assert parts(torch.zeros(1, 1, 15, 99)).shape == (1, 1, 15, 99)


def test_few_parts_need_more_standard_errors():
    # Student's distribution leaves 5.7e-7 outside of 8.2 for 15 degrees, of 5.0 for the normal one.
    assert chance(16) == pytest.approx(8.2, abs=0.3)
    assert chance(100_000) == pytest.approx(5, abs=0.01)
    assert chance(1) == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value):
    a, b = gaussian(smooth(2), smooth(2))
    b[1, 0, 3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        look(a, b)


def test_wrong_tensors_are_refused():
    good = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="equal shapes"):
        look(good, good[:1])
    with pytest.raises(ValueError, match="N x C x H x W"):
        look(good[0], good[0])
    with pytest.raises(TypeError, match="float64"):
        look(good.double(), good)


# ---- the recipe --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 1, 1, 64), (40, 1, 64, 1)])
def test_lines_of_pixels_do_not_tell_whether_neighbours_are_independent(shape):
    a, b = torch.randn(2, *shape, generator=seeded())
    assert look(a, b).recipe().swap == "both"


@pytest.mark.parametrize("reach, swap", [(0, "pixels"), (1, "both")])
def test_pixels_are_swapped_where_their_noise_is_independent(reach, swap):
    scene = 200 * smooth(60, 1)
    noise = 30 * torch.randn(2, *scene.shape, generator=seeded(1))
    noise = noise + reach * noise.roll(1, -1)
    assert look(scene + noise[0], scene + noise[1]).recipe().swap == swap


def test_few_pixels_are_weighted_by_their_noise():
    scene = 200 * smooth(20, 1)
    few = look(*gaussian(scene, scene))
    assert few.recipe().loss == "weighted"
    assert replace(few, pairs=10**6).recipe().loss == "mse"
