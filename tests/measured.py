"""Small results files, such as the commands of the study write, for page and figures."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from Miniproject_1.model import Recipe
from Miniproject_1.others.study.measurements import VARIED
from Miniproject_1.others.study.presets import BATCH_PAIRS, BATCH_SIZES, PRESETS, STEPS
from Miniproject_1.others.study.published import PublishedRecipe
from Miniproject_1.others.study.published_study import REPORTED, cell
from Miniproject_1.others.study.recipes import OURS, PUBLISHED, AnyRecipe, network

PLACE = {"date": "2026-01-02T03:04:05+00:00", "device": "cpu", "processor": "A_B 100%",
         "threads": 2, "torch": "2.0", "command": "python -m compare -d DATA"}
DATA = {"kind": "photos", "pairs": 50_000, "seed": 7, "checksum": "aaaabbbbcccc"}
VALIDATION = {"images": 1_000, "checksum": "ddddeeeeffff"}
NOISY = {"noisy_psnr": 20.5, "noisy_psnr_pooled": 19.5}


def recipe(**changes) -> dict:
    """Of fixed values, whatever the defaults are, in what numbers depend on."""
    usual = Recipe(widths=(32, 64), loss="log", batch=32, learning_rate=5e-3)
    return asdict(replace(usual, **changes))


def fixed(some: AnyRecipe) -> dict:
    """A recipe of the published grid, with fixed values in all that the grid does not vary."""
    if network(some) == PUBLISHED:
        return asdict(some)
    return recipe(**{field: getattr(some, field) for field in VARIED["table1.jsonl"]})


def batch_rows() -> list[dict]:
    """A row for each batch, budget and rate: 20 dB and the batch in mdB, 1 more at equal steps.

    With a scaled rate it is 0.5 dB more.
    """
    rows = []
    for batch in BATCH_SIZES:
        for scaled in (False, True) if batch != 32 else (False,):
            rate = 5e-3 * (batch / 32)**0.5 if scaled else 5e-3
            for more, pairs in ((0, BATCH_PAIRS), (1, STEPS * batch)):
                rows.append(swept("batches", OURS, 20 + batch / 1000 + more + 0.5 * scaled, pairs,
                                  1, recipe=recipe(batch=batch, learning_rate=rate)))
    return rows


def history(*scores: float, minutes: float = 1.0) -> list[dict]:
    """A row for each PSNR, `minutes` apart, from epoch 0."""
    return [{"epoch": epoch, "loss": None, "psnr": score, "seconds": 60 * minutes * epoch,
             "pairs": 100 if epoch else 0, "pairs_per_second": 10.0}
            for epoch, score in enumerate(scores)]


def training(name: str, psnr: float, **fields) -> dict:
    """A row of `compare`."""
    row = {"kind": "training", "name": name, "network": "ours", "recipe": recipe(), "seed": 0,
           "clean_targets": False, "pairs": 50_000, "pairs_seen": 500_000,
           "parameters": 239_296, "seconds": 1200.0, "pairs_per_second": 190.0,
           "psnr": psnr, "psnr_pooled": psnr - 1, "psnr_without_self_ensemble": psnr - 0.06,
           "data": DATA, "validation": VALIDATION, "history": history(20.5, psnr - 0.5, psnr)}
    return row | NOISY | PLACE | fields


def published(psnr: float, **fields) -> dict:
    """A row of `compare` of the published network, which has no self-ensemble."""
    own = {"network": "published", "recipe": asdict(PublishedRecipe()),
           "psnr_without_self_ensemble": None, "parameters": 1_354_435}
    return training("published", psnr, **own, **fields)


def swept(preset: str, name: str, psnr: float, pairs: int, epochs: int, **fields) -> dict:
    """A row of `sweep`."""
    return training(name, psnr, preset=preset, pairs=pairs, epochs=epochs,
                    pairs_seen=pairs * epochs, **fields)


def grid_rows(name: str, seed: int = 0, gain: float = 0.0) -> list[dict]:
    """A row for each setting of a network in the published grid, as good as reported, plus a gain.

    They have what tells settings apart, and the PSNR.
    """
    rows = [{"name": setting.name, "network": name, "seed": seed, "recipe": fixed(setting.recipe)}
            for setting in PRESETS["table1"]() if network(setting.recipe) == name]
    return [row | {"psnr": REPORTED[cell(row)] + gain} for row in rows]


def speed(name: str, rate: float, flops: float, passes: int, **fields) -> dict:
    """A row of `compare --throughput`."""
    row = {"kind": "throughput", "name": name, "network": "ours", "recipe": recipe(),
           "parameters": 239_296,
           "passes": passes, "flops_per_pair": flops, "precision": "bfloat16",
           "pairs_per_second": rate, "share": 0.5, "ratio": rate / 400, "turns": 5,
           "turn_seconds": 8.0, "images_per_second": 900.0,
           "images_per_second_self_ensemble": 110.0, "pairs": 50_000, "data": DATA,
           "validation": VALIDATION}
    return row | PLACE | fields


def noise(name: str, psnr: float, **fields) -> dict:
    """A row of `noises`."""
    row = {"kind": "noise", "name": name, "about": f"{name} noise", "recipe": recipe(), "seed": 0,
           "minutes": 10, "clean_targets": False, "pairs": 13_500, "pairs_seen": 20_000,
           "seconds": 600.0, "peak": 255.0, "noisy": 20.25, "blur": 25.5, "blur_sigma": 1.0,
           "bm3d": 30.25, "psnr": psnr, "psnr_without_self_ensemble": psnr - 0.125, "bias": 1.26,
           "noisy_bias": 1.5, "validation": {"images": 24, "checksum": "5678"},
           "data": {"kind": "photos", "seed": 7, "squares": 1_500, "checksum": "aaaabbbbcccc"}}
    return row | PLACE | fields


def measured() -> dict[str, list[dict]]:
    """The rows of each file, as many as page and figures need."""
    return trainings() | sweeps() | grids() | other_measurements()


def trainings() -> dict[str, list[dict]]:
    """The rows of trainings that are not of a sweep."""
    weights = training("bestmodel.pth", 26.05)
    for key in ("seed", "clean_targets", "pairs", "pairs_seen", "seconds", "data", "history"):
        del weights[key]
    return {
        "trainings.jsonl": [
            published(25.19, minutes=10, pairs_seen=60_000,
                      history=history(20.5, 25.14, 25.19, minutes=5)),
            training("ours", 25.68, minutes=1, pairs_seen=25_000, seconds=60.0),
            training("ours", 25.92, epochs=10),
            weights | {"kind": "weights", "recipe": recipe(blocks=3), "parameters": 349_888},
            training("ours", 25.84, minutes=5, pairs_seen=135_000, seconds=300.0),
            training("CAREamics 0.3.5", 23.52, network="careamics", minutes=5, pairs_seen=18_000,
                     recipe={"version": "0.3.0"}, psnr_without_self_ensemble=None),
        ],
        "pretraining.jsonl": [
            training("bestmodel.pth", 25.98, kind="pretraining", recipe=recipe(blocks=3),
                     parameters=349_888, epochs=2, pairs_seen=100_000, seconds=1200.0,
                     history=history(20.5, 25.9, 25.98, minutes=30)),
        ],
    }


def sweeps() -> dict[str, list[dict]]:
    """The rows of changes of the recipe."""
    short = {"preset": "ablations", "pairs": 20_000, "epochs": 1}
    few = {"preset": "few_pairs", "pairs": 500, "epochs": 40}
    return {
        "ablations.jsonl": [
            swept(name="ours", psnr=25.0, **short),
            swept(name="MSE loss", psnr=24.9, recipe=recipe(loss="mse"), **short),
            swept(name="three levels", psnr=25.1, recipe=recipe(widths=(32, 64, 128)),
                  pairs_per_second=95.0, **short),
        ],
        "few_pairs.jsonl": [
            swept(name="ours", psnr=24.5, **few),
            swept(name="no turns", psnr=24.0, recipe=recipe(turns=False), **few),
            swept(name="no weight decay", psnr=24.25, recipe=recipe(weight_decay=0.0), **few),
            swept(name="no EMA", psnr=24.5, recipe=recipe(ema=0.0), **few),
        ],
    }


def grids() -> dict[str, list[dict]]:
    """The rows of the sweeps of all but changes."""
    epochs = [{"epoch": epoch, "loss": 0.5, "psnr": 25.0 + epoch, "psnr_pooled": 24.0 + epoch,
               "est_psnr": 24.1 + epoch} for epoch in range(3)]
    return {
        "table1.jsonl": [swept("table1", "", 0.0, 10_000, 1) | row
                         for row in grid_rows(PUBLISHED) + grid_rows(OURS)],
        "curves.jsonl": [swept("curves", name, 27.0, 5_000, 2, network=name,
                               history=[dict(epoch) for epoch in epochs])
                         for name in (PUBLISHED, OURS)],
        "batches.jsonl": batch_rows(),
        "noise_scale.jsonl": [
            {"kind": "noise scale", "name": OURS, "network": OURS, "recipe": recipe(held_out=0),
             "seed": seed, "pairs": 5_000, "epochs": 10, "data": DATA,
             "moments": [{"epoch": 1, "gradient": 2.0, "variance": 200.0},
                         {"epoch": 5, "gradient": 1.0, "variance": 300.0}]} | PLACE
            for seed in (0, 1)
        ],
        "scaling.jsonl": [
            swept("scaling", OURS, psnr, pairs, 50_000 // pairs, clean_targets=clean)
            for pairs, clean, psnr in ((10_000, False, 25.92), (1_000, True, 25.3),
                                       (1_000, False, 25.0), (10_000, True, 25.946))
        ],
    }


def other_measurements() -> dict[str, list[dict]]:
    """The rows of all but the course's trainings."""
    case = {"case": "32 x 32, 1 sample", "images": 222, "noisy": 21.53, "denoised": 26.74,
            "smallest_gain": -0.31, "worse": 5, "checksum": "1234"}
    photos = {"kind": "photos", "photos": 222, "seed": 0, "checksum": "1234"}
    return {
        "speed.jsonl": [
            speed("ours", 400.0, 1.2e9, 2),
            speed("published", 80.0, 2.7e9, 1, parameters=1_354_435, network="published",
                  images_per_second_self_ensemble=None, precision="float32"),
        ],
        "photos.jsonl": [
            {"kind": "photos", "name": "compared.png", "minutes": 5, "seed": 0, "pairs": 50_000,
             "data": DATA, "psnr": {"noisy": [20.0, 21.0], "ours": [25.0, 26.126]}} | PLACE,
        ],
        "robustness.json": [
            {"kind": "robustness", "name": "bestmodel.pth", "data": photos, "cases": [case]}
            | PLACE,
        ],
        "noises.jsonl": [
            noise("gaussian", 30.5),
            noise("gaussian", 30.625, clean_targets=True),
            noise("clipped", 20.5),
            noise("clipped", 24.5, clean_targets=True),
            noise("bernoulli", 31.25),
            noise("bernoulli", 32.25, clean_targets=True),
            noise("camera", 37.5),
        ],
        "processes.jsonl": [
            {"kind": "processes", "name": "ours", "recipe": recipe(), "processes": 2,
             "one": 180.0, "several": 171.0, "ratio": 0.95, "turns": 5, "turn_seconds": 8.0}
            | PLACE,
        ],
        "kills.jsonl": [
            {"kind": "kills", "name": "small network", "seed": 0, "kills": 200, "identical": 199,
             "corrupt": 1} | PLACE,
        ],
    }


def rows_of_ours(files: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The rows of each file whose recipe is ours, or what its grid makes of it."""
    own = {"ablations.jsonl": 1, "few_pairs.jsonl": 1}  # changes of it follow the first row
    kinds = ("training", "throughput", "noise scale", "processes")
    return {name: [row for row in rows[:own.get(name)]
                   if row["kind"] in kinds and row.get("network", OURS) == OURS]
            for name, rows in files.items()}


def write(folder: Path, files: dict[str, list[dict]]) -> Path:
    """Write the files of `measured` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
