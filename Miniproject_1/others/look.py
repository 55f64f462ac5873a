"""A look at training pairs before the training: five lines, and what breaks Noise2Noise.

Noise2Noise takes copy b as the target of copy a, and a as that of b. That works where

    a = x + noise of a        b = x + noise of b        each of mean zero, independent of the other

with the same scene x, in the same place and of the same brightness. All that can be checked without
x is measured here, on a sample of the pairs. An estimate has a standard error, from its spread over
the parts of the sample, so a warning needs both: more than chance, and enough to matter.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..model import Recipe

# For images of any units. Small batches make many steps of few images.
OWN = Recipe(value_range=None, batch=8, blocks=3)
FEW_PIXELS = 500_000  # of a copy: fewer are weighted by their noise

MAX_TILES = 2_000  # in the sample
MAX_VALUES = 2_000_000  # in the sample, of each copy; a second of work
MAX_SIDE = 704  # pixels; of a larger image the middle is looked at
MIN_PARTS = 16  # the standard errors come from so many parts, where the images can be cut so far
MIN_SIDE = 8  # pixels; smaller parts would show no scene
MAX_SHIFT = 16  # pixels, and at most a third of a part

ROUNDING = 1e-6  # of the range of values; float32 has 24 bits
CHANCE = 5.0  # standard errors of a normal distribution: passed by chance once in 1.7 million
GAIN = 0.02  # relative; what the brightness of two exposures agrees to without any care
LEVEL = 0.1  # of the noise: it adds 1 % to the squared error of b
UNSURE_GAIN = 0.03  # a standard error; above it no factor is given
SHIFT = 0.5  # pixels; below it nearest pixels still belong together
INDEPENDENT = 0.05  # between neighbours, below which pixels of the copies may change places
CORRELATED = 0.1  # between neighbours; noise that a 3 x 3 mean has smoothed has 0.67
IDENTICAL = 0.005  # of the pairs; counts of 1 in 250 pixels agree by chance in 0.0004 of tiles
OPPOSED = -0.1  # correlation of a and b; independent copies of one scene have 0 or more
SMOOTH = 0.1  # correlation of pixels of a copy at SCENE_REACH that shows that there is a scene
SCENE_REACH = 4  # pixels; scenes reach so far, the noise of demosaicing, resizing or JPEG hardly
CLIPPED = 0.05  # of the values, with one copy at the bound and one not; the course's: to 0.02
FAR = 2.0  # of the noise; the other copy of a clipped value is nearer, in normal noise 1.2 to 1.7
COUNTED = 3.0  # of what Robbins' identity allows; counts have 1, noise of 3 steps clipped at 0 5.4
LONE, LONE_TWICE = 0.004, 0.001  # of the values; the course's images have up to 0.001 and 0.0003
LONE_SPAN = 1.5  # lone values are so much farther from all around than these from each other
LONE_NOISE, LONE_STEPS = 3, 8  # the least that a value stands out: the noise, steps of the values
FEW = 30  # rare values are believed when so many are seen, as one place may have several

DTYPES = (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float32)
CANNOT_TELL = "cannot be told: the images show too little"


@dataclass(frozen=True)
class Estimate:
    """A measured number.

    Attributes:
        value: NaN where it cannot be measured.
        error: The standard error.
        parts: How many parts of the sample it comes from.
    """

    value: float
    error: float
    parts: int

    def differs(self, expected: float, size: float) -> bool:
        """Whether it is more than `size` from the expected value, and more than chance would be.

        Args:
            expected: The value to compare with.
            size: The least difference that matters.
        """
        difference = abs(self.value - expected)
        return difference > size and difference > chance(self.parts) * self.error


@dataclass(frozen=True)
class Bound:
    """The least or the greatest value of the sample, at which values may be clipped.

    Attributes:
        value: In the units of the images.
        share: Of all values, those that are equal to it.
        one_copy: Of all places, those with one copy at the bound and the other one not; either copy
            as often as that which is there less often.
        seen: The number of such places.
        distance: Mean distance of the other copy from the bound, in standard deviations of noise.
        uncounted: That distance over what it were for counts, by Robbins' identity; see `_bound`.
    """

    value: float
    share: float
    one_copy: float
    seen: int
    distance: float
    uncounted: float

    @property
    def clipped(self) -> bool:
        """Whether noise was cut off here, and not only the scene, nor does the scale end here.

        A clipped scene (a white sky) is at the bound in both copies. Counts end at 0 by nature, and
        have the mean they should. Impulses reach the bound from far away.
        """
        often = self.one_copy > CLIPPED and self.seen >= FEW
        return often and self.distance < FAR and self.uncounted > COUNTED


@dataclass(frozen=True)
class Look:
    """What was measured on the sample, in the units of the images; NaN: it cannot be told.

    Attributes:
        pairs, channels, height, width, dtype: Of all the pairs.
        low, high: The least and the greatest value.
        noise: Standard deviation of the noise of a copy: that of b - gain a over
            sqrt(1 + gain^2); without a gain, the root mean square of b - a over sqrt(2).
        snr: dB, the covariance of a and b over the variance of the noise; -inf without covariance.
        gain, offset: b is about gain times a, plus the offset; that of a gain of NaN is the mean
            of b - a.
        level: Mean of b - a over its standard deviation / sqrt(2): of the channel that differs
            most, one that differs by more than chance first.
        shift: (down, right) of b against a, pixels.
        moved: Whether the shift is more than chance.
        across, down: Correlation of the noise of neighbours in a row and in a column.
        alike: Correlation of a and b.
        smooth: Correlation of pixels of a copy that are SCENE_REACH apart, in a row or in a column,
            whichever is less.
        lone, lone_twice: Share of values that stand out from all around in one copy, in both.
        identical: Share of the pairs whose copies are identical, but not of one value.
    """

    pairs: int
    channels: int
    height: int
    width: int
    dtype: str
    low: Bound
    high: Bound
    noise: float
    snr: float
    gain: Estimate
    offset: float
    level: Estimate
    shift: tuple[float, float]
    moved: bool
    across: Estimate
    down: Estimate
    alike: Estimate
    smooth: Estimate
    lone: float
    lone_twice: float
    identical: float

    @property
    def noiseless(self) -> bool:
        """Whether the copies differ by no more than the rounding of their values."""
        return self.noise <= ROUNDING * (self.high.value - self.low.value)

    @property
    def brightness_differs(self) -> bool:
        """Whether b is brighter or darker, or has more or less contrast, than a."""
        return self.gain.differs(1, GAIN) or self.level.differs(0, LEVEL)

    @property
    def shifted(self) -> bool:
        """Whether b is shifted against a by half a pixel or more."""
        return self.moved and math.hypot(*self.shift) >= SHIFT

    @property
    def unrelated(self) -> bool:
        """Whether a and b look like different scenes.

        Pixels of one copy at a distance are less alike than the same pixel in both copies, unless
        the noise reaches as far as the scene.
        """
        opposed = self.alike.differs(0, -OPPOSED) and self.alike.value < 0
        scene = self.smooth.differs(0, SMOOTH) and self.smooth.value > 0
        nothing_common = scene and self.alike.value < self.smooth.value / 2
        return opposed or nothing_common

    @property
    def correlated(self) -> bool:
        """Whether the noise of neighbours is; not told where b - a is more than noise."""
        if self.brightness_differs or self.shifted or self.unrelated:
            return False
        return self.across.differs(0, CORRELATED) or self.down.differs(0, CORRELATED)

    @property
    def independent(self) -> bool:
        """Whether the noise of neighbours is; False where that cannot be told (NaN)."""
        return all(abs(side.value) < INDEPENDENT for side in (self.across, self.down))

    def recipe(self) -> Recipe:
        """For a training on these pairs, in their own units.

        A training repeats few pixels until it fits their noise, so those with less noise weigh more
        there; with many pixels the plain squared error ends better. Pixels change places between
        the copies where their noise is independent, as few pairs then give many.
        """
        few = self.pairs * self.height * self.width < FEW_PIXELS
        return replace(OWN, channels=self.channels, loss="weighted" if few else "mse",
                       swap="pixels" if self.independent else "both")

    def lines(self) -> list[str]:
        """Five lines for a terminal."""
        plural = "" if self.channels == 1 else "s"
        values = f"values from {self.low.value:g} to {self.high.value:g}"
        return [
            f"pairs        {self.pairs} of {self.height} x {self.width}, "
            f"{self.channels} channel{plural}, {self.dtype}, {values}",
            f"noise        standard deviation {self.noise:.3g}, {self._signal()}",
            f"brightness   {self._brightness()}",
            f"shift        {self._shift()}",
            f"neighbours   {self._neighbours()}",
        ]

    def warnings(self) -> list[str]:
        """One line for each thing that harms a training; none for pairs as they should be."""
        if self.noiseless:
            return [self._no_noise(), *self._of_scenes()]
        if self.unrelated:
            return [*self._of_copies(), self._unrelated(), *self._of_values()]
        return [*self._of_copies(), *self._of_scenes(), *self._of_values()]

    def _signal(self) -> str:
        if self.noiseless:
            return "there is none"
        if self.snr == -math.inf:
            return "no signal seen"
        return f"signal to noise {self.snr:.1f} dB"

    def _brightness(self) -> str:
        if math.isnan(self.gain.value):
            return f"of b: that of a {_signed(self.offset)} (too little contrast to tell a factor)"
        return f"of b: {self.gain.value:.3f} times that of a, {_signed(self.offset)}"

    def _shift(self) -> str:
        if any(map(math.isnan, self.shift)):
            return CANNOT_TELL
        down, right = self.shift
        return f"of b against a: {_way(down, 'down', 'up')}, {_way(right, 'right', 'left')}"

    def _neighbours(self) -> str:
        if self.noiseless:
            return "there is no noise"
        if math.isnan(self.across.value) and math.isnan(self.down.value):
            return CANNOT_TELL
        return f"noise correlated by {_two(self.across.value)} across, {_two(self.down.value)} down"

    def _no_noise(self) -> str:
        if self.low.value == self.high.value:
            return (f"all values are {self.low.value:g}, expected images of a scene with noise: "
                    "there is nothing to learn; check the files")
        differ = self.brightness_differs or self.shifted
        found = "have no noise of their own" if differ else "are identical"
        return (f"a and b {found}, expected independent noise in each: a training on them learns "
                "to change nothing; take a second exposure for b")

    def _of_copies(self) -> list[str]:
        if self.identical <= IDENTICAL:
            return []
        return [f"a and b are identical in {self.identical:.1%} of the pairs, expected noise of "
                "its own in each: these teach to change nothing; leave them out"]

    def _unrelated(self) -> str:
        return (f"a and b have a correlation of {_two(self.alike.value)}, expected two copies of "
                "each scene: what they do not share is removed as noise; check that files of the "
                "same scene are paired, and pairs of blank scenes are left out")

    def _of_scenes(self) -> list[str]:
        found = []
        if self.brightness_differs:
            found.append(
                f"the brightness differs ({self._brightness()}; mean of b - a up to "
                f"{abs(self.level.value):.2f} of the noise in a channel), expected the same: the "
                "denoised images get a brightness in between; scale one copy to the other, or "
                "expose both alike")
        if self.shifted:
            found.append(
                f"a shift ({self._shift()}, pixels), expected less than half a pixel: the denoised "
                "images get blurred; align the copies, by whole pixels, which leaves the noise "
                "as it is")
        if self.correlated:
            found.append(
                f"the noise of neighbours is correlated ({_two(self.across.value)} across, "
                f"{_two(self.down.value)} down), as after demosaicing, resizing, JPEG or with a "
                "shift below half a pixel, expected none: training works all the same, as only a "
                "and b have to be independent, but such noise is harder to tell from the scene, so "
                "more is left, in blotches; prefer raw data if there are any")
        return found

    def _of_values(self) -> list[str]:
        found = []
        for bound, remedy in ((self.low, "raise the camera's offset, or do not subtract one"),
                              (self.high, "expose less or lower the gain")):
            if bound.clipped:
                found.append(
                    f"noise is clipped at {bound.value:g} ({bound.share:.1%} of the values), "
                    "expected room for it on both sides: the mean of clipped noise is not zero, "
                    f"so denoised images are wrong there; {remedy}")
        if self.lone > LONE:
            found.append(
                f"at least {self.lone:.1%} of the values stand out from all around them in one "
                "copy only, expected hardly any: if these are hot pixels that come and go, or "
                "other impulses, their mean is not zero, and denoised images are off by it; "
                "replace them first, say by a median of their neighbours")
        if self.lone_twice > LONE_TWICE:
            found.append(
                f"at least {self.lone_twice:.1%} of the values stand out from all around them, "
                "alike in both copies: if these are no stars or the like but hot or dead pixels, "
                "they are learnt as part of the image; replace them first")
        return found


def look(noisy_a: Tensor, noisy_b: Tensor) -> Look:
    """Measure what Noise2Noise needs of its pairs.

    Args:
        noisy_a, noisy_b: N x C x H x W of one shape, uint8, uint16, int16, int32 or float32, in any
            units: two copies of each scene. A sample of at most 2,000 is looked at, always the
            same.

    Returns:
        What was measured.

    Raises:
        TypeError: The dtype is another one.
        ValueError: The shapes differ or are others, or a value of the sample is not finite.
    """
    _check(noisy_a, noisy_b)
    a, b, low, high = _values(noisy_a, noisy_b)
    identical = _identical(a, b)
    a, b = parts(a), parts(b)  # P x C x h x w, from 0
    shift, moved = _shift(a, b)
    a, b = _aligned(a, b, shift)
    gain, offset = _brightness(a, b)
    factor = 1.0 if math.isnan(gain.value) else gain.value
    different = b - factor * a
    residual = different - _channel_mean(different)
    of_noise = different if math.isnan(gain.value) else residual
    noise = (of_noise.square().mean(dtype=torch.float64) / (1 + factor**2)).sqrt().item()
    lone, lone_twice = _lone(a, b, noise)
    lower, upper = _bound(a, b, noise, low), _bound(high - low - a, high - low - b, noise, high)
    alike, smooth, snr = _scene(a, b, noise)
    count, channels, height, width = noisy_a.shape
    return Look(
        pairs=count, channels=channels, height=height, width=width,
        dtype=str(noisy_a.dtype).removeprefix("torch."),
        low=lower, high=upper, noise=noise, snr=snr, gain=gain,
        offset=offset if math.isnan(gain.value) else offset + low * (1 - gain.value),
        level=_level(a, b), shift=shift, moved=moved,
        across=_neighbours(residual), down=_neighbours(residual.mT),
        alike=alike, smooth=smooth,
        lone=lone, lone_twice=lone_twice, identical=identical)


def chance(parts: int) -> float:
    """Standard errors that a mean of `parts` values passes as rarely as a normal one passes CHANCE.

    An approximation of Student's distribution: z = sqrt(n log(1 + t^2 / n)) is about normal for n
    degrees of freedom (D. L. Wallace, Ann. Math. Statist. 30, 1959). Few parts need more.
    """
    degrees = parts - 1
    if degrees < 1:
        return math.inf
    return math.sqrt(degrees * math.expm1(min(CHANCE**2 / degrees, 100)))


def sample(images: Tensor) -> Tensor:
    """At most MAX_TILES images and MAX_VALUES values, always the same of each number and shape.

    Args:
        images: N x C x H x W.

    Returns:
        M x C x h x w, of the same dtype; h and w are at most MAX_SIDE, and less for many channels.
    """
    count, channels, height, width = images.shape
    side = min(MAX_SIDE, max(MIN_SIDE, math.isqrt(MAX_VALUES // channels)))
    h, w = min(height, side), min(width, side)
    top, left = (height - h) // 2, (width - w) // 2
    images = images[..., top:top + h, left:left + w]
    taken = min(count, MAX_TILES, max(1, MAX_VALUES // (channels * h * w)))
    if taken == count:
        return images
    # At random, as equal steps might meet the same place of each image that tiles were cut from.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return images[order[:taken].sort().values]


def parts(images: Tensor) -> Tensor:
    """Cut few images into quarters, and these again, until there are MIN_PARTS.

    Args:
        images: N x C x H x W.

    Returns:
        P x C x h x w, without the last row or column of odd sizes.
    """
    while len(images) < MIN_PARTS and min(images.shape[-2:]) >= 2 * MIN_SIDE:
        h, w = images.shape[-2] // 2, images.shape[-1] // 2
        halves = torch.cat((images[..., :h, :], images[..., h:2 * h, :]))
        images = torch.cat((halves[..., :w], halves[..., w:2 * w]))
    return images


# ---- measurements, of a and b as P x C x h x w, float32 -----------------------------------------


def _brightness(a: Tensor, b: Tensor) -> tuple[Estimate, float]:
    """Gain and offset of b = gain * a + offset, by an instrumental variable.

    Regression of b on a is biased towards 0 by the noise of a (attenuation). The sum z of pixels
    around it, of both copies, shares the scene with a pixel, but not its noise, so that
    gain = cov(b, z) / cov(a, z) (O. Reiersol, 1941), also where one copy has more noise. Smooth
    noise, whose neighbours do share it, does no harm where a and b have equally much.
    """
    mean_a, mean_b = a.mean(dtype=torch.float64).item(), b.mean(dtype=torch.float64).item()
    centred_a, centred_b = a - _channel_mean(a), b - _channel_mean(b)
    both = centred_a + centred_b
    z = both.roll(2, -1) + both.roll(-2, -1) + both.roll(2, -2) + both.roll(-2, -2)
    gain = _ratio(centred_b * z, centred_a * z)
    visible = _ratio(centred_a * z, torch.ones_like(z)).differs(0, 0)
    if not (visible and gain.error < UNSURE_GAIN):
        return Estimate(math.nan, math.nan, gain.parts), mean_b - mean_a
    return gain, mean_b - gain.value * mean_a


def _level(a: Tensor, b: Tensor) -> Estimate:
    """Mean of b - a, in standard deviations of the noise; see `Look.level`."""
    channels = []
    for difference in (b - a).unbind(1):
        noise = (difference.square().mean(dtype=torch.float64) / 2).sqrt().clamp(min=1e-30)
        channels.append(_ratio(difference / noise, torch.ones_like(difference)))
    return max(channels, key=lambda level: (level.differs(0, LEVEL), abs(level.value)))


def _scene(a: Tensor, b: Tensor, noise: float) -> tuple[Estimate, Estimate, float]:
    """(Look.alike, Look.smooth, Look.snr)."""
    a, b = a - _channel_mean(a), b - _channel_mean(b)
    product = a * b
    alike = _ratio(product, (a.square() + b.square()) / 2)
    copies = torch.cat((a, b), 1)
    across, down = _neighbours(copies, SCENE_REACH), _neighbours(copies.mT, SCENE_REACH)
    smooth = min(across, down, key=_value)
    signal = product.mean(dtype=torch.float64).item()
    if noise == 0:
        return alike, smooth, math.inf
    return alike, smooth, 10 * math.log10(signal / noise**2) if signal > 0 else -math.inf


def _neighbours(images: Tensor, distance: int = 1) -> Estimate:
    """Correlation of pixels of a row, so far apart; the mean of each channel is 0."""
    left, right = images[..., :-distance], images[..., distance:]
    return _ratio(left * right, (left.square() + right.square()) / 2)


def _shift(a: Tensor, b: Tensor) -> tuple[tuple[float, float], bool]:
    """((down, right) of b against a in pixels, whether that is more than chance).

    The displacement with the least mean squared difference, which is the most likely one under
    normal noise, to a part of a pixel by parabolas. Phase correlation (C. D. Kuglin and D. C.
    Hines, 1975) gives all frequencies the same weight, also those that have noise only. A
    displacement other than zero has to be better than zero by more than chance.
    """
    difference, product = _displaced(a, b)  # P x (2 reach_y + 1) x (2 reach_x + 1) each
    reach_y, reach_x = (side // 2 for side in difference.shape[1:])
    gained = difference[:, reach_y, reach_x, None, None] - difference
    better = (_sure(gained) & _sure(product)).nonzero().tolist()
    corners = difference[:, ::max(1, 2 * reach_y), ::max(1, 2 * reach_x)].mean((1, 2))
    worse_around = _sure(corners - difference[:, reach_y, reach_x])
    alike, opposed = _sure(product)[reach_y, reach_x], _sure(-product)[reach_y, reach_x]
    if opposed or not (better or (alike and worse_around)):
        return (math.nan, math.nan), False
    total = difference.mean(0)
    y, x = min(better or [[reach_y, reach_x]], key=lambda place: total[place[0], place[1]].item())
    down = y - reach_y + _vertex(total[:, x], y)
    right = x - reach_x + _vertex(total[y], x)
    return (down, right), bool(better)


def _aligned(a: Tensor, b: Tensor, shift: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Where a and b show the same, to the nearest pixel; all of them if the shift is not known."""
    if any(map(math.isnan, shift)):
        return a, b
    height, width = a.shape[-2:]
    y, x = map(round, shift)
    a = a[..., max(0, -y):height - max(0, y), max(0, -x):width - max(0, x)]
    b = b[..., max(0, y):height + min(0, y), max(0, x):width + min(0, x)]
    return a, b


def _displaced(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared difference, and mean product, of a and displaced b where they overlap.

    mean (a - b)^2 = mean a^2 + mean b^2 - 2 mean a b, each a correlation by FFT, padded by zeros.

    Returns:
        Both P x (2 reach_y + 1) x (2 reach_x + 1): displacements from -reach to reach.
    """
    height, width = a.shape[-2:]
    reach_y, reach_x = min(MAX_SHIFT, height // 3), min(MAX_SHIFT, width // 3)
    size = (height + reach_y, width + reach_x)
    rows = torch.arange(-reach_y, reach_y + 1)
    columns = torch.arange(-reach_x, reach_x + 1)
    overlap = (height - rows.abs())[:, None] * (width - columns.abs()) * a.shape[1]
    a, b = a - _channel_mean(a), b - _channel_mean(b)
    inside = torch.fft.rfft2(torch.ones(height, width), s=size)
    squares, products = [], []
    for some_a, some_b in zip(a.split(64), b.split(64), strict=True):  # to need little memory
        square_a = torch.fft.rfft2(some_a.square().sum(1), s=size)
        square_b = torch.fft.rfft2(some_b.square().sum(1), s=size)
        squares.append(square_a.conj() * inside + inside.conj() * square_b)
        product = torch.fft.rfft2(some_a, s=size).conj() * torch.fft.rfft2(some_b, s=size)
        products.append(product.sum(1))
    # Displacement 0 comes first, negative ones last, as -1 is the last index.
    square, product = (torch.fft.irfft2(torch.cat(spectra), s=size)[:, rows][:, :, columns]
                       for spectra in (squares, products))
    return (square - 2 * product) / overlap, product / overlap


def _bound(a: Tensor, b: Tensor, noise: float, value: float) -> Bound:
    """How values end at 0, the least of a and b, which are given as distances from the bound.

    Many values at the bound are no proof of clipping: counts of photons have many zeros, and noise
    of mean zero all the same. But of counts with any distribution of means, the other copy of the
    zeros has the mean P(1) / P(0) (H. Robbins, 1956), in steps, hence

        mean of b where a is 0, times P(0)  =  P(1) * step.

    Clipped noise heaps up on one value what would lie on many, so that P(1) is too small for this.
    """
    at_a, at_b = a == 0, b == 0
    zeros = (at_a.sum() + at_b.sum()).item()
    # Twice the lesser of both: where b is brighter, that alone has b at the bound and not a.
    one_copy = 2 * int(min((at_a & ~at_b).sum(), (at_b & ~at_a).sum()))
    others_seen = int((at_a ^ at_b).sum())
    step = min(_least_above(a), _least_above(b))
    ones = ((a == step).sum() + (b == step).sum()).item()
    others = (b[at_a].sum(dtype=torch.float64) + a[at_b].sum(dtype=torch.float64)).item()
    return Bound(
        value=value, share=zeros / (2 * a.numel()), one_copy=one_copy / a.numel(), seen=one_copy,
        distance=others / others_seen / noise if others_seen and noise else 0.0,
        uncounted=others / (ones * step) if ones else 0.0)


def _lone(a: Tensor, b: Tensor, noise: float) -> tuple[float, float]:
    """Share of the values that stand out from all around them, in one copy only and in both.

    Around are the 8 neighbours in a and the 8 in b. To stand out is to be above or below all of
    them by LONE_SPAN times what they span, which noise of any strength hardly does: that is about 7
    standard deviations of normal noise. Counts, whose neighbours may all be 0, need 8 steps too.
    """
    height, width = a.shape[-2:]
    if min(height, width) < 3 or noise == 0:
        return 0.0, 0.0
    places = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    low = torch.full_like(a[..., 2:, 2:], math.inf)
    high = -low
    for copy in (a, b):
        for y, x in places:
            neighbour = copy[..., y:y + height - 2, x:x + width - 2]
            torch.minimum(low, neighbour, out=low)
            torch.maximum(high, neighbour, out=high)
    step = min(_least_above(a), _least_above(b))
    apart = (LONE_SPAN * (high - low)).clamp_(min=max(LONE_NOISE * noise, LONE_STEPS * step))
    low, high = low.sub_(apart), high.add_(apart)
    a, b = a[..., 1:-1, 1:-1], b[..., 1:-1, 1:-1]
    above_a, above_b, below_a, below_b = a > high, b > high, a < low, b < low
    once = ((above_a ^ above_b) | (below_a ^ below_b)).sum().item()
    twice = ((above_a & above_b) | (below_a & below_b)).sum().item()
    return _believed(int(once), a.numel()), _believed(int(twice), a.numel())


def _values(noisy_a: Tensor, noisy_b: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """(samples of a and b less the least value, float32, the least value, the greatest one)."""
    a, b = sample(noisy_a).double(), sample(noisy_b).double()  # float32 would round large integers
    low, high = torch.minimum(a.min(), b.min()).item(), torch.maximum(a.max(), b.max()).item()
    if not (math.isfinite(low) and math.isfinite(high)):  # also if any value is NaN, as both are
        raise ValueError(f"values from {low:g} to {high:g}, expected no NaN or infinity; leave "
                         "these pairs out")
    return (a - low).float(), (b - low).float(), low, high


def _identical(a: Tensor, b: Tensor) -> float:
    """Share of pairs that are the same in both copies; not of one value, as saturated skies are."""
    flat = a.flatten(1)
    same = (flat == b.flatten(1)).all(1) & (flat != flat[:, :1]).any(1)
    return same.double().mean().item()


# ---- helpers -----------------------------------------------------------------------------------


def _ratio(above: Tensor, below: Tensor) -> Estimate:
    """sum(above) / sum(below), with the standard error that its spread over the parts gives.

    Args:
        above, below: P x ... of one shape.
    """
    count = len(above)
    over = above.reshape(count, -1).sum(1).double()  # P
    under = below.reshape(count, -1).sum(1).double()
    total = under.sum().item()
    if total == 0 or count < 2:
        value = over.sum().item() / total if total else math.nan
        return Estimate(value, math.inf, count)
    value = over.sum().item() / total
    spread = (over - value * under).square().sum().item() * count / (count - 1)
    return Estimate(value, math.sqrt(spread) / abs(total), count)


def _sure(values: Tensor) -> Tensor:
    """Whether the mean over the parts, the first dimension, is above 0 by more than chance."""
    count = len(values)
    error = values.std(0, correction=0) / math.sqrt(max(1, count - 1))
    return values.mean(0) > chance(count) * error


def _channel_mean(images: Tensor) -> Tensor:
    """1 x C x 1 x 1."""
    return images.mean((0, 2, 3), keepdim=True, dtype=torch.float64).float()


def _vertex(values: Tensor, least: int) -> float:
    """Where the parabola through a value and its two neighbours is least, from -0.5 to 0.5."""
    if not 0 < least < len(values) - 1:
        return 0.0
    before, middle, after = values[least - 1:least + 2].tolist()
    curvature = before - 2 * middle + after
    if curvature <= 0:
        return 0.0
    return max(-0.5, min(0.5, (before - after) / (2 * curvature)))


def _least_above(values: Tensor) -> float:
    """The least value above 0, the least of all; infinite if there is none."""
    return values.masked_fill(values <= 0, math.inf).min().item()


def _believed(seen: int, of: int) -> float:
    """The share, or 0 if few are seen."""
    return seen / of if seen >= FEW else 0.0


def _value(estimate: Estimate) -> float:
    return estimate.value


def _signed(offset: float) -> str:
    """plus 0.12, minus 3.4, plus 0."""
    return f"{'minus' if offset < 0 else 'plus'} {abs(offset):.3g}"


def _two(correlation: float) -> str:
    """With two digits, no minus before 0.00, and a question mark for NaN."""
    return "?" if math.isnan(correlation) else f"{round(correlation, 2) + 0.0:.2f}"


def _way(pixels: float, positive: str, negative: str) -> str:
    """0.3 down, 0.3 up."""
    return f"{abs(pixels):.1f} {negative if round(pixels, 1) < 0 else positive}"


def _check(a: Tensor, b: Tensor) -> None:
    """Raise unless both are N x C x H x W, alike, not empty, of one of DTYPES."""
    for name, images in (("noisy_a", a), ("noisy_b", b)):
        if not isinstance(images, Tensor) or images.dtype not in DTYPES:
            raise TypeError(f"{name} is a {type(images).__name__} of dtype "
                            f"{getattr(images, 'dtype', None)}, expected a torch.Tensor of uint8, "
                            "uint16, int16, int32 or float32; use torch.as_tensor")
        if images.dim() != 4 or images.numel() == 0:
            raise ValueError(f"{name} is {tuple(images.shape)}, expected N x C x H x W, none of "
                             "them 0; use [:, None] for a stack of grey images")
    if a.shape != b.shape:
        raise ValueError(f"noisy_a and noisy_b are {tuple(a.shape)} and {tuple(b.shape)}, "
                         "expected equal shapes: copies of the same scenes")
