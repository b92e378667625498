"""Decides whether a window's evidence calls for a retrain. Pure: no clock, no files.

There are reasons (see retrain_reasons); brakes that hold for all of them: a cool-down, a budget a
week; and the probe, which tried on the newest labels whether a retrain would help.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ferryman.monitoring.probe import ProbeFinding
from ferryman.monitoring.retrain_reasons import Cause, Champion, Evidence, reasons
from ferryman.spec.monitoring import MonitorSpec, RetrainSpec
from ferryman.spec.windows import Window, format_time

__all__ = ["Cause", "Champion", "Decision", "Evidence", "decide", "wants_probe"]

_WEEK = timedelta(days=7)
_LONGEST = 200  # what a training run takes as its reason
_LEAST_TOLD = 60  # characters of what calls for a retrain, however long the obstacle is


@dataclass(frozen=True)
class Decision:
    """One window's decision, as it is stored.

    retrain: whether this window asks for a retrain; asked: whether it ever did (a restated window
    that no longer asks has still spent its part of the budget); causes: what the evidence called
    for, texts: each of them in words; reason: one line for people; probe: a ProbeFinding as JSON,
    where one was made.
    """

    window_start: str
    window_end: str
    retrain: bool
    asked: bool
    reason: str
    causes: list[str] = field(default_factory=list)
    champion: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    probe: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The decision as plain JSON."""
        return asdict(self)


def decide(  # noqa: PLR0913 - all that a decision rests on
    spec: MonitorSpec,
    window: Window,
    champion: Champion | None,
    evidence: Evidence,
    history: Iterable[Decision],
    *,
    probe: ProbeFinding | None = None,
) -> Decision:
    """Decide for one window from its evidence, the decisions of other windows, and the probe.

    Only decisions of earlier windows count against cool-down and budget, so that deciding a window
    again gives the same answer, whatever was decided after it.
    """
    stored = list(history)
    own = [past for past in stored if past.window_start == format_time(window.start)]
    earlier = [past for past in stored if past.window_start < format_time(window.start)]
    untreated = _untreated(champion, earlier)
    causes = reasons(spec, window, champion, evidence, untreated)
    block = _obstacle(spec, window, champion, earlier) or _resting(spec, window, causes, earlier)
    if causes and block is None:
        block = _advice_against(spec.retrain, causes, probe)
    retrain = bool(causes) and block is None
    return Decision(
        window_start=format_time(window.start),
        window_end=format_time(window.end),
        retrain=retrain,
        asked=retrain or any(past.asked for past in own),
        reason=_reason(causes, block, evidence),
        causes=list(causes),
        champion=champion.version if champion else None,
        evidence=_plain(evidence),
        texts={str(cause): text for cause, text in causes.items()},
        probe=probe.as_json() if probe and causes else None,
    )


def wants_probe(spec: MonitorSpec, decision: Decision) -> bool:
    """Whether a decision that was made without a probe should be made again with one.

    Nothing is tried where nothing is asked for, and a person need not be convinced.
    """
    if spec.retrain.probe is None or "person" in decision.causes:
        return False
    return decision.retrain or decision.causes == ["estimate"]


def _obstacle(
    spec: MonitorSpec, window: Window, champion: Champion | None, earlier: Sequence[Decision]
) -> str | None:
    """Why no retrain may be asked for now, whatever the evidence says."""
    if champion is None:
        return "nothing is served yet"
    if champion.cutoff >= window.end:
        return f"the champion already knows the data up to {format_time(champion.cutoff)}"
    since = [window.end - _end(past) for past in earlier if past.asked]
    if since and min(since) < spec.retrain.cool_down:
        ago = "1 day" if min(since).days == 1 else f"{min(since).days} days"
        return f"cool-down: a retrain was asked for {ago} ago"
    spent = sum(1 for gap in since if gap < _WEEK)
    if spent >= spec.retrain.per_week:
        return f"budget: {spent} of {spec.retrain.per_week} retrains this week are spent"
    return None


def _resting(
    spec: MonitorSpec, window: Window, causes: Mapping[Cause, str], earlier: Sequence[Decision]
) -> str | None:
    """Why the answer of an earlier probe holds for this window, too."""
    if spec.retrain.probe is None or "person" in causes:
        return None
    tried = [past for past in earlier if past.probe is not None and not past.asked]
    last = max(tried, key=_end, default=None)
    if last is None or window.end - _end(last) >= spec.retrain.probe.rests:
        return None
    return f"the probe of {last.window_start[:10]} found that it would not be worth it"


def _advice_against(
    spec: RetrainSpec, causes: Mapping[Cause, str], probe: ProbeFinding | None
) -> str | None:
    """Why a retrain within the budget is not worth its cost; None where it may be."""
    if "person" in causes:
        return None
    if list(causes) == ["estimate"] and (probe is None or probe.outcome != "helps"):
        return "an estimate alone starts no retrain" + (f": {probe.text}" if probe else "")
    if probe is None or probe.outcome == "helps":
        return None
    if probe.outcome == "useless":
        return f"a retrain would not have helped: {probe.text}"
    waits = spec.probe is not None and spec.probe.undecided == "wait"
    return f"the probe is undecided: {probe.text}" if waits else None


def _untreated(champion: Champion | None, earlier: Sequence[Decision]) -> list[str]:
    """Alarms that were told once, while the cool-down or the budget stood in the way.

    An alarm is done with when a retrain was asked for or probed since, or the champion knows its
    data.
    """
    if champion is None:
        return []
    known = format_time(champion.cutoff)
    done = max((past.window_start for past in earlier if past.asked or past.probe), default="")
    return [
        name
        for past in sorted(earlier, key=lambda past: past.window_start)
        if past.window_end > known and past.window_start > done
        for name in past.evidence.get("alarms", [])
    ]


def _end(past: Decision) -> datetime:
    return datetime.fromisoformat(past.window_end)


def _plain(evidence: Evidence) -> dict[str, Any]:
    listed = {name: list(getattr(evidence, name)) for name in ("drifted", "found", "alarms")}
    return {**asdict(evidence), **listed}


def _reason(causes: Mapping[Cause, str], block: str | None, evidence: Evidence) -> str:
    called = "; ".join(f"{cause}: {text}" for cause, text in causes.items())
    if not called:
        return block or f"nothing calls for it ({evidence.text or 'no evidence'})"
    # Why nothing is done is told in full; what calls for it stands in the decision's texts as well.
    end = f", but {block}" if block else ""
    return _cut(_cut(called, max(_LONGEST - len(end), _LEAST_TOLD)) + end, _LONGEST)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
