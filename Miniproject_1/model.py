"""Noise2Noise denoising: a U-Net that learns to remove noise from pairs of noisy images, without a clean one.

It predicts one noisy copy of a scene from another. If the noise is independent and unbiased, that of the target cannot
be predicted, and what is learnt is the target's mean, the clean image (J. Lehtinen et al., "Noise2Noise: Learning Image
Restoration without Clean Data", ICML 2018, section 2). README.md says how well it does. Images are N x C x H x W with
values 0-255 outside this module and in `augment`; the U-Net sees [-0.5, 0.5]. This file needs PyTorch only.
"""

import copy
import io
import math
import os
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTHS = (32, 64)       # channels at full and half resolution: small, so that a CPU sees many pairs in time
BLOCKS = 2              # residual blocks per level, down and up
BATCH = 32              # pairs per step, each in both directions: few, for many steps in a short training
RATE = 5e-3             # of Muon, at the start, annealed linearly to 0; set for ten epochs of 50,000 pairs
SHORT = (500, 2_000)    # steps, between which a training starts at RATE (2,000 / steps)^1/2, to get far enough
MOMENTUM = 0.95         # of Muon, as its authors have it
EMA = 0.995             # decay per step of the averaged weights, which are kept; less in the first 2,000 steps
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
FREED = 2**25 - 2**16   # bytes, just below 32 MiB: once a block of this size is freed, glibc keeps twice that for reuse
torch.empty(FREED, dtype=torch.uint8, device="cpu")  # freed at once (mallopt(3)), as new memory is slow in every step


class ResidualBlock(nn.Module):
    """x + convolution(ReLU(convolution(x))); the last convolution starts at zero, so the block starts as identity."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu_())


class UNet(nn.Module):
    """Residual U-Net (O. Ronneberger et al., MICCAI 2015) without normalisation: N x channels x H x W in and out, any H
    and W from 1 up. `widths`: channels of each level, full resolution first; `blocks`: residual blocks per level, down
    and again up. Skip connections are added, the output is linear. It starts as the identity. Without biases
    (S. Mohan et al., ICLR 2020), f(c x) = c f(x) for c > 0: noisy images scaled about 0 are denoised alike."""

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = WIDTHS, blocks: int = BLOCKS):
        super().__init__()
        self.arguments = {"channels": channels, "widths": list(widths), "blocks": blocks}
        self.reach = 2 ** len(widths) * (2 * blocks + 3)  # pixels that an output sees in each direction, at most
        steps = list(zip(widths[:-1], widths[1:], strict=True))  # (finer, coarser)
        self.head = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.encoders = nn.ModuleList(nn.Sequential(*(ResidualBlock(width) for _ in range(blocks))) for width in widths)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False) for fine, coarse in steps)
        self.decoders = nn.ModuleList(nn.Sequential(*(ResidualBlock(fine) for _ in range(blocks))) for fine, _ in steps)
        self.tail = nn.Conv2d(widths[0], channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        multiple = 2 ** len(self.downs)  # of which the padded sides are
        x = self.head(nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate"))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            skips.append(encoder(x))
            x = down(skips[-1])  # half the side, more channels
        x = self.encoders[-1](x)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = decoder(up(x) + skips.pop())  # twice the side, fewer channels
        return image + self.tail(x)[..., :height, :width]


def augment(a: Tensor, b: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(source, target), 2 N x C x H x W, from N pairs (a, b), N x C x H x W of uint8 or float32, 0-255: each is turned
    by one of the eight flips and rotations (four, which keep the shape, if H != W), then comes in both directions."""
    coin = torch.rand(3, len(a), 1, 1, 1, generator=generator, device=a.device, dtype=torch.float32) < 0.5
    pair = torch.stack((a, b))  # 2 x N x C x H x W: one transform for both copies
    pair = torch.where(coin[0], pair.flip(-1), pair)
    pair = torch.where(coin[1], pair.flip(-2), pair)
    if pair.shape[-1] == pair.shape[-2]:
        pair = torch.where(coin[2], pair.transpose(-1, -2), pair)
    return pair.flatten(0, 1), pair.flip(0).flatten(0, 1)  # the swap augmentation: a to b and b to a


def tiles(images: Tensor, size: int = TILE) -> Tensor:
    """N x C x H x W in M x C x min(H, size) x min(W, size); the last ones end at the border, so they may overlap."""
    rows, columns = ([*range(0, side - size, size), max(0, side - size)] for side in images.shape[-2:])
    return torch.cat([images[..., y:y + size, x:x + size] for y in rows for x in columns])


def noise2noise_loss(denoised: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """mean over images i of log(LOSS_FLOOR + mse_i), mse_i weighted, against noisy targets; N x C x H x W in [0, 1].

    With E[b | a, x] = x (unbiased noise, independent of the source's) E|f(a) - b|^2 = E|f(a) - x|^2 + E|b - x|^2, whose
    last term does not depend on f: what is best against noisy targets is best against clean ones (Lehtinen et al. 2018,
    section 2), with any weights from the source alone. A pixel's is v^-WEIGHT_POWER, v about the local variance of the
    source: targets with less noise tell more (weighted least squares). The logarithm weights image i by 1 / mse_i, as
    does the score, an average of decibels; that depends on the target, but on all of its pixels."""
    smooth = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    variance = smooth((source - smooth(source)).square().mean(1, keepdim=True))  # N x 1 x H x W
    weight = (variance + VARIANCE_FLOOR) ** -WEIGHT_POWER
    weight /= weight.mean(dim=(1, 2, 3), keepdim=True)
    mse = (weight * (denoised - target).square()).mean(dim=(1, 2, 3))  # N
    return (mse + LOSS_FLOOR).log().mean()


def psnr(denoised: Tensor, clean: Tensor) -> float:
    """Mean PSNR of images in dB, each at most 100; N x C x H x W of one shape (else ValueError), values 0-255."""
    if denoised.shape != clean.shape:
        raise ValueError(f"images of {tuple(denoised.shape)} and {tuple(clean.shape)}, expected equal shapes")
    mse = ((denoised.double() - clean.to(denoised.device).double()) / 255).square().mean(dim=(1, 2, 3))  # N
    return -10 * mse.clamp(min=1e-10).log10().mean().item()


def estimate_psnr(denoised_a: Tensor, denoised_b: Tensor, a: Tensor, b: Tensor) -> float:
    """Pooled PSNR in dB without clean images, by the identity of `noise2noise_loss`: mse = mean (f(a) - b)^2 - 1/2
    mean (a - b)^2, averaged over both directions; N x C x H x W, 0-255. Infinite if mse <= 0, as of too few pixels."""
    f_a, f_b, a, b = (image.double() / 255 for image in (denoised_a, denoised_b, a, b))
    mse = ((f_a - b).square().mean() + (f_b - a).square().mean() - (a - b).square().mean()).item() / 2
    return -10 * math.log10(mse) if mse > 0 else math.inf


class Muon:
    """Each step moves a matrix by its orthogonalised momentum, so that all its directions are learnt at one speed
    (K. Jordan et al., "Muon", 2024). For the weights of convolutions, as matrices of R x C, R the first axis."""

    def __init__(self, weights: list[Tensor]):
        self.groups = [[weight for weight in weights if weight.shape == shape] for shape in {w.shape for w in weights}]
        self.momenta = [torch.zeros_like(torch.stack(group).flatten(2)) for group in self.groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([weight.grad for weight in group]).flatten(2)  # B x R x C
            momentum.lerp_(gradient, 1 - MOMENTUM)
            x = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
            x /= x.norm(dim=(1, 2), keepdim=True) + 1e-12
            gram, product = x @ x.mT, torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
            for _ in range(5):  # x <- p(x x^T) x, after Newton and Schulz, with Jordan's p: brings singular values from
                p = 2.0315 * gram @ gram - 4.7750 * gram  # 0.01-1 to 0.7-1.2; on R x R matrices, x itself comes last
                p.diagonal(dim1=1, dim2=2).add_(3.4445)
                gram, product = p @ gram @ p, p @ product
            torch._foreach_add_(group, (product @ x).view(-1, *group[0].shape).unbind(), alpha=-rate)


def check_images(named: dict[str, Tensor], channels: int, stacklevel: int = 3) -> None:  # 3: who calls `predict`
    """TypeError or ValueError unless all are N x channels x H x W, alike, not empty, finite, with values 0-255."""
    for name, images in named.items():
        if not isinstance(images, Tensor) or images.dtype not in (
                torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise TypeError(f"{name} is a {type(images).__name__} of dtype {getattr(images, 'dtype', None)}, expected "
                            f"a torch.Tensor of uint8 or float; use torch.as_tensor or Tensor.float")
        if images.dim() != 4 or images.shape[1] != channels or images.numel() == 0:
            raise ValueError(f"{name} is {' x '.join(map(str, images.shape)) or 'scalar'}, expected N x {channels} x H "
                             f"x W, none of them 0; use unsqueeze(0) for one image, Model(channels=...) for others")
        low, high = (0, 255) if images.dtype == torch.uint8 else (images.min().item(), images.max().item())
        values = f"{name} has values from {low:g} to {high:g}, expected 0-255"
        if not (low >= 0 and high <= 255):  # also if any value is NaN, as both are then
            raise ValueError(f"{values} without NaN or infinity; shift and scale all alike")
        if images.is_floating_point() and 0 < high <= 1:
            warnings.warn(f"{values}; if it is scaled to [0, 1], multiply it by 255", stacklevel=stacklevel)
    shapes = [tuple(images.shape) for images in named.values()]
    if len(set(shapes)) > 1:
        raise ValueError(f"{' and '.join(named)} are {shapes}, expected equal shapes: two copies of the same scenes")


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; where it does not, float32 is faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()  # absent before PyTorch 2.6: float32


class Model:
    """The denoiser, on the GPU if there is one. Keywords are those of `UNet`, initial weights by torch.manual_seed. No
    method changes global state (generators, default dtype, cudnn flags, threads, grad mode) or needs a grad mode."""

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

    @torch.inference_mode(False)  # which turns gradients on, even under torch.no_grad
    def train(self, noisy_a: Tensor, noisy_b: Tensor, num_epochs: int, *,
              validation: tuple[Tensor, Tensor] | None = None, time_limit: float | None | str = "course",
              seed: int = 0, progress: bool = True, checkpoint: str | os.PathLike | None = None) -> None:
        """Train for `num_epochs` (from 0; TypeError, ValueError) passes over pairs, both ways, from the weights it has.

        noisy_a, noisy_b   N x C x H x W, uint8 or float, 0-255 (TypeError, ValueError); cut into tiles above 64 x 64
        validation         (noisy, clean) for each epoch's PSNR (per image, no self-ensemble); without it the PSNR is
                           estimated on pairs held out of training (`estimate_psnr`, marked "est.")
        time_limit         seconds (ValueError), annealed; None: no limit; "course": 9 minutes on a GPU, 42 on a CPU
        seed, progress     of shuffling and augmentation; whether to print the rows per epoch that `history` gets
        checkpoint         a file for the weights after each epoch, as by `save`; OSError if it cannot be written
        After Ctrl-C it has the averaged weights so far; a diverging loss warns and ends with the last good ones."""
        start = time.monotonic()
        check_images({"noisy_a": noisy_a, "noisy_b": noisy_b}, self.net.arguments["channels"], stacklevel=4)
        if type(num_epochs) is not int or num_epochs < 0:
            error = ValueError if type(num_epochs) is int else TypeError
            raise error(f"num_epochs is {num_epochs!r}, expected an integer of 0 or more")
        limit = {"course": COURSE_LIMIT[self.device.type], None: math.inf}.get(time_limit, time_limit)  # seconds
        if isinstance(limit, str) or not limit > 0:
            raise ValueError(f"time_limit is {time_limit!r}, expected seconds above 0, 'course', or None for no limit")
        if checkpoint is not None and not os.access(Path(checkpoint).parent, os.W_OK):
            raise OSError(f"checkpoint {checkpoint} cannot be written: its folder is missing or read-only")
        dtype = torch.uint8 if noisy_a.dtype == noisy_b.dtype == torch.uint8 else torch.float32
        a, b = (tiles(copies.detach()).to(self.device, dtype) for copies in (noisy_a, noisy_b))
        kind, score, sources, references = "none", lambda: math.nan, (), ()  # too few pairs to hold any out
        if validation is not None:
            check_images({f"validation[{i}]": x for i, x in enumerate(validation)}, noisy_a.shape[1], stacklevel=4)
            kind, score, sources, references = "per image", psnr, validation[:1], validation[1:]
        elif len(a) >= 20:
            held = torch.arange(len(a), device=self.device) % max(20, len(a) // HELD_OUT) == 0
            kind, score, sources, references = "est.", estimate_psnr, (a[held], b[held]), (a[held], b[held])
            a, b = a[~held], b[~held]
        if torch.equal(a, b):
            warnings.warn("noisy_a and noisy_b are identical, expected copies with independent noise", stacklevel=3)

        def report(epoch: int, loss: float, pairs: int, seconds: float, done: float) -> None:
            value = score(*(self._denoised(noisy, self_ensemble=False) for noisy in sources), *references)
            elapsed = time.monotonic() - start
            self.history.append({"epoch": epoch, "loss": loss, "psnr": value, "kind": kind, "pairs": pairs,
                                 "pairs_per_second": pairs / seconds, "seconds": elapsed})
            if progress:
                row = f"{value:7.2f} {kind:9} {pairs / seconds:9.0f} {elapsed:7.0f} s {elapsed / done - elapsed:7.0f} s"
                print(f"{epoch:5} {f'{loss:9.4f}' if pairs else '        -'} {row.replace('nan', '  -')}", flush=True)

        student = copy.deepcopy(self.net).requires_grad_(True)  # takes the steps; self.net averages its weights
        weights, average = list(student.parameters()), list(self.net.parameters())
        good = [weight.clone() for weight in average]  # what a diverging training falls back on
        muon, generator = Muon(weights), torch.Generator(self.device).manual_seed(seed)
        if progress:
            print("epoch      loss   PSNR in dB      pairs/s   elapsed      left", flush=True)
        self.history, measured = [], time.monotonic()
        report(0, math.nan, 0, math.nan, math.nan)
        began = time.monotonic()
        end = start + 0.98 * limit - 2 * (began - measured)  # so that the last row fits in
        if num_epochs and end <= began:
            warnings.warn(f"{limit:g} s are too short for a single step: nothing was trained", stacklevel=3)
        steps = num_epochs * math.ceil(len(a) / BATCH)
        epoch, step, recent, lowest = 0, 0, [], math.inf  # `recent` losses, and the `lowest` mean of them so far
        done = 0.0 if steps and end > began else 1.0  # progress, by steps or by time, whichever is ahead
        while done < 1:
            epoch, epoch_began, epoch_loss, pairs = epoch + 1, time.monotonic(), 0, 0
            for index in torch.randperm(len(a), generator=generator, device=self.device).split(BATCH):
                source, target = augment(a[index], b[index], generator)
                loss = noise2noise_loss(self._forward(student, source), source / 255, target / 255)
                loss.backward()
                step, pairs = step + 1, pairs + len(index)
                epoch_loss += loss.detach() * len(index)
                recent = [*recent, loss.detach()][-CHECK_EVERY:]
                planned = min(steps, (step - 1) / done) if done else steps  # also where time ends the training
                muon.step(RATE * (SHORT[1] / min(max(planned, SHORT[0]), SHORT[1])) ** 0.5 * (1 - done))
                student.zero_grad()
                torch._foreach_lerp_(average, [weight.detach() for weight in weights], 1 - min(EMA, step / (step + 10)))
                done = min(1, max(step / steps, (time.monotonic() - began) / (end - began)))
                lowest = loss.item() if step == 1 else lowest
                if step % CHECK_EVERY == 0 or done == 1:  # rarely: each look makes a GPU wait
                    level = torch.stack(recent).mean().item()
                    finite = torch.stack([loss.detach(), *torch._foreach_norm(average)]).isfinite().all()
                    if not finite or (len(recent) == CHECK_EVERY and level > lowest + LOSS_RISE):
                        torch._foreach_copy_(average, good)
                        warnings.warn(f"the loss diverged, to {level:.3g} at step {step}: training stopped at the last "
                                      f"good weights; look for outliers in the pairs, or lower RATE", stacklevel=3)
                        return
                    torch._foreach_copy_(good, average)
                    lowest = min(lowest, level)
                if done == 1:
                    break
            report(epoch, epoch_loss.item() / pairs, pairs, time.monotonic() - epoch_began, done)
            try:
                if checkpoint is not None:
                    self.save(checkpoint)
            except OSError as error:  # a full disk must not end the training
                warnings.warn(f"epoch {epoch}: checkpoint not written: {error}", stacklevel=3)

    def predict(self, noisy: Tensor, *, self_ensemble: bool = True) -> Tensor:
        """Denoised images: float32, with the device and shape of `noisy` (N x C x H x W, any size, uint8 or float),
        0-255 in (else TypeError, ValueError) and out, no gradients; bounded memory beside a few copies. `self_ensemble`
        averages over eight flips and rotations: better, 8 times slower (R. Timofte et al., CVPR 2016, section 3.6)."""
        check_images({"noisy": noisy}, self.net.arguments["channels"])
        return self._denoised(noisy, self_ensemble)

    @torch.no_grad()
    def _denoised(self, noisy: Tensor, self_ensemble: bool) -> Tensor:  # `predict` of checked images
        views = [(turns, axes) for turns in range(4) for axes in ((), (-1,))] if self_ensemble else [(0, ())]
        out = torch.zeros(noisy.shape, dtype=torch.float32, device=noisy.device)
        halo = self.net.reach  # a multiple of 2^depth, as CORE, so that every square has the grid of the whole
        for turns, axes in views:
            view = noisy.rot90(turns, (-2, -1)).flip(axes)
            denoised = torch.empty_like(view, dtype=torch.float32)
            for y in range(0, view.shape[-2], CORE):
                for x in range(0, view.shape[-1], CORE):
                    top, left = max(0, y - halo), max(0, x - halo)
                    square = view[..., top:y + CORE + halo, left:x + CORE + halo]
                    parts = square.split(max(1, CHUNK // square[0, 0].numel()))
                    square = torch.cat([self._forward(self.net, part).to(noisy.device) for part in parts])
                    denoised[..., y:y + CORE, x:x + CORE] = square[..., y - top:, x - left:][..., :CORE, :CORE]
            out += denoised.flip(axes).rot90(-turns, (-2, -1))
        return out.mul_(255 / len(views)).clamp_(0, 255)

    def save(self, path: str | os.PathLike) -> None:
        """Write weights and U-Net arguments to `path`, by way of a temporary file: whole or not at all (OSError)."""
        buffer = io.BytesIO()  # where torch.save to a full disk would raise a RuntimeError, writing raises OSError
        torch.save({"unet": self.net.arguments, "weights": self.net.state_dict()}, buffer)
        temporary = Path(f"{os.fspath(path)}.tmp")  # same folder: the move is atomic
        try:
            temporary.write_bytes(buffer.getvalue())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_pretrained_model(self, path: str | os.PathLike | None = None) -> None:
        """Take weights and U-Net arguments from `path`; by default from bestmodel.pth beside this file, else one
        folder up. Raises FileNotFoundError, or ValueError if the file is truncated or not written by `save`."""
        beside, above = (folder / "bestmodel.pth" for folder in Path(__file__).resolve().parents[:2])
        found = Path(path) if path is not None else beside if beside.is_file() else above
        if not found.is_file():
            raise FileNotFoundError(f"no model at {found}: train one with `python -m Miniproject_1 train -o FILE`")
        data = io.BytesIO(found.read_bytes())
        try:
            content = torch.load(data, map_location="cpu", weights_only=True)
            loaded = Model(**content["unet"])
            loaded.net.load_state_dict(content["weights"])
        except Exception as error:  # of many kinds, where a file is damaged
            raise ValueError(f"{found} is damaged, or not written by this version's Model.save; train anew") from error
        self.net = loaded.net
