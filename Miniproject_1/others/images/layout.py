"""Arrays of any axes as pages and back: N x C x H x W and alpha, in the file's order of axes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHANNELS = "CS"  # channels and samples; Y and X are the image, all other axes a stack


@dataclass(frozen=True)
class Layout:
    """The order of a file's axes.

    Attributes:
        axes: A letter for each axis, such as TZCYX; Y, X, C and S occur at most once.
        sizes: Those of the axes other than Y and X, in the same order.
        extras: How many of the samples (the last ones of S, else of C) are alpha or masks.
    """

    axes: str
    sizes: tuple[int, ...]
    extras: int = 0

    @classmethod
    def of(cls, axes: str, shape: tuple[int, ...], extras: int = 0) -> "Layout":
        """The layout of an array with these axes and this shape.

        Raises:
            ValueError: The axes do not tell which of them is the image.
        """
        image = axes.count("Y") == 1 and axes.count("X") == 1
        if not image or axes.count("C") > 1 or axes.count("S") > 1 or len(axes) != len(shape):
            raise ValueError(f"its axes are {axes}, expected Y and X, channels C or S, and stacks")
        others = zip(axes, shape, strict=True)
        sizes = tuple(size for axis, size in others if axis not in "YX")
        return cls(axes, sizes, extras)

    def split(self, array: Tensor) -> tuple[Tensor, Tensor]:
        """The array's pages.

        Args:
            array: Of these axes.

        Returns:
            N x C x H x W, the colours, and N x A x H x W, alpha and masks.
        """
        height, width = array.shape[self.axes.index("Y")], array.shape[self.axes.index("X")]
        ordered = array.permute(self._order())
        channels, samples = self._channels()
        pages = ordered.reshape(-1, channels, samples, height, width)
        colours = samples - self.extras
        alpha = pages[:, :, colours:].flatten(1, 2)
        return pages[:, :, :colours].flatten(1, 2), alpha

    def join(self, pages: Tensor, alpha: Tensor) -> Tensor:
        """The array of pages, the inverse of `split`.

        Args:
            pages: N x C x H x W with the N and C of `split`; height and width may be others.
            alpha: N x A x H x W.

        Returns:
            An array of these axes.

        Raises:
            ValueError: N, C or A is another one.
        """
        channels, samples = self._channels()
        stack = self.stack()
        count = math.prod(stack)
        height, width = pages.shape[2:]
        colours, extras = channels * (samples - self.extras), channels * self.extras
        expected = (count, colours, height, width), (count, extras, height, width)
        if (tuple(pages.shape), tuple(alpha.shape)) != expected:
            came = f"pages {tuple(pages.shape)} and alpha {tuple(alpha.shape)}"
            raise ValueError(f"{came}; expected {expected[0]} and {expected[1]}, as they were read")
        separate = alpha.reshape(count, channels, self.extras, height, width)
        both = torch.cat((pages.unflatten(1, (channels, -1)), separate), dim=2)
        present = [size for axis, size in self._sizes() if axis in CHANNELS]
        if len(present) == 2:
            present = [channels, samples]  # in this order, whatever that of the file
        ordered = both.reshape(*stack, *present, height, width)
        return ordered.permute(self._inverse()).contiguous()

    def stack(self) -> list[int]:
        """The sizes of the axes along which pages lie."""
        return [size for axis, size in self._sizes() if axis not in CHANNELS]

    def _axes(self) -> str:
        """The axes, with C as S where it holds the samples and thus alpha."""
        only_channels = "S" not in self.axes
        return self.axes.replace("C", "S") if only_channels else self.axes

    def _order(self) -> list[int]:
        """The places of the axes in the order stack, C, S, Y, X."""
        axes = self._axes()
        stack = [axis for axis in range(len(axes)) if axes[axis] not in "CSYX"]
        return stack + [axes.index(axis) for axis in "CSYX" if axis in axes]

    def _inverse(self) -> list[int]:
        order = self._order()
        return [order.index(axis) for axis in range(len(order))]

    def _sizes(self) -> list[tuple[str, int]]:
        others = [axis for axis in self._axes() if axis not in "YX"]
        return list(zip(others, self.sizes, strict=True))

    def _channels(self) -> tuple[int, int]:
        """The sizes of C and S, 1 where there is none."""
        sizes = dict(self._sizes())
        return sizes.get("C", 1), sizes.get("S", 1)
