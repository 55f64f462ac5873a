"""A picture of the denoiser at work: `python -m Miniproject_1.others.picture -o FILE`.

Each photo is shown noisy, denoised and clean, with enlarged pixels and the PSNR in dB below.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import Model, psnr
from .command_line import Parser, program, random_seed
from .files import check_writable
from .images import check_suffix, image_files, pillow, read_rgb, save, to_pillow
from .noise import CELL, noisy_clean
from .photos import centre, public_domain_photos, readable

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64  # pixels a side of the images: twice the course's, which show little of a photo
PANEL = 192  # pixels a side of an image in the picture, about
COLUMNS = 2  # photos side by side
GAP = 6  # pixels between the images of a photo
MARGIN = 24  # pixels between photos and around the picture
FONT = 18  # pixels: size of the texts
LINE = 28  # pixels: height of a line of text
INK = (32, 32, 32)
PAPER = (255, 255, 255)


def noisy_and_clean(files: list[Path], side: int, seed: int) -> tuple[Tensor, Tensor]:
    """The largest centre square of each photo, with noise and without.

    Args:
        files: Photos that `images.read_rgb` can read.
        side: Pixels a side of the images.
        seed: Of the noise.

    Returns:
        (noisy, clean), N x 3 x side x side, uint8.
    """
    sources = torch.stack([centre(read_rgb(file), side * CELL) for file in files])
    return noisy_clean(sources, torch.Generator().manual_seed(seed))


def strip(images: list[Tensor], captions: list[str]) -> "Image":
    """Images side by side, their pixels enlarged, with a text below each.

    Args:
        images: C x S x S each, values 0-255.
        captions: As many texts.

    Returns:
        A Pillow image of mode RGB.
    """
    pil = pillow()
    side = images[0].shape[-1]
    panel = side * max(1, round(PANEL / side))
    picture = pil.Image.new("RGB", (len(images) * (panel + GAP) - GAP, panel + LINE), PAPER)
    for number, image in enumerate(images):
        enlarged = to_pillow(image).resize((panel, panel), pil.Image.Resampling.NEAREST)
        picture.paste(enlarged, (number * (panel + GAP), 0))
    _write(picture, captions, (0, panel), picture.width)
    return picture


def compared(shown: dict[str, Tensor]) -> "Image":
    """Photos in several versions side by side, with the PSNR to the last one below.

    Args:
        shown: N x 3 x S x S by heading, values 0-255; the last ones are clean.

    Returns:
        A Pillow image of mode RGB.
    """
    *others, clean = shown.values()
    scores = [psnr_of_each(images, clean) for images in others]
    strips = []
    for photo, images in enumerate(zip(*shown.values(), strict=True)):
        captions = [f"{score[photo]:.2f} dB" for score in scores]
        strips.append(strip(list(images), [*captions, ""]))
    return page(strips, tuple(shown))


def psnr_of_each(images: Tensor, clean: Tensor) -> list[float]:
    """dB of each of N x C x H x W images, values 0-255."""
    return [psnr(image[None], own[None]) for image, own in zip(images, clean, strict=True)]


def page(strips: list["Image"], headings: tuple[str, ...]) -> "Image":
    """Strips in rows of two, below the headings.

    Args:
        strips: At least one, all of one size.
        headings: One for each image of a strip.

    Returns:
        A Pillow image of mode RGB.
    """
    columns = min(COLUMNS, len(strips))
    rows = -(-len(strips) // columns)
    width, height = strips[0].size
    size = (MARGIN + columns * (width + MARGIN), MARGIN + LINE + rows * (height + MARGIN // 2))
    picture = pillow().Image.new("RGB", size, PAPER)
    for column in range(columns):
        corner = (MARGIN + column * (width + MARGIN), MARGIN // 2)
        _write(picture, headings, corner, width)
    for number, pasted in enumerate(strips):
        row, column = divmod(number, columns)
        left = MARGIN + column * (width + MARGIN)
        top = MARGIN // 2 + LINE + row * (height + MARGIN // 2)
        picture.paste(pasted, (left, top))
    return picture


def _write(
    picture: "Image", texts: list[str] | tuple[str, ...], corner: tuple[int, int], width: int
) -> None:
    """Write a line of texts, each in the middle of its share of the width."""
    pil = pillow()
    pen = pil.ImageDraw.Draw(picture)
    font = pil.ImageFont.load_default(size=FONT)
    left, top = corner
    share = (width + GAP) / len(texts)
    for number, text in enumerate(texts):
        middle = left + (number + 0.5) * share - GAP / 2
        pen.text((middle, top + LINE / 2), text, fill=INK, font=font, anchor="mm")


@program
def main(argv: list[str] | None = None) -> int:
    """Write the picture; `program` says what it takes and returns."""
    arguments = _arguments(argv)
    check_suffix(arguments.output)
    check_writable(arguments.output)
    files = image_files(arguments.photos) if arguments.photos else public_domain_photos()
    noisy, clean = noisy_and_clean(readable(files, least=1), arguments.side, arguments.seed)
    model = Model()
    model.load_pretrained_model(arguments.model)
    denoised = model.predict(noisy).cpu()

    save(compared({"noisy": noisy, "denoised": denoised, "clean": clean}), arguments.output)
    before, after = psnr(noisy, clean), psnr(denoised, clean)
    print(f"wrote {arguments.output}: noisy {before:.2f} dB, denoised {after:.2f} dB")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The parsed arguments; ValueError if one is out of range."""
    summary = "Show photos noisy, denoised and clean."
    parser = Parser(prog="python -m Miniproject_1.others.picture", description=summary)
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", type=Path, required=True, help="such as picture.png")
    add("--photos", metavar="DIR", type=Path, help="folder of photos; default: six of scikit-image")
    add("--model", metavar="FILE", type=Path, help="weights; default: bestmodel.pth")
    add("--side", metavar="S", type=int, default=SIDE, help=f"pixels a side; default: {SIDE}")
    add("--seed", metavar="S", type=random_seed, default=0, help="of the noise; default: 0")
    arguments = parser.parse_args(argv)
    if arguments.side < 1:
        raise ValueError(f"--side is {arguments.side}, expected 1 or more")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
