"""The command line: `python -m Miniproject_1 data|train|denoise`; each takes --help."""

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .model import Model, Recipe, grid
from .others import images
from .others.command_line import Parser, failed, program, random_seed, saved_on_ctrl_c
from .others.datasets import build, paired
from .others.files import check_writable, load_tensors
from .others.photos import public_domain_photos

LEAST_EPOCHS = 10  # of a training by default,
LEAST_STEPS = 500  # or as many as make about these steps: a handful of images would learn nothing
DEFAULT_DATA = Path("data")

DATA_HELP = """examples:
  python -m Miniproject_1 data                        50,000 pairs of generated scenes, into data/
  python -m Miniproject_1 data --photos ~/Pictures    ... of crops of the photos in this folder

DIR/train_data.pkl holds (noisy, noisy), DIR/val_data.pkl (noisy, clean), as N x 3 x 32 x 32 uint8.
test.py makes other noise of DIR/val_scenes.pkl, the scenes of some validation images before noise.
"""
TRAIN_HELP = """examples:
  python -m Miniproject_1 train                       on data/train_data.pkl, into model.pth
  python -m Miniproject_1 train -a first -b second    on your images, two noisy copies of each
                                                      scene: first/1.png and second/1.png, ...
  python -m Miniproject_1 train --epochs 30 --minutes 60        30 epochs, or 60 minutes if less
  python -m Miniproject_1 train --from model.pth -o better.pth  goes on from earlier weights

The noise of the two copies has to be independent, with mean zero. The PSNR of each epoch is
measured on val_data.pkl beside the training data, averaged over images ("per image"); without such
a file it is estimated on noisy pairs held out of training, from their mean error ("est."). Both are
without self-ensemble. FILE gets the weights after each epoch, and after Ctrl-C those reached so
far; an older FILE is kept until the first epoch is done.
"""
DENOISE_HELP = """examples:
  python -m Miniproject_1 denoise photo.png -o denoised            writes denoised/photo.png
  python -m Miniproject_1 denoise scans -o denoised --compare      all images in this folder; 1.png
                                                                   also gives 1-compare.png:
                                                                   noisy | denoised
  python -m Miniproject_1 denoise *.png -o denoised --model model.pth    with weights from `train`

Images keep their size, name, format, grey or colour, and alpha channel. Grey ones keep 16 bits,
colour ones are written with 8. EXIF data and colour profiles are not copied.
"""


@program
def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its arguments; None: those of the process.

    Returns:
        The exit code: 0, 2 after `error: ...` on stderr, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


# ---- the arguments -----------------------------------------------------------------------------


def _parser() -> Parser:
    parser = Parser(prog="python -m Miniproject_1",
                    description="Denoise images with a network that saw only noisy ones.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable, summary: str, examples: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.",
                                    epilog=examples,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
        added.set_defaults(run=run)
        return added

    _add_data_arguments(
        command("data", _data, "make training data from photos or generated scenes", DATA_HELP))
    _add_train_arguments(
        command("train", _train, "train a network on pairs of noisy images", TRAIN_HELP))
    _add_denoise_arguments(
        command("denoise", _denoise, "denoise image files", DENOISE_HELP))
    return parser


def _add_data_arguments(data: argparse.ArgumentParser) -> None:
    data.add_argument("--photos", metavar="DIR", type=Path,
                      help="folder of photos; default: generated scenes")
    data.add_argument("--sample-photos", action="store_true",
                      help="validate on six public-domain photos that come with scikit-image")
    data.add_argument("-o", "--output", metavar="DIR", type=Path, default=DEFAULT_DATA,
                      help="default: data")
    data.add_argument("--pairs", metavar="N", type=int, default=50_000,
                      help="training pairs; default: 50000")
    data.add_argument("--clean", action="store_true",
                      help="write clean_data.pkl, too: (noisy, clean) of the training images, for "
                           "the comparison with clean targets in others/study/compare.py")
    data.add_argument("--seed", metavar="S", type=random_seed, default=0, help="default: 0")


def _add_train_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument("-d", "--data", metavar="DATA", type=Path,
                       help="folder with train_data.pkl, or a file of two tensors; default: data")
    train.add_argument("-a", metavar="DIR", type=Path, help="folder of noisy images, not -d")
    train.add_argument("-b", metavar="DIR", type=Path,
                       help="folder of second copies, under the same names")
    train.add_argument("--epochs", metavar="N", type=int,
                       help=f"passes over the data; default: {LEAST_EPOCHS}, with few images as "
                            f"many as make {LEAST_STEPS} steps")
    train.add_argument("--minutes", metavar="M", type=float,
                       help="end within this time; default: no limit")
    train.add_argument("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    train.add_argument("--from", metavar="FILE", type=Path, dest="start",
                       help="weights, and their recipe, to start from; default: random ones")
    train.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("model.pth"),
                       help="file for the weights; default: model.pth")
    train.add_argument("--quiet", action="store_true", help="print no row per epoch")


def _add_denoise_arguments(denoise: argparse.ArgumentParser) -> None:
    denoise.add_argument("images", metavar="IMAGE", type=Path, nargs="+",
                         help="image file or folder of them")
    denoise.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help="folder for results")
    denoise.add_argument("--model", metavar="FILE", type=Path,
                         help="weights; default: bestmodel.pth")
    denoise.add_argument("--compare", action="store_true",
                         help="also write NAME-compare: noisy | denoised")
    denoise.add_argument("--no-self-ensemble", dest="self_ensemble", action="store_false",
                         help="eight times faster, less accurate")


# ---- data --------------------------------------------------------------------------------------


def _data(arguments: argparse.Namespace) -> int:
    output = arguments.output
    samples = public_domain_photos() if arguments.sample_photos else None
    build(output, arguments.photos, pairs=arguments.pairs, seed=arguments.seed,
          clean=arguments.clean, validation_files=samples)
    names = ["train_data.pkl", "val_data.pkl", "val_scenes.pkl"]
    if arguments.clean:
        names.append("clean_data.pkl")
    print("wrote", " and ".join(str(output / name) for name in names))
    return 0


# ---- train -------------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    _check_train_arguments(arguments)
    model = _new_model(arguments)
    noisy_a, noisy_b, validation = _training_data(arguments, model.recipe)
    epochs = arguments.epochs or _default_epochs(noisy_a, model.recipe)
    limit = None if arguments.minutes is None else 60 * arguments.minutes
    output = arguments.output
    with saved_on_ctrl_c(model, output):
        model.train(noisy_a, noisy_b, epochs, validation=validation, time_limit=limit,
                    seed=arguments.seed, progress=not arguments.quiet, checkpoint=output)
    if len(model.history) == 1 and output.exists():
        raise ValueError(f"no epoch was done, and {output} is left as it was")
    model.save(output)
    print(f"wrote {output}")
    return 0


def _check_train_arguments(arguments: argparse.Namespace) -> None:
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ValueError(f"--epochs is {arguments.epochs}, expected 1 or more")
    if arguments.minutes is not None and not arguments.minutes > 0:
        raise ValueError(f"--minutes is {arguments.minutes:g}, expected more than 0; leave it out "
                         "for no limit")
    if arguments.start and arguments.start.resolve() == arguments.output.resolve():
        raise ValueError(f"--from {arguments.start} would be overwritten, by worse weights at "
                         "first; choose another -o")
    if arguments.a or arguments.b:
        _check_folders(arguments)
    check_writable(arguments.output)


def _check_folders(arguments: argparse.Namespace) -> None:
    if not (arguments.a and arguments.b) or arguments.data:
        raise ValueError("expected -a and -b together, without -d: two folders of noisy images")
    if arguments.a.resolve() == arguments.b.resolve():
        raise ValueError(f"-a and -b are both {arguments.a}, expected folders of first and of "
                         "second copies")


def _new_model(arguments: argparse.Namespace) -> Model:
    with torch.random.fork_rng(devices=[]):  # initial weights follow --seed, global state stays
        torch.default_generator.manual_seed(arguments.seed)
        model = Model()
    if arguments.start:
        _load(model, arguments.start)
    return model


def _training_data(arguments: argparse.Namespace, recipe: Recipe
                   ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """(noisy_a, noisy_b, validation or None) from -d, or from -a and -b."""
    if arguments.a:
        return *paired(arguments.a, arguments.b, recipe.tile), None
    path = arguments.data or DEFAULT_DATA
    if path.is_dir() or not (path.suffix or path.is_file()):
        path = path / "train_data.pkl"
    validation = path.with_name("val_data.pkl")
    return *load_tensors(path), load_tensors(validation) if validation.exists() else None


def _default_epochs(images: Tensor, recipe: Recipe) -> int:
    tiles = len(images) * len(grid(images.shape[-2], images.shape[-1], recipe.tile))
    steps = math.ceil(tiles / recipe.batch)  # of an epoch
    return max(LEAST_EPOCHS, LEAST_STEPS // steps)


def _load(model: Model, path: Path | None) -> None:
    """The weights in `path`, None for the pretrained ones; ValueError unless of three channels."""
    model.load_pretrained_model(path)
    if model.recipe.channels != 3:
        raise ValueError(f"{path or 'bestmodel.pth'} is for images of {model.recipe.channels} "
                         "channels, the command line's are 3; use it from Python, by "
                         "Model.load_pretrained_model")


# ---- denoise -----------------------------------------------------------------------------------


def _denoise(arguments: argparse.Namespace) -> int:
    sources = _sources(arguments)
    outputs = _outputs(sources, arguments)
    model = Model()
    _load(model, arguments.model)
    code = 0
    for output, source in outputs.items():
        try:
            _denoise_file(model, source, output, arguments)
            print(f"{source} -> {output}", flush=True)
        except (ValueError, OSError) as error:  # one bad image: go on with the others
            code = failed(error)
    return code


def _denoise_file(model: Model, source: Path, output: Path, arguments: argparse.Namespace) -> None:
    noisy = images.read(source)
    sixteen_bit = noisy.is_floating_point()
    colour, alpha = images.split_alpha(noisy)
    denoised = model.predict(colour[None], self_ensemble=arguments.self_ensemble)[0].cpu()
    if len(noisy) < 3:
        denoised = denoised.mean(dim=0, keepdim=True)  # back to grey
    denoised = torch.cat((denoised, alpha))
    images.write(denoised, output, sixteen_bit)
    if arguments.compare:
        side_by_side = torch.cat((noisy, denoised), dim=2)
        images.write(side_by_side, _compare_name(output), sixteen_bit)


def _sources(arguments: argparse.Namespace) -> list[tuple[Path, Path]]:
    """(image, its name below the output folder) of all images asked for; ValueError if none."""
    if arguments.output.is_file():
        raise ValueError(f"{arguments.output} is a file, expected a folder for the results; choose "
                         "another with -o")
    sources = []
    for given in arguments.images:
        if given.is_dir():
            files = _files_to_denoise(given, arguments.output)
            sources += [(file, file.relative_to(given)) for file in files]
        elif given.is_file():
            sources.append((given, Path(given.name)))
        else:
            raise ValueError(f"{given}: no such file or folder")
    if not sources:
        raise ValueError(f"no image to denoise in {', '.join(map(str, arguments.images))}; those "
                         f"that Pillow cannot write and those below {arguments.output} are left "
                         "out")
    return sources


def _files_to_denoise(folder: Path, output: Path) -> list[Path]:
    """The images of a folder, but for results of earlier runs in `output` below it."""
    out = output.resolve()
    files = images.image_files(folder)
    if folder.resolve() in out.parents:
        files = [file for file in files if out not in file.resolve().parents]
    return [file for file in files if _is_writable(file)]


def _is_writable(file: Path) -> bool:
    """Whether Pillow can write images like this one; else a warning says that it is left out."""
    try:
        images.check_suffix(file)
    except ValueError:
        warnings.warn(f"{file} is left out: Pillow cannot write such images; convert it to .png "
                      "first", stacklevel=2)
        return False
    return True


def _outputs(sources: list[tuple[Path, Path]], arguments: argparse.Namespace) -> dict[Path, Path]:
    """{output file: image}; ValueError if one could not be written, or overwrote another."""
    taken: dict[Path, Path] = {}  # every file that will be written -> the image it comes from
    outputs = {}
    for source, name in sources:
        output = arguments.output / name
        outputs[output] = source
        written = [output, _compare_name(output)] if arguments.compare else [output]
        for file in written:
            if file in taken:
                raise ValueError(f"{source} and {taken[file]} would both be written to {file}; "
                                 "rename one, or use different folders")
            taken[file] = source
    inputs = {source.resolve() for source, _ in sources}
    for file, source in taken.items():
        if file.resolve() in inputs:
            raise ValueError(f"{file} would overwrite an input; choose another folder with -o")
        images.check_suffix(source)  # which is also that of its output
        check_writable(file)
    return outputs


def _compare_name(output: Path) -> Path:
    return output.with_stem(f"{output.stem}-compare")


if __name__ == "__main__":
    sys.exit(main())
