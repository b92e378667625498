"""An installation of the model `line`: any number of versions, each of another slope."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

from line_candidates import LINE, Kind, LineBundle, make_line

from ferryman.deployment.process.front_admin import FrontAdmin
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, Op, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.rollout import LimitsSpec, RolloutSpec, StageSpec
from ferryman.steps.reconcile import reconcile_model

DECLARATION = """\
spec_version: 1
name: line
description: How far along is it?
owner: {team: tests, contact: tests@example.org}
data:
  sources:
    points:
      kind: files
      path: points_{year}-{month}.parquet
      event_time: at
      columns: {at: {type: timestamp}, k: {type: integer}, y: {type: number, known: later}}
  label: {name: y, sql: labels.sql, known_after: 1d}
features:
  sql: features.sql
  entity: [k]
  columns: {x: {type: number, nullable: false}}
train: {framework: sklearn, task: regression, pipeline: pipeline.py:build, window: 1d, holdout: 2d,
  min_rows: 10}
gates: {thresholds: {rmse: {max: 9}}, champion: {metric: rmse}, min_rows: 100, resamples: 200}
"""
WEIGHTS = (0.3, 0.6)


class Made(NamedTuple):
    """A registered version: how it answers, and what the ledger is told of it."""

    kind: Kind
    bundle: LineBundle
    candidate: Candidate

    def answer(self, x: float) -> float:
        """What it says of x; of a root only where x is not negative."""
        return self.bundle.slope * (x**0.5 if self.kind == "root" else x)


class LineWorld:
    """The installation, its server of two replicas, and who may change what."""

    def __init__(self, settings: Settings, hold: float = 0.05) -> None:
        self.settings = settings
        held = {"hold": timedelta(seconds=hold), "patience": timedelta(minutes=10)}
        rollout = RolloutSpec(
            strategy="canary",
            stages=[StageSpec(weight=weight, **held) for weight in WEIGHTS],
            limits=LimitsSpec(errors=0.5, latency=99, shift=0.99, min_requests=20),
        )
        model = load_model(settings.zoo / LINE)
        self.model = model.model_copy(
            update={"spec": model.spec.model_copy(update={"rollout": rollout})}
        )
        self.ledger = Ledger(self.settings.ledger_url)
        self.registry = MlflowRegistry(self.settings.mlflow_uri, self.settings.mlflow_artifacts)
        self.deployer = ProcessDeployer(self.settings)
        self.client = ServingClient(main_endpoint(self.settings))
        self.admin = FrontAdmin(main_endpoint(self.settings))
        self.made: dict[int, Made] = {}

    @classmethod
    def started(cls, home: Path, ports: list[int], mlflow: Path, hold: float = 0.05) -> Self:
        """A new installation whose server runs; `mlflow` is a folder with an empty registry."""
        zoo = home.with_name(f"{home.name}-zoo")
        (zoo / LINE).mkdir(parents=True)
        (zoo / LINE / "model.yaml").write_text(DECLARATION)
        for name in ("labels.sql", "features.sql", "pipeline.py"):
            (zoo / LINE / name).write_text("")
        servers = {"spec_version": 1, "servers": {"main": {"replicas": 2}}}
        (zoo / "servers.yaml").write_text(json.dumps(servers))
        shutil.copytree(mlflow, home / "mlflow")
        settings = Settings(home=home, zoo=zoo, serving_port=ports[0], serving_admin_port=ports[1])
        world = cls(settings, hold)
        world.deployer.start()
        return world

    def close(self) -> None:
        """End the server."""
        self.client.close()
        self.deployer.stop()

    def register(self, cutoff: int, kind: Kind = "line") -> Made:
        """A new version, trained on data up to a day; its slope tells it from all others."""
        number = len(self.made) + 1
        bundle = make_line(self.settings.bundles_root, float(number + 1), kind)
        day = (datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=cutoff)).isoformat()
        tags = {"ferryman.cutoff": day.replace("+00:00", "Z"), "ferryman.eval_dataset": "eval"}
        found = self.registry.register(
            LINE, f"key-{number}", bundle.digest, str(bundle.folder), tags
        )
        candidate = Candidate(
            version=found.version,
            digest=bundle.digest,
            bundle=str(bundle.folder),
            cutoff=day,
            sequence=found.version,
            run_key=f"key-{number}",
            eval_dataset="eval",
        )
        self.made[found.version] = Made(kind, bundle, candidate)
        return self.made[found.version]

    def gated(self, made: Made, base: int, *, approval: bool, exposure: bool) -> Op:
        """An operation that a gate let pass against an epoch; what the gate would write."""
        op = self.ledger.open_op(PROMOTE, LINE, made.candidate, "ann", "trained anew")
        self.ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
        evidence = {"text": "better", "requires": {"approval": approval, "exposure": exposure}}
        return self.ledger.advance(op.op_id, State.GATED, evidence, base_epoch=base)

    def staged(self, made: Made, *, exposure: bool = True) -> Op:
        """An operation that is gated and staged against the head of now."""
        op = self.gated(made, self.epoch, approval=False, exposure=exposure)
        return self.ledger.advance(op.op_id, State.STAGED, {}, base_epoch=op.base_epoch)

    def serve(self, made: Made) -> Op:
        """Release a version to the end, exposed to nobody."""
        op = self.staged(made, exposure=False)
        self.ledger.commit(op.op_id, op.base_epoch)
        reconcile_model(self.ledger, self.settings, LINE)
        found = self.ledger.op(op.op_id)
        assert found is not None and found.state is State.DONE
        return found

    @property
    def epoch(self) -> int:
        """The epoch that the ledger says."""
        head = self.ledger.head(LINE)
        return head.epoch if head else 0

    def alias(self) -> int | None:
        """The version that MLflow's alias names."""
        named = self.registry.get_alias(LINE, CHAMPION)
        return named.version if named else None

    def agreed(self) -> bool:
        """Whether alias, server and ledger say the same, and nobody has a share."""
        head, served = self.ledger.head(LINE), self.client.status(LINE)
        assert head is not None and served is not None
        same = (served["epoch"], served["version"]) == (head.epoch, head.version)
        share = self.ledger.routing(LINE).weight or self.client.traffic(LINE)
        return same and self.alias() == head.version and not share

    def pids(self) -> dict[str, int]:
        """The replicas by name."""
        return {entry["name"]: entry["pid"] for entry in self.admin.replicas()["replicas"]}


def takes(op_id: str, weight: float, key: int) -> bool:
    """Whether the share of an operation answers to a key: what every replica computes."""
    salt = bytes.fromhex(op_id)[:16]
    drawn = blake2b(str(key).encode(), digest_size=8, salt=salt).digest()
    return int.from_bytes(drawn) < round(weight * 2**64)


WorldMaker = Callable[[], LineWorld]
