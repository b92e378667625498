"""`python -m ferryman.serving.models.fetched_models`: replays golden rows of what `fetch` brought.

A process of its own, with the server's libraries: a graph that crashes or does not fit ends it, and
not whoever asked.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ferryman.errors import FerrymanError
from ferryman.serving.models.fetch import read_release
from ferryman.serving.models.onnx_model import Identity, open_verified

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] = ()) -> int:
    """Open each model of a release below a root; the exit code is that of the error tree."""
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving.models.fetched_models")
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        for name, one in read_release(given.release).items():
            folder = given.root / "models" / name / one.digest
            open_verified(folder, Identity(name, one.version, one.epoch, one.digest))
    except FerrymanError as error:
        sys.stderr.write(f"{error.text}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
