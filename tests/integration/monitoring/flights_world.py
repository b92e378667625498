"""The real model `flights` in a small installation: ingested, trained, released, answering days.

All of it is done by the steps and by a server of its own; deliveries, the model's folder and its
git repository may be changed between days.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from pydantic import SecretStr

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.messages import StepResult
from ferryman.runtime.ports import free_ports
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.windows import Window, format_time
from ferryman.steps.journey import Journey
from ferryman.steps.pipelines import PIPELINES

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "include" / "sample_data" / "flights"
MODEL = "flights"
# The longest distance that may be, in miles; a day in kilometres is refused at the door by it.
LONGEST = "max_value: 6000"


class FlightsWorld:
    """An installation of `flights` below a folder, whose alerts go to an address."""

    def __init__(self, folder: Path, alerts: str) -> None:
        self.folder, self.alerts = folder, alerts
        port, admin_port = free_ports(2, "127.0.0.1")
        self.settings = Settings(
            root=folder,
            home=folder / "home",
            zoo=folder / "zoo",
            source_root=folder / "raw",
            connections_file=ROOT / "include" / "connections.yaml",
            serving_port=port,
            serving_admin_port=admin_port,
            connection_urls={"alerts": SecretStr(alerts)},
            cpus=2,
        )

    @classmethod
    def made(cls, folder: Path, alerts: str, first: datetime, end: datetime) -> "FlightsWorld":
        """Lay out the deliveries of some days, the model's folder, and their git repository."""
        days = folder / "raw" / "flights" / "days"
        days.mkdir(parents=True)
        months = set()
        for number in range((end - first).days):
            day = first + timedelta(days=number)
            months.add(f"{day:%Y-%m}")
            shutil.copy(SAMPLES / "days" / f"flights_{day:%Y-%m-%d}.parquet", days)
        for month in months:
            shutil.copy(SAMPLES / f"weather_{month}.parquet", days.parent)
        shutil.copy(SAMPLES / "fleet.db", days.parent)
        shutil.copytree(ROOT / "include" / "model_zoo" / MODEL, folder / "zoo" / MODEL)
        world = cls(folder, alerts)
        expected = folder / "zoo" / MODEL / "expectations.yaml"
        assert LONGEST in expected.read_text()
        expected.write_text(expected.read_text().replace(LONGEST, "max_value: 9000"))
        declaration = folder / "zoo" / MODEL / "model.yaml"
        declared = yaml.safe_load(declaration.read_text())
        # What a calm autumn does to the rates of late flights is no alarm here.
        declared["monitor"]["drift"]["effect"] = 0.6
        declaration.write_text(yaml.safe_dump(declared, sort_keys=False))
        world.git("init", "-q")
        world.commit("flights as they were")
        return world

    def copied(self, folder: Path) -> "FlightsWorld":
        """The same installation in another folder; bundles stay where the ledger names them."""
        shutil.copytree(self.folder, folder)
        for name in ("process.json", "start.lock"):
            (folder / "home" / "serving" / name).unlink(missing_ok=True)
        return FlightsWorld(folder, self.alerts)

    @contextmanager
    def served(self) -> Iterator[None]:
        """A server of this installation, for as long as it is needed."""
        deployer = ProcessDeployer(self.settings)
        deployer.start()
        try:
            yield
        finally:
            deployer.stop()

    def release(self, cutoff: datetime) -> None:
        """Train on what is known at a moment, pass the gate, and serve it."""
        journey = Journey(self.settings, load_model(self.settings.zoo / MODEL))
        name = f"at-{cutoff:%Y%m%d}"
        for pipeline in ("training", "release"):
            for step in PIPELINES[pipeline].steps_of(journey.model.spec):
                params = {"cutoff": format_time(cutoff)} if step == "train" else {}
                if step != "report":
                    journey.run_one(PIPELINES[pipeline], step, name, None, params)

    def run(self, step: str, first: datetime, days: int = 1, name: str = "") -> StepResult:
        """Run one windowed step of some days, or a pipeline's; the last result."""
        window = Window(start=first, end=first + timedelta(days=days))
        journey = Journey(self.settings, load_model(self.settings.zoo / MODEL))
        results = journey.run(step, window=window, run_id=name or f"{window.key}-{days}")
        return list(results)[-1]

    def live(self, day: datetime) -> StepResult:
        """A day: ingested, asked for, met by its labels, and watched; what its night says."""
        return [self.run(what, day) for what in ("ingest", "score", "join_labels", "monitor")][-1]

    def rewrite(self, name: str, change: Callable[[Any], Any]) -> None:
        """Deliver a file of the sources in another form."""
        file = self.settings.source_root / MODEL / name
        pq.write_table(change(pq.read_table(file)), file)

    def git(self, *words: str) -> str:
        """Run git in the installation's folder, as Ann."""
        own = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        command = ["git", "-C", str(self.folder), *own, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, subject: str) -> str:
        """Commit the models' folder; the commit's id."""
        self.git("add", "zoo")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD")


def at(day: str) -> datetime:
    """Midnight UTC of a day."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
