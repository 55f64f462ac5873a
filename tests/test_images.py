"""Image files to tensors and back."""

import sys

import pytest
import torch
from PIL import Image, ImageOps
from samples import random_image, write_photos

from Miniproject_1.others.images import (
    check_suffix,
    image_files,
    read,
    read_rgb,
    save,
    split_alpha,
    to_pillow,
    to_tensor,
    write,
)

# ---- in kind -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels, mode", [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_eight_bit_round_trip(tmp_path, channels, mode):
    image = random_image(channels)
    write(image, tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as stored:
        assert (stored.mode, stored.size) == (mode, (7, 5))
        expected = tuple(image[:, 2, 3].tolist())
        assert stored.getpixel((3, 2)) == (expected if channels > 1 else expected[0])
    back = read(tmp_path / "image.png")
    assert back.dtype == torch.uint8 and torch.equal(back, image)


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.pgm"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path, name):
    values = torch.tensor([0, 1, 256, 257, 40001, 65534, 65535])
    write(values.view(1, 1, 7) / 257, tmp_path / name, sixteen_bit=True)
    with Image.open(tmp_path / name) as stored:
        assert [stored.getpixel((x, 0)) for x in range(7)] == values.tolist()
    back = read(tmp_path / name)
    assert back.dtype == torch.float32 and back.max() == 255
    assert torch.equal((back * 257).round().long().flatten(), values)


def test_big_endian_sixteen_bit_tiff(tmp_path):
    Image.frombytes("I;16B", (2, 1), b"\x01\x02\xff\xff").save(tmp_path / "image.tif")
    back = (read(tmp_path / "image.tif") * 257).round()
    assert back.flatten().tolist() == [0x0102, 0xFFFF]


def test_values_are_rounded_and_clamped(tmp_path):
    image = torch.tensor([-3.0, 0.4, 0.6, 254.6, 300.0]).view(1, 1, 5)
    write(image, tmp_path / "image.png")
    assert read(tmp_path / "image.png").flatten().tolist() == [0, 0, 1, 255, 255]


def test_transposed_and_sliced_tensors_are_written_as_they_look(tmp_path):
    image = random_image(3, 6, 8).transpose(1, 2)[:, 1:5]
    write(image, tmp_path / "image.png")
    assert torch.equal(read(tmp_path / "image.png"), image)


def test_jpeg_has_quality_95(tmp_path):
    image = random_image(3, 64, 64)
    write(image, tmp_path / "ours.jpg")
    to_pillow(image).save(tmp_path / "95.jpg", quality=95)
    assert (tmp_path / "ours.jpg").read_bytes() == (tmp_path / "95.jpg").read_bytes()


def test_a_palette_becomes_rgb(tmp_path):
    Image.new("RGB", (4, 4), (10, 20, 30)).quantize().save(tmp_path / "image.png")
    assert read(tmp_path / "image.png")[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "mode, colour, expected",
    [("RGB", (10, 20, 30), [10, 20, 30, 0]), ("L", 10, [10, 0]), ("1", 0, [0, 0])],
)
def test_a_transparent_colour_becomes_alpha(tmp_path, mode, colour, expected):
    Image.new(mode, (4, 4), colour).save(tmp_path / "image.png", transparency=colour)
    assert read(tmp_path / "image.png")[:, 0, 0].tolist() == expected


def test_bilevel_images_become_grey(tmp_path):
    Image.new("1", (4, 4), 1).save(tmp_path / "image.png")
    assert torch.equal(read(tmp_path / "image.png"), torch.full((1, 4, 4), 255, dtype=torch.uint8))


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.new("RGB", (6, 4))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert ImageOps.exif_transpose(picture).size == (4, 6)
    assert read(tmp_path / "turned.jpg").shape == (3, 6, 4)


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
def test_sixteen_bits_are_scaled_to_eight(tmp_path, name):
    values = torch.tensor([0, 0x4000, 0xFFFF]).view(1, 1, 3) / 257
    write(values, tmp_path / name, sixteen_bit=True)
    grey = to_tensor(read_rgb(tmp_path / name))
    assert grey.tolist() == [[[0, 64, 255]]] * 3


# ---- bad files ---------------------------------------------------------------------------------


def save_unsuitable(folder) -> None:
    Image.new("CMYK", (4, 4)).save(folder / "cmyk.jpg")
    Image.new("F", (4, 4)).save(folder / "float.tif")
    Image.frombytes("I", (1, 1), (70000).to_bytes(4, "little")).save(folder / "deep.tif")
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    "name, value",
    [("cmyk.jpg", "CMYK"), ("float.tif", "F"), ("deep.tif", "70000"), ("moving.gif", "2")],
)
def test_what_cannot_be_written_back_is_named(tmp_path, name, value):
    save_unsuitable(tmp_path)
    with pytest.raises(ValueError, match=rf"{name}.*\b{value}\b"):
        read(tmp_path / name)


@pytest.mark.parametrize("reader", [read, read_rgb])
def test_damaged_files_are_named(tmp_path, reader):
    write(random_image(3, 64, 64), tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("not an image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(ValueError, match=name):
            reader(tmp_path / name)


@pytest.mark.parametrize("reader", [read, read_rgb])
def test_files_that_cannot_be_opened_are_an_os_error(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        reader(tmp_path / "missing.png")


@pytest.mark.parametrize(
    "channels, name, sixteen_bit",
    [(4, "alpha.jpg", False), (1, "deep.jpg", True), (5, "five.png", False), (3, "deep.png", True)],
)
def test_failed_writes_leave_nothing_behind(tmp_path, channels, name, sixteen_bit):
    with pytest.raises(ValueError, match=name):
        write(random_image(channels), tmp_path / name, sixteen_bit)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["image.xyz", "image"])
def test_formats_that_cannot_be_written_are_named(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        check_suffix(tmp_path / name)
    with pytest.raises(ValueError, match=name):
        save(Image.new("RGB", (4, 4)), tmp_path / name)


# ---- folders, alpha, Pillow --------------------------------------------------------------------


def test_image_files_are_found_below_a_folder(tmp_path):
    expected = write_photos(tmp_path / "deep" / "er", 2) + write_photos(tmp_path / "flat", 1)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    assert image_files(tmp_path) == expected


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_folders_without_images_are_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no photo")
    with pytest.raises(ValueError, match=name):
        image_files(tmp_path / name)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_colour_and_alpha_are_split(channels):
    image = random_image(channels)
    colour, alpha = split_alpha(image)
    grey = channels < 3
    assert torch.equal(colour, image[:1].repeat(3, 1, 1) if grey else image[:3])
    assert torch.equal(alpha, image[1:] if grey else image[3:])


def test_images_need_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # as if not installed
    with pytest.raises(ValueError, match="pip install"):
        image_files(tmp_path)
