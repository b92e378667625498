"""A champion of the model `tiny` that answers days of events whose labels come a day later.

Its bundle, its evaluation dataset, the prediction log and the ledger are real; nothing runs.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from release_world import FIRST_DAY, ROWS, _day_tables, candidate, declare

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.files import read_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest
from ferryman.runtime.run_store import run_folder
from ferryman.serving.log.prediction_log import own_fields
from ferryman.settings import Settings
from ferryman.spec.windows import Window, day_window
from ferryman.steps.contract import run_step

# What labels become: the features and the labels of a day to its new labels (None: not known yet).
Change = Callable[[pa.Table, "np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]
TRAINED = 6  # days


class ServedWorld:
    """Version 2 of `tiny`, trained on six days and released; the days after it are to be served."""

    def __init__(self, settings: Settings, make_bundle: Any, declared: str = "") -> None:
        self.settings = settings
        self.model = declare(settings.zoo)
        if declared:
            self.model.file.write_text(self.model.file.read_text() + declared)
            self.model = declare(settings.zoo)
        self._store = SnapshotStore(LocalObjectStore(settings.data_root))
        for day in range(TRAINED + 1):
            self._publish(day, _day_tables(day)[0], _day_tables(day - 1)[1] if day else None)
        self.given = candidate(settings, 2, make_bundle)
        self._scorer = OnnxScorer(settings.bundles_root / "tiny" / self.given["digest"])
        self._release()

    def serve(self, day: int, change: Change | None = None) -> None:
        """Log the champion's answers to a day's events, and publish their labels a day later."""
        features, labels = _day_tables(day)
        self._log(day, features)
        truth = labels["label"].to_numpy(zero_copy_only=False)
        if change is not None:
            truth = change(features, truth.copy())
        place = labels.schema.get_field_index("label")
        labels = labels.set_column(place, "label", pa.array(truth.tolist(), pa.bool_()))
        self._publish(day + 1, _day_tables(day + 1)[0], labels)

    def night(self, day: int, first: int | None = None) -> Any:
        """Run join_labels and monitor for a day, or for all from `first` to it; the report."""
        window = Window(start=at(day if first is None else first).start, end=at(day).end)
        folder = run_folder(self.settings.runs_root, "tiny", "monitoring", f"night-{day}")
        results: dict[str, Any] = {}
        for step in ("join_labels", "monitor"):
            request = StepRequest(
                model="tiny",
                step=step,
                run_id=f"night-{day}",
                run_uri=str(folder),
                window=window,
                params={},
                spec_digest=self.model.digest,
                results=results,
            )
            results[step] = run_step(request, self.model, self.settings)
        return read_json(self.settings.monitoring_root / "tiny" / "reports" / f"{window.key}.json")

    def _publish(self, day: int, features: pa.Table, labels: pa.Table | None) -> None:
        window, entry = at(day), SnapshotEntry(reason="test", actor="test")
        known = _day_tables(0)[1].slice(0, 0) if labels is None else labels
        snapshot = self._store.write("tiny", window, features, known, entry)
        self._store.publish("tiny", window, snapshot.id, "test")

    def _log(self, day: int, features: pa.Table) -> None:
        scores = self._scorer.score(features.to_pandas())
        window = at(day)
        own = {
            "request_id": [f"{day}-{row // 2}" for row in range(ROWS)],  # two rows each
            "entity_key": features["entity_key"],
            "event_time": features["event_time"],
            "model": ["tiny"] * ROWS,
            "version": [2] * ROWS,
            "epoch": [1] * ROWS,
            "variant": ["champion"] * ROWS,
            "propensity": [1.0] * ROWS,
            "score": scores,
            "latency": [0.001 + 0.0001 * (row // 2) for row in range(ROWS)],
            "logged_at": [window.start + timedelta(seconds=row // 2) for row in range(ROWS)],
        }
        table = pa.table(own, schema=pa.schema(own_fields()))
        for name in ("carrier", "distance", "hour"):
            table = table.append_column(name, features[name])
        folder = self.settings.predictions_root / "tiny" / f"date={window.start:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "1.parquet")

    def _release(self) -> None:
        ledger = Ledger(self.settings.ledger_url)
        op = ledger.open_op(PROMOTE, "tiny", Candidate(**self.given), "test", "test")
        ledger.advance(op.op_id, State.REGISTERED, {})
        evidence: dict[str, Any] = {"outcome": "passed", "candidate": {"log_loss": 0.4}}
        ledger.advance(op.op_id, State.GATED, evidence, base_epoch=0)
        ledger.advance(op.op_id, State.STAGED, {})
        ledger.commit(op.op_id, 0)


def at(day: int) -> Window:
    """The window of a day by its number."""
    start: datetime = FIRST_DAY + timedelta(days=day)
    return day_window(start)
