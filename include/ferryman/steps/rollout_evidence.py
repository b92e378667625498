"""What a stage of a rollout is judged by: figures of the server, and answers with labels."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from pydantic import JsonValue

from ferryman.errors import FerrymanError
from ferryman.rollout.evidence import Evidence, Finding, together
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.traffic import TrafficState
from ferryman.steps.rollout_share import Exposure

# Reading the prediction log is dear, and labels come slowly: seconds between two looks at them, and
# as a multiple of what the last one took.
_LABELS_EVERY, _TIMES_AS_LONG = 60.0, 20.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Remembered:
    until: float
    finding: Finding


# What was found of one stage's labels a moment ago. Another process that looks reads them anew.
_recent: dict[tuple[str, int, int], _Remembered] = {}
_lock = Lock()


def judge_stage(exposure: Exposure, state: TrafficState) -> Evidence:
    """All findings of one look; labels that need not decide count where they speak."""
    return together(_of_server(exposure, state), _of_labels(exposure))


def told_of(evidence: Evidence, state: TrafficState) -> dict[str, JsonValue]:
    """What the ledger keeps of a look."""
    return {
        **evidence.as_json(),
        "requests": {"champion": state.champion.requests, "candidate": state.candidate.requests},
        "failed_requests": {"champion": state.champion.errors, "candidate": state.candidate.errors},
        "copied": state.copied,
        "dropped": state.dropped,
    }


def _of_server(exposure: Exposure, state: TrafficState) -> Evidence:
    from ferryman.rollout.traffic_evidence import judge_shadow, judge_traffic

    spec = exposure.model.spec
    limits, task = spec.rollout.limits, spec.train.task
    if exposure.variant == "shadow":
        return judge_shadow(
            state.champion, state.candidate, limits, state.copied, state.dropped, task=task
        )
    return judge_traffic(state.champion, state.candidate, limits, task=task)


def _of_labels(exposure: Exposure) -> Evidence:
    rollout = exposure.model.spec.rollout
    finding = _label_finding(exposure)
    if finding.outcome == "undecided" and not rollout.needs_labels:
        return Evidence(())
    return Evidence((finding,))


def _label_finding(exposure: Exposure) -> Finding:
    key = (exposure.op.op_id, exposure.op.base_epoch, exposure.stage)
    with _lock:
        known = _recent.get(key)
    if known is not None and time.monotonic() < known.until:
        return known.finding
    began = time.monotonic()
    try:
        finding = _compare_labels(exposure)
    except FerrymanError as error:
        # A log or a store that is away, a damaged file, labels of an older declaration: no verdict
        # on anybody, and no end of a release.
        finding = Finding("labels", "undecided", f"no labels could be read: {error.text}")
        logger.warning("%s: %s", exposure.title, finding.text)
    with _lock:
        _recent.clear()  # one stage at a time is looked at
        now = time.monotonic()
        until = now + max(_LABELS_EVERY, _TIMES_AS_LONG * (now - began))
        _recent[key] = _Remembered(until, finding)
    return finding


def _compare_labels(exposure: Exposure) -> Finding:
    from ferryman.steps.labelled_answers import label_finding, labelled_losses

    connections = exposure.connections or DeclaredConnections(exposure.settings)
    now = datetime.now(UTC)
    answers = labelled_losses(
        exposure.settings, connections, exposure.model, exposure.op, now, ledger=exposure.ledger
    )
    return label_finding(answers, exposure.model.spec.rollout.labels)
