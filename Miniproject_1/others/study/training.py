"""A training of the study and the row of results that it gives.

    kind                        "training", or "weights" of a file
    name, network, recipe       what was trained: "ours", "published" or "careamics"; all fields
    seed, epochs or minutes     of the training
    clean_targets               whether the targets were clean images
    pairs, pairs_seen           in the training data that were used; in all steps together
    parameters                  of the network
    seconds, pairs_per_second   of the training; the speed is without the measurements of PSNR
    psnr, psnr_pooled           dB, as `predict` denoises the validation images: mean over images;
                                of their mean error
    psnr_without_self_ensemble  dB, mean over images; null where there is none to leave out
    noisy_psnr, noisy_psnr_pooled   the same of the noisy images
    data, validation            what the images are, without a path
    history                     of the training, by epoch

A file of weights has no training, and none of what belongs to one.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...model import Model, estimate_psnr, psnr
from .data import TrainingData, ValidationData
from .recipes import AnyRecipe, Denoiser, network, new_model, parameter_count
from .rows import Row
from .speed import ENDLESS, pairs_per_second

ROW_EVERY = 150.0  # seconds between two rows of the published network's history, within an epoch
PEAK = 255.0  # of the images
Measure = Callable[[Denoiser, dict], None]  # adds to the row of an epoch


@dataclass(frozen=True)
class Budget:
    """How long a training may take: so many epochs, or so many minutes."""

    epochs: int | None = None
    minutes: float | None = None

    def row(self) -> dict:
        """What a row of results says of it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def train(name: str, recipe: AnyRecipe, how_long: Budget, seed: int, training: TrainingData,
          validation: ValidationData, progress: bool = True, measure: Measure | None = None) -> Row:
    """Train a recipe from new weights and measure it.

    Args:
        name: Of the recipe.
        recipe: Of ours or of the published network.
        how_long: The budget of the training.
        seed: Of the weights, and of shuffling and augmentation.
        training: The pairs; their clean images, if there are any, are the targets.
        validation: The images to measure on.
        progress: Whether to print a line per epoch.
        measure: What adds to the row of each epoch.

    Returns:
        A row of kind "training".

    Raises:
        ValueError: The published network has clean targets, or no epoch came to its end.
    """
    model = trained(recipe, how_long, seed, training, validation, progress, measure)
    return _row("training", name, model) | how_long.row() | {
        "seed": seed,
        "clean_targets": training.clean is not None,
        "pairs": len(training.a),
        "pairs_seen": sum(row["pairs"] for row in model.history),
        "seconds": model.history[-1]["seconds"],
        "pairs_per_second": pairs_per_second(model.history),  # raises where there was no epoch
        **accuracy(model, validation),
        "data": training.about,
        "validation": validation.about,
        "history": model.history,
    }


def trained(recipe: AnyRecipe, how_long: Budget, seed: int, training: TrainingData,
            validation: ValidationData, progress: bool = True,
            measure: Measure | None = None) -> Denoiser:
    """Train a recipe from new weights.

    Args:
        recipe, how_long, seed, training, validation, progress, measure: As `train` has them.

    Returns:
        The model, with its history.

    Raises:
        ValueError: The published network has clean targets.
    """
    epochs = ENDLESS if how_long.epochs is None else how_long.epochs
    limit = None if how_long.minutes is None else 60 * how_long.minutes
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # draws weights and, in the published network, dropout
        model = new_model(recipe)
        _fit(model, training, limit)(
            training.a, training.b, epochs, validation=(validation.noisy, validation.clean),
            time_limit=limit, seed=seed, progress=progress,
            after_epoch=None if measure is None else partial(measure, model))
    return model


def _fit(model: Denoiser, training: TrainingData, limit: float | None) -> Callable[..., None]:
    """The model's `train`, with what only the one or the other network's takes."""
    if isinstance(model, Model):
        return partial(model.train, clean=training.clean)
    if training.clean is not None:
        raise ValueError("the published network has no training on clean targets; leave it out")
    return partial(model.train, row_every=math.inf if limit is None else ROW_EVERY)


def measure_epoch(validation: ValidationData, held: tuple[Tensor, Tensor], model: Denoiser,
                  row: dict) -> None:
    """Measure an epoch in other ways than the training does, without self-ensemble.

    Args:
        validation: The images to measure on.
        held: Noisy pairs that the training does not see, to estimate the PSNR with; maybe none.
        model: With the weights of that epoch.
        row: Gets `psnr_pooled` and `est_psnr` (pooled, of `held`).
    """
    a, b = held
    row["psnr_pooled"] = pooled_psnr(single(model, validation.noisy), validation.clean)
    row["est_psnr"] = math.nan
    if len(a):
        row["est_psnr"] = estimate_psnr(single(model, a), single(model, b), a, b, PEAK)


def single(model: Denoiser, noisy: Tensor) -> Tensor:
    """Images denoised without self-ensemble."""
    if isinstance(model, Model):
        return model.predict(noisy, self_ensemble=False)
    return model.predict(noisy)


def weigh(file: Path, validation: ValidationData) -> Row:
    """Measure a file of weights.

    Args:
        file: Written by `Model.save`.
        validation: The images to measure on.

    Returns:
        A row of kind "weights".

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    model = Model()
    model.load_pretrained_model(file)
    scores = accuracy(model, validation)
    return _row("weights", file.name, model) | scores | {"validation": validation.about}


def _row(kind: str, name: str, model: Denoiser) -> Row:
    """What a row says of the network."""
    return {"kind": kind, "name": name, "network": network(model.recipe),
            "recipe": asdict(model.recipe), "parameters": parameter_count(model)}


def accuracy(model: Denoiser, validation: ValidationData) -> dict:
    """The PSNR of a model.

    Args:
        model: Trained or not.
        validation: The images to measure on.

    Returns:
        What a row says of PSNR, in dB.
    """
    noisy, clean = validation.noisy, validation.clean
    alone = psnr(single(model, noisy), clean) if isinstance(model, Model) else None
    return scores(model.predict(noisy), alone, validation)


def scores(denoised: Tensor, alone: float | None, validation: ValidationData) -> dict:
    """What a row says of PSNR, in dB.

    Args:
        denoised: The validation images.
        alone: Their PSNR without self-ensemble, if there is one.
        validation: The images themselves.

    Returns:
        By key.
    """
    noisy, clean = validation.noisy, validation.clean
    return {
        "psnr": psnr(denoised, clean),
        "psnr_pooled": pooled_psnr(denoised, clean),
        "psnr_without_self_ensemble": alone,
        "noisy_psnr": psnr(noisy, clean),
        "noisy_psnr_pooled": pooled_psnr(noisy, clean),
    }


def pooled_psnr(images: Tensor, clean: Tensor) -> float:
    """PSNR of the mean squared error over all images.

    Args:
        images, clean: N x C x H x W, values 0-255.

    Returns:
        dB, infinite for images without error.
    """
    error = (images.double() - clean.to(images.device).double()) / PEAK
    mse = error.square().mean().item()
    return -10 * math.log10(mse) if mse > 0 else math.inf
