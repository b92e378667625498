"""The model half of a chain of lineage: versions, runs, code, and when a version served.

The registry knows versions and the tracker runs; what served, and when, the ledger alone. Where one
of them is away or has forgotten, what the others know is shown, and the gap is told.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from ferryman.errors import DependencyUnavailable, IntegrityBroken, SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Op, State
from ferryman.lineage.link import Link, missing
from ferryman.registry.registry import CHAMPION, RegisteredVersion, Registry
from ferryman.registry.tracking import RunFacts, Tracker
from ferryman.runtime.run_store import run_folder, run_results
from ferryman.spec.step_names import STEP_NAMES
from ferryman.spec.windows import format_time

_Answer = TypeVar("_Answer")
_OURS = "ferryman."


class ModelTrace:
    """Answers from registry, tracker, ledger and run store."""

    def __init__(
        self, registry: Registry, tracker: Tracker, ledger: Ledger, runs_root: Path
    ) -> None:
        self._registry = registry
        self._tracker = tracker
        self._ledger = ledger
        self._runs_root = runs_root

    def number(self, model: str, text: str) -> int:
        """The version that `3`, `champion` or an alias stands for; SpecError (exit 2) if none."""
        if text.isdecimal():
            return int(text)
        head = self._ledger.head(model) if text == CHAMPION else None
        if head is not None:
            return head.version
        found = self._registry.get_alias(model, text)
        if found is None:
            raise SpecError(
                f"{model!r} has no version with the alias {text[:80]!r}",
                remedy=f"`ferryman ledger show --model {model}` shows what was released.",
            )
        return found.version

    def facts_of(self, model: str, number: int) -> tuple[dict[str, str], list[Link]]:
        """What a version was registered with, and the gaps; from the ledger where MLflow is away.

        SpecError (exit 2) where neither knows the version.
        """
        gaps: list[Link] = []
        found = _asked(lambda: self._registry.get_version(model, number), gaps)
        candidate = self._candidate(model, number)
        if found is not None:
            return _tags(found), gaps
        if candidate is None:
            if gaps:
                raise DependencyUnavailable(gaps[0].name)
            raise SpecError(
                f"{model!r} has no version {number}",
                remedy=f"`ferryman ledger show --model {model}` shows what was released.",
            )
        if not gaps:
            gaps.append(missing(f"version {number} is not in the registry any more"))
        known = candidate.model_dump(mode="json")
        return {name: str(value) for name, value in known.items() if value != ""}, gaps

    def served(self, model: str, digest: str, number: int) -> list[Link]:
        """When a version served, by the ledger: every epoch of its digest, and what was refused."""
        history = self._ledger.history(model)
        commits = [op for op in history if op.state is State.COMMITTED]
        links = []
        for place, op in enumerate(commits):
            if op.candidate.digest != digest:
                continue
            after = commits[place + 1] if place + 1 < len(commits) else None
            facts = _decision(op)
            facts["epoch"] = op.evidence["after"]["epoch"]
            facts["until"] = format_time(after.at) if after else None
            links.append(Link("release", f"epoch {facts['epoch']}", "served in", facts))
        if not links:
            links = [
                Link("release", op.state.lower(), "judged", _decision(op))
                for op in self._ledger.ops(model)
                if op.candidate.digest == digest and op.candidate.version == number
            ]
        barred = self._ledger.is_quarantined(model, digest)
        if barred is not None:
            links.append(Link("quarantine", barred, "barred because"))
        return links or [Link("release", "never asked to serve")]

    def run(self, model: str, facts: Mapping[str, str]) -> list[Link]:
        """The training run of a version, its steps' results, and the gaps."""
        links: list[Link] = []
        name = facts.get("mlflow_run_id", "")
        tracked = _asked(lambda: self._tracker.read(name), links) if name else None
        if tracked is not None:
            return [self.run_link(model, tracked)]
        if not links:
            links.append(missing(f"MLflow run {name or '(none is named)'} is not there any more"))
        run_id = facts.get("run_id")
        if run_id:
            folder = run_folder(self._runs_root, model, "training", run_id)
            links.append(Link("run", run_id, "made by", {}, self._steps(folder)))
        return links

    def run_link(self, model: str, tracked: RunFacts, relation: str = "made by") -> Link:
        """A tracked run with its steps' results."""
        ours = {k.removeprefix(_OURS): v for k, v in tracked.tags.items() if k.startswith(_OURS)}
        facts: dict[str, JsonValue] = {
            "mlflow_run_id": tracked.id,
            "status": tracked.status,
            "started": format_time(tracked.started) if tracked.started else None,
            **{k: v for k, v in ours.items() if k not in ("run_id", "mlflow_run_id", "model")},
        }
        folder = run_folder(self._runs_root, model, "training", tracked.run_id)
        if not folder.is_dir() and "run_uri" in ours:
            folder = Path(ours["run_uri"])
        return Link("run", tracked.run_id, relation, facts, self._steps(folder))

    def runs_on(self, model: str, dataset_ids: Iterable[str]) -> list[Link]:
        """Every run that trained or evaluated on one of the versions, with what came of it."""
        gaps: list[Link] = []
        versions = _asked(lambda: self._registry.versions(model), gaps) or []
        runs: dict[str, RunFacts] = {}
        for name in dataset_ids:
            for role in ("train_dataset", "eval_dataset"):
                tag = f"{_OURS}{role}"
                found = _asked(lambda t=tag, n=name: self._tracker.search(model, t, n), gaps)  # type: ignore[misc]
                runs.update({facts.id: facts for facts in found or []})
        links = [self._run_and_versions(model, run, versions) for run in runs.values()]
        return [*links, *{gap.name: gap for gap in gaps}.values()]

    def _run_and_versions(
        self, model: str, run: RunFacts, versions: list[RegisteredVersion]
    ) -> Link:
        link = self.run_link(model, run, "read by")
        key = run.tags.get("ferryman.run_key")
        came = [version for version in versions if version.run_key == key]
        made = [
            self.version(model, version.version, _tags(version), "gave") for version in came
        ] or [Link("model version", "none", "gave")]
        return Link(link.kind, link.name, link.relation, link.facts, (*link.links, *made))

    def version(self, model: str, number: int, facts: Mapping[str, str], relation: str) -> Link:
        """A version with when it served."""
        return Link(
            "model version",
            f"{model}/{number}",
            relation,
            dict(facts),
            tuple(self.served(model, facts.get("digest", ""), number)),
        )

    def _steps(self, folder: Path) -> tuple[Link, ...]:
        try:
            results = run_results(folder)
        except IntegrityBroken as error:
            return (missing(error.text[:300]),)
        if not results:
            return (missing(f"the results of the run are not in {folder} any more"),)
        return tuple(
            Link("step", name, "", {"verdict": result.verdict, "text": result.text})
            for name, result in sorted(results.items(), key=lambda one: _place_of(one[0]))
        )

    def _candidate(self, model: str, number: int) -> Candidate | None:
        """A version as the ledger has known it."""
        ops = [op for op in self._ledger.ops(model) if op.candidate.version == number]
        return ops[-1].candidate if ops else None


def _place_of(step: str) -> tuple[int, str]:
    """Where a step stands in its pipeline; one that is none any more stands last."""
    return (STEP_NAMES.index(step) if step in STEP_NAMES else len(STEP_NAMES), step)


def code_link(facts: Mapping[str, str]) -> Link:
    """The code that made a version."""
    version = facts.get("code_version", "")
    if version in ("", "unknown"):
        return missing("the commit of the code was not known when the model was trained")
    commit, dirty = version.removesuffix("-dirty"), version.endswith("-dirty")
    told: dict[str, JsonValue] = {"uncommitted_changes": dirty}
    if facts.get("spec_digest"):
        told["model_folder_sha256"] = facts["spec_digest"]
    return Link("code", commit, "made with", told)


def _asked(question: Callable[[], _Answer], gaps: list[Link]) -> _Answer | None:
    """The answer; None, and a gap that tells it, where the service is away."""
    try:
        return question()
    except DependencyUnavailable as error:
        gaps.append(missing(error.text[:300]))
        return None


def _tags(version: RegisteredVersion) -> dict[str, str]:
    """A version's facts by the names that a candidate uses."""
    ours = {k.removeprefix(_OURS): v for k, v in version.tags.items() if k.startswith(_OURS)}
    return {**ours, "digest": version.digest, "run_key": version.run_key, "source": version.source}


def _decision(op: Op) -> dict[str, JsonValue]:
    return {
        "operation": op.kind,
        "state": str(op.state),
        "at": format_time(op.at),
        "actor": op.actor,
        "reason": op.reason,
    }
