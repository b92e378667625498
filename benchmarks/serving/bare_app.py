"""The limit: an ASGI handler with nothing but JSON in, onnxruntime, JSON out."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson

_FOLDER = Path(os.environ["BENCH_BUNDLE"])
_OPTIONS = onnxruntime.SessionOptions()
_OPTIONS.intra_op_num_threads = 1
_SESSION = onnxruntime.InferenceSession(
    str(_FOLDER / "serving.onnx"), _OPTIONS, providers=["CPUExecutionProvider"]
)
_INPUT = _SESSION.get_inputs()[0].name
_DTYPE = np.float64 if _SESSION.get_inputs()[0].type == "tensor(double)" else np.float32
_OUTPUTS = [_SESSION.get_outputs()[-1].name]
_JSON = (b"content-type", b"application/json")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":  # is it there?
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    rows = orjson.loads(body)["instances"]
    if isinstance(rows[0], dict):
        rows = [list(row.values()) for row in rows]
    scores = _SESSION.run(_OUTPUTS, {_INPUT: np.array(rows, dtype=_DTYPE)})[0]
    answer = orjson.dumps({"predictions": scores.tolist()})
    length = (b"content-length", str(len(answer)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [_JSON, length]})
    await send({"type": "http.response.body", "body": answer})
