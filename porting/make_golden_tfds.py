"""Writes tests/golden/tfds: two small sets of bundled photographs, prepared by tensorflow_datasets itself.

One has the features of imagenet2012 and two splits, one those of coco/2017. Needs TensorFlow:

    pip install -e '.[prepare]'
    python -m porting.make_golden_tfds

Versions of Pillow decide what comes out to the byte; the tests compare with what tfds reads of it.
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

ROOT = Path(__file__).parent.parent
PHOTOS = sorted((ROOT / "examples" / "photos").glob("*.jpg"))
OUTPUT = ROOT / "tests" / "golden" / "tfds"


def jpeg(path: Path) -> io.BytesIO:
    content = io.BytesIO()
    with Image.open(path) as picture:
        picture.thumbnail((96, 96))
        picture.save(content, "JPEG")
    content.seek(0)
    return content


class MiniImagenet(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("5.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=3),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(PHOTOS[:5]), "validation": self._generate_examples(PHOTOS[5:7])}

    def _generate_examples(self, paths: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, path in enumerate(paths):
            yield path.name, {"image": jpeg(path), "label": number % 3, "file_name": path.name}


class MiniCoco(tfds.core.GeneratorBasedBuilder):
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="2017", version="1.1.0")]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        objects = {
            "id": np.int64,
            "area": np.int64,
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(num_classes=80),
            "is_crowd": np.bool_,
        }
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "image/filename": tfds.features.Text(),
            "image/id": np.int64,
            "objects": tfds.features.Sequence(objects),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(PHOTOS[7:10])}

    def _generate_examples(self, paths: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, path in enumerate(paths):
            box = tfds.features.BBox(0.1, 0.2, 0.5, 0.9)
            objects = [{"id": k, "area": 9 * k, "bbox": box, "label": k, "is_crowd": False} for k in range(number * 4)]
            yield path.name, {"image": jpeg(path), "image/filename": path.name, "image/id": number, "objects": objects}


def main() -> None:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for builder, count in ((MiniImagenet, 2), (MiniCoco, 1)):
        config = tfds.download.DownloadConfig(num_shards=count)
        builder(data_dir=OUTPUT, file_format="array_record").download_and_prepare(download_config=config)
        shutil.rmtree(OUTPUT / builder.name / ".config", ignore_errors=True)


if __name__ == "__main__":
    main()
