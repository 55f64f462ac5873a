"""Pairs of images to train and to validate on, from scenes or from photos; the course's format."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import check_count
from . import streams
from .command_line import progress_bar, some
from .files import check_writable, save_tensors
from .images import image_files, read_rgb
from .noise import SIZE, clean_clean, noisy_clean, noisy_noisy
from .photos import centre, centres, crops, readable, split_files
from .results import checksum, write_results
from .scenes import BATCH, scenes

if TYPE_CHECKING:
    from PIL.Image import Image

ABOUT = "about.json"  # kind, number and checksum of the training pairs, and their seed
SCENES = 100  # validation images whose full-size scenes are kept, 20 MB
CROPS_AT_ONCE = 64  # crops of a photo held at a time: 12 MiB of pixels

Cut = Callable[["Image", int, torch.Generator], Tensor]  # photo, count -> count x 3 x H x W
Pair = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]  # N x C x H x W -> a pair of each


@dataclass(frozen=True)
class Pairing:
    """What is made of each source, and the name of the random stream that it draws from."""

    pair: Pair
    stream: str


TRAINING = Pairing(noisy_noisy, streams.TRAINING)
TARGETS = Pairing(clean_clean, streams.TRAINING)  # the clean images of the sources of TRAINING
VALIDATION = Pairing(noisy_clean, streams.VALIDATION)


# ---- the course's format -----------------------------------------------------------------------


def build(
    out: str | os.PathLike,
    photos: str | os.PathLike | None = None,
    *,
    pairs: int = 50_000,
    validation: int = 1_000,
    seed: int = 0,
    progress: bool = True,
    clean: bool = False,
    validation_files: list[Path] | None = None,
) -> None:
    """Write out/train_data.pkl (noisy, noisy) and out/val_data.pkl (noisy, clean).

    Each file is a tuple of two uint8 tensors, N x 3 x 32 x 32 with N = `pairs` or `validation`.
    out/val_scenes.pkl has the scenes of the first SCENES validation images (fewer photos: of each
    photo), N x 3 x 256 x 256, uint8, from which `test.py` makes other noise. out/about.json says
    what the training pairs are made of. Photos that cannot be read are
    skipped, with a warning that names them.

    Args:
        out: The folder to write to, which is made if it does not exist.
        photos: A folder, searched recursively, whose files are split in training and validation
            photos; None: scenes.
        pairs: The number of training pairs.
        validation: The number of validation images.
        seed: The data depend on it, and not on the number of processors.
        progress: Whether to show progress on stderr.
        clean: Write out/clean_data.pkl (noisy, clean), too: the 2 N noisy images of
            train_data.pkl with their clean ones, to measure what it costs to train without these.
        validation_files: Photos whose whole centre squares the validation images are, instead of
            scenes or of photos that are held out of training.

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument is out of range, there are too few readable photos, a validation
            file is a training photo as well, or the output cannot be written.
    """
    pairs = check_count("pairs", pairs, least=1)
    validation = check_count("validation", validation, least=1)
    seed = check_count("seed", seed, least=0)
    out = Path(out)
    names = ["train_data.pkl", "val_data.pkl", "val_scenes.pkl", ABOUT] + ["clean_data.pkl"] * clean
    for name in names:
        check_writable(out / name)

    train_photos, validation_photos = _photos(photos, validation_files, seed, progress)
    validation_data = _made(validation_photos, validation, centres, VALIDATION, seed, progress)
    train_data = _made(train_photos, pairs, crops, TRAINING, seed, progress)
    if clean:
        targets = _made(train_photos, pairs, crops, TARGETS, seed, progress)
        save_tensors((torch.cat(train_data), torch.cat(targets)), out / "clean_data.pkl")
    save_tensors(validation_data, out / "val_data.pkl")
    validation_scenes = _validation_scenes(validation_photos, validation, seed)
    save_tensors(validation_scenes, out / "val_scenes.pkl")
    kind = "scenes" if train_photos is None else "photos"
    about = {"kind": kind, "pairs": pairs, "checksum": checksum(*train_data)}
    write_results(out / ABOUT, seed, about)
    save_tensors(train_data, out / "train_data.pkl")  # last: where it lies, the set is complete


def _photos(
    folder: str | os.PathLike | None,
    validation_files: list[Path] | None,
    seed: int,
    progress: bool,
) -> tuple[list[Path] | None, list[Path] | None]:
    """The readable training and validation photos, None for scenes; arguments as of `build`."""
    train, validation = None, None
    if validation_files is not None:
        validation = readable(validation_files, least=1, progress=progress)
    if folder is not None:
        files = image_files(folder)
        if validation is None:
            return split_files(readable(files, progress=progress), seed)
        _check_apart(files, validation)
        train = readable(files, least=1, progress=progress)
    return train, validation


def _check_apart(train: list[Path], validation: list[Path]) -> None:
    """ValueError if a photo is among both."""
    both = {path.resolve() for path in train} & {path.resolve() for path in validation}
    if both:
        raise ValueError(
            f"{some(sorted(both))} would be both trained on and validated on; move the photos "
            f"for validation out of the folder"
        )


def _made(
    photos: list[Path] | None, count: int, cut: Cut, pairing: Pairing, seed: int, progress: bool
) -> tuple[Tensor, Tensor]:
    """Pairs from photos, or from scenes where there are none."""
    if photos is None:
        return scene_pairs(count, pairing, seed, progress=progress)
    return photo_pairs(photos, count, cut, pairing, seed, progress=progress)


def _validation_scenes(photos: list[Path] | None, validation: int, seed: int) -> Tensor:
    """The sources of the first SCENES validation images, N x 3 x SOURCE x SOURCE, uint8."""
    count = min(validation, SCENES)
    if photos is not None:
        return torch.stack([centre(read_rgb(photo)) for photo in photos[:count]])
    parts = []
    for start in range(0, count, BATCH):
        generator = streams.generator(seed, VALIDATION.stream, start)
        parts.append(scenes(min(BATCH, validation - start), generator))
    return torch.cat(parts)[:count]


# ---- pairs from scenes and photos --------------------------------------------------------------


def scene_pairs(
    count: int, pairing: Pairing, seed: int, *, progress: bool = False, workers: int | None = None
) -> tuple[Tensor, Tensor]:
    """A pair of each of some generated scenes.

    Args:
        count: The number of pairs.
        pairing: TRAINING, TARGETS or VALIDATION.
        seed: The pairs depend on nothing else.
        progress: Whether to show progress on stderr.
        workers: Threads; None: one per processor.

    Returns:
        Two count x 3 x SIZE x SIZE tensors, uint8.
    """
    parts = [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]

    def sources(part: slice, generator: torch.Generator) -> Tensor:
        return scenes(part.stop - part.start, generator)

    label = f"{count} pairs from scenes"
    return _fill(count, parts, sources, pairing, seed, label, progress, workers)


def photo_pairs(
    files: list[Path],
    count: int,
    cut: Cut,
    pairing: Pairing,
    seed: int,
    *,
    progress: bool = False,
    workers: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Pairs from photos, number i from photo i modulo their number.

    Args:
        files: Photos that `images.read_rgb` can read.
        count: The number of pairs.
        cut: `photos.crops` or `photos.centres`: makes the sources of a photo.
        pairing: TRAINING, TARGETS or VALIDATION.
        seed: The pairs depend on it and on the photos.
        progress: Whether to show progress on stderr.
        workers: Threads; None: one per processor.

    Returns:
        Two count x 3 x SIZE x SIZE tensors, uint8.
    """
    stride = len(files)
    parts = []  # each up to CROPS_AT_ONCE pairs of one photo
    for base in range(0, count, CROPS_AT_ONCE * stride):
        end = min(base + CROPS_AT_ONCE * stride, count)
        parts += [slice(start, end, stride) for start in range(base, min(base + stride, count))]

    def sources(part: slice, generator: torch.Generator) -> Tensor:
        photo = read_rgb(files[part.start % stride])
        return cut(photo, len(range(count)[part]), generator)

    label = f"{count} pairs from {stride} photos"
    return _fill(count, parts, sources, pairing, seed, label, progress, workers)


def _fill(
    count: int,
    parts: list[slice],
    sources: Callable[[slice, torch.Generator], Tensor],
    pairing: Pairing,
    seed: int,
    label: str,
    progress: bool,
    workers: int | None,
) -> tuple[Tensor, Tensor]:
    """Two count x 3 x SIZE x SIZE tensors, uint8; each part of them is the pairs of its sources.

    The workers are threads: Pillow and torch release the interpreter lock, and the results need
    not travel between processes.
    """
    first = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    second = torch.empty_like(first)

    def fill(part: slice) -> None:
        generator = streams.generator(seed, pairing.stream, part.start)
        first[part], second[part] = pairing.pair(sources(part, generator), generator)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for _ in progress_bar(pool.map(fill, parts), len(parts), label, progress):
            pass
    return first, second
