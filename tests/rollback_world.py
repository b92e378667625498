"""An installation whose versions 1, 3 and 2 served one after another, and what is true of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from release_world import CANDIDATES, candidate, copy_world, declare

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import FerrymanError
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, Op, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.steps.contract import run_step
from ferryman.steps.reconcile import reconcile_model

REASON = "answers are wrong since noon"


class World:
    """The installation `settings` with its server, and the steps that a person starts."""

    def __init__(self, settings: Settings, make_bundle: Any) -> None:
        self.settings = settings
        self.make_bundle = make_bundle
        self.runs = 0
        self.deployer = ProcessDeployer(settings)
        self.ledger = Ledger(settings.ledger_url)
        self.registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)

    def staged(self, version: int) -> Op:
        """A promotion that a gate let pass, up to its commit."""
        given = self.staged_candidate(version)
        op = self.ledger.open_op(PROMOTE, "tiny", given, "tests", "a better version")
        head = self.ledger.head("tiny")
        base = head.epoch if head else 0
        self.ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
        for state in (State.GATED, State.STAGED):
            op = self.ledger.advance(op.op_id, state, {}, base_epoch=base)
        return op

    def staged_candidate(self, version: int) -> Candidate:
        """What a training run handed to the gate."""
        return Candidate.model_validate(candidate(self.settings, version, self.make_bundle))

    def serve(self, version: int) -> Op:
        """Release a version to the end."""
        op = self.staged(version)
        self.ledger.commit(op.op_id, op.base_epoch)
        reconcile_model(self.ledger, self.settings, "tiny")
        found = self.ledger.op(op.op_id)
        assert found is not None
        return found

    def run(
        self, step: str, settings: Settings | None = None, run_id: str = "", **params: Any
    ) -> StepResult:
        """Run one step, of a run of its own as the command line does, or of a named one."""
        settings = settings or self.settings
        self.runs += 1
        run_id = run_id or f"asked {self.runs}"
        model = declare(settings.zoo)
        request = StepRequest(
            model="tiny",
            step=step,
            run_id=run_id,
            run_uri=str(run_folder(settings.runs_root, "tiny", "rollback", run_id)),
            params=params,
            spec_digest=model.digest,
        )
        return run_step(request, model, settings)

    def state(self) -> tuple[Any, ...]:
        """Epoch and version of the ledger, the alias, epoch and version served."""
        head = self.ledger.head("tiny")
        alias = self.registry.get_alias("tiny", CHAMPION)
        with ServingClient(main_endpoint(self.settings)) as client:
            served = client.status("tiny") or {}
        return (
            head and head.epoch,
            head and head.version,
            alias and alias.version,
            served.get("epoch"),
            served.get("version"),
        )

    def digest(self, version: int) -> str:
        """The digest of a registered version."""
        found = self.registry.get_version("tiny", version)
        assert found is not None
        return found.digest

    def damage(self, version: int, *, copies: bool) -> None:
        """Flip a byte of a version's bundle; with `copies` of the server's copy, too."""
        digest = self.digest(version)
        roots = [self.settings.bundles_root]
        if copies:
            roots.append(self.settings.serving_root / "models")
        for root in roots:
            file = root / "tiny" / digest / "model.onnx"
            content = bytearray(file.read_bytes())
            content[100] ^= 1
            file.write_bytes(content)

    def delete_version(self, version: int) -> None:
        """What somebody does in MLflow's pages."""
        from ferryman.registry.mlflow_connection import connect

        connect(self.settings.mlflow_uri).delete_model_version("tiny", str(version))


class Client:
    """Ten requests a second to the server until the block is left; which were wrong, and by whom.

    An answer is right that is the named version's own, to five digits.
    """

    def __init__(self, world: World) -> None:
        root = world.settings.bundles_root
        self.wrong: list[str] = []
        self.versions: set[int] = set()
        self._bundles = {
            version: world.make_bundle(root, CANDIDATES[version][0]) for version in (1, 2, 3)
        }
        self._endpoint = main_endpoint(world.settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        rows = self._bundles[1].rows[:1]
        with ServingClient(self._endpoint) as client:
            while True:
                try:
                    answer = client.predict("tiny", rows)
                except FerrymanError as error:
                    self.wrong.append(str(error))
                else:
                    self.versions.add(answer.version)
                    if abs(answer.scores[0] - self._bundles[answer.version].outputs[0]) > 1e-5:
                        self.wrong.append(f"version {answer.version}: {answer.scores}")
                if self._stop.wait(0.1):
                    return


def serve_three(template: Settings, home: Path, ports: list[int], make_bundle: Any) -> Settings:
    """A copy of the template in which version 3, then version 2 served, too; at epoch 3."""
    world = World(copy_world(template, home, ports), make_bundle)
    world.deployer.start()
    try:
        for version in (3, 2):
            world.serve(version)
        assert world.state() == (3, 2, 2, 3, 2)
    finally:
        world.deployer.stop()
    return world.settings


@contextmanager
def started(template: Settings, home: Path, ports: list[int], make_bundle: Any) -> Iterator[World]:
    """A copy of such an installation, with its server running."""
    world = World(copy_world(template, home, ports), make_bundle)
    world.deployer.start()
    try:
        yield world
    finally:
        world.deployer.stop()


@contextmanager
def alert_channel() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address that takes alerts, and what was posted to it."""
    received: list[dict[str, Any]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
