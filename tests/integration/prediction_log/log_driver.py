"""A process that logs predictions until it is killed: argv is log folder, bundle, digest, manner.

It writes the number of each request when it was answered. Manners:

steady       a request a millisecond
unremoved    as steady, with a flush after 300, which finishes the journal in this process; dies of
             SIGKILL before the journal is removed
unrenamed    the same, before the Parquet file has its name
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from logged_entries import FinishedHere
from logged_requests import answered

from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    root, bundle, digest, manner = sys.argv[1:]
    model = OnnxModel(Path(bundle), Identity("tiny", 3, 7, digest))
    log = PredictionLog(
        Path(root),
        lambda rows: sys.exit(f"{rows} dropped"),
        replica="driver",
        finish=None if manner == "steady" else lambda: FinishedHere(Path(root)),
    )
    log.start()
    if manner == "unremoved":
        Path.unlink = die  # type: ignore[method-assign]
    if manner == "unrenamed":
        Path.rename = die  # type: ignore[method-assign]
    number = 0
    while True:
        log.put(answered(model, f"r{number}"))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1
        if manner != "steady" and number == 300:
            threading.Thread(target=log.flush, daemon=True).start()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
