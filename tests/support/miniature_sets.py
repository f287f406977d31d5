"""ImageNet and COCO in miniature: layout, names and oddities of the published archives, other photographs."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from tests.support.places import ROOT

PHOTOS = ROOT / "examples" / "photos"
SIDE = 96

# In the original these two are a CMYK JPEG and a PNG, and the builder of tfds knows them by name.
CMYK_KNOWN, PNG_KNOWN = "n01739381_1309.JPEG", "n02105855_2933.JPEG"
CMYK_UNKNOWN, PNG_UNKNOWN, GRAY = "n01440764_10029.JPEG", "n01440764_10040.JPEG", "n01440764_10042.JPEG"


def photographs() -> list[Image.Image]:
    """The bundled photographs, with short sides of 96 pixels."""
    pictures = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(path) as picture:
            scale = SIDE / min(picture.size)
            size = (round(picture.width * scale), round(picture.height * scale))
            pictures.append(picture.convert("RGB").resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    return pictures


def encode(picture: Image.Image, name: str = "") -> bytes:
    """JPEG, but what the names at the top stand for."""
    content = io.BytesIO()
    mode = {CMYK_KNOWN: "CMYK", CMYK_UNKNOWN: "CMYK", GRAY: "L"}.get(name, "RGB")
    kind = "PNG" if name in (PNG_KNOWN, PNG_UNKNOWN) else "JPEG"
    picture.convert(mode).save(content, kind)
    return content.getvalue()


def write_tar(path: Path | io.BytesIO, files: Iterable[tuple[str, bytes]], mode: str = "w") -> None:
    where = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode=mode, **where) as tar:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def imagenet_names(count: int) -> dict[str, list[str]]:
    """Synset -> names of its pictures, `count` in all, those of the oddities among them."""
    first = [f"n01440764_{number}.JPEG" for number in (10026, 10027, 10029, 10040, 10042)]
    names = {"n01440764": first, "n01739381": [CMYK_KNOWN], "n02105855": [PNG_KNOWN]}
    synsets = list(names)
    for number in range(sum(map(len, names.values())), count):
        synset = synsets[number % len(synsets)]
        names[synset].append(f"{synset}_{20000 + number}.JPEG")
    return names


def make_imagenet(folder: Path) -> dict[str, list[str]]:
    """ILSVRC2012_img_train.tar (60 pictures of 3 classes, a tar each) and ILSVRC2012_img_val.tar (6 pictures).

    Returns the names of the pictures of each split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = photographs()
    train, validation = iter(pictures[:-6]), pictures[-6:]
    synsets, names = [], []
    for synset, files in imagenet_names(len(pictures) - 6).items():
        inner = io.BytesIO()
        write_tar(inner, [(name, encode(next(train), name)) for name in files])
        synsets.append((f"{synset}.tar", inner.getvalue()))
        names += files
    write_tar(folder / "ILSVRC2012_img_train.tar", synsets)
    of_validation = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 7)]
    write_tar(
        folder / "ILSVRC2012_img_val.tar",
        [(name, encode(picture)) for name, picture in zip(of_validation, validation, strict=True)],
    )
    return {"train": names, "validation": of_validation}


def make_coco(folder: Path) -> dict[str, list[str]]:
    """train2017.zip (12 pictures), val2017.zip (4) and annotations_trainval2017.zip.

    Returns the names of the pictures of each split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures, names = iter(photographs()), {}
    with zipfile.ZipFile(folder / "annotations_trainval2017.zip", "w") as annotations:
        for split, short, count in (("train", "train2017", 12), ("validation", "val2017", 4)):
            images, objects = [], []
            with zipfile.ZipFile(folder / f"{short}.zip", "w") as archive:
                archive.writestr(f"{short}/", "")
                for number in range(1, count + 1):
                    picture = next(pictures)
                    name = f"{581781 * number % 1000000:012d}.jpg"
                    archive.writestr(f"{short}/{name}", encode(picture))
                    size = {"height": picture.height, "width": picture.width}
                    images.append({"id": number, "file_name": name, **size})
                    objects.append(
                        {"id": 100 + number, "image_id": number, "category_id": 3, "iscrowd": 0, "area": 12.5}
                        | {"bbox": [1.0, 2.0, 30.0, 40.0]}
                    )
            categories = [{"id": id_, "name": f"thing {id_}", "supercategory": "thing"} for id_ in range(1, 81)]
            content = {"images": images, "annotations": objects, "categories": categories}
            annotations.writestr(f"annotations/instances_{short}.json", json.dumps(content))
            annotations.writestr(f"annotations/captions_{short}.json", "{}")
            names[split] = [image["file_name"] for image in images]
    return names
