"""Noise2Noise denoising: a U-Net that learns to remove noise from pairs of noisy images, without a clean one.

It predicts one noisy copy of a scene from another. If the noise is independent and unbiased, that of the target cannot
be predicted, and what is learnt is the target's mean, the clean image (J. Lehtinen et al., "Noise2Noise: Learning Image
Restoration without Clean Data", ICML 2018, section 2). RESULT

Reading order: constants, U-Net, augmentation, loss, PSNR, optimizer, `Model` (train, predict, save, load). Images are
N x C x H x W with values 0-255 outside this module; the U-Net sees them in [-0.5, 0.5]. Only PyTorch is needed.
"""

import collections
import copy
import functools
import io
import math
import os
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ---------------------------------------------------------------------------------------------- constants
WIDTHS = (32, 64)       # channels at full and half resolution: small, so that a CPU sees many pairs in time
BLOCKS = 2              # residual blocks per level, down and up
BATCH = 32              # pairs per step: more steps gain more than the larger batches' slightly better throughput
MUON_RATE = 1e-2        # peak learning rate of Muon
MOMENTUM = 0.95         # of Muon
RATE = 2e-3             # peak learning rate of AdamW
WEIGHT_DECAY = 1e-4     # AdamW's default is 1e-2; pairs are plenty, so it only keeps weights bounded
WARMUP = 100            # steps of linear warm-up, at most a tenth of all: Adam's second moments are unreliable before
EMA = 0.995             # decay per step of the averaged weights, which are the ones kept
WEIGHT_POWER = 0.75     # of the loss's weights: 1 would be the inverse variance, if the estimate were exact
VARIANCE_FLOOR = 1e-4   # added to the variance there (2.5 grey levels squared): flat areas must not dominate
LOSS_FLOOR = 1e-4       # MSE added inside the logarithm of the loss (-40 dB): flat images must not dominate
HELD_OUT = 1_000        # about so many pairs, at most 1 in 20, are held out for the clean-free PSNR
CHECK_EVERY = 50        # steps between two looks at the loss: each one makes a GPU wait
LOSS_RISE = 1.0         # nat: a loss that much (4.3 dB) above its lowest level so far has diverged
TILE = 64               # pixels: larger training images are cut into tiles of this side
COURSE_LIMIT = {"cuda": 540.0, "cpu": 2520.0}  # seconds: 10 and 45 minutes, less a margin for testing
CORE = 448              # pixels: `predict` works on squares of this side, with context around; a multiple of 2^depth
CHUNK = 64 * 32 * 32    # pixels in one pass of `predict` (at least one image): fits a CPU's cache


# -------------------------------------------------------------------------------------------------- U-Net
class ResidualBlock(nn.Module):
    """x + convolution(ReLU(convolution(x))); the last convolution starts at zero, so the block starts as identity."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        for weight in (self.conv1.bias, self.conv2.weight, self.conv2.bias):
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class UNet(nn.Module):
    """Residual U-Net (O. Ronneberger et al., MICCAI 2015) without normalisation, with a linear output.

    N x channels x H x W in and out, any H and W from 1 up. `widths`: channels of each level, full resolution first;
    `blocks`: residual blocks per level, down and again up. Skip connections are added. It starts as the identity.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = WIDTHS, blocks: int = BLOCKS):
        super().__init__()
        self.arguments = {"channels": channels, "widths": list(widths), "blocks": blocks}
        self.reach = 2 ** len(widths) * (2 * blocks + 3)  # pixels that an output sees in each direction, at most

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

        steps = list(zip(widths[:-1], widths[1:], strict=True))  # (finer, coarser)
        self.head = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(level(width) for width in widths)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(level(fine) for fine, _ in steps)
        self.tail = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        multiple = 2 ** len(self.downs)
        x = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        x = self.head(x)  # N x widths[0] x H x W, H and W now multiples of 2^depth
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            x = encoder(x)
            skips.append(x)
            x = down(x)  # half the side, more channels
        x = self.encoders[-1](x)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = decoder(up(x) + skips.pop())  # twice the side, fewer channels
        return image + self.tail(x)[..., :height, :width]


# ------------------------------------------------------------------------------------------- augmentation
def augment(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(source, target) from the pairs (a, b), both N x C x H x W: each pair is turned by one of the eight flips and
    rotations (the four that keep the shape where H != W), then its copies change places with probability 1/2."""
    coin = torch.rand(4, len(a), 1, 1, 1, generator=generator, device=a.device, dtype=torch.float32) < 0.5
    pair = torch.stack((a, b))  # 2 x N x C x H x W: one transform for both copies
    pair = torch.where(coin[0], pair.flip(-1), pair)
    pair = torch.where(coin[1], pair.flip(-2), pair)
    if pair.shape[-1] == pair.shape[-2]:
        pair = torch.where(coin[2], pair.transpose(-1, -2), pair)
    source, target = torch.where(coin[3], pair.flip(0), pair)
    return source, target


def tiles(images: Tensor, size: int = TILE) -> Tensor:
    """N x C x H x W cut into M x C x min(H, size) x min(W, size). The last row and column of tiles lie flush with the
    border, so nothing is lost and they may overlap their neighbours."""
    height, width = min(images.shape[-2], size), min(images.shape[-1], size)
    rows = [*range(0, images.shape[-2] - height, height), images.shape[-2] - height]
    columns = [*range(0, images.shape[-1] - width, width), images.shape[-1] - width]
    return torch.cat([images[..., y:y + height, x:x + width] for y in rows for x in columns])


# ------------------------------------------------------------------------------------------- loss and PSNR
def noise2noise_loss(denoised: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """mean over i of log(LOSS_FLOOR + mse_i), mse_i the weighted squared error of image i against its noisy target;
    N x C x H x W, values in [0, 1].

    With E[b | a, x] = x (unbiased noise, independent of the source's) E|f(a) - b|^2 = E|f(a) - x|^2 + E|b - x|^2, and
    the last term does not depend on f: what is best against noisy targets is best against clean ones (Lehtinen et al.
    2018, section 2), with any weights that depend on the source alone. A pixel's is v^-WEIGHT_POWER, v the variance of
    the source around it: targets with less noise tell more, as in weighted least squares. The logarithm weights image i
    by 1 / mse_i, as does the score, an average of decibels; that depends on the target, but on all of its pixels.
    """
    smooth = functools.partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    variance = smooth((source - smooth(source)).square().mean(1, keepdim=True))  # N x 1 x H x W
    weight = (variance + VARIANCE_FLOOR) ** -WEIGHT_POWER
    weight /= weight.mean(dim=(1, 2, 3), keepdim=True)
    mse = (weight * (denoised - target).square()).mean(dim=(1, 2, 3))  # N
    return (mse + LOSS_FLOOR).log().mean()


def psnr(denoised: Tensor, clean: Tensor) -> float:
    """PSNR in dB, averaged over images: mean_i -10 log10(mse_i), peak 1; an image without error counts 100 dB.
    N x C x H x W tensors of one shape, values 0-255."""
    if denoised.shape != clean.shape:
        raise ValueError(f"images of {tuple(denoised.shape)} and {tuple(clean.shape)}, expected equal shapes")
    mse = ((denoised.double() - clean.double()) / 255).square().mean(dim=(1, 2, 3))  # N
    return -10 * mse.clamp(min=1e-10).log10().mean().item()


def estimate_psnr(denoised_a: Tensor, denoised_b: Tensor, a: Tensor, b: Tensor) -> float:
    """Pooled PSNR in dB against the clean images, estimated without them, by the identity of `noise2noise_loss`:
    -10 log10(mse), mse = mean (f(a) - b)^2 - 1/2 mean (a - b)^2, averaged with the same in the direction from b to a.
    N x C x H x W tensors, values 0-255. Infinite if the estimated error is not positive (too few pixels)."""
    f_a, f_b, a, b = (image.double() / 255 for image in (denoised_a, denoised_b, a, b))
    against_noisy = ((f_a - b).square().mean() + (f_b - a).square().mean()) / 2
    mse = (against_noisy - (a - b).square().mean() / 2).item()
    return -10 * math.log10(mse) if mse > 0 else math.inf


# ---------------------------------------------------------------------------------------------- optimizer
class Muon:
    """Each step moves a matrix by its orthogonalised momentum, so that all its directions are learnt at one speed
    (K. Jordan et al., "Muon", 2024). For the weights of convolutions, as matrices of R output channels x C others."""

    def __init__(self, weights: list[Tensor]):
        shapes = dict.fromkeys(weight.shape for weight in weights)
        self.groups = [[weight for weight in weights if weight.shape == shape] for shape in shapes]
        self.momenta = [torch.zeros_like(torch.stack(group).flatten(2)) for group in self.groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([weight.grad for weight in group]).flatten(2)  # B x R x C
            momentum.lerp_(gradient, 1 - MOMENTUM)
            x = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
            gram, product = x @ x.mT, torch.eye(x.shape[1], device=x.device)
            for _ in range(5):  # x <- p(x x^T) x, after Newton and Schulz, with Jordan's p: brings singular values from
                p = 2.0315 * gram @ gram - 4.7750 * gram  # 0.01-1 to 0.7-1.2; on R x R matrices, x itself comes last
                p.diagonal(dim1=1, dim2=2).add_(3.4445)
                gram, product = p @ gram @ p, p @ product
            changes = [change.view_as(weight) for change, weight in zip(product @ x, group, strict=True)]
            torch._foreach_add_(group, changes, alpha=-rate)


# -------------------------------------------------------------------------------------------------- input
def check_images(named: dict[str, Tensor], channels: int) -> None:
    """TypeError or ValueError unless all are N x channels x H x W, alike, not empty, finite, with values 0-255."""
    for name, images in named.items():
        if not isinstance(images, Tensor):
            raise TypeError(f"{name} is a {type(images).__name__}, expected a torch.Tensor; use torch.as_tensor")
        shape = " x ".join(map(str, images.shape)) or "scalar"
        if images.dim() != 4 or images.numel() == 0:
            raise ValueError(f"{name} is {shape}, expected N x {channels} x H x W, none of them 0; for one image use "
                             f"image.unsqueeze(0)")
        if images.shape[1] != channels:
            raise ValueError(f"{name} has {images.shape[1]} channels ({shape}), the network has {channels}; expand "
                             f"grey images, or train a Model(channels={images.shape[1]})")
        if images.dtype not in (torch.uint8, torch.int32, torch.int64) and (
                not images.is_floating_point() or images.element_size() == 1):
            raise TypeError(f"{name} has dtype {images.dtype}, expected uint8 or float with values 0-255")
        low, high = (0, 255) if images.dtype == torch.uint8 else (images.min().item(), images.max().item())
        if not (low >= 0 and high <= 255):  # also if any value is NaN, as both are then
            raise ValueError(f"{name} has values from {low:g} to {high:g}, expected 0-255 without NaN or infinity; "
                             f"shift, scale or clamp it")
        if images.is_floating_point() and 0 < high <= 1:
            warnings.warn(f"{name} has values from {low:g} to {high:g}, expected 0-255; if it is scaled to [0, 1], "
                          f"multiply it by 255", stacklevel=4)
    if len({images.shape for images in named.values()}) > 1:
        shapes = " and ".join(str(tuple(images.shape)) for images in named.values())
        raise ValueError(f"{' and '.join(named)} are {shapes}, expected equal shapes: two copies of the same scenes")


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; where it does not, float32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(getattr(torch.cpu, check, bool)() for check in  # both are absent before PyTorch 2.6: float32
               ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


# -------------------------------------------------------------------------------------------------- Model
class Model:
    """The denoiser: `train` on noisy pairs, `predict` clean images, on the GPU if there is one. Keywords are those of
    `UNet`; initial weights follow the caller's torch.manual_seed. No method changes global state (grad mode, random
    generators, default dtype, cudnn flags, threads), nor needs a certain grad mode."""

    @torch.inference_mode(False)
    def __init__(self, **unet):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.history: list[dict] = []  # of the last `train`: a row per epoch, from 0, the state before it
        with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, its generator is put back
            net = UNet(**unet)
        self.net = net.to(self.device, torch.float32, memory_format=torch.channels_last).requires_grad_(False)

    def _forward(self, net: UNet, images: Tensor) -> Tensor:
        """Values 0-255 in; float32, about [0, 1], out."""
        x = images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last) / 255 - 0.5
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bf16(self.device)):
            return net(x).float() + 0.5

    @torch.inference_mode(False)
    @torch.enable_grad()
    def train(self, noisy_a: Tensor, noisy_b: Tensor, num_epochs: int, *,
              validation: tuple[Tensor, Tensor] | None = None, time_limit: float | None | str = "course",
              seed: int = 0, progress: bool = True, checkpoint: str | os.PathLike | None = None) -> None:
        """Train on pairs of noisy copies, starting from the weights that the model has.

        noisy_a, noisy_b   N x C x H x W, uint8 or float, values 0-255; sides above 64 are cut into tiles
        num_epochs         passes over the pairs
        validation         (noisy, clean) to measure each epoch's PSNR on (per image, no self-ensemble); without it the
                           PSNR is estimated on pairs held out of training (`estimate_psnr`, marked "est.")
        time_limit         seconds for all, annealed; None: no limit; "course": 9 minutes on a GPU, 42 on a CPU
        seed               of shuffling and augmentation
        progress           print a row per epoch; `history` keeps the rows in any case
        checkpoint         a file that gets the weights after each epoch, as by `save`

        After Ctrl-C the model holds the averaged weights reached so far, after a diverging loss, which ends the
        training with a warning, the last good ones. Raises TypeError, ValueError or OSError on bad input.
        """
        start = time.monotonic()
        check_images({"noisy_a": noisy_a, "noisy_b": noisy_b}, self.net.arguments["channels"])
        if validation is not None:
            check_images({"validation[0]": validation[0], "validation[1]": validation[1]}, noisy_a.shape[1])
        if type(num_epochs) is not int or num_epochs < 0:
            error = ValueError if type(num_epochs) is int else TypeError
            raise error(f"num_epochs is {num_epochs!r}, expected an integer of 0 or more")
        limit = {"course": COURSE_LIMIT[self.device.type], None: math.inf}.get(time_limit, time_limit)  # seconds
        if not limit > 0:
            raise ValueError(f"time_limit is {time_limit!r}, expected seconds above 0, or None for no limit")
        if checkpoint is not None and not os.access(Path(checkpoint).parent, os.W_OK):
            raise OSError(f"checkpoint {checkpoint} cannot be written: its folder is missing or read-only")

        a, b = tiles(noisy_a.detach()), tiles(noisy_b.detach())
        whole = all(copies.dtype == torch.uint8 or torch.equal(copies, copies.round()) for copies in (a, b))
        a, b = (copies.to(self.device, torch.uint8 if whole else torch.float32) for copies in (a, b))
        if torch.equal(a, b):
            warnings.warn("noisy_a and noisy_b are identical, expected copies with independent noise: nothing can be "
                          "learnt from these", stacklevel=3)
        held_out = None
        if validation is None and len(a) >= 20:
            held = torch.arange(len(a), device=self.device) % max(20, len(a) // HELD_OUT) == 0
            held_out, a, b = (a[held], b[held]), a[~held], b[~held]

        def measure() -> tuple[float, str]:
            sources = [validation[0]] if validation is not None else held_out or []  # none: too few pairs
            denoised = [self.predict(noisy, self_ensemble=False) for noisy in sources]
            if validation is not None:
                return psnr(denoised[0], validation[1].to(denoised[0].device)), "per image"
            return (estimate_psnr(*denoised, *held_out), "est.") if held_out else (math.nan, "none")

        def report(epoch: int, loss: float, pairs: int, seconds: float, done: float) -> None:
            value, kind = measure()
            rate, elapsed = pairs / seconds if pairs else math.nan, time.monotonic() - start
            self.history.append({"epoch": epoch, "loss": loss, "psnr": value, "kind": kind, "pairs": pairs,
                                 "pairs_per_second": rate, "seconds": elapsed})
            left = elapsed * max(0, 1 / done - 1) if done else math.nan
            if progress:
                line = f"{epoch:5d} {loss:9.4f} {value:7.2f} {kind:9} {rate:9.0f} {elapsed:8.0f}s {left:8.0f}s"
                print(line.replace("nans", "   -").replace("nan", "  -"), flush=True)

        student = copy.deepcopy(self.net).requires_grad_(True)  # takes the steps; self.net averages its weights
        weights, average = list(student.parameters()), list(self.net.parameters())
        good = [weight.clone() for weight in average]  # what a diverging training falls back on
        muon = Muon([weight for weight in weights if weight.dim() == 4])
        adamw = torch.optim.AdamW([weight for weight in weights if weight.dim() < 4], weight_decay=WEIGHT_DECAY,
                                  fused=True)
        generator = torch.Generator(self.device).manual_seed(seed)
        self.history = []
        if progress:
            print("epoch      loss   PSNR in dB      pairs/s   elapsed      left", flush=True)
        began = time.monotonic()
        report(0, math.nan, 0, 0, 0)
        now = time.monotonic()
        end = start + 0.98 * limit - 2 * (now - began)  # the last row fits in
        if num_epochs and end <= now:
            warnings.warn(f"{limit:g} s are too short for a single step: nothing was trained", stacklevel=3)

        steps = num_epochs * math.ceil(len(a) / BATCH)
        warmup = max(1, min(WARMUP, steps // 10))
        recent = collections.deque(maxlen=CHECK_EVERY)  # losses; `lowest` is the least mean of so many so far
        epoch, step, began = 0, 0, now
        done = 0.0 if steps and end > now else 1.0  # progress, by steps or by time, whichever is ahead
        while done < 1:
            epoch += 1
            epoch_began, epoch_loss, pairs = time.monotonic(), torch.zeros((), device=self.device), 0
            for index in torch.randperm(len(a), generator=generator, device=self.device).split(BATCH):
                source, target = augment(a[index], b[index], generator)
                loss = noise2noise_loss(self._forward(student, source), source / 255, target / 255)
                loss.backward()
                rate = min(1, (step + 1) / warmup) * (1 - done)
                muon.step(MUON_RATE * rate)
                adamw.param_groups[0]["lr"] = RATE * rate
                adamw.step()
                student.zero_grad()
                step, pairs = step + 1, pairs + len(index)
                decay = min(EMA, step / (step + 10))  # a short memory at first, while weights change fast
                torch._foreach_lerp_(average, [weight.detach() for weight in weights], 1 - decay)
                recent.append(loss.detach())
                epoch_loss += loss.detach() * len(index)
                done = max(step / steps, (time.monotonic() - began) / (end - began))
                if step == 1:
                    lowest = loss.item()
                if step % CHECK_EVERY == 0 or done >= 1:  # rarely: each look makes a GPU wait
                    level = torch.stack(tuple(recent)).mean().item()
                    finite = torch.stack(torch._foreach_norm(average)).isfinite().all() and math.isfinite(level)
                    if not finite or (len(recent) == CHECK_EVERY and level > lowest + LOSS_RISE):
                        torch._foreach_copy_(average, good)
                        warnings.warn(f"the loss diverged, to {level:.3g} at step {step}: training stopped at the last "
                                      f"good weights; look for outliers in the pairs, or lower MUON_RATE", stacklevel=3)
                        return
                    torch._foreach_copy_(good, average)
                    lowest = min(lowest, level)
                if done >= 1:
                    break
            report(epoch, epoch_loss.item() / pairs, pairs, time.monotonic() - epoch_began, done)
            if checkpoint is not None:
                try:
                    self.save(checkpoint)
                except OSError as error:  # a full disk must not end the training
                    warnings.warn(f"epoch {epoch}: checkpoint not written: {error}", stacklevel=3)

    @torch.no_grad()
    def predict(self, noisy: Tensor, *, self_ensemble: bool = True) -> Tensor:
        """Denoised images: float32, on the device and of the shape of `noisy`, values 0-255, without gradients.

        noisy           N x C x H x W, uint8 or float, values 0-255, any N, H and W from 1 up
        self_ensemble   average over the eight flips and rotations (R. Timofte et al., "Seven ways to improve
                        example-based single image super resolution", CVPR 2016, section 3.6): better, 8 times slower
        Memory is bounded: many images go in turn, large ones in overlapping squares. TypeError, ValueError: bad input.
        """
        check_images({"noisy": noisy}, self.net.arguments["channels"])
        views = [(turns, axes) for turns in range(4) for axes in ((), (-1,))] if self_ensemble else [(0, ())]
        out = torch.zeros(noisy.shape, dtype=torch.float32, device=noisy.device)
        for turns, axes in views:
            denoised = self._denoise(noisy.rot90(turns, (-2, -1)).flip(axes))
            out += denoised.flip(axes).rot90(-turns, (-2, -1))
        return out.mul_(255 / len(views)).clamp_(0, 255)

    def _denoise(self, images: Tensor) -> Tensor:
        """`_forward` in bounded memory, on the device of `images`."""
        out = torch.empty(images.shape, dtype=torch.float32, device=images.device)
        halo = self.net.reach  # a multiple of 2^depth, as CORE, so that every square has the grid of the whole
        for y in range(0, images.shape[-2], CORE):
            for x in range(0, images.shape[-1], CORE):
                top, left = max(0, y - halo), max(0, x - halo)
                square = images[..., top:y + CORE + halo, left:x + CORE + halo]
                number = max(1, CHUNK // (square.shape[-2] * square.shape[-1]))
                for some, result in zip(square.split(number), out.split(number), strict=True):
                    core = result[..., y:y + CORE, x:x + CORE]
                    denoised = self._forward(self.net, some)[..., y - top:, x - left:]
                    core.copy_(denoised[..., :core.shape[-2], :core.shape[-1]])
        return out

    def save(self, path: str | os.PathLike) -> None:
        """Write weights and U-Net arguments to `path`, by way of a temporary file: whole or not at all."""
        buffer = io.BytesIO()
        torch.save({"unet": self.net.arguments, "weights": self.net.state_dict()}, buffer)
        temporary = Path(path).with_name(Path(path).name + ".tmp")  # same folder: the move is atomic
        try:
            temporary.write_bytes(buffer.getvalue())  # where torch.save would turn a full disk into a RuntimeError
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_pretrained_model(self, path: str | os.PathLike | None = None) -> None:
        """Take weights and U-Net arguments from `path`; by default from bestmodel.pth beside this file, else one
        folder up. Raises FileNotFoundError, or ValueError if the file is truncated or not written by `save`."""
        here = Path(__file__).resolve().parent
        candidates = [here / "bestmodel.pth", here.parent / "bestmodel.pth"] if path is None else [Path(path)]
        found = next(filter(Path.is_file, candidates), None)
        if found is None:
            raise FileNotFoundError(f"no model at {' or '.join(map(str, candidates))}: train one with "
                                    f"`python -m Miniproject_1 train -o FILE`")
        try:
            content = torch.load(io.BytesIO(found.read_bytes()), map_location="cpu", weights_only=True)
            loaded = Model(**content["unet"])
            loaded.net.load_state_dict(content["weights"])
        except OSError:
            raise
        except Exception as error:  # torch.load and load_state_dict raise many kinds for a damaged file
            raise ValueError(f"{found} is damaged or not a model of this project ({type(error).__name__}); write one "
                             f"with Model.save or `python -m Miniproject_1 train -o FILE`") from error
        self.net = loaded.net
