"""Kinds of noise other than the course's, added to photos: what people's images have.

    kind = KINDS["gaussian"]
    clean = kind.clean(photos)                # N x 3 x H x W, uint8, to the units of the kind
    noisy = kind.noisy(clean, generator)      # one copy; a second call gives an independent one
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

SIGMA = 25.0  # grey levels of 255: standard deviation of the Gaussian noise
BLUR = 1.0  # pixels: standard deviation of the blur that correlates noise
PHOTONS = 30.0  # of the brightest pixel
OFFSET, SIGNAL, READ_NOISE = 100.0, 1_000.0, 3.0  # counts of a camera of 12 bits, gain 1
DARK = 0.2  # brightness of the underexposed photos whose noise is clipped
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Kind:
    """A kind of noise.

    Attributes:
        about: A text for a table.
        channels: 3, or 1 for grey images.
        peak: Range of the clean values, that of the PSNR.
        clean: From photos, N x 3 x H x W, uint8, to N x channels x H x W, float32.
        noisy: From such clean images and a generator to a noisy copy, in the dtype of its files.
    """

    about: str
    channels: int
    peak: float
    clean: Callable[[Tensor], Tensor]
    noisy: Callable[[Tensor, torch.Generator], Tensor]


def gaussian(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Independent in all pixels and channels, not clipped, float32."""
    return clean + SIGMA * torch.randn(clean.shape, generator=generator)


def correlated(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise that was blurred, then scaled to the same standard deviation; float32."""
    kernel = noise_kernel()
    reach = kernel.shape[-1] // 2
    *batch, height, width = clean.shape
    white = torch.randn((*batch, height + 2 * reach, width + 2 * reach), generator=generator)
    noise = conv2d(white.flatten(0, 1)[:, None], kernel)
    return clean + noise.view(clean.shape)


def noise_kernel() -> Tensor:
    """What turns white noise of variance 1 into that of `correlated`: 1 x 1 x K x K."""
    line = gaussian_kernel(BLUR)
    kernel = torch.outer(line, line)
    return SIGMA * (kernel / kernel.norm())[None, None]


def gaussian_kernel(sigma: float) -> Tensor:
    """A Gaussian along one axis, of sum 1, cut off at four standard deviations (in pixels)."""
    reach = math.ceil(4 * sigma)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = (-(places / sigma).square() / 2).exp()
    return kernel / kernel.sum()


def poisson(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Photon counts, uint16."""
    return torch.poisson(clean, generator=generator).to(torch.uint16)


def camera(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Shot noise and read noise, in counts of 12 bits, uint16."""
    shot = torch.poisson(clean - OFFSET, generator=generator) + OFFSET
    counts = shot + READ_NOISE * torch.randn(clean.shape, generator=generator)
    return counts.round().clamp(0, 2**12 - 1).to(torch.uint16)


def bernoulli(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Multiplicative Bernoulli noise: half of the pixels are 0, in all channels, and the others
    twice as bright; float32."""
    shape = (len(clean), 1, *clean.shape[-2:])
    return clean * (2.0 * (torch.rand(shape, generator=generator) < 0.5))


def clipped(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of dark images, cut off at 0, uint8: the mean of this noise is not zero."""
    return gaussian(clean, generator).round().clamp(0, 255).to(torch.uint8)


def grey(photos: Tensor) -> Tensor:
    """N x 1 x H x W, float32, values 0-255."""
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    return (photos * luma).sum(dim=1, keepdim=True)


GAUSSIAN = "gaussian"  # the kind of noise that denoisers are usually compared on
MASKED = "bernoulli"  # the kind that leaves half of the pixels
CLIPPED = "clipped"  # the kind whose mean is not zero

KINDS = {
    GAUSSIAN: Kind(f"Gaussian, sigma {SIGMA:g}", 3, 255.0, Tensor.float, gaussian),
    "correlated": Kind(f"Gaussian, sigma {SIGMA:g}, correlated", 3, 255.0, Tensor.float,
                       correlated),
    "poisson": Kind(f"Poisson, up to {PHOTONS:g} photons", 3, PHOTONS,
                    lambda photos: photos * (PHOTONS / 255), poisson),
    "camera": Kind("camera, shot and read noise, grey", 1, SIGNAL,
                   lambda photos: OFFSET + grey(photos) * (SIGNAL / 255), camera),
    MASKED: Kind("half of the pixels 0, the others doubled", 3, 255.0, Tensor.float, bernoulli),
    CLIPPED: Kind(f"Gaussian, sigma {SIGMA:g}, dark, clipped at 0", 3, DARK * 255,
                  lambda photos: photos * DARK, clipped),
}
