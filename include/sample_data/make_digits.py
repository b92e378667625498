"""Make the files of the digits example from the pictures that scikit-learn brings along.

Usage:
    python include/sample_data/make_digits.py [--out DIRECTORY]

No download: the 1,797 pictures lie inside the scikit-learn package. Their sha256 is checked before
they are parted, so the same package or a later one with the same pictures gives the same bytes.

What the files hold: README.md beside this script.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
PIXELS = 64
TEST_ROWS = 597
SEED = 0
# Twelve days that train, six that test, a hundred pictures a day: what `model_zoo/digits` declares.
TRAIN_START = datetime(2024, 1, 1, tzinfo=UTC)
TEST_START = datetime(2024, 1, 13, tzinfo=UTC)
PER_DAY = 100
APART = timedelta(minutes=14)


def checked_digits() -> tuple[Any, Any]:
    """The pictures [1797, 64] of 0 to 16 and their digits [1797]; refuses any other bytes."""
    bundled = load_digits()
    images = bundled.data.astype(np.uint8)
    digits = bundled.target.astype(np.uint8)
    found = hashlib.sha256(images.tobytes() + digits.tobytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"scikit-learn's digits have sha256 {found}, expected {SHA256}")
    return images, digits


def write(path: Path, start: datetime, numbers: Any, images: Any, digits: Any) -> int:
    """Write one CSV, a hundred pictures a day; the bytes written."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["image", "written_at", "digit", *(f"p{place}" for place in range(PIXELS))])
        for place, number in enumerate(numbers):
            day, within = divmod(place, PER_DAY)
            moment = start + timedelta(days=day) + within * APART
            pixels = images[number].tolist()
            rows.writerow([number, f"{moment:%Y-%m-%dT%H:%M:%SZ}", digits[number], *pixels])
    return path.stat().st_size


def make(out: Path) -> None:
    """Write train.csv and test.csv into `out`: each digit's share is the same in both."""
    images, digits = checked_digits()
    train, test = train_test_split(
        np.arange(len(digits)), test_size=TEST_ROWS, random_state=SEED, stratify=digits
    )
    out.mkdir(parents=True, exist_ok=True)
    size = write(out / "train.csv", TRAIN_START, train, images, digits)
    size += write(out / "test.csv", TEST_START, test, images, digits)
    sys.stdout.write(f"{len(train)} + {len(test)} pictures: {size / 1e6:.2f} MB in {out}\n")


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(description="Make the files of the digits example.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "digits")
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
