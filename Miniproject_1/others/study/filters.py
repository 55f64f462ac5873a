"""What needs no training: the best Gaussian blur, and BM3D.

BM3D is K. Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering",
IEEE TIP 2007; for correlated noise, Y. Makinen, L. Azzari and A. Foi, IEEE TIP 2020. The package
`bm3d` is that of its authors, free for non-commercial use. It is told how the noise was made: its
standard deviation (of clipped noise, before the clipping) and, where it is correlated, its
spectrum. Noise that grows with the brightness is stabilised first, by the generalised Anscombe
transform.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ...model import psnr
from .kinds import OFFSET, READ_NOISE, SIGMA, gaussian_kernel, noise_kernel

SIGMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # pixels, of blurs


def best_blur(noisy: Tensor, clean: Tensor, peak: float) -> tuple[float, float]:
    """The Gaussian blur that is best for these images, which only the clean ones can tell.

    Args:
        noisy, clean: N x C x H x W in one unit.
        peak: Range of the values.

    Returns:
        (PSNR in dB, standard deviation in pixels).
    """
    return max((psnr(blurred(noisy, sigma), clean, peak), sigma) for sigma in SIGMAS)


def blurred(noisy: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of N x C x H x W images, mirrored at their borders; sigma in pixels."""
    kernel = gaussian_kernel(sigma).view(1, 1, 1, -1)
    reach = kernel.shape[-1] // 2
    single = noisy.float().flatten(0, 1)[:, None]  # channels apart
    padded = pad(single, (reach, reach, reach, reach), mode="reflect")
    return conv2d(conv2d(padded, kernel), kernel.mT).view(noisy.shape)


def bm3d(noisy: Tensor, kind: str) -> Tensor:
    """Denoise with BM3D.

    Args:
        noisy: N x C x H x W; C is 3 or 1.
        kind: Its noise, a name of `KINDS`.

    Returns:
        float32, of the same shape and unit.

    Raises:
        ValueError: The package is missing.
    """
    return torch.stack([_image(image.float(), kind) for image in noisy])


def _image(noisy: Tensor, kind: str) -> Tensor:
    if kind == "poisson":
        return _stabilised(noisy, read_noise=0.0)
    if kind == "camera":
        return _stabilised(noisy - OFFSET, READ_NOISE) + OFFSET
    if kind == "correlated":
        return _bm3d(noisy, _spectrum(noisy))
    if kind == "bernoulli":  # in all channels alike, so each is denoised alone
        return torch.cat([_bm3d(channel, _bernoulli_noise(channel)) for channel in noisy.split(1)])
    return _bm3d(noisy, torch.tensor(SIGMA))


def _bernoulli_noise(image: Tensor) -> Tensor:
    """The standard deviation of the noise: its variance is x^2, the mean of squares 2 x^2."""
    return image.square().mean().div(2).sqrt()


def _spectrum(image: Tensor) -> Tensor:
    """H x W, the power of the noise of `correlated` at each frequency, as `bm3d` takes it."""
    height, width = image.shape[-2:]
    amplitude = torch.fft.fft2(noise_kernel()[0, 0], s=(height, width)).abs()
    return amplitude.square() * height * width


def _stabilised(counts: Tensor, read_noise: float) -> Tensor:
    """BM3D of counts whose variance is their mean and that of the read noise.

    M. Makitalo and A. Foi, "Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise", IEEE TIP 2013, equations 3 and 12.
    """
    stable = 2 * (counts + 3 / 8 + read_noise**2).clamp(min=0).sqrt()  # its noise has variance 1
    d = _bm3d(stable, torch.tensor(1.0)).clamp(min=2 * math.sqrt(3 / 8 + read_noise**2))
    root = math.sqrt(3 / 2)
    mean = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
    return (mean - read_noise**2).clamp(min=0)


def _bm3d(noisy: Tensor, noise: Tensor) -> Tensor:
    """BM3D of a C x H x W image.

    Args:
        noisy: The image.
        noise: Its standard deviation, or its power at each frequency.
    """
    try:
        import bm3d as package
        import numpy
    except (ImportError, OSError) as error:  # OSError: it is not made for this processor
        raise ValueError(f"the package bm3d is missing or does not load ({error}): run pip "
                         "install bm3d") from error
    if not hasattr(numpy, "trapz"):  # its package bm4d needs this name, which NumPy 2.4 has not
        numpy.trapz = numpy.trapezoid  # type: ignore[attr-defined]
    low, span = noisy.min(), noisy.max() - noisy.min()  # its thresholds are for about 0 to 1
    if span == 0:
        return noisy
    image = ((noisy - low) / span).permute(1, 2, 0).double().numpy()
    told = (noise / span if noise.dim() == 0 else noise / span**2).double().numpy()
    denoise = package.bm3d_rgb if len(noisy) == 3 else package.bm3d
    filtered = denoise(image, told if told.ndim else told.item())
    height, width = noisy.shape[1:]
    result = torch.from_numpy(filtered).float().view(height, width, len(noisy))
    return result.permute(2, 0, 1) * span + low
