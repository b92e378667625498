"""A small model's life up to its datasets, and its training steps."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 24


class Line:
    """Runs steps of `rain` one after another, as the command line and Airflow do."""

    def __init__(self, settings: Settings, model: DeclaredModel) -> None:
        self.settings = settings
        self.model = model

    def run(self, *steps: str, run_id: str = "r1", **params: Any) -> dict[str, StepResult]:
        """The results of the steps; `params` go to the first."""
        from ferryman.steps.contract import run_step

        results: dict[str, StepResult] = {}
        for step in steps:
            request = StepRequest(
                model=self.model.name,
                step=step,
                run_id=run_id,
                run_uri=str(self.settings.runs_root / "rain" / "training" / run_id),
                window=Window(start=START, end=START + timedelta(days=DAYS))
                if step == "ingest"
                else None,
                params=params if step == steps[0] else {},
                spec_digest=self.model.digest,
                results=dict(results),
            )
            results[step] = run_step(request, self.model, self.settings)
        return results

    def publish(self, run_id: str = "i") -> None:
        """Ingest and publish every day."""
        from ferryman.data.versions.snapshots import SnapshotStore
        from ferryman.runtime.local_object_store import LocalObjectStore

        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        for entry in self.run("ingest", run_id=run_id)["ingest"].outputs["snapshots"]:  # type: ignore[union-attr]
            window = Window.model_validate(entry["window"])  # type: ignore[index, call-overload]
            store.publish("rain", window, entry["id"], "test")  # type: ignore[index, call-overload, arg-type]
