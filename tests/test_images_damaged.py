"""Damaged bytes end in a picture, a ValueError or an OSError of one line, and nothing else."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import numbers, random_image

from Miniproject_1.others.images import read, to_pillow, write

SHAPE = (9, 11)
quickly = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def pillow_bytes(kind: str, channels: int = 3, **options) -> bytes:
    stream = io.BytesIO()
    to_pillow(random_image(channels)).save(stream, kind, **options)
    return stream.getvalue()


def tiff_bytes(shape: tuple[int, ...], dtype: str = "uint16", **options) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, numbers(shape, dtype), **({"photometric": "minisblack"} | options))
    return stream.getvalue()


def npy_bytes() -> bytes:
    stream = io.BytesIO()
    np.save(stream, numbers(SHAPE, "uint16"))
    return stream.getvalue()


FILES = {
    "png": pillow_bytes("PNG", 4),
    "deep.png": imagecodecs.png_encode(numbers((*SHAPE, 3), "uint16")),
    "jpg": pillow_bytes("JPEG"),
    "webp": pillow_bytes("WEBP", lossless=True),
    "bmp": pillow_bytes("BMP"),
    "gif": pillow_bytes("GIF", 1),
    "ppm": pillow_bytes("PPM"),
    "jp2": pillow_bytes("JPEG2000"),
    "tga": pillow_bytes("TGA"),
    "tif": tiff_bytes((2, *SHAPE)),
    "deflate.tif": tiff_bytes((2, *SHAPE), compression="zlib", predictor=True),
    "lzw.tif": tiff_bytes((*SHAPE, 3), "uint8", compression="lzw", photometric="rgb"),
    "tiled.tif": tiff_bytes((20, 20), bigtiff=True, tile=(16, 16), compression="zstd"),
    "imagej.tif": tiff_bytes((2, 3, *SHAPE), imagej=True),
    "ome.tif": tiff_bytes((2, *SHAPE), ome=True, metadata={"axes": "ZYX"}),
    "npy": npy_bytes(),
}


def survives(data: bytes, folder, name: str) -> None:
    """What is read can be written; errors are of one line that names the file."""
    path = folder / f"a.{name}"
    path.write_bytes(data)
    try:
        write(read(path), folder / f"b.{name}")
    except (ValueError, OSError) as error:
        assert f".{name}" in str(error) and "\n" not in str(error)


@pytest.mark.filterwarnings("ignore:.*(bits a sample|compression is|256 colours)")
@pytest.mark.parametrize("name", FILES)
@quickly
@given(draws=st.data())
def test_changed_bytes(tmp_path, name, draws):
    data = bytearray(FILES[name])
    places = st.integers(0, min(len(data), 600) - 1)
    odd = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0"])
    values = st.one_of(st.binary(min_size=1, max_size=4), odd)
    for place, value in draws.draw(st.lists(st.tuples(places, values), min_size=1, max_size=6)):
        data[place : place + len(value)] = value
    end = draws.draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    survives(bytes(data[:end]), tmp_path, name)


@pytest.mark.parametrize("name", ["png", "tif", "npy", "jpg"])
@quickly
@given(data=st.binary(max_size=200), whole=st.booleans())
def test_random_bytes(tmp_path, name, data, whole):
    start = b"" if whole else FILES[name][: struct.calcsize("8s")]
    survives(start + data, tmp_path, name)
