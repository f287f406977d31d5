"""Photographs from every kind of source, read whole."""

import pytest
from PIL import Image

from palgan_jax.errors import UserError
from palgan_jax.evaluation.truth import open_truth, read_picture


def test_pictures_are_read_whole_from_any_source(samples, tmp_path):
    (tmp_path / "list.txt").write_text(f"{samples}/coffee.jpg\n{samples}/china.jpg\n")
    for spec in (str(samples), f"folder:{samples}", f"list:{tmp_path / 'list.txt'}"):
        pictures = open_truth(spec)
        names = [pictures.picture_name(i) for i in range(len(pictures))]
        (i,) = (i for i, name in enumerate(names) if name.endswith("coffee.jpg"))
        with Image.open(samples / "coffee.jpg") as file:
            assert read_picture(pictures, i).shape[:2] == file.size[::-1]
    with pytest.raises(UserError, match="cannot be measured on"):
        open_truth("synthetic:10")
