"""The one door to onnxruntime: its wheel tells Microsoft of every process that loads it.

Unless told otherwise before it is loaded, it starts a thread, writes an identity of this machine
below ~/.cache/Microsoft, and sends events.
"""

import os
from typing import Any


def load_onnxruntime() -> Any:
    """The library, which keeps to itself; an environment that says otherwise stays.

    Source: onnxruntime, docs/Privacy.md.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
