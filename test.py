"""Grade a submission: python test.py [-p PROJECT_FOLDER] [-d DATA_FOLDER] [--epochs N]

Checks the interface, what `predict` returns, the pretrained weights and a timed training from
scratch, one verdict a line, whatever the submission does: a crash in it is a FAIL with its reason.
PSNR has peak 1 on values scaled to [0, 1] and is given averaged over images ("per image", the
course's score) and from the mean error of all images ("pooled").

Needs PyTorch only. Exit code: 0 all checks passed, 1 a check failed, 2 after `error: ...`, 130
after Ctrl-C.
"""

import ast
import contextlib
import importlib
import inspect
import io
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import unittest
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

# The harness's own data helpers. `import_submission` forgets this package before it imports the one
# to grade.
from Miniproject_1.others.command_line import Parser, program
from Miniproject_1.others.datasets import build
from Miniproject_1.others.files import check_writable, load_tensors
from Miniproject_1.others.results import processor, strict, write_results

ROOT = Path(__file__).resolve().parent
PACKAGE = "Miniproject_1"
LIMIT = {
    "cuda": 10 * 60,
    "cpu": 45 * 60,
}  # seconds for training and testing together, from the assignment
MARGIN = 1.0  # dB over the noisy input asked of pretrained weights; a trivial method gains about 2
RETRAIN_PAIRS = 1000  # pairs of the short trainings that continue from the pretrained weights,
FEW = 200  # and validation images for these
BATCH = 100  # images per call of predict in a measurement, a size that the assignment names
SHOW_WARNING = warnings.showwarning  # with its place in the submission, which `program` leaves out
SEED = 0  # global seed set before every check, so that a grade can be repeated


# --------------------------------------------------------------------------------------------------
# Measuring
# --------------------------------------------------------------------------------------------------


def psnr(images, clean):
    """PSNR in dB of N x C x H x W images in [0, 255], as {"per_image": dB, "pooled": dB}."""
    mse = ((images.double() - clean.double()) / 255).square().flatten(1).mean(1)
    mse = mse.clamp(
        min=1e-10
    )  # a flat image without error counts 100 dB, or the mean would be infinite
    return {"per_image": -10 * mse.log10().mean().item(), "pooled": -10 * mse.mean().log10().item()}


def predict(model, noisy):
    """`model.predict(noisy)` on the CPU; ValueError unless finite and of the same shape."""
    output = model.predict(noisy.clone())  # a copy, for those that work in place
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"predict returned a {type(output).__name__}, expected a tensor")
    if output.shape != noisy.shape:
        raise ValueError(
            f"predict returned {shape(output)} for {shape(noisy)}, expected the same shape"
        )
    if not output.isfinite().all():
        raise ValueError("predict returned NaN or infinity")
    return output.detach().cpu()


def require_scale(output):
    """Raise ValueError if `output`, of images in [0, 255], looks like images in [0, 1]."""
    if output.max() <= 1.5:
        raise ValueError(
            f"predict returned values from {output.min():.2f} to {output.max():.2f}, which"
            " looks like [0, 1]; expected [0, 255], the scale of its input"
        )


def shape(tensor):
    return " x ".join(map(str, tensor.shape))


# --------------------------------------------------------------------------------------------------
# The submission
# --------------------------------------------------------------------------------------------------


def is_inside(module, package):
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).resolve().is_relative_to(package)


def import_submission(folder):
    """Import `folder`/Miniproject_1 afresh; returns the Model of the package and of its `model`.

    Raises ImportError if Python found another Miniproject_1 than the one in `folder`.
    """
    package = (folder / PACKAGE).resolve()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == PACKAGE or is_inside(module, package):
            del sys.modules[name]
    sys.path[:] = [
        str(folder),
        *(entry for entry in sys.path if Path(entry).resolve() not in (folder, ROOT)),
    ]
    importlib.invalidate_caches()
    top, module = importlib.import_module(PACKAGE), importlib.import_module(f"{PACKAGE}.model")
    if not is_inside(module, package):
        raise ImportError(f"Python found {module.__file__} instead of {package / 'model.py'}")
    return top.Model, module.Model


def foreign_imports(folder):
    """Packages other than PyTorch and Python's own that the imported submission imports."""
    package = (folder / PACKAGE).resolve()
    allowed = {
        "torch",
        PACKAGE,
        *sys.stdlib_module_names,
        *(path.stem for path in package.rglob("*.py")),
        *(path.name for path in package.rglob("*") if path.is_dir()),
    }
    names = set()
    for module in list(sys.modules.values()):
        if is_inside(module, package):
            for node in ast.walk(ast.parse(Path(module.__file__).read_bytes())):
                if isinstance(node, ast.Import):
                    names.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module)
    return sorted({name.split(".")[0] for name in names} - allowed)


# --------------------------------------------------------------------------------------------------
# The checks, in the order in which they run
# --------------------------------------------------------------------------------------------------


class Overrun(BaseException):
    """A check ran past the limit.

    Not an Exception, so that a submission's `except Exception` lets it out.
    """


class Failed(AssertionError):
    """A check's own verdict, as distinct from an assertion inside the submission."""


@dataclass
class Grade:
    """What is graded, and the numbers that the checks leave for the summary."""

    folder: Path
    train: tuple  # two uint8 tensors N x 3 x H x W: noisy, noisy
    validation: tuple  # two uint8 tensors N x 3 x H x W: noisy, clean
    epochs: int
    limit: float  # seconds
    model_class: type | None = None
    psnr: dict = field(default_factory=dict)  # stage -> {"per_image": dB, "pooled": dB}
    seconds: dict = field(
        default_factory=dict
    )  # "training" and "testing" of the training from scratch
    history: list | None = None  # rows per epoch, where the submission keeps them


class Check(unittest.TestCase):
    """Base: each check starts from one seed with autograd on, is silent, and ends at the limit."""

    failureException = Failed
    longMessage = False
    grade: Grade = None  # set by `main`
    detail = ""  # shown beside the verdict

    def setUp(self):
        torch.manual_seed(SEED)
        random.seed(SEED)
        torch.set_grad_enabled(True)
        output = contextlib.ExitStack()
        output.enter_context(contextlib.redirect_stdout(io.StringIO()))
        output.enter_context(contextlib.redirect_stderr(io.StringIO()))
        output.enter_context(warnings.catch_warnings())
        warnings.showwarning = SHOW_WARNING
        self.addCleanup(output.close)
        self.start_limit()
        self.addCleanup(self.stop_limit)

    def start_limit(self):
        """Stop this check with `Overrun` when the limit is reached; Windows has no such timer."""
        if hasattr(signal, "setitimer"):

            def stop(*_):
                raise Overrun(f"stopped at the limit of {self.grade.limit:,.0f} s")

            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, self.grade.limit)

    def stop_limit(self):
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def fresh(self):
        if self.grade.model_class is None:
            self.fail("the submission could not be imported")
        return self.grade.model_class()

    def pretrained(self):
        model = self.fresh()
        model.load_pretrained_model()
        return model

    def noisy(self, n, height, width):
        """Noisy validation images, repeated in all directions to n x 3 x height x width, uint8."""
        images = self.grade.validation[0]
        images = images[torch.arange(n) % len(images)]
        tiling = (-(-height // images.shape[2]), -(-width // images.shape[3]))  # rounded up
        return images.repeat(1, 1, *tiling)[..., :height, :width].contiguous()

    def measure(self, model, number=None, *, any_scale=False):
        """PSNR of the first `number` validation images (default: all), denoised by `model`."""
        noisy, clean = (images[:number] for images in self.grade.validation)
        output = torch.cat([predict(model, batch) for batch in noisy.split(BATCH)])
        if not any_scale:
            require_scale(output)
        return psnr(output, clean)

    def require_beats_noisy(self, result, number=None, margin=0.0):
        """Fail unless `result`, of `measure`, is more than `margin` dB above the noisy images."""
        result = result["per_image"]
        floor = psnr(*(images[:number] for images in self.grade.validation))["per_image"] + margin
        self.detail = f"{result:.2f} dB"
        self.assertGreater(result, floor, f"{result:.2f} dB, expected more than {floor:.2f} dB")


class Interface(Check):
    def test_import(self):
        """both imports give the same class"""
        of_package, of_module = import_submission(self.grade.folder)
        self.grade.model_class = of_package
        self.assertIs(of_package, of_module, f"{PACKAGE}.Model is not {PACKAGE}.model.Model")

    def test_signatures(self):
        """Model(), load_pretrained_model(), train(a, b, num_epochs) and predict(noisy)"""
        model = self.fresh()
        for name, args, kwargs in (
            ("load_pretrained_model", (), {}),
            ("train", (0, 0), {"num_epochs": 1}),
            ("train", (0, 0, 1), {}),
            ("predict", (0,), {}),
        ):
            method = getattr(model, name, None)
            self.assertTrue(callable(method), f"Model has no method {name}")
            try:
                inspect.signature(method).bind(*args, **kwargs)
            except TypeError as error:
                self.fail(f"{name}{inspect.signature(method)}: {error}")

    def test_working_directory(self):
        """imports and loads its weights from any working directory"""
        start = os.getcwd()
        with tempfile.TemporaryDirectory() as elsewhere:
            os.chdir(elsewhere)
            try:
                import_submission(self.grade.folder)[0]().load_pretrained_model()
            finally:
                os.chdir(start)  # before the folder goes

    def test_torch_only(self):
        """imports only PyTorch and the standard library"""
        self.fresh()
        names = foreign_imports(self.grade.folder)
        self.assertFalse(names, f"imports {', '.join(names)}")


class Prediction(Check):
    def keeps_shape(self, *size):
        model, noisy = self.pretrained(), self.noisy(*size)
        for images in (noisy, noisy.float()):
            predict(model, images)

    def test_large_image(self):
        """predict keeps the shape of 1 x 3 x 512 x 512, uint8 and float"""
        self.keeps_shape(1, 512, 512)

    def test_many_images(self):
        """predict keeps the shape of 100 x 3 x 32 x 32, uint8 and float"""
        self.keeps_shape(100, 32, 32)

    def test_odd_size(self):
        """predict keeps the shape of 3 x 3 x 37 x 53, uint8 and float"""
        self.keeps_shape(3, 37, 53)

    def test_range(self):
        """predict stays in [0, 255] and on that scale"""
        output = predict(self.pretrained(), self.noisy(100, 32, 32))
        require_scale(output)
        low, high = output.min().item(), output.max().item()
        self.assertTrue(
            0 <= low and high <= 255, f"values from {low:.2f} to {high:.2f}, expected [0, 255]"
        )

    def test_dtypes_agree(self):
        """predict gives the same for uint8 and float input, within 1 grey level"""
        model, noisy = self.pretrained(), self.noisy(100, 32, 32)
        of_uint8, of_float = predict(model, noisy).float(), predict(model, noisy.float()).float()
        difference = (of_uint8 - of_float).abs().max().item()
        self.assertLessEqual(difference, 1, f"they differ by up to {difference:.1f} grey levels")

    def test_no_gradients(self):
        """predict returns no gradients"""
        output = self.pretrained().predict(self.noisy(2, 32, 32))
        self.assertFalse(output.requires_grad, "requires_grad is set")

    def test_input_unchanged(self):
        """predict leaves its input as it was"""
        model = self.pretrained()
        for images in (self.noisy(2, 32, 32), self.noisy(2, 32, 32).float()):
            before = images.clone()
            model.predict(images)
            self.assertTrue(
                images.equal(before), f"predict changed its {images.dtype} input in place"
            )


class Pretrained(Check):
    def test_psnr(self):
        """the pretrained weights beat the noisy input by 1 dB"""
        self.grade.psnr["pretrained"] = result = self.measure(self.pretrained())
        self.require_beats_noisy(result, margin=MARGIN)

    def test_continued(self):
        """load_pretrained_model, then train(a, b, num_epochs=1) on it, beats the noisy input"""
        self.continue_training()

    def test_autograd_off(self):
        """the same with autograd switched off globally"""
        torch.set_grad_enabled(False)  # what another project in the grader's process may do
        self.continue_training()

    def continue_training(self):
        model = self.pretrained()
        model.train(*(copy[:RETRAIN_PAIRS].clone() for copy in self.grade.train), num_epochs=1)
        self.require_beats_noisy(self.measure(model, FEW), FEW)


class TrainingFromScratch(Check):
    def test_improves(self):
        """training a fresh Model() improves it"""
        grade, clock = self.grade, time.perf_counter
        noisy_a, noisy_b = (copy.clone() for copy in grade.train)
        model = self.fresh()
        before = grade.psnr["untrained"] = self.measure(
            model, any_scale=True
        )  # fresh weights may give about 0
        self.start_limit()
        start = clock()
        try:
            with (
                contextlib.redirect_stdout(sys.__stdout__),
                contextlib.redirect_stderr(sys.__stderr__),
            ):
                print(
                    f"\ntraining from scratch: {len(noisy_a):,} pairs, epochs: {grade.epochs}, "
                    "limit: "
                    f"{grade.limit:,.0f} s",
                    flush=True,
                )
                model.train(noisy_a, noisy_b, grade.epochs)
                print(flush=True)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        finally:
            grade.seconds["training"] = clock() - start
        after = grade.psnr["retrained"] = self.measure(model)
        grade.seconds["testing"] = clock() - start - grade.seconds["training"]
        with contextlib.suppress(TypeError, ValueError):  # what JSON cannot hold is not kept
            grade.history = strict(getattr(model, "history", None))
        self.detail = f"{before['per_image']:.2f} dB before, {after['per_image']:.2f} dB after"
        self.assertGreater(after["per_image"], before["per_image"], self.detail)

    def test_beats_noisy(self):
        """training from scratch beats the noisy input"""
        self.require_finished()
        self.require_beats_noisy(self.grade.psnr["retrained"])

    def test_limit(self):
        """training and testing end within the limit"""
        used = sum(self.grade.seconds.values())
        self.detail = f"{used:,.0f} s of {self.grade.limit:,.0f} s"
        self.assertLessEqual(used, self.grade.limit, self.detail)
        self.require_finished()

    def require_finished(self):
        if "retrained" not in self.grade.psnr:
            self.fail("the training from scratch did not give a result")


CHECKS = (Interface, Prediction, Pretrained, TrainingFromScratch)


class Verdicts(unittest.TestResult):
    """Prints a line per check, and keeps all in `rows`. Whatever is not a success has failed."""

    def __init__(self):
        super().__init__()
        self.out = sys.stdout  # the real one: the checks redirect it
        self.rows = []

    def startTest(self, test):
        super().startTest(test)
        self.start = time.perf_counter()

    def verdict(self, test, passed, detail):
        seconds = time.perf_counter() - self.start
        self.rows.append(
            {
                "check": test.shortDescription(),
                "passed": passed,
                "detail": detail,
                "seconds": round(seconds, 2),
            }
        )
        print(
            f"{'PASS' if passed else 'FAIL'}  {test.shortDescription()}{detail and ': ' + detail}  "
            f"({seconds:.1f} s)",
            file=self.out,
            flush=True,
        )

    def addSuccess(self, test):
        self.verdict(test, True, test.detail)

    def addFailure(self, test, err):
        self.verdict(test, False, str(err[1]))

    def addError(self, test, err):
        self.verdict(test, False, one_line(err[1], test.grade.folder))

    def addSkip(self, test, reason):
        self.verdict(test, False, f"skipped by the submission: {reason}")


def one_line(error, folder):
    """An exception as one line of bounded length, with the place in the submission."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text if len(text) <= 200 else text[:197] + "..."
    package = (folder / PACKAGE).resolve()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(package)
    ]
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


# --------------------------------------------------------------------------------------------------
# The command
# --------------------------------------------------------------------------------------------------


def load_data(folder, validation, pairs):
    """(noisy, noisy) to train on, (noisy, clean) to validate; ValueError or OSError if unusable."""
    if folder is None:
        folder = ROOT / "data"
        if not any((folder / name).exists() for name in ("train_data.pkl", "val_data.pkl")):
            print(f"no -d DATA_FOLDER: building the built-in scenes in {folder}, once", flush=True)
            build(folder)
    loaded = []
    for file in (folder / "train_data.pkl", validation or folder / "val_data.pkl"):
        first, second = load_tensors(file)
        if first.shape[1] != 3 or not first.dtype == second.dtype == torch.uint8:
            raise ValueError(
                f"{file}: {shape(first)} of {first.dtype} and {second.dtype}, "
                "expected N x 3 x H x W of torch.uint8"
            )
        loaded.append((first, second))
    return tuple(copy[:pairs] for copy in loaded[0]), loaded[1]


def print_summary(grade, rows):
    print(f"\n{'PSNR (dB)':<26}{'per image':>10}{'pooled':>10}")
    for stage in ("noisy", "pretrained", "untrained", "retrained"):
        values = grade.psnr.get(stage)
        cells = (f"{values[key]:.2f}" if values else "-" for key in ("per_image", "pooled"))
        print(f"{stage:<26}" + "".join(f"{cell:>10}" for cell in cells))
    training, testing = (grade.seconds.get(key, 0) for key in ("training", "testing"))
    print(
        f"time: {training + testing:,.0f} s of {grade.limit:,.0f} s, training {training:,.0f} s "
        f"({grade.epochs} x {len(grade.train[0]):,} pairs) and testing {testing:,.0f} s, "
        f"on {processor()}"
    )
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} passed, {len(rows) - passed} failed")


def figures(grade, rows):
    """What a results file keeps."""
    return {
        "pairs": len(grade.train[0]),
        "validation_images": len(grade.validation[0]),
        "epochs": grade.epochs,
        "limit": grade.limit,
        "seconds": grade.seconds,
        "psnr": grade.psnr,
        "history": grade.history,
        "checks": rows,
    }


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


positive.__name__ = "positive integer"  # what argparse calls the type in its error


@program
def main(argv=None):
    parser = Parser(
        description="Grade a submission: interface, predictions, pretrained weights, training.",
        epilog="example: python test.py -p Proj_123456_234567_345678 -d data --epochs 10",
    )
    parser.add_argument(
        "-p",
        type=Path,
        default=ROOT,
        dest="project",
        metavar="PROJECT_FOLDER",
        help=f"folder that holds {PACKAGE}/ (default: the folder of test.py)",
    )
    parser.add_argument(
        "-d",
        type=Path,
        dest="data",
        metavar="DATA_FOLDER",
        help="folder with train_data.pkl and val_data.pkl (default: data/ beside test.py, "
        "made once from built-in scenes)",
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="FILE",
        help="measure on this file instead of val_data.pkl",
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        default=1,
        metavar="N",
        help="epochs of the training from scratch (default: 1)",
    )
    parser.add_argument(
        "--pairs", type=positive, metavar="N", help="train on the first N pairs only"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the numbers as JSON")
    args = parser.parse_args(argv)

    folder = args.project.resolve()
    if not (folder / PACKAGE).is_dir():
        raise ValueError(
            f"no {PACKAGE} folder in {folder}; -p takes the folder that holds {PACKAGE}/"
        )
    if args.results:
        check_writable(args.results)
    train, validation = load_data(args.data, args.validation, args.pairs)

    limit = LIMIT["cuda" if torch.cuda.is_available() else "cpu"]
    grade = Check.grade = Grade(folder, train, validation, args.epochs, limit)
    grade.psnr["noisy"] = psnr(*validation)
    results = Verdicts()
    print(f"grading {folder}", flush=True)
    for case in CHECKS:
        for name in vars(
            case
        ):  # in the order of their definition, which unittest's loader would sort
            if name.startswith("test_"):
                check = case(name)
                try:
                    check.run(results)
                finally:
                    check.doCleanups()  # which unittest leaves out after Ctrl-C
    print_summary(grade, results.rows)
    if args.results:
        write_results(args.results, SEED, figures(grade, results.rows))
        print(f"results in {args.results}", file=sys.stderr)
    return 0 if all(row["passed"] for row in results.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
