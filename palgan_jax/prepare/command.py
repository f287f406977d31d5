"""`palgan prepare imagenet|coco|photographs [--manual-dir DIR] [--data-dir DIR]`."""

import argparse
import importlib.util
import logging
import os
from pathlib import Path

from palgan_jax.errors import UserError
from palgan_jax.prepare.sets import SETS, PictureSet
from palgan_jax.util.files import expand_home, user_path
from palgan_jax.util.text import in_words

log = logging.getLogger(__name__)

PHOTOGRAPHS = "photographs"
"""The set that needs no builder of tfds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palgan prepare`."""
    parser.add_argument("set", choices=sorted([*SETS, PHOTOGRAPHS]), help="which set")
    parser.add_argument(
        "--manual-dir",
        type=user_path,
        metavar="DIR",
        help="folder of the archives or Debian packages that you have downloaded (default: downloads/manual in the "
        "data folder; for photographs: none)",
    )
    parser.add_argument(
        "--data-dir",
        type=expand_home,
        metavar="DIR",
        help="folder of prepared sets (default: $TFDS_DATA_DIR, or ~/tensorflow_datasets; for photographs: photos)",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _epilog()
    parser.set_defaults(run=run)


def _epilog() -> str:
    lines = ["archives:"]
    for name, picture_set in SETS.items():
        archives = dict.fromkeys(archive for split in picture_set.splits if split.needed for archive in split.archives)
        lines += [f"  {name}: {archive.file}, {in_words(archive.size or 0)} {archive.url}" for archive in archives]
    return "\n".join(
        [
            *lines,
            "",
            "ImageNet's are for those who register at https://image-net.org/download-images; COCO's are downloaded",
            "where --manual-dir does not have them. A set that tfds has prepared as TFRECORD files is converted, and",
            "needs none. The same command goes on where it was interrupted, and checks a set that is finished.",
            "",
            "photographs are those that the bundled model is trained on: 1.24 GB of packages of Debian are downloaded,",
            "on any system, and 544 photographs of 44 MB are taken from them. manifest.csv has their licenses.",
        ]
    )


def run(args: argparse.Namespace) -> int:
    """Prepares a set, converts it, or checks it if it is finished; returns 0. Raises UserError where it cannot."""
    try:
        return _run_photographs(args) if args.set == PHOTOGRAPHS else _run_tfds(args)
    except KeyboardInterrupt:
        log.info("interrupted: what is finished is kept, and the same command goes on from there")
        raise


def _run_photographs(args: argparse.Namespace) -> int:
    from palgan_jax.prepare.photograph_list import read_packages, read_photographs
    from palgan_jax.prepare.photographs import make_photographs

    folder = _data_dir(args.data_dir or "photos")
    package_folder = _manual_dir(args.manual_dir, folder) if args.manual_dir else None
    make_photographs(folder, package_folder, read_packages(), read_photographs())
    log.info("%s is ready: folder:%s and folder:%s", folder, folder / "train", folder / "val")
    return 0


def _run_tfds(args: argparse.Namespace) -> int:
    os.environ["JAX_PLATFORMS"] = "cpu"  # no accelerator is needed, and none is taken from others
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # TensorFlow would print a line about it
    for noisy in ("absl", "urllib3"):  # they log each request of tfds
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from palgan_jax.data.tfds_layout import ARRAY_RECORD, TFRECORD, formats
    from palgan_jax.prepare.dataset_info import find_prepared, read_info
    from palgan_jax.prepare.verify import verify

    picture_set = SETS[args.set]
    data_dir = _data_dir(args.data_dir)
    folder = find_prepared(data_dir, picture_set.builder)
    present = formats(read_info(folder)) if folder else []
    if folder and ARRAY_RECORD in present:
        verify(folder, picture_set)
        log.info("%s is finished: there is nothing to do", folder)
        return 0
    if folder and TFRECORD not in present:
        raise UserError(
            f"{folder} is there as {present[0]}, which cannot be converted: name another folder with --data-dir."
        )
    _need_tensorflow()
    if folder:
        _convert(folder)
    else:
        folder = _build(picture_set, _manual_dir(args.manual_dir, data_dir), data_dir)
    verify(folder, picture_set)
    log.info("%s is ready: tfds:%s@train", folder, picture_set.builder)
    return 0


def _data_dir(option: str | None) -> Path:
    """Returns the folder of prepared sets. Raises UserError where it is not a local one."""
    name = option or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in name:
        raise UserError(f"{name} is not a local folder: prepare the set in one and copy it from there.")
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{name} cannot be found ({error}): name a folder with --data-dir.") from error


def _manual_dir(option: Path | None, data_dir: Path) -> Path:
    """Returns the folder of the user's archives. Raises UserError where the named one does not exist."""
    folder = (option or data_dir / "downloads" / "manual").expanduser()
    if option and not folder.is_dir():
        raise UserError(f"there is no folder {folder}: put the archives into one and name it with --manual-dir.")
    return folder


def _need_tensorflow() -> None:
    """Raises UserError where a package that preparing needs is not installed."""
    missing = [name for name in ("tensorflow", "importlib_resources") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"preparing a set needs {missing[0]}, which is not installed: pip install -e '.[prepare]'.")


def _convert(folder: Path) -> None:
    """Converts a prepared set of TFRECORD files."""
    from palgan_jax.prepare.convert import convert
    from palgan_jax.prepare.lock import workplace

    log.info("%s is there as TFRECORD files: it gets ArrayRecord files beside them", folder)
    with workplace(folder.parent):
        convert(folder)


def _build(picture_set: PictureSet, manual_dir: Path, data_dir: Path) -> Path:
    """Makes a set from its archives; returns its version folder."""
    from palgan_jax.prepare import build
    from palgan_jax.prepare.archives import check_addresses, check_room, find_archives, log_archives, splits_to_make
    from palgan_jax.prepare.lock import UNFINISHED, workplace

    set_folder = data_dir / picture_set.builder
    finished = build.finished_splits(picture_set, set_folder / UNFINISHED)
    unfinished = [split for split in splits_to_make(picture_set, manual_dir) if split not in finished]
    archives = find_archives(picture_set, unfinished, manual_dir)
    log_archives(archives)
    check_addresses(archives, manual_dir)
    with workplace(set_folder) as work:
        build.clear_unfinished(picture_set, work)
        room = check_room(picture_set, unfinished, archives, data_dir)
        log.info("%s goes to %s and takes up to %s there", picture_set.title, data_dir, in_words(room))
        for split in finished:
            log.info("%s: finished before", split.name)
        for split in unfinished:
            build.build_split(picture_set, split, archives, manual_dir, work)
        splits = [split for split in picture_set.splits if split in finished or split in unfinished]
        return build.put_together(picture_set, splits, work, data_dir)
