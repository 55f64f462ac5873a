"""Noise2Noise denoising: `from Miniproject_1 import Model`, `python -m Miniproject_1 --help`."""

from .model import Model, Recipe

__all__ = ["Model", "Recipe"]
