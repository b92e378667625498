"""Watches what releases rest on: versions, tags and the alias in MLflow, and kept bundles.

What can be put right is put right and told; what cannot is told once, and serving goes on. The
ledger is believed, never what somebody wrote into MLflow.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from ferryman.catalog import notify_of
from ferryman.errors import DependencyUnavailable, IntegrityBroken, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import GUARD, Candidate, Head, Note, Protected, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import (
    CHAMPION,
    DIGEST_TAG,
    RUN_KEY_TAG,
    RegisteredVersion,
    Registry,
)
from ferryman.runtime.alerts import alert
from ferryman.runtime.connections import Connections
from ferryman.settings import Settings
from ferryman.steps.kept_bundles import KeptBundles

ALIAS = "alias"  # the key of the finding that the alias was moved
_TOLD = 500  # characters of a note's reason
_OVER, _LASTS, _RIGHTED = "over", "lasts", "put right"
# Tags that the gate reads; each was written when the version was registered.
_TAGGED = ("cutoff", "train_dataset", "eval_dataset")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """One thing that is not as it was left.

    `key` names it over time. `lasts`: it could not be put right, so it is told once, and again only
    when it was over in between.
    """

    key: str
    text: str
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    lasts: bool = False


def guard(settings: Settings, model: str, connections: Connections | None = None) -> list[str]:
    """Look after one model; what was found, in words. Nothing before its first release."""
    ledger = Ledger(settings.ledger_url)
    head = ledger.head(model)
    if head is None:
        return []
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    return guard_model(ledger, registry, settings, head, connections)


def guard_model(
    ledger: Ledger,
    registry: Registry,
    settings: Settings,
    head: Head,
    connections: Connections | None = None,
) -> list[str]:
    """Check all that is protected, put right what can be, tell the rest; returns what was found.

    The alias is set back where it names another version than a head whose release is finished. A
    registry that is away is not asked: bundles are looked after alone. Raises
    DependencyUnavailable (exit 6) only where the ledger is away.
    """
    found: list[Found] = []
    try:
        known = {version.version: version for version in registry.versions(head.model)}
        found += _alias(ledger, registry, head)
        asked = True
    except DependencyUnavailable as error:
        logger.warning("%s: the registry cannot be asked: %s", head.model, error.text)
        known, asked = {}, False
    bundles = KeptBundles(settings, head.model, registry)
    candidates = {op.candidate.digest: op.candidate for op in ledger.ops(head.model)}
    for protected in _once(ledger.protected(head.model)):
        registered = known.get(protected.version)
        if asked and registered is None:
            found.append(_gone(protected))
        elif registered is not None:
            candidate = candidates.get(protected.digest)
            found += _tags(registry, protected, registered, candidate)
        found += _bundle(bundles, protected, registered)
    _tell(ledger, settings, head.model, found, connections)
    _close(ledger, settings, head.model, found, asked=asked)
    return [one.text for one in found]


def alias_moved(
    ledger: Ledger,
    settings: Settings,
    head: Head,
    named: RegisteredVersion | None,
    connections: Connections | None = None,
) -> str | None:
    """Tell that the alias was moved, before it is set back; None where it was not.

    `named` is what it names now. A release that is under way moves it by right.
    """
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    found = _moved(ledger, registry, head, named)
    if found is None:
        return None
    _tell(ledger, settings, head.model, [found], connections)
    return found.text


def _moved(
    ledger: Ledger, registry: Registry, head: Head, named: RegisteredVersion | None
) -> Found | None:
    if named is not None and named.version == head.version:
        return None
    commit, now = ledger.commit_of_epoch(head.model, head.epoch), ledger.head(head.model)
    op = ledger.op(commit.op_id) if commit else None
    if op is None or op.state is not State.DONE or now is None or now.epoch != head.epoch:
        return None
    if registry.get_version(head.model, head.version) is None:
        return None  # its alias went with it, which is told as such
    names = f"version {named.version}" if named is not None else "no version"
    text = (
        f"{head.model}: the alias {CHAMPION!r} named {names}, the ledger says version "
        f"{head.version} (epoch {head.epoch}): it was moved by hand and is set back. To release "
        "the version that it named: ferryman adopt"
    )
    version = named.version if named is not None else None
    return Found(ALIAS, text, {"found": version, "expected": head.version, "epoch": head.epoch})


def _alias(ledger: Ledger, registry: Registry, head: Head) -> list[Found]:
    moved = _moved(ledger, registry, head, registry.get_alias(head.model, CHAMPION))
    if moved is None:
        return []
    registry.set_alias(head.model, CHAMPION, head.version)
    return [moved]


def _once(protected: list[Protected]) -> list[Protected]:
    """One of each bundle: an installation that moved knows some by two paths."""
    return list({one.digest: one for one in protected}.values())


def _gone(protected: Protected) -> Found:
    text = (
        f"{protected.model}: version {protected.version} ({', '.join(protected.why)}) is gone in "
        "MLflow; serving goes on from the verified copy, but nobody can roll back to it"
    )
    return Found(f"gone {protected.version}", text, {"version": protected.version}, lasts=True)


def _tags(
    registry: Registry,
    protected: Protected,
    registered: RegisteredVersion,
    candidate: Candidate | None,
) -> list[Found]:
    """Restore the tags that say which bundle a version is, and what it was made of."""
    right = {DIGEST_TAG: protected.digest}
    if candidate is not None:
        right[RUN_KEY_TAG] = candidate.run_key
        for name in _TAGGED:
            if f"ferryman.{name}" in registered.tags:
                right[f"ferryman.{name}"] = getattr(candidate, name)
    wrong = {name: value for name, value in right.items() if registered.tags.get(name) != value}
    if not wrong:
        return []
    registry.set_tags(protected.model, protected.version, wrong)
    text = (
        f"{protected.model}: tags of version {protected.version} ({', '.join(protected.why)}) were "
        f"changed in MLflow and are restored: {', '.join(sorted(wrong))}"
    )
    changed: dict[str, JsonValue] = {name: registered.tags.get(name) for name in wrong}
    return [Found("tags", text, {"version": protected.version, "found": changed})]


def _bundle(
    bundles: KeptBundles, protected: Protected, registered: RegisteredVersion | None
) -> list[Found]:
    facts: dict[str, JsonValue] = {"version": protected.version, "digest": protected.digest}
    who = f"{protected.model}: version {protected.version} ({', '.join(protected.why)})"
    try:
        source = bundles.ensure(protected.digest, registered)
    except (IntegrityBroken, PolicyRefused) as error:
        text = f"{who}: {error.text}. Remedy: {error.remedy}"
        return [Found(f"bundle {protected.digest}", text, facts, lasts=True)]
    if not source:
        return []
    text = f"{who}: its bundle was missing or damaged, and is restored from {source}"
    return [Found("bundle", text, {**facts, "source": source})]


def _tell(
    ledger: Ledger,
    settings: Settings,
    model: str,
    found: list[Found],
    connections: Connections | None,
) -> None:
    """A note and an alert for each finding; a lasting one that was told before is let be."""
    lasting = _lasting(ledger, model)
    notify = notify_of(settings.zoo, model) if found else None
    for one in found:
        if one.lasts and one.key in lasting:
            continue
        # Told twice after a kill in between is better than never.
        alert(settings, f"{model}: guard", one.text, one.facts, connections, notify=notify)
        _note(ledger, settings, model, one, _LASTS if one.lasts else _RIGHTED)


def _close(
    ledger: Ledger, settings: Settings, model: str, found: list[Found], *, asked: bool
) -> None:
    """Note what was lasting and is over now, so that it would be told again."""
    for key in sorted(_lasting(ledger, model) - {one.key for one in found}):
        if asked or not key.startswith("gone"):
            _note(ledger, settings, model, Found(key, f"{model}: {key}: it is over"), _OVER)


def _lasting(ledger: Ledger, model: str) -> set[str]:
    state = {
        str(note.evidence["key"]): note.evidence["state"] for note in _guard_notes(ledger, model)
    }
    return {key for key, last in state.items() if last == _LASTS}


def _guard_notes(ledger: Ledger, model: str) -> list[Note]:
    return [note for note in ledger.notes(model, GUARD) if "key" in note.evidence]


def _note(ledger: Ledger, settings: Settings, model: str, one: Found, state: str) -> None:
    evidence: dict[str, JsonValue] = {"key": one.key, "state": state, **one.facts}
    ledger.note(GUARD, model, actor=settings.actor, reason=one.text[:_TOLD], evidence=evidence)


def last_move(ledger: Ledger, model: str) -> int | None:
    """The version that the alias was last moved to by hand; None where nobody ever did."""
    found = [note.evidence for note in _guard_notes(ledger, model)]
    moves = [entry["found"] for entry in found if entry["key"] == ALIAS and entry["found"]]
    return int(moves[-1]) if moves else None
