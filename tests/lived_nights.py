"""Nights of monitoring that were lived, and what came after them, for tests of backfills."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from release_world import candidate
from served_world import ServedWorld, at

from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.runtime.files import file_digest, read_json
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.steps.contract import run_step

STEPS = ("join_labels", "monitor", "decide_retrain", "verdict")
MONITOR = """\
monitor:
  quality: {metric: log_loss, window: 2d, min_labels: 200, tolerance: 0.05}
  drift: {window: 2d, min_rows: 200}
"""


class Past:
    """Nights that were lived, and what came after them."""

    def __init__(self, folder: Path, make_bundle: Any, nights: range = range(7, 10)) -> None:
        self.settings = Settings(home=folder / "home", zoo=folder / "zoo")
        self.make_bundle = make_bundle
        self.world = ServedWorld(self.settings, make_bundle, MONITOR)
        for day in range(6, nights.stop + 1):
            self.world.serve(day)
        self.told = {day: self.report(self.run(day)) for day in nights}

    def run(self, day: int, name: str = "night", **params: Any) -> dict[str, StepResult]:
        run_id = f"{name}-{day}"
        folder = run_folder(self.settings.runs_root, "tiny", "monitoring", run_id)
        results: dict[str, StepResult] = {}
        for step in STEPS:
            known = (
                params if step in STEPS[:2] else {k: params[k] for k in params if k != "as_known"}
            )
            request = StepRequest(
                model="tiny",
                step=step,
                run_id=run_id,
                run_uri=str(folder),
                window=at(day),
                params=known,
                spec_digest=self.world.model.digest,
                results=dict(results),
            )
            results[step] = run_step(request, self.world.model, self.settings)
        return results

    def report(self, results: dict[str, StepResult]) -> dict[str, Any]:
        """What a run wrote, but for where its files are."""
        return told_by(Path(str(results["monitor"].outputs["report"])))

    def go_on(self) -> None:
        """Later labels, later answers, another champion, and a night that joins it all again."""
        time.sleep(0.01)
        self.release(4)
        self.world.serve(7, lambda _, labels: ~labels)  # other labels in the snapshot of day 8
        self.log_late(6)
        self.log_late(7)
        self.run(max(self.told) + 1)

    def release(self, version: int) -> None:
        given = candidate(self.settings, version, self.make_bundle)
        ledger = Ledger(self.settings.ledger_url)
        op = ledger.open_op(PROMOTE, "tiny", Candidate(**given), "test", "test")
        ledger.advance(op.op_id, State.REGISTERED, {})
        passed = {"outcome": "passed", "candidate": {"log_loss": 0.7}}
        ledger.advance(op.op_id, State.GATED, passed, base_epoch=1)
        ledger.advance(op.op_id, State.STAGED, {})
        ledger.commit(op.op_id, 1)

    def log_late(self, day: int) -> None:
        """Answers to further events of a day, logged now."""
        folder = self.settings.predictions_root / "tiny" / f"date={at(day).start:%Y-%m-%d}"
        table = pq.ParquetFile(folder / "1.parquet").read()
        now = pa.array([datetime.now(UTC)] * table.num_rows, pa.timestamp("us", tz="UTC"))
        late = table.set_column(table.schema.get_field_index("logged_at"), "logged_at", now)
        keys = pa.array([f"late|{row}" for row in range(table.num_rows)])
        late = late.set_column(table.schema.get_field_index("entity_key"), "entity_key", keys)
        pq.write_table(late, folder / "2.parquet")

    def files(self) -> dict[str, str]:
        """Every file of the installation but those of runs and backfills."""
        home = self.settings.home
        own = (self.settings.runs_root, self.settings.monitoring_root / "backfills")
        files = [file for file in home.rglob("*") if file.is_file()]
        found = {
            str(file.relative_to(home)): file_digest(file)
            for file in files
            if not any(place in file.parents for place in own)
            # What steps cost is kept beside the ledger's own rows.
            and not file.name.startswith("ledger.db")
        }
        ledger = Ledger(self.settings.ledger_url)
        return {**found, "ledger": repr([ledger.history("tiny"), ledger.notes("tiny")])}


def told_by(file: Path) -> dict[str, Any]:
    """A report, but for where files are."""
    found: dict[str, Any] = read_json(file)
    for name in ("joined", "windows", "restated"):
        del found["labels"][name]
    return found
