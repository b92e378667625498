"""What labelled answers say of a candidate: worse, no worse, or not known yet."""

import math
from dataclasses import replace

from ferryman.rollout.always_valid import Interval
from ferryman.rollout.evidence import Finding, Outcome
from ferryman.spec.rollout import LabelsSpec

# More labels than anybody waits for are no advice.
_MOST_LABELS = 1_000_000


def judge_labels(interval: Interval, labels: LabelsSpec) -> Finding:
    """Failed: worse beyond the margin. Passed: not worse by more than it. Else undecided.

    The interval is of the loss, candidate less champion: above 0 the candidate is worse. It holds
    at all looks together, and so do both verdicts, at `labels.significance`.
    """
    counted = min(interval.candidates, interval.champions)
    finding = Finding(
        "labels",
        "undecided",
        "",
        _finite(interval.effect),
        _finite(interval.low),
        _finite(interval.high),
        interval.candidates,
    )
    if any(math.isnan(end) for end in (interval.effect, interval.low, interval.high)):
        return replace(finding, text="a loss of the labelled answers is not a finite number")
    if counted < labels.min_labels:
        text = f"labelled answers: {interval.candidates} of the candidate, "
        text += f"{interval.champions} of the champion; {labels.min_labels} of each are needed"
        return replace(finding, text=text)
    if math.isinf(interval.high - interval.low):
        text = f"{interval.candidates} labelled answers of the candidate, but of too few entities, "
        text += "or with too few differences, to say how sure the effect is"
        return replace(finding, text=text)
    told = f"loss {interval.effect:+.4g} against the champion"
    told += f" ({interval.low:+.4g} to {interval.high:+.4g})"
    outcome: Outcome = "undecided"
    if interval.low > labels.margin:
        outcome, text = "failed", f"{told}: worse by more than {labels.margin:g}"
    elif interval.high <= labels.margin:
        outcome, text = "passed", f"{told}: at most {labels.margin:g} is allowed"
    else:
        text = f"{told}; {_advice(interval, labels)}"
    return replace(finding, outcome=outcome, text=text)


def labels_needed(interval: Interval, labels: LabelsSpec) -> int | None:
    """How many labelled answers of both sides would about decide, if the effect stays as it is.

    None where that is more than a million.
    """
    gap = abs(interval.effect - labels.margin)
    half = (interval.high - interval.low) / 2
    have = interval.candidates + interval.champions
    if not math.isfinite(half) or gap * math.sqrt(_MOST_LABELS) <= half * math.sqrt(have):
        return None
    # The half width falls with the root of the count, but for a logarithm: a fifth is added for it.
    needed = math.ceil(1.2 * have * (half / gap) ** 2)
    return needed if needed <= _MOST_LABELS else None


def _advice(interval: Interval, labels: LabelsSpec) -> str:
    have = interval.candidates + interval.champions
    needed = labels_needed(interval, labels)
    if needed is None:
        return f"{have} labelled answers, more than {_MOST_LABELS} would be needed"
    return f"{have} labelled answers, about {max(needed, have + 1)} would decide"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
