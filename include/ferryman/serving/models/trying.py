"""`python -m ferryman.serving try`: loads a candidate and replays its golden rows, then ends.

In a process of its own: what a candidate does to memory, or to its process, happens to nobody else.
How it went is told in one line of JSON: {"error": null}, or the error's class, text and remedy.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from ferryman.errors import FerrymanError
from ferryman.runtime.parent_death import end_with_parent
from ferryman.serving.models.memory_limit import limited_memory
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.onnx_model import Identity, open_verified
from ferryman.serving.sockets.channel import told_error

_UNRELEASED = 0
_NICE = 10


def main(arguments: Sequence[str] = ()) -> int:
    """Try a candidate of a server; the exit code is that of the error tree."""
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving try")
    parser.add_argument("--root", type=Path, required=True, help="the server's state")
    parser.add_argument("--model", required=True)
    parser.add_argument("--digest", required=True, help="of the candidate's bundle")
    parser.add_argument("--threads", type=int, default=1, help="of its arithmetic")
    parser.add_argument("--memory", type=int, default=0, help="bytes that it may use; 0: any")
    parser.add_argument("--parent", type=int, help="the process that this one ends with")
    parser.add_argument("--public-key", type=Path, help="only a bundle signed with its key")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        end_with_parent(given.parent)
    os.nice(_NICE)  # users are answered first
    try:
        folder = ModelCopies(given.root, public_key=given.public_key).verified(
            given.model, given.digest
        )
        candidate = Identity(given.model, _UNRELEASED, _UNRELEASED, given.digest)
        with limited_memory(given.model, given.memory):
            open_verified(folder, candidate, threads=given.threads)
    except FerrymanError as error:
        _say({"error": told_error(error)})
        return int(error.exit_code)
    _say({"error": None})
    return 0


def _say(content: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(content) + b"\n")
    sys.stdout.buffer.flush()
