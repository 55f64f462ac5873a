"""The command line: `python -m Miniproject_1 data|train|denoise`; each takes --help."""

import argparse
import math
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from .model import MEMORY, Model, Recipe, Units, part_of, tiles
from .others import images
from .others.command_line import (
    SIGNALLED,
    Parser,
    StopSignals,
    failed,
    program,
    random_seed,
    share_shown,
)
from .others.datasets import build
from .others.files import check_writable, load_tensors
from .others.look import DTYPES as LOOKED_AT
from .others.look import look
from .others.pairs import from_files, from_frames
from .others.photos import public_domain_photos
from .others.processes import joined

LEAST_EPOCHS = 10  # of a training by default,
LEAST_STEPS = 500  # or as many as make about these steps: a handful of images would learn nothing
DEFAULT_DATA = Path("data")
DEFAULT_WEIGHTS = Path("model.pth")
PHOTO_RANGE = (0.0, 255.0)  # Recipe.value_range of models for photos

DATA_HELP = """examples:
  python -m Miniproject_1 data                        50,000 pairs of generated scenes, into data/
  python -m Miniproject_1 data --photos ~/Pictures    ... of crops of the photos in this folder

DIR/train_data.pkl holds (noisy, noisy), DIR/val_data.pkl (noisy, clean), as N x 3 x 32 x 32 uint8.
test.py makes other noise of DIR/val_scenes.pkl, the scenes of some validation images before noise.
"""
TRAIN_HELP = """examples:
  python -m Miniproject_1 train -a first -b second    on your images, two noisy copies of each
                                                      scene: first/1.tif and second/1.tif, ...
  python -m Miniproject_1 train -a a.tif -b b.tif     on two images, or two stacks page by page
  python -m Miniproject_1 train --frames movie.tif    on repeated exposures of one scene: pages
                                                      1 and 2, 3 and 4, ... of each stack
  python -m Miniproject_1 train                       on data/train_data.pkl, into model.pth
  python -m Miniproject_1 train --epochs 30 --minutes 60        30 epochs, or 60 minutes if less
  python -m Miniproject_1 train --from model.pth -o better.pth  a new training of these weights
  python -m Miniproject_1 train --resume model.pth    goes on with a training that was stopped or
                                                      killed, as if nothing had happened
  torchrun --nproc-per-node 2 -m Miniproject_1 train  on two GPUs, or in two processes

The noise of the two copies has to be independent, with mean zero; a look at the pairs says what is
against it. Images of any range and number of channels are trained on in their own units.
The PSNR of each epoch is measured on val_data.pkl beside the training data, averaged over images
("per image"); without such a file it is estimated on noisy pairs held out of training, from their
mean error ("est."). Both are without self-ensemble. FILE holds the training, each minute and after
Ctrl-C, and at its end the weights; `denoise` takes it at any time. An older FILE is kept until the
first minute or epoch is done.
"""
DENOISE_HELP = """examples:
  python -m Miniproject_1 denoise photo.png -o denoised            writes denoised/photo.png
  python -m Miniproject_1 denoise scans -o denoised --compare      all images in this folder; 1.png
                                                                   also gives 1-compare.png:
                                                                   noisy | denoised
  python -m Miniproject_1 denoise stack.tif -o denoised --model model.pth   page by page, with
                                                                   weights from `train`

Images keep their size, name, kind of file, type of numbers, channels, alpha and metadata; integers
are rounded. --dtype float32 keeps fractions: the result is a .tif, or an .npy of an .npy.
bestmodel.pth is for photos of 8 or 16 bits; weights of `train -a -b` for images like their own.
"""


@program
def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its arguments; None: those of the process.

    Returns:
        The exit code: 0, 2 after `error: ...` on stderr, 130 after Ctrl-C, 143 after SIGTERM.
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
    train.add_argument("-a", metavar="PATH", type=Path,
                       help="folder of noisy images, image or stack, not -d")
    train.add_argument("-b", metavar="PATH", type=Path,
                       help="second copies, under the same names, of suffixes of any kind")
    train.add_argument("--frames", metavar="STACK", type=Path, nargs="+",
                       help="stacks of repeated exposures of one scene, not -a and -b")
    train.add_argument("--epochs", metavar="N", type=int,
                       help=f"passes over the data; default: {LEAST_EPOCHS}, with few images as "
                            f"many as make {LEAST_STEPS} steps")
    train.add_argument("--minutes", metavar="M", type=float,
                       help="end within this time, such as 0.5, all starts together; default: no "
                            "limit")
    train.add_argument("--seed", metavar="S", type=random_seed, default=0, help="default: 0")
    train.add_argument("--from", metavar="FILE", type=Path, dest="start",
                       help="weights, and their recipe, to start from; default: random ones")
    train.add_argument("--resume", metavar="FILE", type=Path,
                       help="go on with a training that was stopped or killed, from its FILE; all "
                            "else as before")
    train.add_argument("--memory", metavar="GIB", type=float, default=MEMORY / 2**30,
                       help="of pairs held at once; of more, random parts are read in turn; "
                            f"default: {MEMORY // 2**30}")
    train.add_argument("-o", "--output", metavar="FILE", type=Path,
                       help=f"file for the weights; default: that of --resume, or "
                            f"{DEFAULT_WEIGHTS}")
    train.add_argument("--quiet", action="store_true", help="print no row per epoch")


def _add_denoise_arguments(denoise: argparse.ArgumentParser) -> None:
    denoise.add_argument("images", metavar="IMAGE", type=Path, nargs="+",
                         help="image file or folder of them")
    denoise.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help="folder for results")
    denoise.add_argument("--dtype", choices=["float32"],
                         help="type of the numbers in the results; default: that of the images")
    denoise.add_argument("--model", metavar="FILE", type=Path,
                         help="weights; default: bestmodel.pth")
    denoise.add_argument("--compare", action="store_true",
                         help="also write NAME-compare: noisy | denoised")
    denoise.add_argument("--no-self-ensemble", dest="self_ensemble", action="store_false",
                         help="eight times faster, less accurate")
    denoise.add_argument("--quiet", action="store_true", help="print no line per image")


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
    arguments.output = arguments.output or arguments.resume or DEFAULT_WEIGHTS
    with joined() as rank:
        _check_train_arguments(arguments)
        arguments.quiet |= rank > 0
        return _train_in_process(arguments, rank)


def _train_in_process(arguments: argparse.Namespace, rank: int) -> int:
    """Train, in this process and those beside it; the first one writes the file."""
    model, pairs, validation = _model_and_data(arguments)
    epochs = arguments.epochs or _default_epochs(pairs[0], model.recipe)
    limit = None if arguments.minutes is None else 60 * arguments.minutes
    output = arguments.output
    before = _version(output)
    with StopSignals() as stop:
        model.train(*pairs, epochs, validation=validation, time_limit=limit, seed=arguments.seed,
                    progress=not arguments.quiet, checkpoint=output, resume=arguments.resume,
                    stop=stop, memory=int(arguments.memory * 2**30))
    if rank == 0 and model.stopped:
        _say_stopped(output, changed=_version(output) != before)
    if model.stopped:
        return SIGNALLED + (stop.received or signal.SIGTERM)
    if len(model.history) == 1:
        fate = "is left as it was" if output.exists() else "is not written"
        raise ValueError(f"no epoch was done, and {output} {fate}")
    if rank > 0:
        return 0
    model.save(output)
    if not arguments.quiet:
        _print_gain(model)
    print(f"wrote {output}")
    return 0


def _model_and_data(arguments: argparse.Namespace
                    ) -> tuple[Model, tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """A new model, the pairs to train it on, and the validation images if there are any."""
    if not _has_own_images(arguments):
        a, b, validation = _training_data(arguments.data or DEFAULT_DATA)
        return _new_model(arguments, Recipe(channels=a.shape[1])), (a, b), validation
    a, b, recipe = _own_pairs(arguments)
    model = _new_model(arguments, recipe)
    if not arguments.quiet:
        print(f"recipe       {_changes(model.recipe)}", flush=True)
    return model, (a, b), None


def _version(file: Path) -> tuple[int, int] | None:
    """What tells a file from the one that takes its place."""
    if not file.exists():
        return None
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _say_stopped(output: Path, changed: bool) -> None:
    """Say how to go on."""
    if changed:
        fate = f"to go on, type the same command with --resume {output}"
    elif output.exists():
        fate = f"{output} is left as it was"
    else:
        fate = f"{output} is not written"
    print(f"interrupted: {fate}", file=sys.stderr)


def _print_gain(model: Model) -> None:
    """What the training is worth, where that was measured."""
    kind, after = model.history[-1]["kind"], model.history[-1]["psnr"]
    gain = after - model.noisy_psnr
    if math.isfinite(gain):
        print(f"PSNR ({kind}): noisy {model.noisy_psnr:.2f} dB, denoised {after:.2f} dB, "
              f"{gain:+.2f} dB")


def _check_train_arguments(arguments: argparse.Namespace) -> None:
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ValueError(f"--epochs is {arguments.epochs}, expected 1 or more")
    if not 0 < arguments.memory < math.inf:
        raise ValueError(f"--memory is {arguments.memory:g}, expected GiB above 0")
    if arguments.minutes is not None and not arguments.minutes > 0:
        raise ValueError(f"--minutes is {arguments.minutes:g}, expected more than 0; leave it out "
                         "for no limit")
    if arguments.start and arguments.start.resolve() == arguments.output.resolve():
        raise ValueError(f"--from {arguments.start} would be overwritten, by worse weights at "
                         "first; choose another -o")
    if _has_own_images(arguments):
        _check_own_images(arguments)
    inputs = [arguments.a, arguments.b, arguments.data, *(arguments.frames or ())]
    output = arguments.output.resolve()
    for path in (path.resolve() for path in inputs if path):
        if output == path or (output.exists() and path in output.parents):
            raise ValueError(f"-o {arguments.output} would overwrite an input; choose another file")
    if output.suffix.lower() in images.KINDS:
        raise ValueError(f"-o {arguments.output} is the name of an image, expected that of a file "
                         "for weights, such as model.pth")
    check_writable(arguments.output)


def _has_own_images(arguments: argparse.Namespace) -> bool:
    return bool(arguments.a or arguments.b or arguments.frames)


def _check_own_images(arguments: argparse.Namespace) -> None:
    pair = bool(arguments.a and arguments.b)
    one_way = [pair, bool(arguments.frames), bool(arguments.data)].count(True) == 1
    if not one_way or bool(arguments.a) != bool(arguments.b):
        raise ValueError("expected one of: -a and -b together; --frames; -d")
    if pair and arguments.a.resolve() == arguments.b.resolve():
        raise ValueError(f"-a and -b are both {arguments.a}, expected first and second copies")


def _new_model(arguments: argparse.Namespace, recipe: Recipe) -> Model:
    with torch.random.fork_rng(devices=[]):  # initial weights follow --seed, global state stays
        torch.default_generator.manual_seed(arguments.seed)
        model = Model(recipe)
    if arguments.start:
        model.load_pretrained_model(arguments.start)
    if recipe.value_range is None:  # what depends on these pairs, not on those of the weights
        model.recipe = replace(model.recipe, swap=recipe.swap, loss=recipe.loss,
                               batch=recipe.batch)
    if model.recipe.channels != recipe.channels:
        raise ValueError(f"--from {arguments.start} is for images of {model.recipe.channels} "
                         f"channels, these have {recipe.channels}; leave it out to train anew")
    return model


def _training_data(path: Path) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """(noisy_a, noisy_b, validation or None) of a data folder, or of a file of two tensors."""
    if path.is_dir() or not (path.suffix or path.is_file()):
        path = path / "train_data.pkl"
    validation = path.with_name("val_data.pkl")
    return *load_tensors(path), load_tensors(validation) if validation.exists() else None


def _own_pairs(arguments: argparse.Namespace) -> tuple[Tensor, Tensor, Recipe]:
    """The user's pairs, after a look at them, and the recipe for them."""
    tile = Recipe().tile
    if arguments.frames:
        noisy_a, noisy_b = from_frames(arguments.frames, tile)
    else:
        show = sys.stderr.isatty() and not arguments.quiet
        noisy_a, noisy_b = from_files(arguments.a, arguments.b, tile, show)
    pairs = (noisy_a, noisy_b)
    looked = look(*(copies if copies.dtype in LOOKED_AT else copies.float() for copies in pairs))
    if not arguments.quiet:
        print(*looked.lines(), sep="\n", flush=True)
    for warning in looked.warnings():
        warnings.warn(warning, stacklevel=2)
    warnings.filterwarnings("ignore", message=".* are identical")  # as was said just now
    return noisy_a, noisy_b, looked.recipe()


def _changes(recipe: Recipe) -> str:
    """The fields that differ from those of `Recipe()`, such as "channels=1, batch=8"."""
    usual = asdict(Recipe())
    return ", ".join(f"{name}={value!r}" for name, value in asdict(recipe).items()
                     if value != usual[name])


def _default_epochs(images: Tensor, recipe: Recipe) -> int:
    count = len(images) * len(tiles(images[:1], recipe.tile))
    steps = math.ceil(count / recipe.batch)  # of an epoch
    return max(LEAST_EPOCHS, LEAST_STEPS // steps)


# ---- denoise -----------------------------------------------------------------------------------


def _denoise(arguments: argparse.Namespace) -> int:
    sources = _sources(arguments)
    outputs = _outputs(sources, arguments)
    model = Model()
    model.load_pretrained_model(arguments.model)
    code = 0
    for output, source in outputs.items():
        try:
            picture = images.read(source)
            _denoise_file(model, source, picture, output, arguments)
            _warn_of_other_units(model, source, picture)
            if not arguments.quiet:
                print(f"{source} -> {output}: {images.described(picture)}", flush=True)
        except (ValueError, OSError) as error:  # one bad image: go on with the others
            code = failed(error)
    return code


def _warn_of_other_units(model: Model, source: Path, picture: images.Picture) -> None:
    pages = picture.pages
    if model.recipe.value_range is not None or pages.shape[1] != model.recipe.channels:
        return
    found = Units.of_images(pages)
    if model.units is not None and model.units.differ(found):
        warnings.warn(f"{source} has a range of {found.peak:g}, the pairs that the model was "
                      f"trained on {model.units.peak:g}: the result may be wrong; train on pairs "
                      "in the same units", stacklevel=2)


def _denoise_file(model: Model, source: Path, picture: images.Picture, output: Path,
                  arguments: argparse.Namespace) -> None:
    pages = []
    show = sys.stderr.isatty() and not arguments.quiet
    with share_shown(source.name, show) as report:
        try:
            images.check_result(picture)
            for number, page in enumerate(picture.pages.split(1)):
                report_page = part_of(report, number, len(picture.pages))
                pages.append(denoised(model, page, arguments.self_ensemble, report_page))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    result = replace(picture, pages=torch.cat(pages))
    images.write(result, output, arguments.dtype)
    if arguments.compare:
        side_by_side = torch.cat((picture.pages.double(), result.pages.double()), dim=-1)
        alpha = torch.cat((picture.alpha, picture.alpha), dim=-1)
        both = replace(picture, pages=side_by_side, alpha=alpha)
        images.write(both, _compare_name(output), arguments.dtype)


def denoised(model: Model, page: Tensor, self_ensemble: bool,
             report: Callable[[float], None] = lambda share: None) -> Tensor:
    """A page of a picture, in its own units.

    Args:
        model: Of as many channels as the page has. One of one channel, or one for photos, takes
            other pages channel by channel.
        page: 1 x C x H x W.
        self_ensemble, report: As of `Model.predict`.

    Returns:
        1 x C x H x W, float32.

    Raises:
        ValueError: The model is for other channels or another range of values.
    """
    expected, channels = model.recipe.channels, page.shape[1]
    for_photos = model.recipe.value_range == PHOTO_RANGE
    scale = _photo_scale(page.dtype) if for_photos else 1.0
    noisy = page if scale == 1 else page.float() / scale
    predict = partial(model.predict, self_ensemble=self_ensemble, report=report)
    if channels == expected:
        return predict(noisy) * scale
    if expected == 1 or for_photos:
        grey = noisy.transpose(0, 1).expand(-1, expected, -1, -1)  # C x expected x H x W
        result = predict(grey) * scale
        return result.mean(1, keepdim=True).transpose(0, 1)
    raise ValueError(f"its channels are {channels}, the model expects {expected}; train one on "
                     "pairs of such images")


def _photo_scale(dtype: torch.dtype) -> float:
    """What values 0-255 are multiplied by in photos of this type; ValueError for others."""
    scales = {torch.uint8: 1.0, torch.uint16: 65535 / 255}
    if dtype not in scales:
        raise ValueError(f"its numbers are {str(dtype).removeprefix('torch.')}, the model is for "
                         "photos of 8 or 16 bits (uint8, uint16); train one on pairs of such "
                         "images")
    return scales[dtype]


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
                         f"below {arguments.output} are left out")
    return sources


def _files_to_denoise(folder: Path, output: Path) -> list[Path]:
    """The images of a folder, but for results of earlier runs in `output` below it."""
    out = output.resolve()
    files = images.image_files(folder)
    if folder.resolve() in out.parents:
        files = [file for file in files if out not in file.resolve().parents]
    return files


def _outputs(sources: list[tuple[Path, Path]], arguments: argparse.Namespace) -> dict[Path, Path]:
    """{output file: image}; ValueError if one could not be written, or overwrote another."""
    taken: dict[Path, Path] = {}  # every file that will be written -> the image it comes from
    outputs = {}
    for source, name in sources:
        images.check_suffix(source)
        output = arguments.output / images.output_name(name, arguments.dtype)
        outputs[output] = source
        written = [output, _compare_name(output)] if arguments.compare else [output]
        for file in written:
            if file in taken:
                raise ValueError(f"{source} and {taken[file]} would both be written to {file}; "
                                 "rename one, or use different folders")
            taken[file] = source
    inputs = {source.resolve() for source, _ in sources}
    for file in taken:
        if file.resolve() in inputs:
            raise ValueError(f"{file} would overwrite an input; choose another folder with -o")
        images.check_suffix(file)
        check_writable(file)
    return outputs


def _compare_name(output: Path) -> Path:
    return output.with_stem(f"{output.stem}-compare")


if __name__ == "__main__":
    sys.exit(main())
