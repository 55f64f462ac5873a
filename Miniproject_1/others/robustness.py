"""Noise and sizes that a model was not trained on: python -m Miniproject_1.others.robustness --photos DIR.

Each case makes images of another side, from other cells or with the mean of several samples per cell, of whole centre
squares of the photos, and prints the PSNR of the noisy and the denoised ones, and how many the denoising made worse.
Photos smaller than side x cell are enlarged, which leaves less noise.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..model import Model, psnr
from .arguments import Parser, program, random_seed
from .pixelate import cell_mean, centre, check_writable, image_files, open_photo, pixelate, readable, split_files
from .results import write_results


@dataclass(frozen=True)
class Case:
    """Images of `side` x `side` pixels, each the mean of `samples` of the cell x cell source pixels in it."""

    side: int = 32
    cell: int = 8
    samples: int = 1
    photos: int = 250  # at most so many: large images take long

    def __str__(self) -> str:
        plural = "s" if self.samples > 1 else ""
        return f"{self.side} x {self.side}, cells of {self.cell} x {self.cell}, {self.samples} sample{plural}"


CASES = (Case(), Case(cell=4), Case(cell=16), Case(samples=2), Case(samples=4), Case(side=64), Case(side=512, photos=8))


def measure(model: Model, case: Case, files: list[Path], seed: int) -> dict:
    """PSNR in dB, averaged over an image of each photo, noisy and denoised; the smallest gain; how many lost."""
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for path in files[:case.photos]:
        source = centre(open_photo(path), 1, generator, case.side * case.cell)
        draws = [pixelate(source, generator, case.cell).float() for _ in range(case.samples)]
        pairs.append((torch.stack(draws).mean(0), cell_mean(source, case.cell)))
    noisy, clean = (torch.cat(images) for images in zip(*pairs, strict=True))
    before, after = each_psnr(noisy, clean), each_psnr(model.predict(noisy), clean)
    gain = after - before
    return {"case": str(case), "images": len(gain), "noisy": before.mean().item(), "denoised": after.mean().item(),
            "smallest_gain": gain.min().item(), "worse": (gain < 0).sum().item()}


def each_psnr(images: Tensor, clean: Tensor) -> Tensor:
    """N values."""
    return torch.tensor([psnr(image[None], original[None]) for image, original in zip(images, clean, strict=True)])


@program
def main(argv: list[str] | None = None) -> int:
    """Measure all cases; returns the exit code."""
    parser = Parser(prog="python -m Miniproject_1.others.robustness", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", metavar="DIR", type=Path, required=True,
                        help="folder of photos, of which those are taken that `data --photos` holds out of training")
    parser.add_argument("--model", metavar="FILE", type=Path, help="weights; default: bestmodel.pth")
    parser.add_argument("--seed", metavar="S", type=random_seed, default=0, help="as given to `data`; default: 0")
    parser.add_argument("--results", metavar="FILE", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    if arguments.results:
        check_writable(arguments.results)
    model = Model()
    model.load_pretrained_model(arguments.model)
    photos = readable(image_files(arguments.photos), progress=False, workers=os.cpu_count() or 1)
    _, files = split_files(photos, arguments.seed)  # as `data` does
    print(f"{'':42} images   noisy denoised smallest gain worse", flush=True)
    rows = []
    for case in CASES:
        rows.append(measure(model, case, files, arguments.seed))
        print("{case:42} {images:6d} {noisy:7.2f} {denoised:8.2f} {smallest_gain:13.2f} {worse:5d}".format(
            **rows[-1]), flush=True)
    if arguments.results:
        write_results(arguments.results, arguments.seed, {"cases": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
