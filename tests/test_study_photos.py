"""The picture of photos that both networks denoised."""

import pytest
from helpers import rows_of

from Miniproject_1.others.images import read
from Miniproject_1.others.photos import public_domain_photos
from Miniproject_1.others.picture import SIDE, noisy_and_clean
from Miniproject_1.others.study import photos
from Miniproject_1.others.study.training import pooled_psnr


def test_the_picture_has_four_images_of_each_photo_and_its_row_their_psnr(data, tmp_path):
    picture, results = tmp_path / "picture.png", tmp_path / "rows.jsonl"
    assert photos.main(["-d", str(data), "--minutes", "0.01", "--seed", "3", "-o", str(picture),
                        "--results", str(results)]) == 0
    row, = rows_of(results)
    assert list(row["psnr"]) == ["noisy", "published", "ours"]
    noisy, clean = noisy_and_clean(public_domain_photos(), SIDE, seed=3)
    assert row["psnr"]["noisy"] == pytest.approx(
        [pooled_psnr(image[None], own[None]) for image, own in zip(noisy, clean, strict=True)])
    for photo in zip(*row["psnr"].values(), strict=True):
        assert len(set(photo)) == 3
    assert read(picture).pages.shape[3] > 8 * 3 * SIDE  # two photos of four enlarged images a row
