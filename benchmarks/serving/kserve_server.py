"""KServe's ModelServer with the same ONNX graph; runs in an environment of its own."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from kserve import Model, ModelServer


class Digits(Model):  # type: ignore[misc]
    def __init__(self, bundle: Path) -> None:
        super().__init__("digits")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(bundle / "serving.onnx"), options, providers=["CPUExecutionProvider"]
        )
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._dtype = np.float64 if entry.type == "tensor(double)" else np.float32
        self._outputs = [self._session.get_outputs()[-1].name]
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        del headers, response_headers
        rows = payload["instances"]
        if isinstance(rows[0], dict):
            rows = [list(row.values()) for row in rows]
        cells = np.array(rows, dtype=self._dtype)
        return {"predictions": self._session.run(self._outputs, {self._input: cells})[0].tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    server = ModelServer(http_port=given.port, enable_grpc=False, workers=1)
    server.start([Digits(given.bundle)])
