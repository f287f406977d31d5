"""Renews palgan_jax/prepare/lists: the packages, checksums and sizes of the photographs that photographs.csv names.

    python -m porting.make_photograph_list FOLDER [--trained-on DIR]

It needs apt-get with the sources of one release of Debian (`apt-get update`), and the Pillow of constraints.txt. The
packages go into FOLDER, or lie there. Of photographs.csv, the columns file, package, path, edit, subject, license and
author are chosen by people; in a new row, `path!jpeg@OFFSET` stands for a JPEG inside of a file. The files are read by
dpkg-deb here, not by the reader of palgan_jax. `--trained-on` compares the photographs with those of another folder.
"""

import argparse
import csv
import datetime
import hashlib
import io
import re
import subprocess
import tarfile
import urllib.parse
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.prepare.download import download
from palgan_jax.prepare.photograph_jpeg import make_jpeg, take_source
from palgan_jax.prepare.photograph_list import POOLS, Package, Photograph

LISTS = Path(__file__).parent.parent / "palgan_jax" / "prepare" / "lists"


def find_packages(names: list[str], snapshot: str) -> list[Package]:
    """Asks apt for the addresses, versions, sizes and checksums of packages."""
    command = ["apt-get", "download", "--print-uris", *names]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    packages = []
    for line in lines:
        address, file, size, checksum = re.fullmatch(r"'https?://[^/]+/(\S+)' (\S+) (\d+) SHA256:(\w+)", line).groups()
        name, version, _ = urllib.parse.unquote(file).split("_")
        packages.append(Package(name, version, urllib.parse.unquote(address), snapshot, int(size), checksum))
    return sorted(packages, key=lambda package: package.package)


def members(path: Path, names: set[str]) -> dict[str, bytes]:
    """Reads files of a package by dpkg-deb."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            entries = ((entry.name.removeprefix("./"), entry) for entry in tar)
            contents = {name: tar.extractfile(entry).read() for name, entry in entries if name in names}
        process.stdout.read()  # what follows the end of the archive
    return contents


def jpeg_length(data: bytes) -> int:
    """Returns the number of bytes of the JPEG with which `data` begins."""
    at = 2
    while data[at : at + 2] != b"\xff\xd9":  # the end
        marker = data[at + 1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # a scan: its samples go on to the next marker but those of restarts
            at = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(data, at).start()
    return at + 2


def complete(row: dict[str, str], member: bytes) -> tuple[Photograph, bytes]:
    """Returns a photograph with its checksums and size, and its JPEG."""
    path, jpeg, offset = row["path"].partition("!jpeg@")
    if jpeg:
        row["path"] = f"{path}!bytes@{offset}+{jpeg_length(member[int(offset) :])}"
    row |= {"width": 0, "height": 0, "source_sha256": "", "sha256": ""}
    source = take_source(member, Photograph(**row))
    encoded = make_jpeg(source, Photograph(**row))
    row["width"], row["height"] = Image.open(io.BytesIO(encoded)).size
    row["source_sha256"], row["sha256"] = (hashlib.sha256(content).hexdigest() for content in (source, encoded))
    return Photograph(**row), encoded


def psnr(jpeg: bytes, published_jpeg: bytes) -> float:
    """Returns the PSNR of the pixels of two pictures of one size, in dB."""
    a, b = (
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float64) for content in (jpeg, published_jpeg)
    )
    error = np.mean((a - b) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def write(name: str, rows: list) -> None:
    """Writes dataclasses as a table."""
    with (LISTS / name).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def main() -> None:
    """Renews the lists and says what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the packages")
    parser.add_argument("--trained-on", type=Path, metavar="DIR", help="folder of photographs to compare with")
    args = parser.parse_args()
    with (LISTS / "photographs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    args.folder.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT000000Z")
    packages = find_packages(sorted({row["package"] for row in rows}), today)
    photographs, identical, lowest_psnr = {}, 0, float("inf")
    for package in packages:
        path = args.folder / package.file
        if not path.exists():
            print(f"downloading {POOLS}{package.pool}")
            download(package.addresses[:1], path, package.size, package.sha256, lambda _: None)
        package_rows = [row for row in rows if row["package"] == package.package]
        contents = members(path, {row["path"].partition("!")[0] for row in package_rows})
        for row in package_rows:
            photograph, jpeg = complete(row, contents[row["path"].partition("!")[0]])
            photographs[photograph.file] = photograph
            if args.trained_on:
                published_jpeg = (args.trained_on / photograph.file).read_bytes()
                identical, lowest_psnr = (
                    identical + (jpeg == published_jpeg),
                    min(lowest_psnr, psnr(jpeg, published_jpeg)),
                )
    write("packages.csv", packages)
    write("photographs.csv", [photographs[row["file"]] for row in rows])
    print(
        f"{len(photographs)} photographs in {len(packages)} packages of {sum(entry.size for entry in packages):,} bytes"
    )
    if args.trained_on:
        print(f"{identical} are the same byte for byte; lowest PSNR {lowest_psnr:.2f} dB")


if __name__ == "__main__":
    main()
