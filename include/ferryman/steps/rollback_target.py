"""Chooses what a rollback goes back to: a version that really served, and still verifies."""

import logging
import threading
from dataclasses import dataclass, field

from ferryman.errors import DependencyUnavailable, FerrymanError, IntegrityBroken, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Head
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import RegisteredVersion, Registry
from ferryman.runtime.model_server import ModelServer
from ferryman.settings import Settings
from ferryman.steps.kept_bundles import KeptBundles

# Users get wrong answers meanwhile: a registry that hangs is not waited for.
_REGISTRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A version that can be gone back to, its bundle at its place, and how that was found out.

    `refused` tells of each newer one why it cannot. `registry` says whether MLflow was asked.
    """

    candidate: Candidate
    refused: dict[int, str] = field(default_factory=dict)
    registry: str = "asked"
    restored: str = ""


class Targets:
    """The versions of one model that served before, tried by a server that must be up."""

    def __init__(self, settings: Settings, ledger: Ledger, server: ModelServer, head: Head) -> None:
        registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
        self._ledger = ledger
        self._server = server
        self._head = head
        self._bundles = KeptBundles(settings, head.model, registry)
        self._known = ask_in_time(registry, head.model)
        self._good = ledger.good_versions(head.model)

    def newest(self) -> Target:
        """The newest one that verifies.

        Raises PolicyRefused (exit 9) where none ever served, IntegrityBroken (exit 7), with what
        is wrong with each, where none verifies.
        """
        refused: dict[int, str] = {}
        for candidate in self._good:
            try:
                return self._verified(candidate, refused)
            except _Wanting as error:
                refused[candidate.version] = str(error)
        model, version = self._head.model, self._head.version
        if not refused:
            raise PolicyRefused(
                f"no version of {model} served before version {version}, or all that did are "
                "quarantined: there is nothing to go back to, and it stays",
                remedy="Release another version.",
            )
        raise IntegrityBroken(
            f"no version of {model} can be gone back to, and version {version} stays: "
            f"{_listed(refused)}",
            remedy="Restore one of the bundles, or release another version.",
        )

    def named(self, version: int) -> Target:
        """A version that somebody named.

        Raises PolicyRefused (exit 9) for one that never served or is quarantined, IntegrityBroken
        (exit 7) for one that does not verify; each with the list of those that can be gone back to.
        """
        model = self._head.model
        candidate = next((one for one in self._good if one.version == version), None)
        if candidate is None:
            raise PolicyRefused(
                f"{model} cannot go back to version {version}: {self._why_not_good(version)}; "
                f"version {self._head.version} stays",
                remedy=self._choice(),
            )
        try:
            return self._verified(candidate, {})
        except _Wanting as error:
            raise IntegrityBroken(
                f"{model} cannot go back to version {version}: {error}; version "
                f"{self._head.version} stays",
                remedy=self._choice(without=version),
            ) from error

    def _verified(self, candidate: Candidate, refused: dict[int, str]) -> Target:
        registered = None
        if self._known is not None:
            registered = self._known.get(candidate.version)
            if registered is None:
                raise _Wanting("it was deleted in MLflow")
            if registered.digest != candidate.digest:
                raise _Wanting("MLflow knows it with another digest")
        place = self._bundles.place(candidate.digest)
        try:
            restored = self._bundles.ensure(candidate.digest, registered)
            self._server.check(self._head.model, str(place), candidate.digest)
        except DependencyUnavailable:
            raise  # of the server: that says nothing about the version
        except FerrymanError as error:
            raise _Wanting(error.text) from error
        return Target(
            candidate.model_copy(update={"bundle": str(place)}),
            refused,
            "asked" if self._known is not None else "away: not asked",
            restored,
        )

    def _why_not_good(self, version: int) -> str:
        model = self._head.model
        ops = [op for op in self._ledger.ops(model) if op.candidate.version == version]
        for op in ops:
            barred = self._ledger.is_quarantined(model, op.candidate.digest)
            if barred is not None:
                return f"it is quarantined: {barred}"
        return "it never served" if ops else "the ledger does not know it"

    def _choice(self, without: int = 0) -> str:
        able, wanting = [], {}
        for candidate in self._good:
            if candidate.version == without:
                continue
            try:
                self._verified(candidate, {})
            except _Wanting as error:
                wanting[candidate.version] = str(error)
            else:
                able.append(str(candidate.version))
        words = f"Versions that can be gone back to: {', '.join(able) or 'none'}."
        return words + (f" Not: {_listed(wanting)}." if wanting else "")


class _Wanting(Exception):
    """Why a version cannot be gone back to."""


def ask_in_time(registry: Registry, model: str) -> dict[int, RegisteredVersion] | None:
    """What the registry knows of a model's versions; None where it gives no answer in time."""
    answers: list[list[RegisteredVersion]] = []

    def ask() -> None:
        try:
            answers.append(registry.versions(model))
        except FerrymanError as error:
            logger.warning("%s: the registry cannot be asked: %s", model, error.text)

    asking = threading.Thread(target=ask, name="ferryman-registry", daemon=True)
    asking.start()
    asking.join(_REGISTRY_SECONDS)
    if not answers:
        return None
    return {version.version: version for version in answers[0]}


def _listed(refused: dict[int, str]) -> str:
    return "; ".join(f"version {version}: {why}" for version, why in refused.items())
