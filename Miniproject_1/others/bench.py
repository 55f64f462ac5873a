"""Train settings side by side for equal time: python -m Miniproject_1.others.bench [SETTING ...] [--minutes 5].

First the throughput of each setting, in turns on the same machine, beside the rate of a plain matrix product measured
in the same turns; then a training of each for the same seconds, one after the other, with the PSNR that it reaches.
Without names it compares "ours" with "published". A new setting is a line in SETTINGS.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..model import Model, has_bf16, psnr
from .baseline import PublishedModel
from .pixelate import build, check_writable, load_tensors
from .results import write_results

SETTINGS: dict[str, Callable[[], Model | PublishedModel]] = {
    "ours": Model,
    "published": PublishedModel,
    "1 block": lambda: Model(blocks=1),
    "3 blocks": lambda: Model(blocks=3),
    "narrow": lambda: Model(widths=(16, 32)),
    "wide": lambda: Model(widths=(64, 128)),
    "1 level": lambda: Model(widths=(32,)),
    "3 levels": lambda: Model(widths=(32, 64, 128)),
}
TURNS = 5       # of which the median counts
TURN = 8.0      # seconds of training in one
PRODUCT = 2048  # side of the matrices whose product gives the machine's own rate
ENDLESS = 10**6  # epochs: the time ends the training


def flops_per_pair(model: Model | PublishedModel) -> int:
    """Of one training step on a pair of 32 x 32 images: three times the forward pass, twice of it for the gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.net.eval()(torch.zeros(1, 3, 32, 32, device=model.device))
    return 3 * counter.get_total_flops()


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two square matrices."""
    matrix = torch.randn(PRODUCT, PRODUCT, device=device).to(dtype)
    torch.mm(matrix, matrix).sum().item()  # warms up; item() waits for a GPU
    start = time.perf_counter()
    for _ in range(10):
        product = torch.mm(matrix, matrix)
    product.sum().item()
    return 10 * 2 * PRODUCT**3 / (time.perf_counter() - start)


def throughput(names: list[str], a: Tensor, b: Tensor, validation: tuple[Tensor, Tensor]) -> dict[str, dict]:
    """Per setting the median over TURNS of pairs per second, and of its FLOP/s as a share of the matrix product's."""
    rates: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    few = tuple(images[:1] for images in validation)
    for turn in range(TURNS + 1):  # the first one warms up
        for name in names:
            model = SETTINGS[name]()
            bf16 = isinstance(model, Model) and has_bf16(model.device)
            peak = product_rate(model.device, torch.bfloat16 if bf16 else torch.float32)
            model.train(a, b, ENDLESS, validation=few, time_limit=TURN, progress=False)
            if turn:
                rates[name].append(model.history[-1]["pairs_per_second"])
                shares[name].append(rates[name][-1] * flops_per_pair(model) / peak)
    return {name: {"pairs_per_second": statistics.median(rates[name]), "share": statistics.median(shares[name])}
            for name in names}


def quality(name: str, seconds: float, seed: int, a: Tensor, b: Tensor, validation: tuple[Tensor, Tensor]) -> dict:
    """PSNR per image after a training of `seconds`, as `predict` gives it (ours with its self-ensemble)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = SETTINGS[name]()
    model.train(a, b, ENDLESS, validation=validation, time_limit=seconds, seed=seed)
    return {"psnr": psnr(model.predict(validation[0]), validation[1]), "seconds": model.history[-1]["seconds"],
            "history": model.history}


def main(argv: list[str] | None = None) -> int:
    """Run the bench; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m Miniproject_1.others.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", metavar="SETTING", nargs="*", default=["ours", "published"],
                        help=f"of {', '.join(SETTINGS)}; default: ours published")
    parser.add_argument("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
                        help="folder with train_data.pkl and val_data.pkl; default: data, made if missing")
    parser.add_argument("--validation", metavar="FILE", type=Path, help="default: val_data.pkl in DIR")
    parser.add_argument("--minutes", metavar="M", type=float, default=5, help="of each training; 0: only throughput")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="trainings of each setting; default: 1")
    parser.add_argument("--results", metavar="FILE", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    try:
        unknown = [name for name in arguments.settings if name not in SETTINGS]
        if unknown:
            raise ValueError(f"no setting {', '.join(unknown)}; expected some of {', '.join(SETTINGS)}")
        if not arguments.minutes >= 0 or arguments.seeds < 1:
            raise ValueError("expected --minutes of at least 0 and --seeds of at least 1")
        if arguments.results:
            check_writable(arguments.results)
        if not arguments.data.exists():
            build(arguments.data)
        a, b = load_tensors(arguments.data / "train_data.pkl")
        validation = load_tensors(arguments.validation or arguments.data / "val_data.pkl")
    except (ValueError, OSError) as error:
        print("error:", error, file=sys.stderr)
        return 2

    speeds = throughput(arguments.settings, a, b, validation)
    rows = []
    for name, speed in speeds.items():
        model = SETTINGS[name]()
        rows.append({"setting": name, "parameters": sum(weight.numel() for weight in model.net.parameters()),
                     "flops_per_pair": flops_per_pair(model), **speed, "trainings": []})
    print(f"{'setting':12} {'parameters':>11} {'GFLOP/pair':>11} {'pairs/s':>8} {'of product':>11}")
    for row in rows:
        print(f"{row['setting']:12} {row['parameters']:11,} {row['flops_per_pair'] / 1e9:11.2f} "
              f"{row['pairs_per_second']:8.0f} {row['share']:11.0%}")
    for row in rows[1:]:
        ratio = rows[0]["pairs_per_second"] / row["pairs_per_second"]
        print(f"{rows[0]['setting']} / {row['setting']}: {ratio:.2f} times the pairs per second", flush=True)
    if arguments.minutes:
        for seed in range(arguments.seeds):
            for row in rows:
                print(f"\n{row['setting']}, seed {seed}, {arguments.minutes:g} minutes", flush=True)
                row["trainings"].append(quality(row["setting"], 60 * arguments.minutes, seed, a, b, validation))
        print(f"\n{'setting':12} {'PSNR per image':>15} {'std':>6}   after {arguments.minutes:g} minutes of training")
        for row in rows:
            values = [training["psnr"] for training in row["trainings"]]
            spread = statistics.stdev(values) if len(values) > 1 else float("nan")
            print(f"{row['setting']:12} {statistics.mean(values):15.2f} {spread:6.2f}")
    if arguments.results:
        write_results(arguments.results, 0, {"pairs": len(a), "validation_images": len(validation[0]),
                                             "minutes": arguments.minutes, "settings": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
