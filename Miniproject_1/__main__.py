"""The command line: `python -m Miniproject_1 data|train|denoise`; each takes --help."""

import argparse
import math
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor

from .model import BATCH, Model, tiles
from .others import images
from .others.arguments import Parser, failed, program, random_seed, saved_on_ctrl_c
from .others.pixelate import build, check_writable, image_files, load_tensors

STEPS = 500  # of a training by default, about, or ten epochs if more: those of a handful of images would learn nothing
DATA_HELP = """examples:
  python -m Miniproject_1 data                         50,000 pairs of generated scenes, into data/
  python -m Miniproject_1 data --photos ~/Pictures     ... of crops of the photos in this folder, and below it

DIR/train_data.pkl holds (noisy, noisy), DIR/val_data.pkl (noisy, clean), as N x 3 x 32 x 32 uint8.
"""
TRAIN_HELP = """examples:
  python -m Miniproject_1 train                         on data/train_data.pkl, into model.pth
  python -m Miniproject_1 train --epochs 30 --minutes 60    30 epochs, or 60 minutes if these end sooner
  python -m Miniproject_1 train -a first -b second      on your images, two noisy copies of each scene:
                                                        first/1.png and second/1.png, and so on
  python -m Miniproject_1 train --from model.pth -o better.pth    goes on from earlier weights

The noise of the two copies has to be independent, with mean zero. The PSNR of each epoch is measured on
val_data.pkl beside the training data if there is one, averaged over images; otherwise it is estimated on
noisy pairs held out of training, of the mean error of all ("est."); always without self-ensemble. FILE gets
the weights after each epoch; after Ctrl-C it holds what was reached, but a file that was there before is
kept until the first epoch is done.
"""
DENOISE_HELP = """examples:
  python -m Miniproject_1 denoise photo.png -o denoised             writes denoised/photo.png
  python -m Miniproject_1 denoise scans -o denoised --compare       all images in this folder; 1.png also
                                                                    gives 1-compare.png: noisy | denoised
  python -m Miniproject_1 denoise *.png -o denoised --model model.pth    with the weights from `train`

Images keep their size, name, format, grey or colour, and alpha channel. Grey ones keep 16 bits, colour ones are
written with 8. EXIF data and colour profiles are not copied.
"""


@program
def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 after `error: ...` on stderr, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m Miniproject_1", description="Denoise images with a network that saw only noisy ones.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".",
                                    epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter)
        added.set_defaults(run=run)
        return added

    data = command(_data, "data", "make training data from photos or generated scenes", DATA_HELP)
    data.add_argument("--photos", metavar="DIR", type=Path, help="folder of photos; default: made-up scenes")
    data.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("data"), help="default: data")
    data.add_argument("--pairs", metavar="N", type=int, default=50_000, help="training pairs; default: 50000")
    data.add_argument("--clean", action="store_true",
                      help="write clean_data.pkl, too, (noisy, clean) of the same crops, for others/bench.py; not for "
                           "`train`, which would take them in both directions")
    data.add_argument("--seed", metavar="S", type=random_seed, default=0, help="default: 0")

    train = command(_train, "train", "train a network on pairs of noisy images", TRAIN_HELP)
    train.add_argument("-d", "--data", metavar="DATA", type=Path,
                       help="folder with train_data.pkl, or a .pkl or .pt file of two tensors; default: data")
    train.add_argument("-a", metavar="DIR", type=Path, help="folder of noisy images, instead of -d")
    train.add_argument("-b", metavar="DIR", type=Path, help="folder of second copies, under the same names")
    train.add_argument("--epochs", metavar="N", type=int,
                       help=f"passes over the data; default: 10, or with few images as many as make {STEPS} steps")
    train.add_argument("--minutes", metavar="M", type=float, help="end within this time; default: no limit")
    train.add_argument("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    train.add_argument("--from", metavar="FILE", type=Path, dest="start",
                       help="weights to start from; default: random ones")
    train.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("model.pth"),
                       help="file for the weights; default: model.pth")
    train.add_argument("--quiet", action="store_true", help="print no row per epoch")

    denoise = command(_denoise, "denoise", "denoise image files", DENOISE_HELP)
    denoise.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image file or folder of them")
    denoise.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="folder for results")
    denoise.add_argument("--model", metavar="FILE", type=Path, help="weights; default: bestmodel.pth")
    denoise.add_argument("--compare", action="store_true", help="also write NAME-compare: noisy | denoised")
    denoise.add_argument("--no-self-ensemble", dest="self_ensemble", action="store_false",
                         help="eight times faster, less accurate (MODEL_CARD.md says how much)")
    return parser


def _data(arguments: argparse.Namespace) -> int:
    build(arguments.output, arguments.photos, pairs=arguments.pairs, seed=arguments.seed, clean=arguments.clean)
    names = ("train_data.pkl", "val_data.pkl", "clean_data.pkl")[:2 + arguments.clean]
    print("wrote", " and ".join(str(arguments.output / name) for name in names))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ValueError(f"--epochs is {arguments.epochs}, expected 1 or more")
    if arguments.minutes is not None and not arguments.minutes > 0:
        raise ValueError(f"--minutes is {arguments.minutes:g}, expected more than 0; leave it out for no limit")
    if arguments.start and arguments.start.resolve() == arguments.output.resolve():
        raise ValueError(f"--from {arguments.start} would be overwritten, by worse weights at first; choose another -o")
    check_writable(arguments.output)
    noisy_a, noisy_b, validation = _training_data(arguments)
    number = len(tiles(noisy_a[:, :0]))  # without channels: nothing is copied
    epochs = arguments.epochs or max(10, STEPS // math.ceil(number / BATCH))
    with torch.random.fork_rng(devices=[]):  # initial weights follow --seed, global state stays
        torch.default_generator.manual_seed(arguments.seed)
        model = Model()
    if arguments.start:
        _load(model, arguments.start)
    with saved_on_ctrl_c(model, arguments.output):
        model.train(noisy_a, noisy_b, epochs, validation=validation, seed=arguments.seed,
                    time_limit=None if arguments.minutes is None else 60 * arguments.minutes,
                    progress=not arguments.quiet, checkpoint=arguments.output)
    if len(model.history) == 1 and arguments.output.exists():
        raise ValueError(f"no epoch was done, and {arguments.output} is left as it was")
    model.save(arguments.output)
    print(f"wrote {arguments.output}")
    return 0


def _training_data(arguments: argparse.Namespace) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """(noisy_a, noisy_b, validation or None) from -d, or from -a and -b."""
    if arguments.a or arguments.b:
        if not (arguments.a and arguments.b) or arguments.data:
            raise ValueError("expected -a and -b together, without -d: two folders of noisy images")
        if arguments.a.resolve() == arguments.b.resolve():
            raise ValueError(f"-a and -b are both {arguments.a}, expected folders of first and of second copies")
        return *images.paired(arguments.a, arguments.b), None
    path = arguments.data or Path("data")
    if path.is_dir() or not (path.suffix or path.is_file()):
        path = path / "train_data.pkl"
    validation = path.with_name("val_data.pkl")
    return *load_tensors(path), load_tensors(validation) if validation.exists() else None


def _load(model: Model, path: Path | None) -> None:
    """The weights in `path`, None for the pretrained ones; ValueError if they are not for three channels."""
    model.load_pretrained_model(path)
    if (channels := model.net.arguments["channels"]) != 3:
        raise ValueError(f"{path or 'bestmodel.pth'} is for images of {channels} channels, the command line's are 3; "
                         f"use it from Python, by Model.load_pretrained_model")


def _denoise(arguments: argparse.Namespace) -> int:
    outputs = _outputs(arguments)
    model = Model()
    _load(model, arguments.model)
    code = 0
    for output, source in outputs.items():
        try:
            noisy = images.read(source)
            colour, alpha = images.split_alpha(noisy)
            denoised = model.predict(colour[None], self_ensemble=arguments.self_ensemble)[0].cpu()
            if len(noisy) < 3:
                denoised = denoised.mean(dim=0, keepdim=True)  # back to grey
            denoised = torch.cat((denoised, alpha))
            sixteen_bit = noisy.is_floating_point()
            images.write(denoised, output, sixteen_bit)
            if arguments.compare:
                images.write(torch.cat((noisy, denoised), dim=2), _compare_name(output), sixteen_bit)
            print(f"{source} -> {output}", flush=True)
        except (ValueError, OSError) as error:  # one bad image: go on with the others
            code = failed(error)
    return code


def _outputs(arguments: argparse.Namespace) -> dict[Path, Path]:
    """{output file: image} for all images asked for; ValueError if one could not be written, or overwrote another."""
    sources: list[tuple[Path, Path]] = []  # image, its name below the output folder
    out = arguments.output.resolve()
    if out.is_file():
        raise ValueError(f"{arguments.output} is a file, expected a folder for the results; choose another with -o")
    for given in arguments.images:
        if given.is_dir():
            earlier = given.resolve() in out.parents  # OUT lies in this folder and may hold results of earlier runs
            sources += [(file, file.relative_to(given)) for file in image_files(given)
                        if not (earlier and out in file.resolve().parents) and _writable(file)]
        elif given.is_file():
            sources.append((given, Path(given.name)))
        else:
            raise ValueError(f"{given}: no such file or folder")
    if not sources:
        raise ValueError(f"no image to denoise in {', '.join(map(str, arguments.images))}; those that Pillow cannot "
                         f"write and those below {arguments.output} are left out")
    taken: dict[Path, Path] = {}  # every file that will be written -> the image it comes from
    outputs = {}
    for source, name in sources:
        output = arguments.output / name
        for written in (output, _compare_name(output)) if arguments.compare else (output,):
            if written in taken:
                raise ValueError(f"{source} and {taken[written]} would both be written to {written}; "
                                 f"rename one, or use different folders")
            taken[written] = source
        outputs[output] = source
    inputs = {source.resolve() for source, _ in sources}
    for written in taken:
        if written.resolve() in inputs:
            raise ValueError(f"{written} would overwrite an input; choose another folder with -o")
        images.check_suffix(taken[written])  # the image's is also that of its output
        check_writable(written)
    return outputs


def _writable(file: Path) -> bool:
    """Whether Pillow can write images like this one of a folder; else a warning says that it is left out."""
    try:
        images.check_suffix(file)
    except ValueError:
        warnings.warn(f"{file} is left out: Pillow cannot write such images; convert it to .png first", stacklevel=2)
        return False
    return True


def _compare_name(output: Path) -> Path:
    return output.with_stem(f"{output.stem}-compare")


if __name__ == "__main__":
    sys.exit(main())
