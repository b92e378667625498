"""An installation whose model has a rollout of its own, and looks at what became of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from release_world import Release, candidate, copy_world
from small_disk import disk_of

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import TRAFFIC, Op
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.expose import Look, look

# Limits that two different models keep; those of a test that must fail are its own.
KEPT = "{errors: 0.5, latency: 30, shift: 0.95, min_requests: 20}"
STAGES = "[{weight: 0.3, hold: 1s, patience: 60s}, {weight: 0.6, hold: 1s, patience: 60s}]"
CANARY = f"rollout: {{strategy: canary, stages: {STAGES}, limits: {KEPT}}}\n"
SHIFTED = CANARY.replace("shift: 0.95", "shift: 0.01")
ASKED = CANARY.replace("strategy", "approval: {approvers: [bea]}, strategy")
SHADOW = CANARY.replace("canary", "shadow").replace(STAGES, "[{weight: 1, hold: 1s}]")
AB = SHADOW.replace("shadow", "ab").replace(
    "weight: 1, hold: 1s", "weight: 0.5, hold: 1s, patience: 12s"
)
IMPATIENT = (
    "rollout: {strategy: canary, stages: [{weight: 0.3, hold: 1s, patience: 1s}], "
    f"limits: {KEPT}}}\n"
)


class World:
    """An installation with a rollout of its own, its server at epoch 1."""

    def __init__(self, settings: Settings, make_bundle: Any) -> None:
        self.settings = settings
        self.make_bundle = make_bundle
        self.ledger = Ledger(settings.ledger_url)
        self.rows = make_bundle(settings.bundles_root, 0.1).rows

    def release(self, version: int = 2, run_id: str = "r") -> Release:
        """A release of a version, of which no step ran yet."""
        return Release(self.settings, run_id, candidate(self.settings, version, self.make_bundle))

    def staged(self, version: int = 2) -> tuple[Release, Op]:
        """A release that was gated and staged, and its operation."""
        release = self.release(version)
        release.run("gate")
        release.run("stage")
        return release, self.ledger.ops("tiny")[-1]

    def look(self, model: DeclaredModel, op: Op, stage: int = 0, **given: Any) -> Look:
        """One look at a stage."""
        return look(self.settings, model, op.op_id, op.base_epoch, stage, **given)

    def states(self, version: int = 2) -> list[str]:
        """The states that a version was in, in order."""
        rows = self.ledger.history("tiny")
        return [str(row.state) for row in rows if row.candidate.version == version]

    def shares(self) -> list[float]:
        """The weights that the ledger noted, in order."""
        return [float(note.evidence["weight"]) for note in self.ledger.notes("tiny", TRAFFIC)]

    def share_at_server(self) -> float:
        """The weight that the server gives the candidate now."""
        with ServingClient(main_endpoint(self.settings)) as client:
            state = client.traffic("tiny")
        return state.traffic.weight if state else 0.0


@contextmanager
def ledger_on_a_disk(
    template: Settings, folder: Path, ports: list[int], declared: str, make_bundle: Any
) -> Iterator[World]:
    """A running world whose ledger is on a small disk of its own: folder / "disk"."""
    with disk_of(4 << 20, folder / "disk") as disk:
        copied = copy_world(template, folder / "home", ports, declared)
        for file in copied.home.glob("ledger.db*"):
            shutil.move(file, disk / file.name)
        ledger_url = f"sqlite:///{disk / 'ledger.db'}"
        settings = copied.model_copy(update={"ledger_url": ledger_url})
        deployer = ProcessDeployer(settings)
        deployer.start()
        try:
            yield World(settings, make_bundle)
        finally:
            deployer.stop()
