"""The splits of ImageNet and COCO, and the archives that they are published in.

Sizes in bytes come from the checksum files of tensorflow-datasets (`tfds`), numbers of pictures from the publications
(Russakovsky et al., 2015; cocodataset.org).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A published file of pictures, or of archives of pictures."""

    file: str
    size: int | None  # bytes; None: not published
    members: str  # regular expression of the full names of the pictures or archives in it
    url: str = ""  # empty: it is only for those who register


@dataclass(frozen=True)
class Split:
    """One split of a set. If it is not `needed`, it is made only where the user has all its archives."""

    name: str
    pictures: int
    archives: tuple[Archive, ...]  # the first one holds the pictures
    needed: bool = True
    group: str | None = None  # the feature by which the first archive's members are grouped; None: one picture each


@dataclass(frozen=True)
class PictureSet:
    """A set of pictures that tfds has a builder for."""

    title: str
    builder: str  # tfds name, with the config if there is one
    splits: tuple[Split, ...]
    where: str  # how to get the archives, as the last part of an error's sentence
    unpacked: bool  # True where the builder unpacks the archives before it reads them


def _coco(folder: str, file: str, size: int, members: str) -> Archive:
    return Archive(file, size, members, f"http://images.cocodataset.org/{folder}/{file}")


_INSTANCES = _coco(
    "annotations", "annotations_trainval2017.zip", 252_907_541, r"annotations/instances_(train|val)2017\.json"
)
_JPEG = r"{}2017/[^/]+\.jpg"

IMAGENET = PictureSet(
    title="ImageNet",
    builder="imagenet2012",
    splits=(
        Split(
            "train",
            1_281_167,
            (Archive("ILSVRC2012_img_train.tar", 147_897_477_120, r"n\d{8}\.tar"),),
            group="label",
        ),
        Split(
            "validation",
            50_000,
            (Archive("ILSVRC2012_img_val.tar", 6_744_924_160, r"ILSVRC2012_val_\d{8}\.JPEG"),),
        ),
        Split(
            "test",
            100_000,
            (Archive("ILSVRC2012_img_test.tar", None, r"(test/)?ILSVRC2012_test_\d{8}\.JPEG"),),
            needed=False,
        ),
    ),
    where="register at https://image-net.org/download-images, download the archives of ILSVRC2012 and name their "
    "folder with --manual-dir",
    unpacked=False,
)

COCO = PictureSet(
    title="COCO",
    builder="coco/2017",
    splits=(
        Split(
            "train",
            118_287,
            (_coco("zips", "train2017.zip", 19_336_861_798, _JPEG.format("train")), _INSTANCES),
        ),
        Split(
            "validation",
            5_000,
            (_coco("zips", "val2017.zip", 815_585_330, _JPEG.format("val")), _INSTANCES),
        ),
        Split(
            "test",
            40_670,
            (
                _coco("zips", "test2017.zip", 6_646_970_404, _JPEG.format("test")),
                _coco("annotations", "image_info_test2017.zip", 1_144_034, r"annotations/image_info_test2017\.json"),
            ),
            needed=False,
        ),
    ),
    where="download them again from https://cocodataset.org/#download, or remove them and they will be downloaded",
    unpacked=True,
)

SETS = {"imagenet": IMAGENET, "coco": COCO}
