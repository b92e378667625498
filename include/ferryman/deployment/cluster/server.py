"""One server in a cluster: what it should be is applied, and followed until it is so."""

import logging
import time
from dataclasses import dataclass, replace

from ferryman.deployment.cluster.connection import Cluster
from ferryman.deployment.cluster.manifests import manifests
from ferryman.deployment.cluster.rollout import Rollout, look
from ferryman.deployment.cluster.state import Remembered, recall, remember
from ferryman.deployment.cluster.workload import INSTANCE, MANAGER, Workload
from ferryman.errors import (
    DependencyUnavailable,
    ExitCode,
    FerrymanError,
    IntegrityBroken,
    PolicyRefused,
    SpecError,
)

_KINDS = (
    "ScaledObject",
    "HorizontalPodAutoscaler",
    "ServiceMonitor",
    "InferenceService",
    "Deployment",
    "Service",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "ServiceAccount",
)
_STATE = "ConfigMap"
# How containers of ours end where no repetition helps.
_FINAL: dict[int | None, type[FerrymanError]] = {
    int(ExitCode.INTEGRITY): IntegrityBroken,
    int(ExitCode.POLICY): PolicyRefused,
    int(ExitCode.SPEC): SpecError,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Seconds: of a whole rollout, of a trouble that lasts, until the pods of a stop have gone."""

    rollout: float = 900.0
    trouble: float = 60.0
    stop: float = 90.0
    pause: float = 1.0


class ClusterServer:
    """A server's objects in one namespace. `workload` is its declaration, without any release."""

    def __init__(
        self, workload: Workload, cluster: Cluster, patience: Patience | None = None
    ) -> None:
        self._base = workload
        self.cluster = cluster
        self._patience = patience or Patience()

    @property
    def name(self) -> str:
        """The server's name."""
        return self._base.name

    def recall(self) -> Remembered:
        """What the cluster remembers of it."""
        return recall(self.cluster, self.name)

    def remember(self, wanted: Remembered) -> None:
        """Write the state that follows the one that was read; LostRace (exit 8) where it moved."""
        remember(self.cluster, self.workload(wanted), wanted.seen)

    def workload(self, remembered: Remembered) -> Workload:
        """What it should be."""
        return replace(self._base, release=remembered.release, replicas=remembered.replicas)

    def look(self) -> Rollout | None:
        """Its pods against what the cluster remembers; None where it does not run."""
        return look(self.cluster, self.workload(self.recall()))

    def roll_out(self) -> Rollout:
        """Apply what is remembered, and wait until every pod is so; no request is dropped.

        Raises IntegrityBroken (exit 7) or PolicyRefused (exit 9) where a new pod found its bundles
        not to be as recorded, DependencyUnavailable (exit 6) where it does not come up in time.
        """
        end = time.monotonic() + self._patience.rollout
        while True:
            remembered = self.recall()
            self._apply(self.workload(remembered))
            rollout = self._follow(remembered, end)
            if rollout is not None:
                return rollout

    def remove(self) -> None:
        """Delete all but what is remembered, and wait until its pods have gone."""
        for kind in _KINDS:
            for name in self._ours(kind):
                self.cluster.delete(kind, name)
        end = time.monotonic() + self._patience.stop
        while pods := self.cluster.find("Pod", self._base.selector):
            if time.monotonic() > end:
                raise DependencyUnavailable(
                    f"server {self.name!r}: {len(pods)} pods have not gone after "
                    f"{self._patience.stop:.0f} s",
                    remedy="Look at their nodes: kubectl get pods -o wide.",
                )
            time.sleep(self._patience.pause)

    def _apply(self, workload: Workload) -> None:
        wanted = [one for one in manifests(workload) if one["kind"] != _STATE]
        kept = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        # What scales by an older declaration goes first: two of them would fight.
        for kind in _KINDS:
            for name in self._ours(kind):
                if (kind, name) not in kept:
                    logger.info("removing %s %s: it is declared no more", kind, name)
                    self.cluster.delete(kind, name)
        for manifest in wanted:
            self.cluster.apply(manifest)

    def _ours(self, kind: str) -> list[str]:
        """Names of the objects that we applied; what a controller made of them has an owner."""
        labels = {INSTANCE: self.name, MANAGER: "ferryman"}
        return [
            str(found["metadata"]["name"])
            for found in self.cluster.find(kind, labels)
            if not found["metadata"].get("ownerReferences")
        ]

    def _follow(self, remembered: Remembered, end: float) -> Rollout | None:
        """Wait for the pods; None where somebody has decided anew, so that it is applied anew.

        Their manifests may have come before ours, which are older.
        """
        workload = self.workload(remembered)
        since: float | None = None
        while True:
            rollout = look(self.cluster, workload)
            if self.recall().seen != remembered.seen:
                return None
            if rollout is not None and rollout.done:
                return rollout
            now = time.monotonic()
            if rollout is not None:
                self._raise_final(rollout)
                # The deadline may have passed in an earlier attempt: this one gets its time, too.
                lasting = any(trouble.lasting for trouble in rollout.troubles)
                since = (since or now) if lasting or rollout.deadline_passed else None
            if now > end or (since is not None and now - since > self._patience.trouble):
                raise DependencyUnavailable(
                    f"server {self.name!r} in namespace {self.cluster.namespace} does not come up: "
                    f"{rollout or 'the cluster has made no Deployment of it'}",
                    remedy=f"kubectl -n {self.cluster.namespace} describe pods "
                    f"-l {INSTANCE}={self.name}",
                )
            time.sleep(self._patience.pause)

    def _raise_final(self, rollout: Rollout) -> None:
        for trouble in rollout.troubles:
            kind = _FINAL.get(trouble.code)
            if kind is not None:
                raise kind(f"server {self.name!r}: {trouble.text}")
