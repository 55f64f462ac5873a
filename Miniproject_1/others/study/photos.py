"""Photos, denoised by both networks: `python -m Miniproject_1.others.study.photos -d DATA`.

Both are trained on the same pairs for the same time, then denoise six public-domain photos of
scikit-image: noisy, published, ours and clean stand side by side. The row of the results file has

    kind            "photos"
    name            of the picture
    minutes, seed   of each training; the seed is also that of the noise
    pairs, data     that were trained on
    psnr            dB per photo, by "noisy", "published" and "ours"
    command         makes it again, DATA is a path

with date, device, processor, threads, versions and commit.
"""

import argparse
import sys
from pathlib import Path

from ..command_line import Parser, number, program, random_seed
from ..files import check_writable
from ..images import check_suffix, save
from ..photos import public_domain_photos
from ..picture import SIDE, compared, noisy_and_clean, psnr_of_each
from ..results import append_results
from .data import add_data_options, chosen_validation, load_training
from .recipes import NETWORKS, OURS, PUBLISHED
from .training import Budget, trained

PROGRAM = "python -m Miniproject_1.others.study.photos"
PICTURE = Path("report/figures/compared.png")
MINUTES = 5.0


@program
def main(argv: list[str] | None = None) -> int:
    """Train both networks and draw the picture; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    check_suffix(arguments.output)
    for file in (arguments.output, arguments.results):
        check_writable(file)
    training = load_training(arguments.data)
    validation = chosen_validation(arguments)
    noisy, clean = noisy_and_clean(public_domain_photos(), SIDE, arguments.seed)
    shown = {"noisy": noisy}
    for network in (PUBLISHED, OURS):
        print(network, flush=True)
        model = trained(NETWORKS[network], Budget(minutes=arguments.minutes), arguments.seed,
                        training, validation)
        shown[network] = model.predict(noisy).cpu()
    save(compared(shown | {"clean": clean}), arguments.output)
    append_results(arguments.results, {
        "kind": "photos",
        "name": arguments.output.name,
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "pairs": len(training.a),
        "data": training.about,
        "psnr": {name: psnr_of_each(images, clean) for name, images in shown.items()},
        "command": f"{PROGRAM} -d DATA --minutes {arguments.minutes:g} --seed {arguments.seed}",
    })
    print(f"wrote {arguments.output} and {arguments.results}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Show photos that both networks denoised.")
    add_data_options(parser)
    add = parser.add_argument
    add("--minutes", metavar="M", type=number(float), default=MINUTES,
        help=f"of each training; default: {MINUTES:g}")
    add("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    add("-o", "--output", metavar="FILE", type=Path, default=PICTURE,
        help=f"the picture; default: {PICTURE}")
    add("--results", metavar="FILE", type=Path, default=Path("out/photos.jsonl"),
        help="append the PSNR of each photo, a line of JSON; default: out/photos.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
