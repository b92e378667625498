"""What is not as it was in the last good window: version, code, declaration, data.

Told from the ledger, the catalogue of snapshots, the kept recipes and declarations, and git.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ferryman.data.versions.catalogue_entry import CatalogueEntry
from ferryman.data.versions.change_reason import explain_change
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Op, State
from ferryman.monitoring.declarations import Declarations, changed_keys
from ferryman.monitoring.diagnosis import Change
from ferryman.spec.windows import Window, day_window, format_time
from ferryman.steps.code_changes import Commit, commits_between
from ferryman.steps.contract import StepContext

_MOMENT = timedelta(microseconds=1)
_SHORT = 12  # of a digest or a commit, for people
_SHOWN = 3
_ENGINE = "include/ferryman/"
_FEEDING = ("data.", "features.", "spec_version")  # keys that decide what the rows are
_FEWER = 0.5  # rows of the good window, from which on a window's number of rows is a change


def found_changes(
    context: StepContext, good: Window | None, served_then: int | None
) -> list[Change]:
    """Everything that changed since the good window; nothing where there is none.

    served_then: the version that the good window's report names.
    """
    if good is None:
        return []
    store = SnapshotStore(context.data_store)
    # A window of several days stands for its last one.
    days = [day_window(one.end - _MOMENT) for one in (good, context.window)]
    pair = [store.current(context.model.name, day) for day in days]
    found: list[Change] = []
    if pair[0] is not None and pair[1] is not None:
        found += _of_snapshots(context, pair[0].entry, pair[1].entry)
    return found + _of_version(context, served_then)


def _of_snapshots(
    context: StepContext, before: CatalogueEntry, now: CatalogueEntry
) -> list[Change]:
    model, found = context.model.name, []
    queries = sorted(
        name
        for name in {*before.queries, *now.queries}
        if before.queries.get(name) != now.queries.get(name)
    )
    commits = commits_between(context.settings.root, before.code_version, now.code_version)
    own = _touching(context, commits)
    if queries:
        found.append(_query_change(context, before, now, queries, own))
    elif before.spec_digest != now.spec_digest and before.spec_digest:
        found.append(_declaration_change(context, before.spec_digest, now.spec_digest, own))
    elif before.code_version != now.code_version and before.code_version:
        found.append(_engine_change(before.code_version, now.code_version, commits))
    if before.rows and not _FEWER <= now.rows / before.rows <= 1 / _FEWER:
        found.append(
            Change(
                "data",
                f"rows of window {now.window}",
                f"window {now.window} has {now.rows} rows, {before.window} had {before.rows}"
                f" ({explain_change(before, now)})",
                f"look at the source, then: ferryman run ingest --model {model} "
                f"--window {now.window.start:%Y-%m-%d}",
                0.6,
                facts={"before": before.id, "now": now.id},
            )
        )
    return found


def _query_change(
    context: StepContext,
    before: CatalogueEntry,
    now: CatalogueEntry,
    queries: Sequence[str],
    commits: Sequence[Commit],
) -> Change:
    named = ", ".join(queries[:_SHOWN])
    by = commits[0].text if commits else _versions(before.code_version, now.code_version)
    name = f"commit {commits[0].sha[:_SHORT]}" if commits else f"query {named}"
    return Change(
        "code",
        f"{name} changed {named}" if commits else f"{name} changed",
        f"{by} changed {named}",
        _revert(commits)
        + f"ingest the window again: ferryman run ingest --model {context.model.name} "
        f"--window {now.window.start:%Y-%m-%d}",
        0.8,
        feeds=True,
        facts={"queries": list(queries), "commits": [one.sha for one in commits]},
    )


def _declaration_change(
    context: StepContext, before: str, now: str, commits: Sequence[Commit]
) -> Change:
    store, model = Declarations(context.monitoring_root), context.model.name
    was, is_now = store.read(model, before), store.read(model, now)
    keys = changed_keys(was, is_now) if was is not None and is_now is not None else []
    by = commits[0].text if commits else f"the model's folder {before[:_SHORT]} -> {now[:_SHORT]}"
    files = sorted({file for one in commits for file in one.files})
    told = "; ".join(keys[:_SHOWN]) or ", ".join(files[:_SHOWN])
    # What is declared of gates, alarms or expectations moves no column, and no prediction.
    feeds = was is None or is_now is None or any(key.startswith(_FEEDING) for key in keys)
    return Change(
        "configuration",
        f"commit {commits[0].sha[:_SHORT]}" if commits else "the declaration changed",
        f"{by} changed {told}" if told else f"{by} changed",
        _revert(commits) + f"check it with: ferryman validate; model {model}",
        0.7 if feeds else 0.3,
        feeds=feeds,
        facts={"keys": keys, "files": files, "before": before, "now": now},
    )


def _engine_change(before: str, now: str, commits: Sequence[Commit]) -> Change:
    engine = [one for one in commits if any(_ENGINE in file for file in one.files)]
    shown = engine or commits
    told = "; ".join(one.text for one in shown[:_SHOWN]) or "commits are not on record"
    return Change(
        "code",
        f"code {before[:_SHORT]} -> {now[:_SHORT]}",
        f"{_versions(before, now)}: {told}; no file of the model changed",
        "read these commits before anything else is tried; revert one that is to blame",
        0.4 if engine else 0.2,
        facts={"commits": [one.sha for one in commits]},
    )


def _of_version(context: StepContext, served_then: int | None) -> list[Change]:
    """The release or rollback since the good window, and what its version was made of."""
    model = context.model.name
    history = Ledger(context.settings.ledger_url).history(model)
    commits = [op for op in history if op.state is State.COMMITTED]
    if not commits or served_then is None or commits[-1].candidate.version == served_then:
        return []
    last = commits[-1]
    before = next(
        (op.candidate for op in reversed(commits) if op.candidate.version == served_then), None
    )
    change = _made_of(context, before, last.candidate) if before else ""
    text = (
        f"version {last.candidate.version} serves in place of {served_then}: {_how(last)} "
        f"on {format_time(last.at)} by {last.actor}, on data up to {last.candidate.cutoff[:10]}"
    )
    return [
        Change(
            "version",
            f"version {last.candidate.version}" + (" made by changed code" if change else ""),
            f"{text}; {change}" if change else text,
            f"ferryman rollback --model {model}",
            0.85 if change else 0.6,
            facts={"then": served_then, "now": last.candidate.version, "op": last.op_id},
        )
    ]


def _how(op: Op) -> str:
    return {"promote": "released", "rollback": "rolled back to", "adopt": "adopted"}.get(
        op.kind, op.kind
    )


def _made_of(context: StepContext, before: Candidate, now: Candidate) -> str:
    """Which commits that touch the model's folder lie between two versions; empty for none."""
    between = commits_between(context.settings.root, before.code_version, now.code_version)
    own = _touching(context, between)
    if not own:
        return ""
    files = sorted({Path(file).name for one in own for file in one.files})
    return f"{own[0].text} changed {', '.join(files[:_SHOWN])} before it was trained"


def _touching(context: StepContext, commits: Sequence[Commit]) -> list[Commit]:
    """The commits that touch the model's folder."""
    folder = context.model.file.parent.name
    return [one for one in commits if any(f"{folder}/" in f"/{file}" for file in one.files)]


def _versions(before: str, now: str) -> str:
    return f"code {before[:_SHORT] or 'unknown'} -> {now[:_SHORT] or 'unknown'}"


def _revert(commits: Sequence[Commit]) -> str:
    return f"git revert {commits[0].sha[:_SHORT]}, then " if commits else "undo the change, then "
