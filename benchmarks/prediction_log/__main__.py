"""`python -m benchmarks.prediction_log [--rounds N]`: what logging predictions costs.

Rows as of flights: 5 texts, 11 numbers, an event time and an entity key made of four cells; one row
a request, and 64. CPU time a row.

put       what the request pays: queueing an answered request
write     what the replica's thread pays: checked cells, laid into the journal
finish    what the child process pays: its start, columns, the Parquet file
parse     only reading the same bodies with orjson, for comparison
"""

import argparse
import gc
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

from ferryman.runtime.bundle import FeatureColumn, Signature
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.serving.models.rows import RowSchema

ROWS = 40_000
PER_REQUEST = (1, 64)
GOAL_WRITE = 5e-6
GOAL_PUT = 1.5e-6
TEXTS = {
    "carrier": ("UA", "AA", "B6", "DL"),
    "origin": ("EWR", "JFK", "LGA"),
    "dest": ("IAH", "MIA", "BQN", "ATL", "ORD"),
    "plane_maker": ("BOEING", "AIRBUS", "EMBRAER"),
    "tailnum": ("N14228", "N24211", "N619AA"),
}
WHOLE = ("departure_minute", "arrival_minute", "weekday", "distance", "plane_age", "plane_seats")
NUMBERS = ("temp", "dewp", "humid", "wind_speed", "visib")


def make_model() -> OnnxModel:
    """What the log asks of a model; it never scores."""
    features = [
        *(FeatureColumn(name=name, type="category") for name in TEXTS),
        *(FeatureColumn(name=name, type="integer") for name in WHOLE),
        *(FeatureColumn(name=name, type="number") for name in NUMBERS),
    ]
    entity = ["carrier", "flight", "origin", "dest"]
    kinds = {"text": [*TEXTS], "float64": [*WHOLE, *NUMBERS]}
    signature = Signature(features=features, entity=entity, output="late", blocks=kinds)
    model = SimpleNamespace(
        identity=Identity("flights", 3, 7, "0" * 64),
        signature=signature,
        schema=RowSchema(signature, {"text": "tensor(string)", "float64": "tensor(double)"}),
        classes=0,
    )
    model_hash = cast(Any, type("BenchModel", (SimpleNamespace,), {"__hash__": object.__hash__}))
    return cast(OnnxModel, model_hash(**vars(model)))


def make_row(dice: random.Random) -> dict[str, Any]:
    """One flight."""
    row: dict[str, Any] = {name: dice.choice(words) for name, words in TEXTS.items()}
    row |= {name: dice.randint(0, 2000) for name in WHOLE}
    row |= {
        name: round(dice.uniform(0, 90), 2) if dice.random() < 0.9 else None for name in NUMBERS
    }
    row["flight"] = dice.randint(1, 6000)
    row["event_time"] = f"2013-01-01T{dice.randint(5, 22):02}:{dice.randint(0, 59):02}:00Z"
    return row


def make_bodies(size: int) -> list[bytes]:
    """Requests of so many rows each."""
    dice = random.Random(7)  # noqa: S311 - the same flights every time
    return [
        orjson.dumps({"instances": [make_row(dice) for _ in range(size)]})
        for _ in range(ROWS // size)
    ]


def make_entries(model: OnnxModel, bodies: list[bytes]) -> list[Entry]:
    """The same requests, checked and answered."""
    found = []
    for number, body in enumerate(bodies):
        rows = model.schema.read_rows(orjson.loads(body)["instances"])
        model.schema.feed(rows)
        request_id, scores = b"0123456789abcdef-%x" % number, [number / ROWS] * rows.size
        found.append(Entry(request_id, model, rows.checked, rows.given, scores, time.time(), 0.001))
    return found


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def children_seconds() -> float:
    """CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(entries: list[Entry], bodies: list[bytes], folder: Path) -> dict[str, float]:
    """CPU seconds of one round."""
    drops: list[int] = []
    log = PredictionLog(folder, drops.append)
    put = timed(lambda: [log.put(entry) for entry in entries])

    def write() -> None:
        log.start()
        while log.queued:
            time.sleep(0.01)

    written, before = timed(write), children_seconds()
    if not log.flush(600):
        raise RuntimeError(f"the log did not come to an end: {log.problem}")
    log.close()
    if drops:
        raise RuntimeError(f"{sum(drops)} rows were dropped")
    parse = timed(lambda: [orjson.loads(body) for body in bodies])
    return {"put": put, "write": written, "finish": children_seconds() - before, "parse": parse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="figures only")
    given = parser.parse_args()
    model = make_model()
    found: dict[int, dict[str, float]] = {}
    for size in PER_REQUEST:
        bodies = make_bodies(size)
        entries = make_entries(model, bodies)
        # As in a server: what was there before is not the collector's business.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
                rounds.append(measure(entries, bodies, Path(folder)))
        found[size] = {
            way: statistics.median(one[way] for one in rounds) / ROWS for way in rounds[0]
        }
    if given.json:
        print(json.dumps(found))
        return
    report(found, given.rounds)


def report(found: dict[int, dict[str, float]], rounds: int) -> None:
    load = os.getloadavg()[1]
    columns = len(TEXTS) + len(WHOLE) + len(NUMBERS)
    print(f"{columns} columns; median of {rounds} rounds, CPU microseconds a row (load {load:.1f})")
    ways = ("put", "write", "finish", "parse")
    print(f"{'rows a request':>15}" + "".join(f"{way:>8}" for way in ways))
    for size, one in found.items():
        print(f"{size:>15}" + "".join(f"{one[way] * 1e6:8.2f}" for way in ways))
    slowest = max(one["write"] for one in found.values())
    goals = {
        f"{slowest * 1e6:.2f} microseconds of the replica's thread a row, at most "
        f"{GOAL_WRITE * 1e6:g}": slowest <= GOAL_WRITE,
        f"{found[1]['put'] * 1e6:.2f} microseconds to queue a request, at most "
        f"{GOAL_PUT * 1e6:g}": found[1]["put"] <= GOAL_PUT,
    }
    for text, held in goals.items():
        print(f"{'held  ' if held else 'MISSED'}  {text}")


if __name__ == "__main__":
    main()
