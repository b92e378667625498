"""A registry in memory, for tests and for simulations that leave nothing behind."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

from ferryman.errors import DependencyUnavailable, SpecError
from ferryman.registry.registry import DIGEST_TAG, DUPLICATE_TAG, RUN_KEY_TAG, RegisteredVersion


class MemoryRegistry:
    """The registry port on dictionaries; not shared between processes."""

    def __init__(self) -> None:
        self._versions: dict[str, list[RegisteredVersion]] = {}
        self._aliases: dict[tuple[str, str], int] = {}

    def register(
        self, model: str, run_key: str, digest: str, source: str, tags: Mapping[str, str]
    ) -> RegisteredVersion:
        """The canonical version of a run key, made now if there is none."""
        same = [entry for entry in self.versions(model) if entry.run_key == run_key]
        if not same:
            return self.add(model, run_key, digest, source, tags)
        canonical, *others = same
        for other in others:
            marked = {**other.tags, DUPLICATE_TAG: str(canonical.version)}
            self._versions[model][other.version - 1] = replace(other, tags=marked)
        return canonical

    def add(
        self, model: str, run_key: str, digest: str, source: str, tags: Mapping[str, str]
    ) -> RegisteredVersion:
        """Make a version without looking: what a lost reply leaves behind."""
        known = self._versions.setdefault(model, [])
        own = {RUN_KEY_TAG: run_key, DIGEST_TAG: digest}
        version = RegisteredVersion(model, len(known) + 1, run_key, digest, source, {**tags, **own})
        known.append(version)
        return version

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Every version, oldest first."""
        return list(self._versions.get(model, []))

    def get_version(self, model: str, version: int) -> RegisteredVersion | None:
        """One version, or None."""
        found = [entry for entry in self.versions(model) if entry.version == version]
        return found[0] if found else None

    def set_tags(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Write tags of a version."""
        known = self.get_version(model, version)
        if known is None:
            raise SpecError(f"model {model!r} has no version {version}")
        all_tags = {**known.tags, **tags}
        self._versions[model][version - 1] = replace(
            known, tags=all_tags, run_key=all_tags[RUN_KEY_TAG], digest=all_tags[DIGEST_TAG]
        )

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point a name at a version."""
        if self.get_version(model, version) is None:
            raise SpecError(f"model {model!r} has no version {version}")
        self._aliases[model, alias] = version

    def get_alias(self, model: str, alias: str) -> RegisteredVersion | None:
        """The version that a name points at, or None."""
        version = self._aliases.get((model, alias))
        return None if version is None else self.get_version(model, version)

    def download(self, version: RegisteredVersion, target: Path) -> None:
        """Copy the bundle from the source, a path or a file URI."""
        source = Path(unquote(urlparse(version.source).path))
        if not source.is_dir():
            raise DependencyUnavailable(f"{version.source}: the bundle is not there")
        shutil.copytree(source, target, dirs_exist_ok=True)
