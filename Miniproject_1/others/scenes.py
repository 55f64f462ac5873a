"""Generated scenes, for those who have no photos: leaves that hide one another ("dead leaves").

A power law of sizes gives about the 1/f amplitude spectrum of natural images (A. Lee, D. Mumford
and J. Huang, "Occlusion Models for Natural Images", IJCV 2001). Each leaf has its own colour,
noise, grating and gradient. The constants are chosen so that the noisy PSNR is that of photos
(20.8 dB) and the scenes look varied.
"""

import math

import torch
from torch import Tensor

from .noise import SOURCE

BATCH = 8  # scenes drawn at a time: their layers stay in the processor's caches

# Leaves
BOXES = (64, 32, 16, 128, 64, 32, 16)  # pixels, painted in this order; n^2 leaves of size 1/n
LARGE_BOX = 64  # pixels
LARGE_SHARE = 0.95  # of the large boxes hold a leaf
SMALL_SHARE = (0.1, 0.8)  # of the smaller boxes do, drawn per scene
LENGTH = (0.3, 0.95)  # half of a leaf's long axis, where its box reaches from -1 to 1
ROUNDNESS = (0.35, 1.0)  # short axis / long axis

# Paint
MEAN = (90.0, 150.0)  # grey levels, drawn per scene
CONTRAST = (17.0, 60.0)  # grey levels: deviation of the leaves' colours, drawn per scene
CHROMA = 0.35  # deviation of a single channel, as a share of the contrast
ROUGHNESS = 3.5  # grey levels: median deviation of a leaf's noise
NOISE_EXPONENT = (0.0, 1.0)  # amplitude of that noise ~ 1 / frequency^exponent, drawn per scene
STRIPES = 3.0  # grey levels: median amplitude of a grating
STRIPED = 0.3  # of the leaves have a grating
FREQUENCY = 0.2  # periods per pixel: of a grating, at most, along each axis
GRADIENT = 8.0  # grey levels from the middle to the edge of the scene
SHADING = 0.1  # deviation of the logarithm of the light from the middle to the edge of the scene


def scenes(count: int, generator: torch.Generator) -> Tensor:
    """Draw scenes.

    Args:
        count: The number of scenes.
        generator: On the CPU; the scenes depend on nothing else.

    Returns:
        count x 3 x SOURCE x SOURCE, uint8.
    """
    images = torch.empty(count, 3, SOURCE, SOURCE, dtype=torch.uint8)
    for part in images.split(BATCH):
        part.copy_(_draw(len(part), generator))
    return images


def _draw(count: int, generator: torch.Generator) -> Tensor:
    """`count` scenes at once: which leaf each pixel shows, then its colour and texture."""
    owner = _owners(count, generator)  # N x H x W
    paint = _paint(count, generator)  # 6 x leaves
    pixels = paint.index_select(1, owner.flatten().int()).view(6, *owner.shape)
    image, (rough, stripes, slope) = pixels[:3], pixels[3:]

    texture = _noise(count, generator).mul_(rough)
    texture.addcmul_(_grating(count, generator), stripes)
    texture.addcmul_(_ramp(count, generator), slope)
    light = _ramp(count, generator).mul_(SHADING).exp_()
    image = image.add_(texture).mul_(light)  # 3 x N x H x W, in grey levels
    return image.round_().clamp_(0, 255).to(torch.uint8).transpose(0, 1)


# ---- leaves ------------------------------------------------------------------------------------


def _owners(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W, float32: the leaf that each pixel shows; leaf i belongs to scene i modulo N.

    Boxes of one size tile the scene, each with a leaf or none. As leaves are numbered from back
    to front, the maximum paints a layer of them over what is there.
    """
    small_share = _uniform((count, 1, 1), SMALL_SHARE, generator)
    backgrounds = torch.arange(float(count))[:, None, None]
    owner = backgrounds.repeat(1, SOURCE, SOURCE)
    first = count  # number of the first leaf of the layer
    for box in BOXES:
        grid = SOURCE // box
        share = LARGE_SHARE if box >= LARGE_BOX else small_share
        last = first + count * grid * grid
        number = torch.arange(first, last).view(grid, grid, count).movedim(-1, 0)
        layer = _leaves((count, grid, grid), box, share, generator)
        layer.mul_(number[..., None, None])  # N x grid x grid x box x box
        below = owner.view(count, grid, box, grid, box).transpose(2, 3)
        torch.maximum(below, layer, out=below)
        first = last
        # Leaves keep within their boxes, so the next boxes must lie elsewhere.
        shift = torch.randint(SOURCE, (2,), generator=generator).tolist()
        owner = owner.roll(shift, (1, 2))
    return owner


def _leaves(
    shape: tuple[int, int, int], box: int, share: float | Tensor, generator: torch.Generator
) -> Tensor:
    """shape x box x box, float32: 1 where a box shows its leaf, an ellipse, cut straight or not."""
    u, v = _axes(shape, box, generator)
    cut = _uniform(shape, (0, 2), generator)  # half of the leaves are cut, across their long axis
    missing = torch.rand(shape, generator=generator) > share
    cut.masked_fill_(missing, -math.inf)
    # In float, in place: several times faster than torch.where on booleans.
    inside = v.square_().addcmul_(u, u).lt_(1)
    return inside.mul_(u.lt_(cut[..., None, None]))


def _axes(shape: tuple[int, int, int], box: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Two tensors, shape x box x box: coordinates of the pixels along the axes of each box's leaf.

    They are 1 at the ends of the axes: the leaf is where their squares sum to less than 1.
    """
    long = _uniform(shape, LENGTH, generator)
    short = long * _uniform(shape, ROUNDNESS, generator)
    x = (1 - long) * _uniform(shape, (-1, 1), generator)  # the centre
    y = (1 - long) * _uniform(shape, (-1, 1), generator)
    angle = _uniform(shape, (0, math.pi), generator)
    cos, sin = angle.cos(), angle.sin()
    along = torch.stack((-(cos * x + sin * y), cos, sin), -1) / long[..., None]
    across = torch.stack((sin * x - cos * y, -sin, cos), -1) / short[..., None]
    functions = torch.stack((along, across), -2)  # shape x 2 x 3: linear functions of 1, x and y
    values = functions.view(-1, 3) @ _plane(box)
    return values.view(*shape, 2, box, box).unbind(3)


# ---- paint -------------------------------------------------------------------------------------


def _paint(count: int, generator: torch.Generator) -> Tensor:
    """6 x leaves: red, green, blue, and the amplitudes of noise, grating and gradient."""
    leaves = count * (1 + sum((SOURCE // box) ** 2 for box in BOXES))  # with the backgrounds
    scene = torch.arange(leaves) % count  # the scene that a leaf belongs to
    mean = _uniform((count,), MEAN, generator)[scene]
    contrast = _uniform((count,), CONTRAST, generator)[scene]
    grey, rough, stripes, slope = _normal((4, leaves), generator)
    colour = mean + contrast * (grey + CHROMA * _normal((3, leaves), generator))
    striped = torch.rand(leaves, generator=generator) < STRIPED
    rough = ROUGHNESS * rough.exp()
    stripes = STRIPES * stripes.exp() * striped
    return torch.cat((colour, torch.stack((rough, stripes, GRADIENT * slope))))


def _noise(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: noise of about unit variance, amplitude 1/f^exponent, stretched along an axis."""
    stretch = _uniform((count, 1, 1), (-1, 1), generator).exp2()
    x = torch.fft.rfftfreq(SOURCE) * stretch
    y = torch.fft.fftfreq(SOURCE)[:, None] / stretch
    exponent = _uniform((count, 1, 1), NOISE_EXPONENT, generator)
    power = (x.square() + y.square()).pow_(-exponent)
    power[:, 0, 0] = 0
    # Complex normals have variance 2, and each frequency has its mirror image.
    power /= 4 * power.sum((1, 2), keepdim=True)
    spectrum = torch.view_as_complex(_normal((*power.shape, 2), generator)) * power.sqrt_()
    return torch.fft.irfft2(spectrum, s=(SOURCE, SOURCE), norm="forward")


def _grating(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: a sine wave per scene, of any direction and at least 3.5 pixels long."""
    x, y = _uniform((2, count, 1, 1), (-FREQUENCY, FREQUENCY), generator)
    pixels = torch.arange(SOURCE)
    phase = x * pixels + y * pixels[:, None] + torch.rand(count, 1, 1, generator=generator)
    return phase.mul_(2 * math.pi).sin_()


def _ramp(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: a linear function per scene with normal coefficients of 1, x and y."""
    coefficients = _normal((count, 3), generator)
    return (coefficients @ _plane(SOURCE)).view(count, SOURCE, SOURCE)


# ---- helpers -----------------------------------------------------------------------------------


def _plane(side: int) -> Tensor:
    """3 x side^2: the functions 1, x and y on the pixels of a square that reaches from -1 to 1."""
    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    return torch.stack((torch.ones(side * side), axis.repeat(side), axis.repeat_interleave(side)))


def _uniform(
    shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Uniform draws between two bounds."""
    low, high = bounds
    return torch.rand(shape, generator=generator) * (high - low) + low


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws with mean 0 and variance 1."""
    return torch.randn(shape, generator=generator)
