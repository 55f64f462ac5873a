"""PNG, JPEG, WebP and other files to pages and back, and photos as 8-bit RGB."""

import io
import struct
import sys
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, PngImagePlugin
from samples import numbers, random_image, same_picture, write_image

from Miniproject_1.others.images import read, read_rgb, save, to_pillow, to_tensor, write

SIZE = (12, 17)  # height and width
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def rewritten(path):
    """The picture of a file, and its copy."""
    copy = path.with_stem("copy")
    picture = read(path)
    write(picture, copy)
    return picture, copy


def smooth() -> Image.Image:
    """A photo that JPEG hardly changes."""
    ramp = torch.arange(64.0)
    return to_pillow(torch.stack([ramp.expand(48, 64) * k for k in (1, 2, 3)]))


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["a.png", "a.tga", "a.jp2", "a.j2k"])
def test_eight_bits(tmp_path, channels, name):
    image = random_image(channels)
    write_image(image, tmp_path / name)
    picture, copy = rewritten(tmp_path / name)
    assert picture.dtype == torch.uint8 and picture.pages.shape[1] == (1 if channels < 3 else 3)
    assert torch.equal(torch.cat((picture.pages[0], picture.alpha[0])), image)
    assert same_picture(read(copy), picture)


@pytest.mark.parametrize("name", ["a.bmp", "a.ppm", "a.webp"])
def test_colours(tmp_path, name):
    to_pillow(random_image(3)).save(tmp_path / name, lossless=True)
    picture, copy = rewritten(tmp_path / name)
    assert torch.equal(picture.pages[0], random_image(3)) and same_picture(read(copy), picture)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_sixteen_bits_of_png(tmp_path, samples):
    array = numbers((*SIZE, samples), "uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array.squeeze()))
    picture, copy = rewritten(tmp_path / "a.png")
    assert picture.dtype == torch.uint16 and picture.alpha.shape[1] == 1 - samples % 2
    assert same_picture(read(copy), picture)
    assert np.array_equal(imagecodecs.png_decode(copy.read_bytes()), array.squeeze())


@pytest.mark.parametrize("samples, colour", [(1, (500,)), (3, (500, 600, 700))])
def test_a_transparent_colour_of_sixteen_bits_becomes_alpha(tmp_path, samples, colour):
    array = np.zeros((*SIZE, samples), "uint16")
    array[2, 3] = colour
    data = imagecodecs.png_encode(array.squeeze())
    content = b"tRNS" + struct.pack(f">{samples}H", *colour)
    chunk = struct.pack(">I", 2 * samples) + content + struct.pack(">I", zlib.crc32(content))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    picture, copy = rewritten(tmp_path / "a.png")
    assert picture.alpha[0, 0, 2, 3] == 0 and picture.alpha[0, 0, 3, 2] == 65535
    assert picture.pages[0, :, 2, 3].tolist() == list(colour)
    assert same_picture(read(copy), picture)


def test_sixteen_bits_of_pgm(tmp_path):
    values = [0, 1, 256, 257, 40001, 65534, 65535]
    (tmp_path / "a.pgm").write_bytes(b"P5 7 1 65535\n" + struct.pack(">7H", *values))
    picture, copy = rewritten(tmp_path / "a.pgm")
    assert picture.dtype == torch.uint16 and picture.pages.flatten().tolist() == values
    assert copy.read_bytes().endswith(struct.pack(">7H", *values))


def test_floats_of_pfm(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n3 1\n-1.0\n" + struct.pack("<3f", -1.5, 0.25, 1e9))
    picture, copy = rewritten(tmp_path / "a.pfm")
    assert picture.pages.flatten().tolist() == [-1.5, 0.25, 1e9]
    assert same_picture(read(copy), picture)


@pytest.mark.parametrize("image", ["P1 2 1\n1 0", "P2 2 1 255\n0 255"])
def test_texts_of_numbers(tmp_path, image):
    (tmp_path / "a.pnm").write_text(image)
    picture, copy = rewritten(tmp_path / "a.pnm")
    assert picture.pages.flatten().tolist() == [0, 255] and same_picture(read(copy), picture)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [("RGB", (10, 20, 30), [10, 20, 30]), ("L", 10, [10]), ("1", 0, [0])],
)
def test_a_transparent_colour_becomes_alpha(tmp_path, mode, colour, expected):
    Image.new(mode, (4, 4), colour).save(tmp_path / "a.png", transparency=colour)
    picture, copy = rewritten(tmp_path / "a.png")
    assert picture.pages[0, :, 0, 0].tolist() == expected and not picture.alpha.any()
    assert same_picture(read(copy), picture)


def test_a_palette_becomes_rgb(tmp_path):
    Image.new("RGB", (4, 4), (10, 20, 30)).quantize().save(tmp_path / "a.png")
    picture, copy = rewritten(tmp_path / "a.png")
    assert picture.pages[0, :, 0, 0].tolist() == [10, 20, 30]
    assert same_picture(read(copy), picture)


def test_bilevel_images_become_grey(tmp_path):
    Image.new("1", (4, 4), 1).save(tmp_path / "a.png")
    picture, _ = rewritten(tmp_path / "a.png")
    assert torch.equal(picture.pages, torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))


# ---- formats -----------------------------------------------------------------------------------


def test_jpeg_has_quality_95_and_the_sampling_of_the_file(tmp_path):
    for sampling in (0, 2):
        smooth().save(tmp_path / "a.jpg", quality=80, subsampling=sampling)
        picture, copy = rewritten(tmp_path / "a.jpg")
        to_pillow(picture.pages[0]).save(tmp_path / "b.jpg", quality=95, subsampling=sampling)
        assert copy.read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_lossless_webp_stays_lossless(tmp_path):
    image = random_image(4)
    to_pillow(image).save(tmp_path / "a.webp", lossless=True, exact=True, icc_profile=PROFILE)
    picture, copy = rewritten(tmp_path / "a.webp")
    assert torch.equal(picture.pages[0], image[:3]) and same_picture(read(copy), picture)
    with Image.open(copy) as stored:
        assert stored.info["icc_profile"] == PROFILE


def test_lossy_webp_has_quality_95(tmp_path):
    smooth().save(tmp_path / "a.webp", quality=60, icc_profile=PROFILE)
    picture, copy = rewritten(tmp_path / "a.webp")
    stream = io.BytesIO()
    to_pillow(picture.pages[0]).save(stream, "WEBP", quality=95, icc_profile=PROFILE)
    assert copy.read_bytes() == stream.getvalue()


def test_grey_gif_is_kept_and_colours_are_warned_of(tmp_path):
    write_image(torch.arange(256).view(1, 16, 16), tmp_path / "grey.gif")
    picture, copy = rewritten(tmp_path / "grey.gif")
    assert same_picture(read(copy), picture)
    smooth().save(tmp_path / "colour.gif")
    with pytest.warns(UserWarning, match="copy.gif: GIF keeps 256 colours"):
        rewritten(tmp_path / "colour.gif")


def test_a_file_is_what_it_holds_not_what_it_is_called(tmp_path):
    smooth().save(tmp_path / "a.jpg", "PNG")
    _, copy = rewritten(tmp_path / "a.jpg")
    assert copy.read_bytes().startswith(b"\x89PNG")


# ---- metadata ----------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
def test_metadata_of_png(tmp_path, deep):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "specimen 7")
    text.add_itxt("Author", "Zoë")
    text.add(b"gAMA", struct.pack(">I", 45455))
    smooth().save(tmp_path / "a.png", pnginfo=text, icc_profile=PROFILE, dpi=(600, 300))
    if deep:
        head, body = (tmp_path / "a.png").read_bytes(), numbers((*SIZE, 3), "uint16")
        coded = imagecodecs.png_encode(body)
        chunks = head[33 : head.index(b"IDAT") - 4]
        (tmp_path / "a.png").write_bytes(coded[:33] + chunks + coded[33:])
    _, copy = rewritten(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as before, Image.open(copy) as after:
        before.load()
        after.load()
        assert after.info == before.info and after.info["icc_profile"] == PROFILE
        assert after.text == before.text and after.text["Author"] == "Zoë"
        assert round(after.info["dpi"][0]) == 600


def turned_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769)[0x927C] = b"notes of its maker"
    return exif


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_metadata_of_photos(tmp_path, name):
    smooth().save(tmp_path / name, exif=turned_exif(6), icc_profile=PROFILE, dpi=(300, 300))
    picture, copy = rewritten(tmp_path / name)
    assert picture.pages.shape[2:] == (64, 48)
    with Image.open(tmp_path / name) as before, Image.open(copy) as after:
        assert after.size == (48, 64) and after.info["icc_profile"] == PROFILE
        exif = after.getexif()
        assert (exif[0x0112], exif[0x010F]) == (1, "a camera")
        assert exif.get_ifd(0x8769)[0x927C] == b"notes of its maker"
        assert len(after.info["exif"]) == len(before.info["exif"])
        if name != "a.webp":
            assert round(after.info["dpi"][0]) == 300


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_every_orientation(tmp_path, orientation, deep):
    to_pillow(random_image(3)).save(tmp_path / "a.png", exif=turned_exif(orientation))
    expected = to_tensor(read_rgb(tmp_path / "a.png"))
    if deep:
        head, coded = (tmp_path / "a.png").read_bytes(), random_image(3).permute(1, 2, 0)
        coded = imagecodecs.png_encode(coded.contiguous().numpy().astype("uint16") * 257)
        chunks = head[head.index(b"eXIf") - 4 : head.index(b"IDAT") - 4]
        (tmp_path / "a.png").write_bytes(coded[:33] + chunks + coded[33:])
        expected = (expected.to(torch.int32) * 257).to(torch.uint16)
    picture, copy = rewritten(tmp_path / "a.png")
    assert torch.equal(picture.pages[0], expected)
    assert same_picture(read(copy), picture)


def test_damaged_exif_data_are_dropped(tmp_path):
    smooth().save(tmp_path / "a.jpg", exif=turned_exif(6))
    data = (tmp_path / "a.jpg").read_bytes().replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0?")
    (tmp_path / "a.jpg").write_bytes(data)
    picture, copy = rewritten(tmp_path / "a.jpg")
    assert picture.pages.shape[2:] == (48, 64) and b"Exif" not in copy.read_bytes()


def test_resolution_of_bmp(tmp_path):
    smooth().save(tmp_path / "a.bmp", dpi=(300, 300))
    _, copy = rewritten(tmp_path / "a.bmp")
    with Image.open(copy) as stored:
        assert round(stored.info["dpi"][0]) == 300


# ---- as 8-bit RGB ------------------------------------------------------------------------------


def halves() -> Image.Image:
    """64 x 32 pixels: black left half, white right half."""
    picture = Image.new("L", (64, 32), 0)
    picture.paste(255, (32, 0, 64, 32))
    return picture


def is_halves(image: Image.Image) -> bool:
    black, white = image.getpixel((0, 0)), image.getpixel((63, 31))
    return image.mode == "RGB" and image.size == (64, 32) and max(black) < 5 and min(white) > 250


@pytest.mark.parametrize(
    "mode, name",
    [("L", "a.png"), ("CMYK", "a.jpg"), ("RGBA", "a.PNG"), ("1", "a.tif"), ("LA", "a.png")],
)
def test_any_mode_becomes_rgb(tmp_path, mode, name):
    halves().convert(mode).save(tmp_path / name)
    assert is_halves(read_rgb(tmp_path / name))


def test_a_transparent_palette_becomes_rgb(tmp_path):
    halves().convert("P").save(tmp_path / "image.png", transparency=bytes([255, 128]))
    assert is_halves(read_rgb(tmp_path / "image.png"))


def test_the_first_of_several_frames_becomes_rgb(tmp_path):
    frames = [halves(), Image.new("L", (64, 32), 128)]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert is_halves(read_rgb(tmp_path / "image.gif"))


def test_a_turned_photo_becomes_upright_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # by 90 degrees: black above white
    halves().save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = read_rgb(tmp_path / "turned.jpg")
    assert image.size == (32, 64)
    assert max(image.getpixel((31, 0))) < 5 and min(image.getpixel((0, 63))) > 250


@pytest.mark.parametrize("name", ["image.png", "image.pgm", "image.tif"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(tmp_path, name):
    values = np.array([[0, 0x4000, 0xFFFF]], dtype="uint16")
    Image.fromarray(values).save(tmp_path / name)
    grey = to_tensor(read_rgb(tmp_path / name))
    assert grey.tolist() == [[[0, 64, 255]]] * 3


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_sixteen_bits_of_colour_are_scaled_to_eight(tmp_path, name):
    values = np.array([[[0, 0x4000, 0xFFFF]]], dtype="uint16")
    if name == "image.png":
        (tmp_path / name).write_bytes(imagecodecs.png_encode(values))
    else:
        tifffile.imwrite(tmp_path / name, values, photometric="rgb")
    assert to_tensor(read_rgb(tmp_path / name)).flatten().tolist() == [0, 64, 255]


def test_the_first_page_of_a_stack_becomes_rgb(tmp_path):
    stack = np.stack([np.full((4, 6), value, "uint16") for value in (0x4000, 0)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert to_tensor(read_rgb(tmp_path / "a.tif")).unique().tolist() == [64]


@pytest.mark.parametrize("dtype, value", [("float32", "floats"), ("int16", "-5"), ("int32", "-5")])
def test_values_without_a_white_are_refused(tmp_path, dtype, value):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 6), -5, dtype))
    with pytest.raises(ValueError, match=rf"a\.tif: .*{value}"):
        read_rgb(tmp_path / "a.tif")


# ---- what is refused ---------------------------------------------------------------------------


def png_that_claims(side: int) -> bytes:
    header = b"IHDR" + struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + bytes(4) + b"IDAT" + bytes(8)


def save_unsuitable(folder) -> None:
    Image.new("CMYK", (4, 4)).save(folder / "cmyk.jpg")
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    for name in ("moving.gif", "moving.webp", "moving.png"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    (folder / "twelve.pgm").write_bytes(b"P5 1 1 4095\n\1\0")
    (folder / "deep.ppm").write_bytes(b"P6 1 1 65535\n" + bytes(6))
    deep = imagecodecs.jpeg2k_encode(numbers((*SIZE, 3), "uint16"), level=0)
    (folder / "deep.jp2").write_bytes(deep)
    frames[0].save(folder / "icon.png", "ICO")
    (folder / "bomb.png").write_bytes(png_that_claims(40000))
    (folder / "large.png").write_bytes(png_that_claims(10000))  # Pillow only warns of it


@pytest.mark.parametrize(
    "name, value",
    [("cmyk.jpg", "CMYK"), ("moving.gif", "2 frames"), ("moving.webp", "2 frames"),
     ("moving.png", "2 frames"), ("twelve.pgm", "4095"), ("deep.ppm", "65535"),
     ("deep.jp2", "16, 16, 16"), ("icon.png", "no known kind"), ("bomb.png", "bomb"),
     ("large.png", "exhaust memory")],
)  # fmt: skip
def test_what_cannot_be_written_back_is_named(unsuitable, name, value):
    with pytest.raises(ValueError, match=rf"{name}: .*\b{value}\b") as caught:
        read(unsuitable / name)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def unsuitable(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unsuitable")
    save_unsuitable(folder)
    return folder


@pytest.mark.parametrize("reader", [read, read_rgb])
def test_damaged_files_are_named(tmp_path, reader):
    write_image(random_image(3, 64, 64), tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("cut.png", "text.png", "empty.png"):
        with pytest.raises(ValueError, match=name):
            reader(tmp_path / name)


@pytest.mark.parametrize("reader", [read, read_rgb])
def test_files_that_cannot_be_opened_are_an_os_error(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        reader(tmp_path / "missing.png")


def test_failed_writes_leave_nothing_behind(tmp_path):
    write_image(random_image(3), tmp_path / "a.bmp")
    picture = read(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").unlink()
    with_alpha = replace(picture, alpha=picture.pages[:, :1])  # which Pillow drops from BMP
    for wrong in (with_alpha, replace(picture, pages=picture.pages.expand(2, -1, -1, -1))):
        with pytest.raises(ValueError, match="b.bmp"):
            write(wrong, tmp_path / "b.bmp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["image.xyz", "image"])
def test_formats_that_pillow_cannot_save_are_named(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        save(Image.new("RGB", (4, 4)), tmp_path / name)


def test_eight_bits_need_pillow_alone(tmp_path, monkeypatch):
    write_image(random_image(4), tmp_path / "a.png")
    for package in ("numpy", "tifffile", "imagecodecs"):
        monkeypatch.setitem(sys.modules, package, None)  # as if not installed
    picture, copy = rewritten(tmp_path / "a.png")
    assert same_picture(read(copy), picture)
