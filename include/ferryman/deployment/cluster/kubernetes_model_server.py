"""Releases models to a server in a cluster: the bundle store, the decision, a rolling update."""

import logging
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ferryman.deployment.cluster.connection import connect
from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.server import ClusterServer
from ferryman.deployment.cluster.state import Remembered
from ferryman.errors import IntegrityBroken, LostRace, PolicyRefused, SpecError, Superseded
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.bundle_store import (
    RELEASE,
    ReleasedModel,
    download_bundle,
    upload_bundle,
)
from ferryman.runtime.connections import Connections
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.files import resolve_inside
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

_ATTEMPTS = 5
_REPLAY_SECONDS = 120
_UNRELEASED = 1
_REPLAY = "ferryman.serving.models.fetched_models"

logger = logging.getLogger(__name__)


class KubernetesModelServer:
    """A ModelServer whose replicas are pods: a release is an annotation of their template."""

    def __init__(self, settings: Settings, server: ClusterServer, store: ObjectStore) -> None:
        self._settings = settings
        self._server = server
        self._store = store

    @classmethod
    def declared(
        cls,
        settings: Settings,
        name: str,
        server: ServerSpec,
        connections: Connections | None = None,
    ) -> Self:
        """The model server of a declared server in a cluster."""
        known = connections or DeclaredConnections(settings)
        workload = declared_workload(settings, name, server, known)
        found = ClusterServer(workload, connect(workload.cluster))
        return cls(settings, found, open_object_store(workload.bundles))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def status(self, model: str) -> dict[str, Any] | None:
        """See ModelServer.status: what is decided, and whether every pod is ready with it."""
        known = self._server.recall().release.get(model)
        if known is None:
            return None
        rollout = self._server.look()
        return {
            "name": model,
            "version": known.version,
            "epoch": known.epoch,
            "digest": known.digest,
            "loaded": rollout is not None and rollout.done,
        }

    def check(self, model: str, bundle: str, digest: str) -> None:
        """See ModelServer.check: by way of the bundle store, as the pods will get it.

        The bundle is brought to the store, fetched from there and verified; its golden rows are
        replayed in a process with the server's own libraries.
        """
        released = self._publish(model, bundle, digest, _UNRELEASED, _UNRELEASED)
        with tempfile.TemporaryDirectory(prefix="ferryman-check-") as scratch:
            root = Path(scratch)
            folder = root / "models" / model / digest
            folder.mkdir(parents=True)
            download_bundle(self._store, released, folder)
            self._verify(folder, digest)
            release = root / "release.json"
            release.write_bytes(RELEASE.dump_json({model: released}))
            _replay(model, release, root)

    def load(
        self, model: str, *, version: int, epoch: int, bundle: str, digest: str
    ) -> dict[str, Any]:
        """See ModelServer.load: decided by compare-and-set, then rolled out pod by pod.

        Where a new pod finds the bundle not to be as recorded, the decision is taken back; the old
        pods have answered all the while.
        """
        for _ in range(_ATTEMPTS):
            before = self._server.recall()
            known = before.release.get(model)
            if known is not None and _names(known) == (version, epoch, digest):
                self._server.roll_out()
                return self.status(model) or {}
            if known is not None and epoch <= known.epoch:
                raise Superseded(
                    f"{model} serves epoch {known.epoch} (version {known.version}); "
                    f"epoch {epoch} is refused"
                )
            wanted = self._publish(model, bundle, digest, version, epoch)
            try:
                self._server.remember(replace(before, release={**before.release, model: wanted}))
            except LostRace:
                continue
            self._roll_out(model, wanted, known)
            return self.status(model) or {}
        raise LostRace(f"{model}: others release to server {self._server.name!r} all the time")

    def expose(self, model: str, traffic: Traffic, bundle: str) -> TrafficState:
        """See ModelServer.expose: pods have no administration that could renew a lease."""
        del traffic, bundle
        raise SpecError(
            f"{model}: server {self._server.name!r} is in a cluster, where shares are not given",
            remedy="Write `rollout: {strategy: direct}`, or a server of processes or containers.",
        )

    def withdraw(self, model: str, fence: int) -> None:
        """See ModelServer.withdraw: there is no share to take back."""
        del model, fence

    def traffic(self, model: str) -> TrafficState | None:
        """See ModelServer.traffic: a candidate never has a share."""
        del model
        return None

    def _roll_out(self, model: str, wanted: ReleasedModel, known: ReleasedModel | None) -> None:
        try:
            self._server.roll_out()
        except (IntegrityBroken, PolicyRefused, SpecError) as error:
            logger.error("%s version %d is taken back: %s", model, wanted.version, error)
            self._take_back(model, wanted, known)
            raise

    def _take_back(self, model: str, wanted: ReleasedModel, known: ReleasedModel | None) -> None:
        now = self._server.recall()
        if now.release.get(model) != wanted:
            return  # somebody has released a newer one
        release = {name: one for name, one in now.release.items() if name != model}
        if known is not None:
            release[model] = known
        self._server.remember(Remembered(release, now.replicas, now.seen))
        self._server.roll_out()

    def _publish(
        self, model: str, bundle: str, digest: str, version: int, epoch: int
    ) -> ReleasedModel:
        """The bundle in the store, after every byte of it has been verified here."""
        try:
            folder = resolve_inside(self._settings.bundles_root, bundle)
        except (ValueError, OSError) as error:
            raise SpecError(
                "the bundle is not below the bundle folder of this installation",
                remedy="Name a bundle that `package` wrote.",
            ) from error
        if self._verify(folder, digest) != model:
            raise IntegrityBroken(f"bundle {folder} is of another model than {model!r}")
        key, seal = upload_bundle(self._store, folder)
        return ReleasedModel(version=version, epoch=epoch, digest=digest, bundle=key, seal=seal)

    def _verify(self, folder: Path, digest: str) -> str:
        key = self._settings.signing_public_key
        return verify_signed(folder, digest=digest, public_key=key).model


def _names(released: ReleasedModel) -> tuple[int, int, str]:
    return released.version, released.epoch, released.digest


def _replay(model: str, release: Path, root: Path) -> None:
    command = [sys.executable, "-m", _REPLAY, "--release", str(release), "--root", str(root)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_REPLAY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise IntegrityBroken(
            f"{model}: its golden rows were not answered within {_REPLAY_SECONDS} s"
        ) from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-400:]
        raise IntegrityBroken(
            f"{model}: its golden rows fail in a server of their own (code {done.returncode}): "
            f"{said}",
            remedy="Do not serve this version: train and package again.",
        )
