"""The registry port on MLflow's model registry: aliases, never stages."""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.registry.mlflow_connection import ABSENT, connect, mlflow_errors, quoted
from ferryman.registry.registry import (
    DIGEST_TAG,
    DUPLICATE_TAG,
    RUN_KEY_TAG,
    TRAINING_RUN_TAG,
    RegisteredVersion,
    lowest,
)
from ferryman.runtime.files import resolve_inside

logger = logging.getLogger(__name__)


class MlflowRegistry:
    """Versions are MLflow model versions; Ferryman's facts about them are tags.

    `artifacts` is the only folder of this machine that a version's local source may lie in.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self._uri = uri
        self._artifacts = artifacts

    def register(
        self, model: str, run_key: str, digest: str, source: str, tags: Mapping[str, str]
    ) -> RegisteredVersion:
        """The canonical version of a run key, made now if there is none."""
        with mlflow_errors(self._uri):
            client = self._client
            self._create_model(client, model)
            same = self._of_run_key(client, model, run_key)
            if not same:
                client.create_model_version(
                    model,
                    source=source,
                    run_id=tags.get(TRAINING_RUN_TAG),
                    tags={**tags, RUN_KEY_TAG: run_key, DIGEST_TAG: digest},
                )
                # Read again: somebody else may have made one at the same moment, or before a
                # reply to us that was lost.
                same = self._of_run_key(client, model, run_key)
            canonical = lowest(same)
            for other in same:
                if other.version > canonical.version and other.canonical:
                    logger.warning("%s %d repeats %d", model, other.version, canonical.version)
                    client.set_model_version_tag(
                        model, str(other.version), DUPLICATE_TAG, str(canonical.version)
                    )
            return canonical

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Every version, oldest first."""
        with mlflow_errors(self._uri):
            return self._search(self._client, f"name = '{quoted(model)}'")

    def get_version(self, model: str, version: int) -> RegisteredVersion | None:
        """One version, or None where it does not exist (any more)."""
        with mlflow_errors(self._uri):
            try:
                return _read(self._client.get_model_version(model, str(version)))
            except MlflowException as error:
                if error.error_code not in ABSENT:
                    raise
                return None

    def set_tags(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Write tags of a version."""
        if self.get_version(model, version) is None:
            raise SpecError(f"model {model!r} has no version {version} in MLflow")
        with mlflow_errors(self._uri):
            for name, value in tags.items():
                self._client.set_model_version_tag(model, str(version), name, value)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point a name at a version."""
        if self.get_version(model, version) is None:
            raise SpecError(f"model {model!r} has no version {version} in MLflow")
        with mlflow_errors(self._uri):
            self._client.set_registered_model_alias(model, alias, str(version))

    def get_alias(self, model: str, alias: str) -> RegisteredVersion | None:
        """The version that a name points at, or None."""
        with mlflow_errors(self._uri):
            try:
                return _read(self._client.get_model_version_by_alias(model, alias))
            except MlflowException as error:
                if error.error_code not in ABSENT:
                    raise
                return None

    def download(self, version: RegisteredVersion, target: Path) -> None:
        """Copy the bundle from MLflow's artifact store.

        PolicyRefused (exit 9) where the source is a local path outside the artifact folder: anybody
        who may write to MLflow can set a source.
        """
        place = urlparse(version.source)
        if place.scheme in ("", "file"):
            try:
                resolve_inside(self._artifacts, unquote(place.path))
            except ValueError as error:
                raise PolicyRefused(
                    f"source of {version.model} {version.version}: {error}"
                ) from error
        connect(self._uri)  # within our time limits, or says that it cannot
        with mlflow_errors(self._uri), tempfile.TemporaryDirectory(dir=target) as scratch:
            try:
                folder = download_artifacts(
                    artifact_uri=version.source, dst_path=scratch, tracking_uri=self._uri
                )
            except (MlflowException, OSError) as error:
                raise DependencyUnavailable(
                    f"{version.source}: the bundle cannot be read: {error}",
                    remedy="Restore MLflow's artifacts, or train again.",
                ) from error
            for entry in sorted(Path(folder).iterdir()):
                shutil.move(entry, target / entry.name)

    @property
    def _client(self) -> MlflowClient:
        return connect(self._uri)

    def _create_model(self, client: MlflowClient, model: str) -> None:
        if client.search_registered_models(f"name = '{quoted(model)}'", max_results=1):
            return
        try:
            client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _of_run_key(
        self, client: MlflowClient, model: str, run_key: str
    ) -> list[RegisteredVersion]:
        query = f"name = '{quoted(model)}' and tags.`{RUN_KEY_TAG}` = '{quoted(run_key)}'"
        return self._search(client, query)

    def _search(self, client: MlflowClient, query: str) -> list[RegisteredVersion]:
        found: list[RegisteredVersion] = []
        token: str | None = None
        while True:
            page = client.search_model_versions(query, max_results=1000, page_token=token)
            found += [_read(entry) for entry in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda entry: entry.version)


def _read(entry: Any) -> RegisteredVersion:
    tags = dict(entry.tags)
    return RegisteredVersion(
        model=entry.name,
        version=int(entry.version),
        run_key=tags.get(RUN_KEY_TAG, ""),
        digest=tags.get(DIGEST_TAG, ""),
        source=entry.source or "",
        tags=tags,
    )
