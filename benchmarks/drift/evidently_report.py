"""Runs in Evidently's environment: REFERENCE CURRENT CATEGORY...; prints seconds as JSON."""

import json
import sys
import time

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    reference, current, *words = sys.argv[1:]
    frames = [pd.read_parquet(file) for file in (reference, current)]
    for frame in frames:
        frame[words] = frame[words].astype("category")
    numbers = [name for name in frames[0].columns if name not in words]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    start = time.process_time(), time.perf_counter()
    one, other = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    found = Report([DataDriftPreset()]).run(other, one).dict()
    seconds = {
        "cpu": time.process_time() - start[0],
        "wall": time.perf_counter() - start[1],
        "drifted": found["metrics"][0]["value"]["count"],
    }
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
