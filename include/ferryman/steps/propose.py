"""Writes down what an approver must see before the answer: evidence, data, and what happens next.

The page is made of facts that are on record; text from data stays data, whatever it looks like.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ferryman.errors import GateRefused
from ferryman.evaluation.document import Cell, Document, Facts, Section, Table, Text
from ferryman.evaluation.model_card import render_markdown
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, Op
from ferryman.runtime.files import json_bytes, write_atomic
from ferryman.runtime.messages import StepResult
from ferryman.spec.durations import format_duration
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.pipelines import stage_title
from ferryman.steps.proposal_material import data_section, monitoring_section, slice_section
from ferryman.steps.release_op import gated_op

PAGE, FIGURES = "proposal.md", "proposal.json"
_MOST_BODY = 20_000  # characters
_MOST_OPINIONS, _MOST_METRICS, _MOST_TEXT = 20, 30, 400


class Params(StepParams):
    """Who asked for the release, and the training run that made the candidate, where known."""

    requester: str = ""
    training_run: str = ""


def run(context: StepContext) -> StepResult:
    """Write the proposal; a repeat writes it anew, from what is on record then.

    Raises what `gated_op` raises for a candidate that no gate let pass.
    """
    ledger = Ledger(context.settings.ledger_url)
    op, base = gated_op(context, ledger)
    released = ledger.committed_head(op.op_id)
    if released is not None:
        return context.result(text=f"already done (epoch {released.epoch})")
    params = context.params
    given = params if isinstance(params, Params) else Params()
    begun_by = next(row for row in ledger.history(op.model) if row.op_id == op.op_id).actor
    document = _document(context, ledger, op, base, given)
    page = _bounded(render_markdown(document))
    write_atomic(context.folder / PAGE, page.encode("utf-8", errors="replace"))
    write_atomic(context.folder / FIGURES, json_bytes(asdict(document)))
    version = op.candidate.version
    subject = f"Release version {version} of {op.model} (against epoch {base})"
    return context.result(
        text=f"version {version} is proposed: judged against epoch {base}",
        outputs={
            "op_id": op.op_id,
            "base_epoch": base,
            "version": version,
            "digest": op.candidate.digest,
            "requester": given.requester or begun_by,
            "begun_by": begun_by,
            "training_run": given.training_run,
            "subject": subject,
            "body": page,
        },
        artifacts={name: str(context.folder / name) for name in (PAGE, FIGURES)},
    )


def _document(context: StepContext, ledger: Ledger, op: Op, base: int, given: Params) -> Document:
    head = ledger.head(op.model)
    evidence = context.earlier("gate").outputs.get("comparison")
    judged: Mapping[str, Any] = evidence if isinstance(evidence, dict) else {}
    if evidence and judged.get("outcome") != "passed":
        raise GateRefused(f"{op.model} version {op.candidate.version}: {judged.get('text')}")
    sections = [
        _about(op, base, head, given),
        *_gate(judged),
        *slice_section(context, given.training_run, judged),
        data_section(context, ledger, op, base),
        monitoring_section(context),
        _next(context, op),
    ]
    title = f"{op.model}, version {op.candidate.version}"
    return Document(title, context.spec.description, sections)


def _about(op: Op, base: int, head: Head | None, given: Params) -> Section:
    candidate = op.candidate
    served = f"version {head.version} (epoch {head.epoch})" if head else "nothing yet"
    items: list[tuple[str, Cell]] = [
        ("Version", str(candidate.version)),
        ("Digest", candidate.digest[:12]),  # whole, it widens the page past a window
        ("Served now", served),
        ("Judged against epoch", str(base)),
        ("Asked for by", given.requester or op.actor),
        ("Reason", (candidate.reason or op.reason)[:_MOST_TEXT]),
        ("Data cut-off", candidate.cutoff),
        ("Code", candidate.code_version or None),
        ("Run in MLflow", candidate.mlflow_run_id or None),
    ]
    return Section("What is proposed", [Facts(items)])


def _gate(judged: Mapping[str, Any]) -> list[Section]:
    """The gate's words, and both models' figures on the same rows."""
    if not judged:
        return []
    champion = (judged.get("champion") or {}).get("metrics") or {}
    rival = champion or (judged.get("baseline") or {}).get("metrics") or {}
    name = "Champion" if champion else "Baseline"
    intervals = judged.get("intervals") or {}
    rows = [
        (metric, value, _interval(intervals.get(metric)), rival.get(metric))
        for metric, value in list((judged.get("candidate") or {}).items())[:_MOST_METRICS]
    ]
    opinions = [
        f"{outcome}: {text}"[:_MOST_TEXT]
        for outcome, text in (judged.get("opinions") or [])[:_MOST_OPINIONS]
        if text
    ]
    difference = judged.get("difference")
    compared = [Text(_difference(difference, name.lower()))] if difference else []
    return [
        Section(
            "Evidence",
            [
                Text(f"On {judged.get('rows') or 0:,} rows that neither was trained on."),
                *compared,
                Table(("Metric", "Candidate", _interval_head(difference), name), rows),
                *(Text(opinion) for opinion in opinions),
            ],
        )
    ]


def _difference(found: Mapping[str, Any], rival: str) -> str:
    return (
        f"Better than the {rival} by {found['estimate']:.4g} in {found['metric']}, interval "
        f"[{found['low']:.4g}, {found['high']:.4g}] at {found['confidence']:.0%}; below 0 is worse."
    )


def _interval_head(difference: Mapping[str, Any] | None) -> str:
    return f"{difference['confidence']:.0%} interval" if difference else "Interval"


def _interval(found: Mapping[str, Any] | None) -> str | None:
    return f"[{found['low']:.4g}, {found['high']:.4g}]" if found else None


def _next(context: StepContext, op: Op) -> Section:
    """What a yes and a no lead to."""
    rollout = context.spec.rollout
    stages = [
        (
            stage_title(rollout, number),
            format_duration(stage.hold),
            format_duration(stage.hold + stage.patience),
        )
        for number, stage in enumerate(rollout.planned)
    ]
    blocks: list[Any] = []
    if stages:
        blocks.append(Table(("Stage", "At least", "At most"), stages))
        blocks.append(Text("A stage that fails or stays undecided ends the release."))
    blocks.append(Text(f"Then version {op.candidate.version} answers all requests."))
    if rollout.approval is not None:
        within = format_duration(rollout.approval.answer_within)
        blocks.append(Text(f"No, and no answer within {within}: nothing changes."))
    return Section("What happens next", blocks)


def _bounded(page: str) -> str:
    """The page up to the bound, cut between lines."""
    if len(page) <= _MOST_BODY:
        return page
    return page[:_MOST_BODY].rpartition("\n")[0] + f"\n\nCut here; all of it is in {FIGURES}.\n"
