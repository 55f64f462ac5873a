"""Write a picture of the denoiser at work: `python -m Miniproject_1.others.picture -o FILE [--photos DIR]`.

Rows from top to bottom: noisy, denoised, clean; a column per photo of a folder, or generated scene; pixels enlarged.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..model import Model, psnr
from .arguments import Parser, program, random_seed
from .images import check_suffix, write
from .pixelate import centre, check_writable, image_files, noisy_clean, photo_pairs, readable, scene_pairs

SCENES = 6
ENLARGED = 5  # pixels a side for one pixel of an image
GAP = 4       # white pixels between images


def grid(rows: list[Tensor]) -> Tensor:
    """Equal batches N x C x H x W, one per row of the picture, to C x H' x W' with enlarged pixels, on white."""
    images = torch.stack(rows)  # rows x N x C x H x W
    images = images.repeat_interleave(ENLARGED, dim=-2).repeat_interleave(ENLARGED, dim=-1)
    framed = pad(images, (0, GAP, 0, GAP), value=255)
    picture = framed.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)  # C x rows H' x N W'
    return picture[:, :-GAP, :-GAP]


@program
def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="python -m Miniproject_1.others.picture", description=__doc__.split("\n")[2])
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="an image file, such as .png")
    parser.add_argument("--photos", metavar="DIR", type=Path, help="folder of photos; default: generated scenes")
    parser.add_argument("--seed", metavar="S", type=random_seed, default=0, help="of noise and scenes; default: 0")
    arguments = parser.parse_args(argv)
    check_suffix(arguments.output)
    check_writable(arguments.output)
    model = Model()
    model.load_pretrained_model()
    work = {"progress": False, "workers": 1}
    if arguments.photos:
        files = readable(image_files(arguments.photos), least=1, **work)
        noisy, clean = photo_pairs(files, len(files), centre, noisy_clean, arguments.seed, **work)
    else:
        noisy, clean = scene_pairs(SCENES, noisy_clean, arguments.seed, **work)
    denoised = model.predict(noisy)
    write(grid([noisy.float(), denoised, clean.float()]), arguments.output)
    print(f"wrote {arguments.output}: noisy {psnr(noisy, clean):.2f} dB, denoised {psnr(denoised, clean):.2f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
