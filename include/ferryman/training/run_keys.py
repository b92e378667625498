"""What names a training: the run key, and the version of the code that ran it."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from ferryman.runtime.messages import canonical_json
from ferryman.settings import Settings

UNKNOWN = "unknown"
_GIT_SECONDS = 5.0


def run_key(
    dataset_id: str | Sequence[str],
    code_digest: str,
    params: Mapping[str, float | int | str | bool],
    seed: int,
    *,
    leakage_accepted: bool = False,
) -> str:
    """The sha256 of all that decides what a training gives: equal keys are the same model.

    `dataset_id` is the training dataset's id, or the ids of all datasets that belong to it;
    `code_digest` is the digest of the model's folder; `params` are those that the pipeline was
    really given, which after a search are those of the best trial. A training for which leakage was
    accepted is another one: a version that was refused for it may not become right by itself.
    """
    ids = [dataset_id] if isinstance(dataset_id, str) else list(dataset_id)
    content: dict[str, JsonValue] = {
        "datasets": list(ids),
        "code": code_digest,
        "params": dict(params),
        "seed": seed,
    }
    if leakage_accepted:
        content["leakage"] = "accepted"
    return hashlib.sha256(canonical_json(content)).hexdigest()


def code_version(settings: Settings) -> str:
    """The commit of the project's code, with "-dirty" where files differ; "unknown" without git."""
    return settings.code_version or _git_version(settings.root)


def _git_version(root: Path) -> str:
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return UNKNOWN
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit if changes == "" else f"{commit}-dirty"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
