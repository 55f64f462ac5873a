"""Training pairs from the user's image files, in their own units and dtype.

    noisy_a, noisy_b = from_files(first, second, tile=64)   # two folders, files or stacks
    noisy_a, noisy_b = from_frames([stack], tile=64)        # repeated exposures of one scene
"""

import warnings
from collections import Counter, defaultdict
from pathlib import Path

import torch
from torch import Tensor

from ..model import tile_side, tiles
from .command_line import progress_bar, some
from .files import LARGE_FILE
from .images import image_files, read

SMALLEST = 16  # pixels: shorter sides leave the U-Net no context to learn from
SMALL_SHARE = 0.1  # of all pixels: what smaller images hold is given up for larger tiles

Images = list[tuple[str, Tensor, Tensor]]  # name and two copies, each N x C x H x W


def from_files(first: Path, second: Path, tile: int, progress: bool = False
               ) -> tuple[Tensor, Tensor]:
    """Pairs from noisy copies of the same scenes.

    Args:
        first: A folder, which is searched recursively, or a file; the pages of a stack are images.
        second: Such a folder or file with the second copies. Files belong together that have the
            same name, or the same but for the suffix.
        tile: Pixels a side of the squares that the images are cut into.
        progress: Whether to show progress on stderr.

    Returns:
        (noisy_a, noisy_b), each N x C x T x T in the files' dtype and units. T is `tile`, or less
        where images are smaller. The pages of a single stack above LARGE_FILE stay whole, since
        `Model.train` cuts them as it needs them. Alpha is dropped. Images that are too small or
        hold NaN are left out, with a warning that names them.

    Raises:
        ValueError: A file has no partner or cannot be read, or two images differ in size,
            channels or dtype.
        OSError: A file cannot be opened.
    """
    matches = _matches(Path(first), Path(second))
    found: Images = []
    label = f"reading {len(matches)} pairs"
    for file_a, file_b in progress_bar(matches, len(matches), label, progress):
        a, b = read(file_a).pages, read(file_b).pages
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ValueError(f"{file_a} is {_kind(a)}, and {file_b} {_kind(b)}: expected two "
                             "copies alike; crop or convert one")
        found.append((str(file_a), a, b))
    return _tiled(found, tile)


def from_frames(stacks: list[Path], tile: int) -> tuple[Tensor, Tensor]:
    """Pairs from repeated exposures: pages 1 and 2, 3 and 4, and so on.

    Args:
        stacks: Files, each of which holds two or more pages of one scene.
        tile: Pixels a side of the squares that the images are cut into.

    Returns:
        (noisy_a, noisy_b), as of `from_files`. The last page of an odd number is left out, with a
        warning.

    Raises:
        ValueError: A file holds one page, or several axes of pages, or two files differ in channels
            or dtype.
        OSError: A file cannot be opened.
    """
    found: Images = []
    for stack in stacks:
        if not stack.is_file():
            found_there = "is a folder" if stack.is_dir() else "does not exist"
            raise ValueError(f"{stack} {found_there}, expected a file whose pages are exposures of "
                             "a scene; single exposures go to -a and -b")
        picture = read(stack)
        pages = picture.pages
        if len(pages) < 2:
            raise ValueError(f"{stack} holds {len(pages)} page, expected two or more exposures of "
                             "one scene")
        axes = [size for size in picture.origin.layout.stack() if size > 1]
        if len(axes) > 1:
            raise ValueError(f"{stack} holds {' x '.join(map(str, axes))} pages along "
                             f"{len(axes)} axes, expected one, of exposures; split the file")
        if len(pages) % 2:
            warnings.warn(f"{stack}: the last of {len(pages)} pages is left out, as it has no "
                          "partner", stacklevel=2)
        even = len(pages) // 2 * 2
        found.append((str(stack), pages[0:even:2], pages[1:even:2]))
    return _tiled(found, tile)


# ---- which file belongs to which ---------------------------------------------------------------


def _matches(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """The files that belong together."""
    for path in (first, second):
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
    if first.is_dir() != second.is_dir():
        raise ValueError(f"{first} and {second}: expected two folders or two files")
    if not first.is_dir():
        return [(first, second)]
    names_a = {file.relative_to(first) for file in image_files(first)}
    names_b = {file.relative_to(second) for file in image_files(second)}
    same = names_a & names_b
    partner = {name: name for name in same}
    partner |= _by_stem(names_a - same, names_b - same)
    alone = [first / name for name in names_a - set(partner)]
    alone += [second / name for name in names_b - set(partner.values())]
    if alone:
        raise ValueError(f"no partner of the same name in the other folder, or several, for "
                         f"{some(sorted(alone))}; rename or remove these")
    return [(first / name, second / partner[name]) for name in sorted(partner)]


def _by_stem(names_a: set[Path], names_b: set[Path]) -> dict[Path, Path]:
    """Names that are the same but for the suffix, where only one of each folder is."""
    by_stem: dict[Path, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((names_a, names_b)):
        for name in names:
            by_stem[name.with_suffix("")][side].append(name)
    found = by_stem.values()
    return {a[0]: b[0] for a, b in found if len(a) == len(b) == 1}


# ---- tiles -------------------------------------------------------------------------------------


def _tiled(found: Images, tile: int) -> tuple[Tensor, Tensor]:
    """The tiles of all images that can be trained on."""
    _check_alike(found)
    found = _finite(found)
    side = _side(found, tile)
    small = [name for name, a, _ in found if min(a.shape[-2:]) < side]
    if small:
        warnings.warn(f"left out, as the shortest side is below {side} pixels: {some(small)}",
                      stacklevel=2)
    large = [(a, b) for _, a, b in found if min(a.shape[-2:]) >= side]
    if len(large) == 1 and large[0][0].nbytes >= LARGE_FILE:
        return large[0]
    noisy_a = torch.cat([tiles(a, side) for a, _ in large])
    noisy_b = torch.cat([tiles(b, side) for _, b in large])
    return noisy_a, noisy_b


def _check_alike(found: Images) -> None:
    """ValueError if images have other channels or another dtype than most."""
    kinds = [f"{a.shape[1]} x {_short(a.dtype)}" for _, a, _ in found]
    usual = Counter(kinds).most_common(1)[0][0]
    others = [f"{name} ({_kind(a)})" for (name, a, _), kind in zip(found, kinds, strict=True)
              if kind != usual]
    if others:
        raise ValueError(f"images differ in channels or type: {some(others)}, where others have "
                         f"{usual}; convert or remove these")


def _finite(found: Images) -> Images:
    """The images without NaN and infinity; a warning names the others."""
    kept: Images = []
    left_out = []
    for name, a, b in found:
        good = torch.ones(len(a), dtype=torch.bool)
        if a.is_floating_point():  # page by page, to save memory
            good = torch.stack([(page_a.isfinite() & page_b.isfinite()).all()
                                for page_a, page_b in zip(a, b, strict=True)])
        if not good.all():
            pages = f" ({int((~good).sum())} of {len(good)} pages)" if len(good) > 1 else ""
            left_out.append(f"{name}{pages}")
        if good.any():
            kept.append((name, a[good], b[good]) if not good.all() else (name, a, b))
    if not kept:
        raise ValueError(f"all images hold NaN or infinity: {some(left_out)}; give others")
    if left_out:
        warnings.warn(f"left out, as they hold NaN or infinity: {some(left_out)}", stacklevel=2)
    return kept


def _side(found: Images, tile: int) -> int:
    """The side of the tiles: at most `tile`, or that of the smallest image that is not left out."""
    by_side = sorted((min(a.shape[-2:]), a.numel()) for _, a, _ in found)
    may_lose = SMALL_SHARE * sum(pixels for _, pixels in by_side)
    while len(by_side) > 1 and by_side[0][0] < tile and by_side[0][1] <= may_lose:
        may_lose -= by_side.pop(0)[1]
    shortest = by_side[0][0]
    if shortest < SMALLEST:
        name = next(name for name, a, _ in found if min(a.shape[-2:]) == shortest)
        raise ValueError(f"{name} has a side of {shortest} pixels, training needs {SMALLEST}")
    kept = [(a.shape[-2], a.shape[-1]) for _, a, _ in found if min(a.shape[-2:]) >= shortest]
    return max(SMALLEST, tile_side(kept, min(tile, shortest)))


def _kind(pages: Tensor) -> str:
    """Such as "640 x 480, 1 channel, uint16" or "5 pages of ..."."""
    count, channels, height, width = pages.shape
    stack = f"{count} pages of " if count > 1 else ""
    plural = "" if channels == 1 else "s"
    return f"{stack}{width} x {height}, {channels} channel{plural}, {_short(pages.dtype)}"


def _short(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
