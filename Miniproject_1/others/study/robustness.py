"""Noise and sizes that a model was not trained on.

`python -m Miniproject_1.others.study.robustness --photos DIR` measures images of other sides, from
other cells, and with the mean of several samples per cell, of whole centre squares of photos.
Photos smaller than side x cell pixels are enlarged, which leaves less noise.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...model import Model, default_weights, psnr
from ..command_line import Parser, program, random_seed
from ..files import check_writable
from ..images import image_files, read_rgb
from ..noise import CELL, SIZE, cell_mean, pixelate
from ..photos import centre, readable, split_files
from ..results import checksum, write_results
from .rows import Row, markdown

PROGRAM = "python -m Miniproject_1.others.study.robustness"
HEADS = ("images", "number", "noisy", "denoised", "smallest gain", "worse")


@dataclass(frozen=True)
class Case:
    """Images in which each pixel is the mean of some samples of its cell."""

    side: int = SIZE  # pixels a side of an image
    cell: int = CELL  # source pixels a side of a cell
    samples: int = 1  # source pixels that are drawn in each cell
    photos: int = 250  # one image each, at most so many: large images take long

    def __str__(self) -> str:
        samples = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        return f"{self.side} x {self.side}, cells of {self.cell} x {self.cell}, {samples}"


CASES = (
    Case(),
    Case(cell=4),
    Case(cell=16),
    Case(samples=2),
    Case(samples=4),
    Case(side=64),
    Case(side=512, photos=8),
)


def measure(model: Model, case: Case, files: list[Path], seed: int) -> Row:
    """Denoise an image of each photo.

    Args:
        model: The denoiser.
        case: What images are made.
        files: Photos that `images.read_rgb` can read, at least one.
        seed: Of the noise.

    Returns:
        `case` as a text, the number of `images`, their mean PSNR in dB `noisy` and `denoised`, the
        `smallest_gain` in dB, how many are `worse` for denoising, and the `checksum` of all.
    """
    noisy, clean = images_of(case, files, seed)
    before, after = each_psnr(noisy, clean), each_psnr(model.predict(noisy), clean)
    gain = after - before
    return {
        "case": str(case),
        "images": len(gain),
        "noisy": before.mean().item(),
        "denoised": after.mean().item(),
        "smallest_gain": gain.min().item(),
        "worse": int((gain < 0).sum()),
        "checksum": checksum(noisy, clean),
    }


def images_of(case: Case, files: list[Path], seed: int) -> tuple[Tensor, Tensor]:
    """An image of the centre square of each photo.

    Args:
        case: What images are made.
        files: Photos that `images.read_rgb` can read, at least one.
        seed: Of the noise.

    Returns:
        (noisy, clean), N x 3 x side x side, float32 and uint8, values 0-255.
    """
    generator = torch.Generator().manual_seed(seed)
    noisy, clean = [], []
    for file in files[:case.photos]:
        source = centre(read_rgb(file), case.side * case.cell)[None]
        samples = [pixelate(source, generator, case.cell).float() for _ in range(case.samples)]
        noisy.append(torch.stack(samples).mean(0))
        clean.append(cell_mean(source, case.cell))
    return torch.cat(noisy), torch.cat(clean)


def each_psnr(images: Tensor, clean: Tensor) -> Tensor:
    """PSNR of each of N x C x H x W images, values 0-255: N values in dB."""
    pairs = zip(images.split(1), clean.split(1), strict=True)
    return torch.tensor([psnr(image, original) for image, original in pairs])


def cells(row: Row) -> list[str]:
    """A line of the table, for what `measure` gives; HEADS stand above it."""
    return [
        row["case"],
        f"{row['images']}",
        f"{row['noisy']:.2f}",
        f"{row['denoised']:.2f}",
        f"{row['smallest_gain']:+.2f}",
        f"{row['worse']}",
    ]


def study(model: Model, files: list[Path], seed: int, cases: Iterable[Case] = CASES) -> list[Row]:
    """`measure` of several cases, with progress on stderr."""
    rows = []
    for case in cases:
        print(f"{case} ...", file=sys.stderr, flush=True)
        rows.append(measure(model, case, files, seed))
    return rows


@program
def main(argv: list[str] | None = None) -> int:
    """Measure all cases; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    if arguments.results:
        check_writable(arguments.results)
    weights = arguments.model or default_weights()
    model = Model()
    model.load_pretrained_model(weights)
    photos = readable(image_files(arguments.photos))
    _, held_out = split_files(photos, arguments.seed)
    rows = study(model, held_out, arguments.seed)
    print(markdown(HEADS, map(cells, rows)))
    if arguments.results:
        words = [*PROGRAM.split(), "--photos", "PHOTOS"]
        if arguments.model:
            words += ["--model", weights.name]
        if arguments.seed:
            words += ["--seed", str(arguments.seed)]
        data = {"kind": "photos", "photos": len(held_out), "seed": arguments.seed,
                "checksum": rows[0]["checksum"]}
        measured = {"kind": "robustness", "name": weights.name, "data": data,
                    "command": shlex.join(words), "cases": rows}
        write_results(arguments.results, arguments.seed, measured)
    return 0


def _parser() -> argparse.ArgumentParser:
    summary = "Measure a model on noise and sizes that it was not trained on."
    parser = Parser(prog=PROGRAM, description=summary)
    add = parser.add_argument
    add("--photos", metavar="DIR", type=Path, required=True,
        help="photos; those are measured that `data --photos DIR` holds out of training")
    add("--model", metavar="FILE", type=Path, help="weights; default: bestmodel.pth")
    add("--seed", metavar="S", type=random_seed, default=0, help="as given to `data`; default: 0")
    add("--results", metavar="FILE", type=Path, help="write the results, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
