"""TIFF files to pages and back: values, axes, layout, compression and metadata stay."""

import logging
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from samples import numbers, same_picture

from Miniproject_1.others.images import read, write

SIZE = (12, 17)  # height and width
DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "int64", "float16", "float32",
          "float64"]  # fmt: skip


def rewritten(path, array, **options):
    """The file made by tifffile, and its copy made by `read` and `write`."""
    tifffile.imwrite(path, array, **options)
    copy = path.with_stem("copy")
    picture = read(path)
    write(picture, copy)
    assert same_picture(read(copy), picture)
    with tifffile.TiffFile(path) as first, tifffile.TiffFile(copy) as second:
        assert np.array_equal(first.asarray(), second.asarray())
        ours, theirs = second.series[0], first.series[0]
        assert (ours.axes, ours.shape, ours.dtype) == (theirs.axes, theirs.shape, theirs.dtype)
    return picture, copy


def tags_of(path) -> dict:
    with tifffile.TiffFile(path) as tif:
        return {tag.code: tag.value for tag in tif.pages[0].tags}


# ---- values and layout -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_number_is_kept(tmp_path, dtype):
    picture, _ = rewritten(tmp_path / "a.tif", numbers(SIZE, dtype))
    assert picture.dtype == picture.pages.dtype == getattr(torch, dtype)
    assert picture.pages.shape == (1, 1, *SIZE) and picture.alpha.shape == (1, 0, *SIZE)


@pytest.mark.parametrize(
    "shape, options, pages, alpha",
    [
        ((3,), {}, (3, 1), 0),
        ((1,), {}, (1, 1), 0),
        ((2, 3), {"metadata": {"axes": "TZYX"}}, (6, 1), 0),
        ((2, 3), {"metadata": {"axes": "ZCYX"}}, (2, 3), 0),
        ((2, 3), {"metadata": {"axes": "CZYX"}}, (3, 2), 0),
        ((2, 3), {"metadata": None}, (6, 1), 0),
        ((3,), {"photometric": "rgb", "planarconfig": "separate"}, (1, 3), 0),
        ((4, 3), {"photometric": "rgb", "planarconfig": "separate"}, (4, 3), 0),
        ((5, 4), {"photometric": "rgb", "planarconfig": "separate", "extrasamples": [1]},
         (5, 3), 1),
    ],
)  # fmt: skip
def test_axes_before_the_image(tmp_path, shape, options, pages, alpha):
    array = numbers((*shape, *SIZE), "uint16")
    options = {"photometric": "minisblack"} | options
    picture, copy = rewritten(tmp_path / "a.tif", array, **options)
    assert picture.pages.shape == (*pages, *SIZE) and picture.alpha.shape[1] == alpha
    planar = options.get("planarconfig")
    assert tags_of(copy).get(284) == (2 if planar else None)


@pytest.mark.parametrize(
    "samples, options, colours",
    [
        (3, {"photometric": "rgb"}, 3),
        (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 3),
        (4, {"photometric": "rgb", "extrasamples": ["assocalpha"]}, 3),
        (5, {"photometric": "rgb", "extrasamples": [2, 0]}, 3),
        (2, {"photometric": "minisblack", "extrasamples": [2]}, 1),
        (5, {"photometric": "minisblack", "extrasamples": [0] * 4}, 5),
    ],
)
def test_samples_of_a_pixel(tmp_path, samples, options, colours):
    array = numbers((*SIZE, samples), "uint16")
    picture, copy = rewritten(tmp_path / "a.tif", array, planarconfig="contig", **options)
    assert picture.pages.shape[1] == colours and picture.alpha.shape[1] == samples - colours
    assert np.array_equal(picture.pages[0].permute(1, 2, 0).numpy(), array[..., :colours])
    for code in (262, 338):
        assert tags_of(copy).get(code) == tags_of(tmp_path / "a.tif").get(code)


def test_alpha_stays_as_it_is_where_colours_change(tmp_path):
    array = numbers((*SIZE, 4), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=[2])
    picture = read(tmp_path / "a.tif")
    write(replace(picture, pages=picture.pages * 0.0 + 7.4), tmp_path / "b.tif")
    result = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(result[..., 3], array[..., 3]) and (result[..., :3] == 7).all()


@pytest.mark.parametrize("axes", ["ZYX", "YXS", "CYX"])
def test_pictures_side_by_side(tmp_path, axes):
    shape = (*SIZE, 3) if axes == "YXS" else (3, *SIZE)
    kind = "rgb" if axes == "YXS" else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", numbers(shape, "uint8"), photometric=kind,
                     metadata={"axes": axes})
    picture = read(tmp_path / "a.tif")
    wide = replace(picture, pages=torch.cat([picture.pages] * 2, 3),
                   alpha=torch.cat([picture.alpha] * 2, 3))
    write(wide, tmp_path / "b.tif")
    assert torch.equal(read(tmp_path / "b.tif").pages, wide.pages)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.series[0].axes == axes


@pytest.mark.parametrize(
    "options",
    [{"byteorder": ">"}, {"bigtiff": True}, {"tile": (16, 32)}, {"photometric": "miniswhite"},
     {"byteorder": ">", "bigtiff": True, "compression": "zlib", "predictor": True}],
)  # fmt: skip
def test_the_container_is_kept(tmp_path, options):
    _, copy = rewritten(tmp_path / "a.tif", numbers((40, 50), "uint16"), **options)
    with tifffile.TiffFile(copy) as tif:
        assert tif.byteorder == options.get("byteorder", "<")
        assert tif.is_bigtiff == options.get("bigtiff", False)
        page = tif.pages[0]
        assert (page.tilelength, page.tilewidth) == options.get("tile", (0, 0))
        assert page.photometric.name.lower() == options.get("photometric", "minisblack")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_lossless_compression_is_kept(tmp_path, compression, dtype):
    predictor = compression != "packbits"
    _, copy = rewritten(tmp_path / "a.tif", numbers(SIZE, dtype), compression=compression,
                        predictor=predictor)
    for code in (259, 317):
        assert tags_of(copy).get(code) == tags_of(tmp_path / "a.tif").get(code)


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("kind, shape", [("rgb", (40, 24, 3)), ("minisblack", (40, 24))])
def test_jpeg_compression_becomes_deflate_with_a_warning(tmp_path, kind, shape, tile):
    tifffile.imwrite(tmp_path / "a.tif", numbers(shape, "uint8"), photometric=kind, tile=tile,
                     compression="jpeg")
    picture = read(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="b.tif.*JPEG.*deflate"):
        write(picture, tmp_path / "b.tif")
    assert torch.equal(read(tmp_path / "b.tif").pages, picture.pages)
    assert tags_of(tmp_path / "b.tif")[259] == 8


def test_twelve_bits_become_sixteen_with_a_warning(tmp_path):
    array = numbers(SIZE, "uint16") >> 4
    tifffile.imwrite(tmp_path / "a.tif", array, bitspersample=12)
    picture = read(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="12 bits.*16"):
        write(picture, tmp_path / "b.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), array)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
def test_float32_on_request(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", numbers((2, *SIZE), dtype), compression="zlib",
                     predictor=True, photometric="minisblack")
    picture = read(tmp_path / "a.tif")
    pages = picture.pages.float() + 0.25
    write(replace(picture, pages=pages), tmp_path / "b.tif", dtype="float32")
    again = read(tmp_path / "b.tif")
    assert again.dtype == torch.float32 and torch.equal(again.pages, pages)
    assert tags_of(tmp_path / "b.tif")[317] == 3


def test_a_palette_becomes_rgb(tmp_path):
    colours = np.zeros((3, 256), "uint16")
    colours[:, 7] = (10 << 8, 20 << 8, 30 << 8)
    tifffile.imwrite(tmp_path / "a.tif", np.full(SIZE, 7, "uint8"), colormap=colours)
    picture = read(tmp_path / "a.tif")
    assert picture.pages[0, :, 0, 0].tolist() == [10, 20, 30]
    write(picture, tmp_path / "b.tif")
    assert same_picture(read(tmp_path / "b.tif"), picture)


# ---- metadata ----------------------------------------------------------------------------------


def test_tags_are_kept(tmp_path):
    extra = [(33432, 2, 0, "somebody", True), (34682, 2, 0, "a microscope's own text", True),
             (274, 3, 1, 6, False)]  # fmt: skip
    _, copy = rewritten(
        tmp_path / "a.tif", numbers(SIZE, "uint16"), resolution=(9.2, 4.6), resolutionunit=3,
        description="taken on Monday", datetime="2024:01:02 03:04:05", software="camera",
        iccprofile=b"a profile of colours", extratags=extra,
    )  # fmt: skip
    before, after = tags_of(tmp_path / "a.tif"), tags_of(copy)
    for code in (270, 274, 282, 283, 296, 305, 306, 33432, 34675, 34682):
        assert after[code] == before[code]


def test_a_description_that_is_not_ascii_is_kept(tmp_path):
    text = "5 µm, Größe".encode()
    tifffile.imwrite(tmp_path / "a.tif", numbers(SIZE, "uint8"), description=text, metadata=None)
    write(read(tmp_path / "a.tif"), tmp_path / "b.tif")
    assert text in (tmp_path / "b.tif").read_bytes()


IMAGEJ = {"unit": "um", "spacing": 0.7, "finterval": 2.5, "min": 3.0, "max": 900.0,
          "Info": "microscope: big", "Labels": [f"slice {i}" for i in range(6)]}  # fmt: skip


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("axes, pages", [("TZYX", (6, 1)), ("TCYX", (2, 3)), ("ZCYX", (2, 3))])
def test_imagej_hyperstacks(tmp_path, axes, pages, byteorder):
    luts = [np.arange(768, dtype="uint8").reshape(3, 256)] * 3
    metadata = IMAGEJ | {"axes": axes} | ({"LUTs": luts} if "C" in axes else {})
    array = numbers((2, 3, *SIZE), "uint16")
    picture, copy = rewritten(tmp_path / "a.tif", array, imagej=True, resolution=(9.2, 9.2),
                              byteorder=byteorder, metadata=metadata)
    assert picture.pages.shape[:2] == pages
    with tifffile.TiffFile(tmp_path / "a.tif") as first, tifffile.TiffFile(copy) as second:
        before, after = first.imagej_metadata, second.imagej_metadata
        assert str(after) == str(before) and after["unit"] == "um" and after["spacing"] == 0.7
        assert after["Labels"] == IMAGEJ["Labels"]
    assert tags_of(copy)[282] == tags_of(tmp_path / "a.tif")[282]


def test_imagej_stacks_of_one_directory(tmp_path):
    array = numbers((5, *SIZE), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, truncate=True,
                     metadata={"axes": "ZYX"})
    picture = read(tmp_path / "a.tif")
    assert np.array_equal(picture.pages[:, 0].numpy(), array)
    write(picture, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.series[0].axes == "ZYX" and np.array_equal(tif.asarray(), array)


def test_channels_and_samples(tmp_path):
    array = numbers((2, *SIZE, 3), "uint8")
    picture, _ = rewritten(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "CYXS"})
    assert np.array_equal(picture.pages[0, 4].numpy(), array[1, :, :, 1])


def test_imagej_look_up_tables_leave_the_values_alone(tmp_path):
    colours = np.arange(768, dtype="uint16").reshape(3, 256) << 6
    picture, copy = rewritten(tmp_path / "a.tif", numbers(SIZE, "uint8"), imagej=True,
                              colormap=colours)
    assert picture.pages.shape[1] == 1
    assert np.array_equal(tags_of(copy)[320], tags_of(tmp_path / "a.tif")[320])
    write(picture, tmp_path / "f.tif", dtype="float32")
    assert torch.equal(read(tmp_path / "f.tif").pages, picture.pages.float())


OME = {"PhysicalSizeX": 0.108, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 0.3,
       "SignificantBits": 12}  # fmt: skip


@pytest.mark.parametrize(
    "axes, shape, pages",
    [("ZYX", (4, *SIZE), (4, 1)), ("TCZYX", (2, 3, 4, *SIZE), (8, 3)),
     ("CZYX", (2, 3, *SIZE), (3, 2)), ("ZYXS", (2, *SIZE, 3), (2, 3))],
)  # fmt: skip
def test_ome_stacks(tmp_path, axes, shape, pages):
    kind = "rgb" if "S" in axes else "minisblack"
    picture, copy = rewritten(tmp_path / "a.ome.tif", numbers(shape, "uint16"), photometric=kind,
                              metadata=OME | {"axes": axes})
    assert picture.pages.shape[:2] == pages
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as first, tifffile.TiffFile(copy) as second:
        assert second.is_ome and second.ome_metadata == first.ome_metadata
        assert second.series[0].kind == "ome"


def test_ome_metadata_tell_other_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", numbers((3, *SIZE), "uint16"),
                     metadata=OME | {"axes": "ZYX"}, photometric="minisblack")
    picture = read(tmp_path / "a.ome.tif")
    wide = replace(picture, pages=torch.cat([picture.pages] * 2, 3).float(),
                   alpha=torch.cat([picture.alpha] * 2, 3))
    write(wide, tmp_path / "b.ome.tif", dtype="float32")
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert 'Type="float"' in tif.ome_metadata and 'SizeX="34"' in tif.ome_metadata
        assert "SignificantBits" not in tif.ome_metadata
        assert 'PhysicalSizeX="0.108"' in tif.ome_metadata
        assert tif.series[0].shape == (3, 12, 34) and tif.series[0].dtype == "float32"


def test_ome_metadata_that_lie_leave_the_pages(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", numbers((3, *SIZE), "uint16"), metadata=None,
                     description=b'<OME><Image><Pixels DimensionOrder="XYZCT" SizeZ="999999999" '
                                 b'SizeC="1" SizeT="1"/></Image></OME>', photometric="minisblack")
    assert read(tmp_path / "a.ome.tif").pages.shape == (3, 1, *SIZE)


# ---- what is refused ---------------------------------------------------------------------------


def save_unsuitable(folder) -> None:
    grey = numbers(SIZE, "uint8")
    tifffile.imwrite(folder / "complex.tif", grey.astype("complex64"))
    tifffile.imwrite(folder / "bits.tif", grey > 99)
    tifffile.imwrite(folder / "cmyk.tif", numbers((*SIZE, 4), "uint8"), photometric="separated")
    tifffile.imwrite(folder / "long.tif", grey.astype("uint64"))
    tifffile.imwrite(folder / "lab.tif", numbers((*SIZE, 3), "uint8"), photometric="cielab")
    with tifffile.TiffWriter(folder / "sizes.tif") as tif:
        tif.write(grey)
        tif.write(grey[:5])
    with tifffile.TiffWriter(folder / "pyramid.tif") as tif:
        tif.write(numbers((64, 64), "uint8"), subifds=1)
        tif.write(numbers((32, 32), "uint8"), subfiletype=1)
    tifffile.imwrite(folder / "wavelets.tif", grey, compression="jpeg2000")
    tifffile.imwrite(folder / "volume.tif", numbers((16, 16, 16), "uint8"), volumetric=True,
                     tile=(16, 16, 16), photometric="minisblack")


@pytest.mark.parametrize(
    "name, value",
    [("complex", "complex64"), ("bits", "bool"), ("cmyk", "SEPARATED"), ("long", "uint64"),
     ("lab", "CIELAB"), ("sizes", "2 different images"), ("pyramid", "pyramid"),
     ("volume", "ImageDepth"), ("wavelets", "JPEG2000")],
)  # fmt: skip
def test_what_cannot_be_written_back_is_named(tmp_path, name, value):
    save_unsuitable(tmp_path)
    with pytest.raises(ValueError, match=rf"{name}\.tif: .*{value}") as caught:
        read(tmp_path / f"{name}.tif")
    assert "\n" not in str(caught.value)


def test_other_numbers_of_pages_or_channels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((3, *SIZE), "uint8"), photometric="minisblack")
    picture = read(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="b.tif.*as they were read"):
        write(replace(picture, pages=picture.pages[:2]), tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()


# ---- damaged and hostile files -----------------------------------------------------------------


def with_tag(path, code: int, value) -> None:
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[code].overwrite(value)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_headers_that_claim_terabytes_are_refused(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", numbers(SIZE, "uint8"), compression=compression)
    for code in (256, 257):
        with_tag(tmp_path / "a.tif", code, 2_000_000)
    with pytest.raises(ValueError, match=r"a\.tif: .*4 TB"):
        read(tmp_path / "a.tif")


def test_tiles_that_claim_terabytes_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers(SIZE, "uint8"), compression="zlib", tile=(16, 16))
    for code in (322, 323):
        with_tag(tmp_path / "a.tif", code, 2_000_000)
    with pytest.raises(ValueError, match=r"a\.tif: .*4 TB"):
        read(tmp_path / "a.tif")


def test_jpeg_data_that_claim_more_than_their_strip_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((16, 16), "uint8"), compression="jpeg")
    data = (tmp_path / "a.tif").read_bytes()
    size = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.tif").write_bytes(data[:size] + b"\xff\xf0\xff\xf0" + data[size + 4 :])
    with pytest.raises(ValueError, match=r"a\.tif: JPEG data of"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("images", [1, 3, 150])
def test_lists_of_images_that_run_in_a_circle_are_refused(tmp_path, images):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbers((images, 2, 2), "uint8"), photometric="minisblack",
                     metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[-1].offset
    data = bytearray(path.read_bytes())
    after = last + 2 + 12 * int.from_bytes(data[last : last + 2], "little")
    data[after : after + 4] = first.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.tif: .*circle"):
        read(path)


def test_thousands_of_images(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", numbers((3000, 2, 2), "uint8"), photometric="minisblack",
                     metadata=None)
    assert read(tmp_path / "a.tif").pages.shape == (3000, 1, 2, 2)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_files_are_refused(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", numbers((3, *SIZE), "uint16"), compression=compression,
                     photometric="minisblack")
    whole = (tmp_path / "a.tif").read_bytes()
    for length in range(0, len(whole) - 8, 37):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.tif"):
            read(tmp_path / "a.tif")


def test_nothing_is_logged(tmp_path, capfd, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", numbers(SIZE, "uint8"), imagej=True)
    data = (tmp_path / "a.tif").read_bytes().replace(b"images=1\n", b"slices=9\n")
    (tmp_path / "a.tif").write_bytes(data)  # which claims nine images
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        read(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


def test_tiff_needs_tifffile(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", numbers(SIZE, "uint8"))
    monkeypatch.setitem(sys.modules, "tifffile", None)  # as if not installed
    with pytest.raises(ValueError, match="pip install tifffile"):
        read(tmp_path / "a.tif")
