"""Training and validation data in the course's format, from photos or from generated scenes.

The course's images are photos reduced to 32 x 32 with one sample per pixel:

    source 3 x 256 x 256  ->  32 x 32 cells of 8 x 8 source pixels
    clean pixel = mean of its cell
    noisy pixel = one source pixel of its cell, drawn uniformly, all channels together

Noisy copies are therefore unbiased and independent of each other, which is all that Noise2Noise needs.
"""

import contextlib
import hashlib
import math
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIZE = 32  # pixels a side of an image
CELL = 8  # source pixels a side of a cell, one cell per pixel
SOURCE = SIZE * CELL  # source pixels a side
CROP_SCALE = (0.75, 1.0)  # side of a training crop, as a share of the photo's short side
VALIDATION_SHARE = 0.05  # of the photo files
CHUNK = 64  # crops of a photo held at a time: 12 MiB of pixels

# Scenes. The values were chosen so that the noisy PSNR is that of photos (20.8 dB) and the scenes look varied.
SCENE_CHUNK = 8  # scenes drawn at a time: their layers stay in the processor's caches
LEAF_BOXES = (64, 32, 16, 128, 64, 32, 16)  # pixels, painted in this order; n^2 leaves of size 1/n
LEAF_SHARE = 0.95  # of the boxes of 64 pixels and more hold a leaf
CLUTTER = (0.1, 0.8)  # the same share for smaller boxes, drawn per scene
CONTRAST = (17, 60)  # grey levels: deviation of the leaves' colours, drawn per scene
CHROMA = 0.35  # deviation of a single channel, as a share of the contrast
ROUGHNESS = 3.5  # grey levels: median deviation of a leaf's noise texture
NOISE_EXPONENT = (0.0, 1.0)  # amplitude of that noise ~ 1 / frequency^exponent, drawn per scene
STRIPES, STRIPED = 3.0, 0.3  # grey levels: median amplitude of a grating; the share of leaves that have one
GRADIENT = 8.0  # grey levels from the middle to the edge of the scene
MEAN = (90, 150)  # grey levels, drawn per scene
SHADING = 0.1  # deviation of the logarithm of the light from the middle to the edge of the scene


# ---- noise -------------------------------------------------------------------------------------------------


def pixelate(sources: Tensor, generator: torch.Generator, cell: int = CELL) -> Tensor:
    """One noisy copy of each source: per cell, one source pixel drawn uniformly, all channels together.

    sources: N x C x H x W of any dtype, H and W multiples of `cell`; returns N x C x H/cell x W/cell.
    """
    n, _, height, width = sources.shape
    shape = (n, height // cell, width // cell)
    rows = torch.randint(cell, shape, generator=generator) + torch.arange(0, height, cell)[:, None]
    columns = torch.randint(cell, shape, generator=generator) + torch.arange(0, width, cell)
    return sources[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


def cell_mean(sources: Tensor, cell: int = CELL) -> Tensor:
    """The clean images of uint8 sources, the rounded mean of each cell: N x C x H/cell x W/cell."""
    return avg_pool2d(sources.float(), cell).round().to(torch.uint8)


def noisy_noisy(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A training pair of each source: two independent noisy copies."""
    return pixelate(sources, generator), pixelate(sources, generator)


def noisy_clean(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A validation pair of each source: a noisy copy and the clean image."""
    return pixelate(sources, generator), cell_mean(sources)


def clean_clean(sources: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The clean image of each source, twice: targets for the two copies of `noisy_noisy`."""
    clean = cell_mean(sources)
    return clean, clean


# ---- photos ------------------------------------------------------------------------------------------------


def image_files(folder: str | Path) -> list[Path]:
    """The files below `folder` whose suffix is that of a format Pillow reads, sorted; ValueError if none."""
    image = pillow().Image
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the path of a folder of images")
    suffixes = {suffix for suffix, kind in image.registered_extensions().items() if kind in image.OPEN}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not files:
        raise ValueError(f"no image file in {folder} or below it; expected photos (.jpg, .png, ...)")
    return files


def split_files(files: list[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """(training, validation) files, shuffled: VALIDATION_SHARE of them, at least one, for validation."""
    order = torch.randperm(len(files), generator=_generator(seed, "split")).tolist()
    shuffled = [files[i] for i in order]
    held_out = max(1, round(VALIDATION_SHARE * len(files)))
    return shuffled[held_out:], shuffled[:held_out]


def pillow():
    """The PIL package. ValueError if it is not installed: only photos need it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ValueError("Pillow is missing: run pip install pillow") from error
    return PIL


def open_photo(path: Path):
    """The decoded photo, upright, as an RGB Pillow image."""
    pil = pillow()
    with pil.Image.open(path) as image:
        image = pil.ImageOps.exif_transpose(image)
    if image.mode == "I":  # what Pillow makes of a 16-bit PGM
        image = image.convert("I;16")
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits instead of scaling them
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    if "transparency" in image.info:  # Pillow warns if a palette with transparency goes to RGB directly
        image = image.convert("RGBA")
    return image.convert("RGB")


def _failure(path: Path) -> str | None:
    """Why the photo cannot be read, None if it can."""
    try:
        open_photo(path)
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        return f"{type(error).__name__}: {error}"
    return None


def readable(files: list[Path], progress: bool, workers: int, least: int = 2) -> list[Path]:
    """The files that decode; the others are counted and named in a warning. ValueError unless `least` remain, which are
    two to split into training and validation photos."""
    with ThreadPoolExecutor(workers) as pool:
        failures = list(_progress(pool.map(_failure, files), len(files), "checking photos", progress))
    readable = [path for path, failure in zip(files, failures, strict=True) if not failure]
    skipped = [f"{path} ({failure})" for path, failure in zip(files, failures, strict=True) if failure]
    if len(readable) < least:
        purpose = ", one to train on and one to validate on" if least == 2 else ""
        failure = f"; first failure: {skipped[0]}" if skipped else ""
        raise ValueError(
            f"{len(readable)} of {len(files)} photos can be read, expected at least {least}{purpose}{failure}")
    if skipped:
        warnings.warn(f"skipped {len(skipped)} unreadable photos:\n  " + "\n  ".join(skipped), stacklevel=3)
    return readable


def _crops(photo, count: int, generator: torch.Generator) -> Tensor:
    """count x 3 x SOURCE x SOURCE, uint8: random squares of the photo, half of them mirrored."""
    sources = []
    low, high = CROP_SCALE
    for scale, x, y, mirror in torch.rand(count, 4, generator=generator).tolist():
        side = max(1, round((low + (high - low) * scale) * min(photo.size)))
        source = _square(photo, int(x * (photo.width - side + 1)), int(y * (photo.height - side + 1)), side)
        sources.append(source.flip(-1) if mirror < 0.5 else source)
    return torch.stack(sources)


def centre(photo, count: int, generator: torch.Generator, size: int = SOURCE) -> Tensor:
    """count x 3 x size x size, uint8: the largest centre square of the photo, `count` times."""
    side = min(photo.size)
    source = _square(photo, (photo.width - side) // 2, (photo.height - side) // 2, side, size)
    return source.expand(count, -1, -1, -1)


def _square(photo, left: int, top: int, side: int, size: int = SOURCE) -> Tensor:
    """A square of the photo resized to 3 x size x size, uint8."""
    box = (left, top, left + side, top + side)
    resized = photo.resize((size, size), pillow().Image.Resampling.BICUBIC, box=box)
    pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8)
    return pixels.view(size, size, 3).permute(2, 0, 1)


def photo_pairs(
    files: list[Path], count: int, crop: Callable, pair: Callable, seed: int, **work
) -> tuple[Tensor, Tensor]:
    """Two count x 3 x SIZE x SIZE uint8 tensors; pair number i comes from photo i modulo len(files).

    work: progress, workers, and `stream`, the name of the pair whose crops to repeat, if it is not `pair`.
    """
    stride = len(files)
    parts = [
        slice(start, min(base + CHUNK * stride, count), stride)  # up to CHUNK pairs of one photo
        for base in range(0, count, CHUNK * stride)
        for start in range(base, min(base + stride, count))
    ]

    def sources(part: slice, generator: torch.Generator) -> Tensor:
        return crop(open_photo(files[part.start % stride]), len(range(count)[part]), generator)

    return _pairs(count, parts, sources, pair, seed, f"{count} pairs from {stride} photos", **work)


# ---- scenes ------------------------------------------------------------------------------------------------


def scenes(count: int, generator: torch.Generator) -> Tensor:
    """count x 3 x SOURCE x SOURCE, uint8: pictures of leaves that hide one another ("dead leaves").

    A power law of sizes gives about the 1/f amplitude spectrum of natural images [Lee, Mumford and Huang,
    Occlusion models for natural images, IJCV 2001]. Each leaf has its colour, noise, grating and gradient.
    """
    images = torch.empty(count, 3, SOURCE, SOURCE, dtype=torch.uint8)
    for part in images.split(SCENE_CHUNK):
        part.copy_(_scenes(len(part), generator))
    return images


def scene_pairs(count: int, pair: Callable, seed: int, **work) -> tuple[Tensor, Tensor]:
    """Two count x 3 x SIZE x SIZE uint8 tensors, one pair of each of `count` scenes."""
    parts = [slice(start, min(start + SCENE_CHUNK, count)) for start in range(0, count, SCENE_CHUNK)]

    def sources(part: slice, generator: torch.Generator) -> Tensor:
        return scenes(part.stop - part.start, generator)

    return _pairs(count, parts, sources, pair, seed, f"{count} pairs from scenes", **work)


def _scenes(count: int, generator: torch.Generator) -> Tensor:
    """`count` scenes at once: which leaf each pixel shows, then the leaves' colours and textures."""
    owner = _leaves(count, generator)  # N x H x W
    leaves = count * (1 + sum((SOURCE // box) ** 2 for box in LEAF_BOXES))
    scene = torch.arange(leaves) % count  # the scene that a leaf belongs to

    mean, contrast = (_uniform((count,), bounds, generator)[scene] for bounds in (MEAN, CONTRAST))
    grey, rough, stripes, slope = _normal((4, leaves), generator)
    colour = mean + contrast * (grey + CHROMA * _normal((3, leaves), generator))
    striped = torch.rand(leaves, generator=generator) < STRIPED
    texture = torch.stack((ROUGHNESS * rough.exp(), STRIPES * stripes.exp() * striped, GRADIENT * slope))
    paint = torch.cat((colour, texture))  # 6 x leaves

    pixels = paint.index_select(1, owner.flatten().int()).view(6, *owner.shape)
    image, (rough, stripes, slope) = pixels[:3], pixels[3:]
    texture = _noise(count, generator).mul_(rough)
    texture.addcmul_(_grating(count, generator), stripes).addcmul_(_ramp(count, generator), slope)
    light = _ramp(count, generator).mul_(SHADING).exp_()
    return image.add_(texture).mul_(light).round_().clamp_(0, 255).to(torch.uint8).transpose(0, 1)


def _leaves(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W, float32: the number of the leaf that each pixel shows; leaf i belongs to scene i modulo N.

    A leaf is an ellipse, cut straight or not, in a box of its own; boxes of one size tile the scene. So a
    layer of leaves is one matrix product, and as leaves are numbered from back to front, the maximum paints it.
    """
    clutter = _uniform((count, 1, 1), CLUTTER, generator)
    owner = torch.arange(float(count))[:, None, None].repeat(1, SOURCE, SOURCE)  # the backgrounds
    first = count
    for box in LEAF_BOXES:
        grid = SOURCE // box
        shape = (count, grid, grid)
        long = _uniform(shape, (0.3, 0.95), generator)  # half axes, where a box reaches from -1 to 1
        short = long * _uniform(shape, (0.35, 1), generator)
        x = (1 - long) * _uniform(shape, (-1, 1), generator)
        y = (1 - long) * _uniform(shape, (-1, 1), generator)
        angle = _uniform(shape, (0, math.pi), generator)
        cos, sin = angle.cos(), angle.sin()
        along = torch.stack((-(cos * x + sin * y), cos, sin), -1) / long[..., None]
        across = torch.stack((sin * x - cos * y, -sin, cos), -1) / short[..., None]
        axes = torch.stack((along, across), -2).view(-1, 3) @ _plane(box)
        u, v = axes.view(*shape, 2, box, box).unbind(3)  # N x grid x grid x box x box, in the leaf's axes

        cut = _uniform(shape, (0, 2), generator)  # half of the leaves are cut, across their long axis
        share = clutter if box < 64 else LEAF_SHARE
        cut.masked_fill_(torch.rand(shape, generator=generator) > share, -math.inf)
        number = torch.arange(first, first + cut.numel()).view(grid, grid, count).movedim(-1, 0)
        first += cut.numel()
        # In float, in place: several times faster than torch.where on booleans.
        layer = v.square_().addcmul_(u, u).lt_(1)
        layer.mul_(u.lt_(cut[..., None, None])).mul_(number[..., None, None])
        below = owner.view(count, grid, box, grid, box).transpose(2, 3)
        torch.maximum(below, layer, out=below)
        # The next boxes lie elsewhere: leaves keep within their box, and borders of boxes must not coincide.
        owner = owner.roll(torch.randint(SOURCE, (2,), generator=generator).tolist(), (1, 2))
    return owner


def _noise(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: noise of about unit variance, amplitude spectrum 1/f^exponent, stretched along one axis."""
    stretch = _uniform((count, 1, 1), (-1, 1), generator).exp2()
    x, y = torch.fft.rfftfreq(SOURCE) * stretch, torch.fft.fftfreq(SOURCE)[:, None] / stretch
    power = (x.square() + y.square()).pow_(-_uniform((count, 1, 1), NOISE_EXPONENT, generator))
    power[:, 0, 0] = 0
    power /= 4 * power.sum((1, 2), keepdim=True)  # complex normals have variance 2, each frequency its mirror image
    spectrum = torch.view_as_complex(_normal((*power.shape, 2), generator)) * power.sqrt_()
    return torch.fft.irfft2(spectrum, s=(SOURCE, SOURCE), norm="forward")


def _grating(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: a sine wave per scene, of any direction and at least 3.5 pixels long."""
    x, y = _uniform((2, count, 1, 1), (-0.2, 0.2), generator)  # periods per pixel
    pixels = torch.arange(SOURCE)
    phase = x * pixels + y * pixels[:, None] + torch.rand(count, 1, 1, generator=generator)
    return phase.mul_(2 * math.pi).sin_()


def _ramp(count: int, generator: torch.Generator) -> Tensor:
    """N x H x W: a linear function per scene with normal coefficients; the scene reaches from -1 to 1."""
    return (_normal((count, 3), generator) @ _plane(SOURCE)).view(count, SOURCE, SOURCE)


def _plane(side: int) -> Tensor:
    """3 x side^2: the functions 1, x and y on the pixels of a square that reaches from -1 to 1."""
    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    return torch.stack((torch.ones(side * side), axis.repeat(side), axis.repeat_interleave(side)))


def _uniform(shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = bounds
    return torch.rand(shape, generator=generator) * (high - low) + low


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


# ---- data files --------------------------------------------------------------------------------------------


def build(
    out: str | Path,
    photos: str | Path | None = None,
    pairs: int = 50_000,
    validation: int = 1_000,
    seed: int = 0,
    progress: bool = True,
    clean: bool = False,
) -> None:
    """Write out/train_data.pkl (noisy, noisy) and out/val_data.pkl (noisy, clean).

    Each file is a tuple of two uint8 tensors, N x 3 x 32 x 32 with N = `pairs` or `validation`.
    clean: write out/clean_data.pkl (noisy, clean), too, the 2 N noisy images of train_data.pkl with their clean ones,
    to measure what it costs to train without these.
    photos: a folder, searched recursively, split by file into training and validation photos; None: scenes.
    Photos that cannot be read are skipped, with a warning that names them.
    Raises, before the work, TypeError or ValueError for arguments out of range, a folder with fewer than two
    readable photos and an output that cannot be written.
    """
    for name, value, least in (("pairs", pairs, 1), ("validation", validation, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}; expected an integer of at least {least}")
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    train_path, validation_path = Path(out) / "train_data.pkl", Path(out) / "val_data.pkl"
    if clean:
        check_writable(Path(out) / "clean_data.pkl")
    check_writable(train_path)
    check_writable(validation_path)

    work = {"progress": progress, "workers": os.cpu_count() or 1}
    if photos is None:
        validation_data = scene_pairs(validation, noisy_clean, seed, **work)

        def training(pair: Callable, **stream) -> tuple[Tensor, Tensor]:
            return scene_pairs(pairs, pair, seed, **stream, **work)
    else:
        train_files, validation_files = split_files(readable(image_files(photos), **work), seed)
        validation_data = photo_pairs(validation_files, validation, centre, noisy_clean, seed, **work)

        def training(pair: Callable, **stream) -> tuple[Tensor, Tensor]:
            return photo_pairs(train_files, pairs, _crops, pair, seed, **stream, **work)

    train_data = training(noisy_noisy)
    if clean:
        targets = training(clean_clean, stream=noisy_noisy.__name__)
        save_tensors((torch.cat(train_data), torch.cat(targets)), Path(out) / "clean_data.pkl")
    save_tensors(validation_data, validation_path)
    save_tensors(train_data, train_path)  # last: where it lies, the set is complete


def load_tensors(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read a file that holds a tuple of two N x C x H x W tensors of one shape, onto the CPU.

    Nothing in the file is executed. Raises ValueError, naming the path, if the file is missing, damaged or
    holds anything else, PermissionError if it may not be read.
    """
    advice = (
        "expected a tuple of two N x C x H x W tensors written by torch.save; "
        "`python -m Miniproject_1 data` makes such files"
    )
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; {advice}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:  # says itself what is wrong
        raise
    except pickle.UnpicklingError as error:  # its text advises to allow all that a pickle may run
        raise ValueError(f"{path}: damaged, or holds more than tensors (refused); {advice}") from error
    except Exception as error:  # damaged bytes end in many types of error
        raise ValueError(f"{path}: truncated or not written by torch.save; {advice}") from error
    if not isinstance(content, tuple) or [type(item) for item in content] != [Tensor, Tensor]:
        parts = f" of {len(content)}" if isinstance(content, (tuple, list, dict)) else ""
        raise ValueError(f"{path}: holds a {type(content).__name__}{parts}; {advice}")
    first, second = content
    if first.dim() != 4 or first.shape != second.shape or first.numel() == 0:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"{path}: holds tensors of shape {shapes}; {advice}")
    return first, second


def save_tensors(tensors: tuple[Tensor, Tensor], path: str | Path) -> None:
    """torch.save, whole or not at all; raises OSError if that fails."""
    try:
        with replacing(path) as temporary:
            torch.save(tensors, temporary)
    except RuntimeError as error:  # this is how torch reports a full disk
        raise OSError(f"cannot write {path}; is the disk full? ({error})") from error


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, in the same folder; the file then takes the place of `path`, or is removed if the
    writing failed."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Make the parent folder of `path`, and raise ValueError if a file could not be written at `path`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        if path.exists() and not path.is_file():
            raise OSError("it is a device or a pipe")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error}; choose another output path") from error


# ---- helpers -----------------------------------------------------------------------------------------------


def _pairs(
    count: int,
    parts: list[slice],
    sources: Callable[[slice, torch.Generator], Tensor],
    pair: Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]],
    seed: int,
    label: str,
    *,
    progress: bool,
    workers: int,
    stream: str = "",
) -> tuple[Tensor, Tensor]:
    """Two count x 3 x SIZE x SIZE uint8 tensors; each part of them is the pair of the sources of that part.

    The result does not depend on the number of workers. These are threads: Pillow and torch release the
    interpreter lock, and the results need not travel between processes.
    """
    first, second = (torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8) for _ in range(2))

    def fill(part: slice) -> None:
        # The pair's name keeps training and validation apart: their scenes come from different streams.
        generator = _generator(seed, stream or pair.__name__, part.start)
        first[part], second[part] = pair(sources(part, generator), generator)

    with ThreadPoolExecutor(workers) as pool:
        for _ in _progress(pool.map(fill, parts), len(parts), label, progress):
            pass
    return first, second


def _generator(*key: int | str) -> torch.Generator:
    """A generator of its own for each key, so that results do not depend on the order of the work."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def _progress(steps: Iterable, total: int, label: str, show: bool) -> Iterator:
    """The steps, with progress on stderr: a tqdm bar, or a line every 10 seconds where tqdm is missing."""
    if not show:
        yield from steps
        return
    try:
        from tqdm import tqdm
    except ImportError:
        pass
    else:
        yield from tqdm(steps, total=total, desc=label, mininterval=1.0)
        return
    printed = time.monotonic()
    for done, step in enumerate(steps, 1):
        yield step
        if done == total or time.monotonic() - printed > 10:
            printed = time.monotonic()
            print(f"{label}: {100 * done // total} %", file=sys.stderr, flush=True)
