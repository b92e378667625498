"""The registry port: numbered model versions, one canonical version a run key, named aliases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

RUN_KEY_TAG = "ferryman.run_key"
DIGEST_TAG = "ferryman.digest"
DUPLICATE_TAG = "ferryman.duplicate_of"
CHAMPION = "champion"


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a model.

    `source` is the URI of its bundle; `tags` are all its tags, those of Ferryman with their prefix.
    """

    model: str
    version: int
    run_key: str
    digest: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def canonical(self) -> bool:
        """Whether it is the lowest version of its run key, as far as has been noticed."""
        return DUPLICATE_TAG not in self.tags


class Registry(Protocol):
    """Keeps model versions. Every method raises DependencyUnavailable (exit 6) when it is down."""

    def register(
        self, model: str, run_key: str, digest: str, source: str, tags: Mapping[str, str]
    ) -> RegisteredVersion:
        """The canonical version of a run key, made now if there is none.

        The lowest version with the key is canonical; others (a lost reply, a race) are tagged as
        its duplicates. What is returned is the canonical one, whose digest may differ from the
        given one. Safe to repeat. `tags` may hold TRAINING_RUN_TAG, which links to the tracked run.
        """
        ...

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Every version, oldest first; empty for an unknown model."""
        ...

    def get_version(self, model: str, version: int) -> RegisteredVersion | None:
        """One version, or None where it does not exist (any more)."""
        ...

    def set_tags(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Write tags of a version; SpecError (exit 2) where the version does not exist."""
        ...

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point a name at a version; SpecError (exit 2) where the version does not exist."""
        ...

    def get_alias(self, model: str, alias: str) -> RegisteredVersion | None:
        """The version that a name points at, or None."""
        ...

    def download(self, version: RegisteredVersion, target: Path) -> None:
        """Copy the version's bundle into an existing empty folder; the caller verifies it."""
        ...


TRAINING_RUN_TAG = "ferryman.mlflow_run_id"


def lowest(versions: list[RegisteredVersion]) -> RegisteredVersion:
    """The canonical one among versions of one run key."""
    return min(versions, key=lambda version: version.version)
