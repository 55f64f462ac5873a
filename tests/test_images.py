"""Image files to tensors and back, and pairs from two folders."""

import warnings

import pytest
import torch
from PIL import Image, ImageOps

from Miniproject_1.others.images import check_suffix, paired, read, split_alpha, write
from Miniproject_1.others.picture import ENLARGED, GAP, SCENES, grid, main


def random_image(channels, height=5, width=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (channels, height, width), generator=generator, dtype=torch.uint8)


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
    assert (read(tmp_path / "image.tif") * 257).round().flatten().tolist() == [0x0102, 0xFFFF]


def test_values_are_rounded_and_clamped(tmp_path):
    write(torch.tensor([-3.0, 0.4, 0.6, 254.6, 300.0]).view(1, 1, 5), tmp_path / "image.png")
    assert read(tmp_path / "image.png").flatten().tolist() == [0, 0, 1, 255, 255]


def test_transposed_and_sliced_tensors_are_written_as_they_look(tmp_path):
    image = random_image(3, 6, 8)
    write(image.transpose(1, 2)[:, 1:5], tmp_path / "image.png")
    assert torch.equal(read(tmp_path / "image.png"), image.transpose(1, 2)[:, 1:5])


def test_jpeg_has_quality_95(tmp_path):
    image = random_image(3, 64, 64)
    write(image, tmp_path / "ours.jpg")
    with Image.open(tmp_path / "ours.jpg") as ours:
        ours.convert("RGB").save(tmp_path / "95.jpg", quality=95)
        with Image.open(tmp_path / "95.jpg") as reference:
            assert ours.quantization == reference.quantization


def test_palette_and_transparent_colours_are_expanded(tmp_path):
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    picture.quantize().save(tmp_path / "palette.png")
    assert read(tmp_path / "palette.png")[:, 0, 0].tolist() == [10, 20, 30]
    picture.save(tmp_path / "transparent.png", transparency=(10, 20, 30))
    assert read(tmp_path / "transparent.png")[:, 0, 0].tolist() == [10, 20, 30, 0]
    Image.new("1", (4, 4), 1).save(tmp_path / "bilevel.png")
    assert read(tmp_path / "bilevel.png").shape == (1, 4, 4)


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.new("RGB", (6, 4))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert ImageOps.exif_transpose(picture).size == (4, 6)
    assert read(tmp_path / "turned.jpg").shape == (3, 6, 4)


def test_unsuitable_files_are_named(tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "cmyk.jpg")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    Image.frombytes("I", (1, 1), (70000).to_bytes(4, "little")).save(tmp_path / "deep.tif")
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.png").write_text("not an image")
    write(random_image(3, 64, 64), tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    for name, reason in [("cmyk.jpg", "mode is CMYK"), ("float.tif", "mode is F"), ("deep.tif", "to 70000"),
                         ("moving.gif", "2 frames"), ("text.png", "not an image"), ("cut.png", "truncated")]:
        with pytest.raises(ValueError, match=f"{name}: .*{reason}"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="missing.png"):
        read(tmp_path / "missing.png")


def test_failed_writes_leave_nothing_behind(tmp_path):
    for image, name, deep in [(random_image(4), "alpha.jpg", False), (random_image(1), "deep.jpg", True),
                              (random_image(5), "five.png", False), (random_image(3), "deep.png", True)]:
        with pytest.raises(ValueError, match=name):
            write(image, tmp_path / name, sixteen_bit=deep)
    for name in ("image.xyz", "image"):
        with pytest.raises(ValueError, match="cannot write"):
            check_suffix(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_grid_places_rows_and_columns():
    top, bottom = (torch.full((3, 1, 2, 4), value) for value in (10.0, 20.0))
    top[1] = 30
    picture = grid([top, bottom])
    assert picture.shape == (1, 2 * 2 * ENLARGED + GAP, 3 * 4 * ENLARGED + 2 * GAP)
    corners = [(0, 0), (0, 4 * ENLARGED), (0, 4 * ENLARGED + GAP), (2 * ENLARGED, 0), (-1, -1), (2 * ENLARGED - 1, -1)]
    assert [picture[0, y, x].item() for y, x in corners] == [10, 255, 30, 255, 20, 10]


def test_picture_of_scenes_and_of_photos(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "photos" / "red.png")
    assert main(["-o", str(tmp_path / "scenes.png")]) == 0
    assert main(["--photos", str(tmp_path / "photos"), "-o", str(tmp_path / "photo.png")]) == 0
    side = 32 * ENLARGED
    height = 3 * side + 2 * GAP
    assert read(tmp_path / "scenes.png").shape == (3, height, SCENES * (side + GAP) - GAP)
    photo = read(tmp_path / "photo.png")
    assert photo.shape == (3, height, side)
    assert photo[:, 0, 0].tolist() == photo[:, -1, 0].tolist() == [200, 0, 0]  # noisy and clean: it is flat
    (tmp_path / "photos/cut.png").write_bytes((tmp_path / "photos/red.png").read_bytes()[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of pytest
        assert main(["--photos", str(tmp_path / "photos"), "-o", str(tmp_path / "photo.png")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "cut.png" in error and ".py:" not in error
    assert torch.equal(read(tmp_path / "photo.png"), photo)
    assert main(["--photos", str(tmp_path / "missing"), "-o", str(tmp_path / "photo.png")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_split_alpha():
    for channels in (1, 2, 3, 4):
        image = random_image(channels)
        colour, alpha = split_alpha(image)
        assert colour.shape == (3, 5, 7) and len(alpha) == (channels + 1) % 2
        assert torch.equal(colour[0], image[0]) and torch.equal(colour[2], image[2 if channels > 2 else 0])
        if len(alpha):
            assert torch.equal(alpha[0], image[-1])


def folders(tmp_path, *sizes_a, sizes_b=None):
    """Two folders of pictures 0.png, 1.png and so on, (height, width) as given."""
    for folder, sizes in (("a", sizes_a), ("b", sizes_b or sizes_a)):
        (tmp_path / folder).mkdir()
        for number, size in enumerate(sizes):
            write(random_image(3, *size, seed=number), tmp_path / folder / f"{number}.png")
    return tmp_path / "a", tmp_path / "b"


def test_paired_tiles(tmp_path):
    a, b = folders(tmp_path, (128, 64), (100, 130))
    noisy_a, noisy_b = paired(a, b)
    assert noisy_a.shape == (2 + 2 * 3, 3, 64, 64) and noisy_a.dtype == torch.uint8
    assert torch.equal(noisy_a, noisy_b)  # the folders hold the same pictures, so the order of tiles agrees
    assert torch.equal(noisy_a[0], random_image(3, 128, 64, seed=0)[:, :64])


def test_paired_small_images_set_the_size_of_tiles(tmp_path):
    noisy_a, _ = paired(*folders(tmp_path, (20, 50), (64, 64)))
    assert noisy_a.shape == (3 + 4 * 4, 3, 20, 20)


def test_paired_grey_and_alpha(tmp_path):
    a, b = folders(tmp_path)
    write(random_image(1, 32, 32), a / "x.png")
    write(random_image(2, 32, 32), b / "x.png")
    noisy_a, noisy_b = paired(a, b)
    assert noisy_a.shape == noisy_b.shape == (1, 3, 32, 32)
    assert torch.equal(noisy_a[0, 0], noisy_a[0, 2])


def test_paired_names_what_does_not_fit(tmp_path):
    a, b = folders(tmp_path, (32, 32), (32, 40), sizes_b=((32, 32), (32, 41)))
    with pytest.raises(ValueError, match=r"differ in size.*: 1.png \(40 x 32 colour and 41 x 32 colour\); crop"):
        paired(a, b)
    write(random_image(1, 32, 40), b / "1.png")
    with pytest.raises(ValueError, match=r": 1.png \(40 x 32 colour and 40 x 32 grey\)"):
        paired(a, b)
    for number in range(7):
        write(random_image(3, 32, 32), b / f"alone{number}.png")
    write(random_image(3, 32, 32), a / "single.png")
    with pytest.raises(ValueError, match="a/single.png.*b/alone3.png and 3 more"):
        paired(a, b)


def test_paired_too_small(tmp_path):
    with pytest.raises(ValueError, match="0.png has a side of 15"):
        paired(*folders(tmp_path, (15, 100)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty"):
        paired(tmp_path / "empty", tmp_path / "b")
