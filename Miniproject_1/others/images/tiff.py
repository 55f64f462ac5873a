"""TIFF files as pages and back, with the layout, compression and metadata of the file.

ImageJ's and OME's stacks are known; of other flavours the pages are kept as they lie in the file.
"""

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from torch import Tensor

from ..files import LARGE_FILE
from . import ome
from .arrays import check_type
from .chunks import jpeg_pixels
from .extras import check_claim, needed, quiet, reason, tensor_of
from .layout import Layout

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUFFIXES = (".tif", ".tiff", ".tf8", ".btf")

# Flavours of TIFF that tifffile would reorder, scale or complete from other files.
FLAVOURS = (
    "avs", "bif", "eer", "fluoview", "indica", "lsm", "mdgel", "mmstack", "ndpi", "ndtiff", "nih",
    "ome", "philips", "qpi", "scanimage", "scn", "sis", "svs",
)

# Values of TIFF's tags, as the standard has them.
GREY, RGB, PALETTE, YCBCR = (0, 1), 2, 3, 6  # PhotometricInterpretation; 0 is white, 1 black
ALPHA = (1, 2)  # ExtraSamples: associated and unassociated; 0 is unspecified
SEPARATE = 2  # PlanarConfiguration
UNCOMPRESSED, DEFLATE, ZSTD = 1, 8, 50000  # Compression
JPEG = 7  # Compression, whose YCbCr is decoded as RGB
KEPT = {  # compression that is read -> the same, as it is written
    1: 1, 5: 5, 8: 8, 32773: 32773, 32946: 32946, 34925: 34925, 34926: ZSTD, ZSTD: ZSTD,
}  # fmt: skip
DESCRIPTION, ICC = 270, 34675  # tags
RESOLUTION = (282, 283, 296)  # tags: x, y, unit

# Tags that are not copied: those that tifffile writes, describe pixels or point into the file.
WRITTEN = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288,
    289, 290, 291, 292, 293, 301, 317, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336, 338, 339,
    340, 341, 342, 347, 400, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 32997,
    32998, 34665, 34853, 40965, 50674, DESCRIPTION, ICC, *RESOLUTION,
}
NATIVE = "<" if sys.byteorder == "little" else ">"
POINTERS = (13, 18)  # types of tags
MOST_DPI = 10**6  # more are a mistake
SHORT = 8  # bytes of a tag that every page gets, such as its orientation


@dataclass(frozen=True)
class Origin:
    """What `write` has to know of a TIFF file.

    Attributes:
        layout: The axes.
        suffix: That of the file's name.
        loss: What cannot be kept, None if all can.
        photometric, samples, separate, extrasamples: How a pixel is stored, in TIFF's terms.
        tile: Height and width of tiles, empty for strips.
        compression, predictor: In TIFF's terms; whether there is a predictor.
        bigtiff, byteorder: Of the file.
        resolution, unit: Pixels per unit, as fractions.
        description: ImageDescription, where tifffile does not make it from `shaped`.
        shaped: The description that tifffile writes of an array, without its shape; else None.
        icc: The colour profile.
        colormap: ImageJ's look-up table of an 8-bit image.
        tags: The other tags, as tifffile takes them.
    """

    layout: Layout
    suffix: str = ".tif"
    loss: str | None = None
    photometric: int = 1
    samples: int = 1
    separate: bool = False
    extrasamples: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    compression: int = UNCOMPRESSED
    predictor: bool = False
    bigtiff: bool = False
    byteorder: str = "<"
    resolution: tuple[Any, Any] | None = None
    unit: int | None = None
    description: bytes | None = None
    shaped: dict[str, Any] | None = None
    icc: bytes | None = None
    colormap: Any = None
    tags: tuple[tuple[int, int, int, bytes, bool], ...] = ()
    kind: str = "TIFF"


# ---- reading -----------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> tuple[Tensor, Tensor, Origin]:
    """Read a TIFF file.

    Args:
        path: A file of one image, or of a stack of images of one size and type.

    Returns:
        N x C x H x W, N x A x H x W (alpha and masks), and what `write` needs.

    Raises:
        ValueError: The file is damaged, or of a kind that cannot be written back.
        OSError: The file cannot be opened.
    """
    tifffile = needed("tifffile")
    with open(path, "rb") as file:
        try:
            _check_chain(file)
            flags: dict[str, Any] = {f"is_{flavour}": False for flavour in FLAVOURS}
            with quiet(), tifffile.TiffFile(file, _multifile=False, **flags) as tif:
                return _content(tif, Path(path))
        except Exception as error:  # damaged files end in many types
            raise ValueError(f"{path}: {reason(error)}") from error


def _content(tif: "TiffFile", path: Path) -> tuple[Tensor, Tensor, Origin]:
    """What `read` returns."""
    series = _only_series(tif)
    page = series.keyframe
    _check_pixels(page)
    _check_segments(tif, series)
    array = _array(tif, series, path)
    axes, shape = series.axes, series.shape
    if page.photometric == PALETTE and not tif.is_imagej:
        array = _coloured(array, page.colormap)
        axes, shape = f"{axes}S", array.shape
    description = _description(page) or b""
    if ome.is_ome(description):
        axes, shape = ome.axes(description, axes, shape, page.shape, page.axes)
    origin = _origin(tif, page, Layout.of(axes, shape, _extras(page)), path.suffix.lower())
    native = array.reshape(shape).astype(array.dtype.newbyteorder("="), copy=False)
    pages, alpha = origin.layout.split(tensor_of(native))
    return pages, alpha, origin


def _array(tif: "TiffFile", series: Any, path: Path) -> Any:
    """The pixels; those of a large file without compression stay there until they are needed."""
    if not _is_mapped(tif, series):
        return series.asarray()
    numpy = needed("numpy")
    return numpy.memmap(path, series.dtype, "r", series.dataoffset, series.shape)


def _is_mapped(tif: "TiffFile", series: Any) -> bool:
    """Whether the pixels are many, and lie in the file as they lie in memory."""
    native = tif.byteorder == NATIVE or series.dtype.itemsize == 1
    as_they_are = series.dataoffset is not None and series.keyframe.photometric != PALETTE
    return series.nbytes >= LARGE_FILE and native and as_they_are


def _check_chain(file: BinaryIO) -> None:
    """Refuse files whose list of images runs in a circle or out of the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = struct.unpack(f"{order}H", file.read(2))[0] == 43
    count, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    file.seek(8 if big else 4)
    seen: set[int] = set()
    place = _number(file, order + offset)
    while place:
        if place in seen:
            raise ValueError("its list of images runs in a circle: it is damaged")
        if place >= size:
            raise ValueError("an image lies behind its end: it is truncated; get a whole copy")
        seen.add(place)
        file.seek(place)
        tags = _number(file, order + count)
        file.seek(place + struct.calcsize(count) + tags * entry)
        place = _number(file, order + offset)
    file.seek(0)


def _number(file: BinaryIO, form: str) -> int:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise ValueError("it ends within its list of images: it is truncated; get a whole copy")
    return int(struct.unpack(form, data)[0])


def _only_series(tif: "TiffFile") -> "TiffPageSeries":
    """The one stack of the file; ValueError if there are several, or parts of one."""
    if tif.is_stk:
        raise ValueError("a MetaMorph stack; save it as an ImageJ or OME-TIFF")
    series: Any = tif.series
    if not series:
        raise ValueError("it holds no image: it is damaged")
    if len(series) > 1:
        sizes = [" x ".join(map(str, one.shape)) + f" {one.dtype}" for one in series[:3]]
        listed = ", ".join(sizes + ["..."] * (len(series) > 3))
        advice = "save each as a file of its own"
        raise ValueError(f"it holds {len(series)} different images ({listed}); {advice}")
    if series[0].is_pyramidal or series[0].keyframe.subifds:
        raise ValueError("it is a pyramid of several sizes; save the one to denoise as a file")
    return series[0]


def _check_pixels(page: Any) -> None:
    """Refuse pixels that are no grey or RGB numbers."""
    check_type(page.dtype)
    if int(page.compression) not in (*KEPT, JPEG):
        name = getattr(page.compression, "name", page.compression)
        raise ValueError(f"its compression is {name}; save it with deflate, LZW or none")
    if not isinstance(page.bitspersample, int) or page.bitspersample == 1:
        raise ValueError(f"{page.bitspersample} bits a sample; convert it to 8 or 16")
    kind = int(page.photometric)
    decoded = kind == YCBCR and int(page.compression) == JPEG
    if kind not in (*GREY, RGB, PALETTE) and not decoded:
        name = getattr(page.photometric, "name", kind)
        raise ValueError(f"its colours are {name}, expected grey or RGB; convert it to RGB")
    if kind == PALETTE and (page.colormap is None or page.samplesperpixel != 1):
        raise ValueError("its palette is incomplete; convert it to RGB")
    if kind == PALETTE and page.colormap.shape[1] != 2 ** (8 * page.dtype.itemsize):
        raise ValueError(f"a palette of {page.colormap.shape[1]} colours; convert it to RGB")
    if page.imagedepth > 1:
        raise ValueError("its pixels are volumes (ImageDepth); save it as a stack of pages")
    if kind in (RGB, YCBCR) and page.samplesperpixel < 3:
        raise ValueError(f"colours of {page.samplesperpixel} samples: it is damaged")


def _check_segments(tif: Any, series: Any) -> None:
    """Refuse a file that ends before its pixels, or claims more of them than it can hold."""
    size, page = tif.filehandle.size, series.keyframe
    tile = page.tilewidth * page.tilelength * page.samplesperpixel * page.dtype.itemsize
    for claimed in (series.nbytes, tile):
        compressed = int(page.compression) != UNCOMPRESSED
        check_claim(claimed, size, compressed, _is_mapped(tif, series))
    if series.dtype != page.dtype:
        raise ValueError("its pages differ in type; save each as a file of its own")
    for one in tif.pages:
        segments = list(zip(one.dataoffsets, one.databytecounts, strict=False))
        if any(offset + count > size for offset, count in segments):
            raise ValueError("pixels lie behind its end: it is truncated; get a whole copy")
        if int(page.compression) == JPEG:
            _check_jpeg(tif.filehandle, page, segments)


def _check_jpeg(file: Any, page: Any, segments: list[tuple[int, int]]) -> None:
    """Refuse JPEG data that are larger than the tile or strip of them."""
    height = page.tilelength if page.is_tiled else page.imagelength
    width = page.tilewidth if page.is_tiled else page.imagewidth
    for offset, count in segments:
        file.seek(offset)
        largest = jpeg_pixels(file.read(count))
        if largest > 2 * max(height, 16) * max(width, 16):
            raise ValueError(f"JPEG data of {largest} pixels in {width} x {height}: it is damaged")


def _coloured(array: Any, colormap: Any) -> Any:
    """8-bit RGB of a palette's indices."""
    numpy = needed("numpy")
    return numpy.moveaxis((colormap >> 8).astype("uint8")[:, array], 0, -1)


def _extras(page: Any) -> int:
    """How many samples are alpha or masks; further samples of grey are channels."""
    if page.photometric in GREY:
        return sum(int(sample) in ALPHA for sample in page.extrasamples)
    return max(0, page.samplesperpixel - 3) if page.photometric != PALETTE else 0


def _origin(tif: "TiffFile", page: Any, layout: Layout, suffix: str) -> Origin:
    """What `write` has to know."""
    palette = page.photometric == PALETTE
    coloured = page.photometric == YCBCR or (palette and not tif.is_imagej)
    compression = KEPT.get(int(page.compression), DEFLATE)
    tags = {tag.code: tag for tag in page.tags}
    across, down, unit = (tags[code].value if code in tags else None for code in RESOLUTION)
    has_resolution = _is_fraction(across) and _is_fraction(down)
    shaped: Any = tif.shaped_metadata if page.is_shaped else None
    return Origin(
        layout=layout,
        suffix=suffix,
        loss=_loss(page),
        photometric=RGB if coloured else int(page.photometric),
        samples=3 if palette and coloured else page.samplesperpixel,
        separate=page.shaped[0] > 1,
        extrasamples=tuple(int(sample) for sample in page.extrasamples),
        tile=_tile(page),
        compression=compression,
        predictor=int(page.predictor) != 1 or int(page.compression) == JPEG,
        bigtiff=tif.is_bigtiff,
        byteorder=tif.byteorder,
        resolution=(across, down) if has_resolution else None,
        unit=unit if unit in (1, 2, 3) else None,
        description=_description(page),
        shaped=_shaped(shaped[0], layout) if shaped else None,
        icc=_raw(tags[ICC]) if ICC in tags else None,
        colormap=page.colormap if palette and not coloured else None,
        tags=_copied(page),
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and value[1] != 0


def _loss(page: Any) -> str | None:
    """What of a page cannot be written back."""
    losses = []
    if int(page.compression) == JPEG:
        losses.append("its compression is JPEG, the result is written with deflate, lossless")
    stored, written = page.bitspersample, 8 * page.dtype.itemsize
    if stored != written:
        losses.append(f"it has {stored} bits a sample, the result is written with {written}")
    return "; ".join(losses) or None


def _tile(page: Any) -> tuple[int, ...]:
    """Height and width of the tiles, if tifffile can write such."""
    sides = (page.tilelength, page.tilewidth) if page.is_tiled else ()
    return sides if all(side and side % 16 == 0 for side in sides) else ()


def _description(page: Any) -> bytes | None:
    """The first ImageDescription that is not tifffile's own."""
    shaped = page.shaped_description
    for tag in page.tags:
        if tag.code == DESCRIPTION and not (shaped and tag.value == shaped):
            return _raw(tag).rstrip(b"\0")
    return None


def _shaped(metadata: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """The metadata that tifffile keeps of an array, but for those that depend on its size."""
    kept = {key: value for key, value in metadata.items() if key not in ("shape", "truncated")}
    if "axes" in kept:
        kept["axes"] = layout.axes
    return kept


def _copied(page: Any) -> tuple[tuple[int, int, int, bytes, bool], ...]:
    """The tags to write back, byte for byte: code, type, count, bytes, whether only once."""
    copied = []
    for tag in page.tags:
        if tag.code not in WRITTEN and int(tag.dtype) not in POINTERS:
            once = tag.valuebytecount > SHORT
            copied.append((tag.code, int(tag.dtype), tag.count, _raw(tag), once))
    return tuple(copied)


def _raw(tag: Any) -> bytes:
    """The bytes of a tag."""
    file = tag.parent.filehandle
    file.seek(tag.valueoffset)
    return file.read(tag.valuebytecount)


# ---- writing -----------------------------------------------------------------------------------


def plain(colours: int, extras: int, icc: bytes | None = None, dpi: Any = None) -> Origin:
    """The origin of a TIFF file with one image, for pixels from another kind of file.

    Args:
        colours: 1 or 3.
        extras: 1 with alpha, else 0.
        icc: The colour profile.
        dpi: Pixels per inch, horizontally and vertically.

    Returns:
        What `write` needs.
    """
    samples = colours + extras
    axes, sizes = ("YXS", (samples,)) if samples > 1 else ("YX", ())
    has_dpi = bool(dpi) and all(0 < value < MOST_DPI for value in dpi)
    resolution: Any = tuple((round(100 * value), 100) for value in dpi) if has_dpi else None
    return Origin(
        Layout(axes, sizes, extras), photometric=RGB if colours == 3 else 1, samples=samples,
        extrasamples=(2,) * extras, icc=icc, resolution=resolution, unit=2 if has_dpi else None,
    )


def write(pages: Tensor, alpha: Tensor, origin: Origin, path: Path) -> None:
    """Write a TIFF file.

    Args:
        pages: N x C x H x W, of the dtype to write.
        alpha: N x A x H x W, of the same dtype.
        origin: From `read` or `plain`.
        path: The file.

    Raises:
        ValueError: N, C or A is another one than in the file that was read.
        OSError: The file cannot be written.
    """
    tifffile = needed("tifffile")
    height, width = pages.shape[2:]
    array = origin.layout.join(pages, alpha).numpy()
    if origin.shaped is None:
        array = array.reshape(_stored(origin, height, width))
    with quiet():
        tifffile.imwrite(path, array, **_options(origin, array, (width, height)))


def _stored(origin: Origin, height: int, width: int) -> tuple[int, ...]:
    """The shape of the pages as TIFF stores them."""
    if origin.samples == 1:
        return (-1, height, width)
    if origin.separate:
        return (-1, origin.samples, height, width)
    return (-1, height, width, origin.samples)


def _options(origin: Origin, array: Any, size: tuple[int, int]) -> dict[str, Any]:
    """What tifffile's imwrite takes."""
    predictor = origin.predictor and (array.dtype.kind == "f" or array.dtype.itemsize <= 4)
    integer = array.dtype.kind == "u" and array.dtype.itemsize == 1
    colormap = origin.colormap if integer else None
    photometric = origin.photometric
    if photometric == PALETTE and colormap is None:
        photometric = 1
    description = origin.description
    if description is not None and ome.is_ome(description):
        description = ome.adapted(description, array.dtype.name, size)
    several = origin.samples > 1
    return {
        "bigtiff": origin.bigtiff or array.nbytes > 2**32 - 2**25,  # some room for the tags
        "byteorder": origin.byteorder,
        "ome": False,
        "photometric": photometric,
        "planarconfig": (SEPARATE if origin.separate else 1) if several else None,
        "extrasamples": origin.extrasamples if several and origin.extrasamples else None,
        "colormap": colormap,
        "tile": origin.tile or None,
        "compression": origin.compression,
        "predictor": predictor and origin.compression != UNCOMPRESSED,
        "resolution": origin.resolution,
        "resolutionunit": origin.unit,
        "description": description,
        "metadata": origin.shaped,
        "software": "",  # else tifffile's; the file's own is among the tags
        "iccprofile": origin.icc,
        "extratags": origin.tags,
    }
