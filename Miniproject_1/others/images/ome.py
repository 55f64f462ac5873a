"""The description of an OME-TIFF, a text of XML: its axes, and a copy for other pixels.

It is searched rather than parsed: nothing in it is expanded, and all the rest of it stays.
"""

import math
import re

TYPES = {"float32": "float", "float64": "double"}  # NumPy's names -> those of OME that differ
PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
TIFF_DATA = re.compile(rb"<(?:\w+:)?TiffData\b[^>]*>")
CHANNEL = re.compile(rb"<(?:\w+:)?Channel\b[^>]*>")


def is_ome(description: bytes) -> bool:
    """Whether an ImageDescription is that of an OME-TIFF."""
    return description.rstrip().endswith(b"OME>")


def axes(
    description: bytes,
    series_axes: str,
    series_shape: tuple[int, ...],
    page_shape: tuple[int, ...],
    page_axes: str,
) -> tuple[str, tuple[int, ...]]:
    """The axes that a description gives to the pages of a file.

    Args:
        description: OME-XML.
        series_axes: What they are called without it.
        series_shape: Their sizes.
        page_shape: That of a page.
        page_axes: The axes of a page.

    Returns:
        Such as ("TCZYX", (2, 3, 5, 96, 120)), or the series' own if the description is not that of
        these pages in this order, as in one file of several.
    """
    order, sizes = _stack(description)
    count = math.prod(series_shape) // math.prod(page_shape)
    if not order or math.prod(sizes) != count or not _in_order(description, order, sizes):
        return series_axes, series_shape
    kept = [(axis, size) for axis, size in zip(order, sizes, strict=True) if size > 1]
    letters = "".join(axis for axis, _ in kept)
    return letters + page_axes, (*(size for _, size in kept), *page_shape)


def adapted(description: bytes, dtype: str, size: tuple[int, int]) -> bytes:
    """The description of the same images with other pixels.

    Args:
        description: OME-XML.
        dtype: NumPy's name of their type.
        size: Width and height.

    Returns:
        OME-XML.
    """
    pixels = PIXELS.search(description)
    if pixels is None:
        return description
    tag = pixels.group()
    name = TYPES.get(dtype, dtype)
    if _attribute(tag, "Type") != name:
        tag = re.sub(rb'\s+SignificantBits\s*=\s*("[^"]*"|\'[^\']*\')', b"", tag)
    for key, value in (("Type", name), ("SizeX", size[0]), ("SizeY", size[1])):
        pattern = rf"(\b{key}\s*=\s*)(\"[^\"]*\"|'[^']*')".encode()
        tag = re.sub(pattern, rf'\g<1>"{value}"'.encode(), tag)
    return description[: pixels.start()] + tag + description[pixels.end() :]


def _stack(description: bytes) -> tuple[str, tuple[int, ...]]:
    """The axes before Y and X, slowest first, and their sizes; empty if not told."""
    tags = PIXELS.findall(description)
    if len(tags) != 1:
        return "", ()
    order = _attribute(tags[0], "DimensionOrder")[:1:-1]
    if sorted(order) != ["C", "T", "Z"]:
        return "", ()
    channel = CHANNEL.search(description)
    samples = _count(channel.group(), "SamplesPerPixel", 1) if channel else 1
    sizes = []
    for axis in order:
        size = _count(tags[0], f"Size{axis}", 1)
        sizes.append(size // max(1, samples) if axis == "C" else size)
    return order, tuple(sizes)


def _in_order(description: bytes, order: str, sizes: tuple[int, ...]) -> bool:
    """Whether the planes lie in the file in the order of the axes."""
    for tag in TIFF_DATA.findall(description):
        place = 0
        for axis, size in zip(order, sizes, strict=True):
            place = place * size + _count(tag, f"First{axis}", 0)
        if place != _count(tag, "IFD", 0):
            return False
    return True


def _attribute(tag: bytes, key: str) -> str:
    """The value of an attribute of a tag, empty if there is none."""
    match = re.search(rf"\b{key}\s*=\s*[\"']([^\"']*)[\"']".encode(), tag)
    return match.group(1).decode("ascii", "replace") if match else ""


def _count(tag: bytes, key: str, default: int) -> int:
    value = _attribute(tag, key)
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else default
