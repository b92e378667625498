"""What the figures of a stage prove: errors, latency and predictions of both variants compared.

A stage is looked at every few seconds, for hours. So "failed" is said by bounds that hold at all
looks together, "passed" by bounds of the look at hand. Between the two nothing is decided.
"""

import math
from dataclasses import replace

from ferryman.rollout import percentiles, rates
from ferryman.rollout.evidence import Evidence, Finding, Outcome
from ferryman.rollout.predictions import (
    Predicted,
    all_finite,
    chance_of_so_few,
    distance,
    distinct,
    on_one_scale,
)
from ferryman.rollout.significance import (
    FAIL,
    LEAST_ERRORS,
    LEAST_LATENCIES,
    LEAST_REQUESTS,
    LEAST_ROWS,
    MOST_LOST,
    Z_LIKELY,
    Z_PASS,
)
from ferryman.runtime.traffic import SECONDS_BOUNDS, VariantFigures
from ferryman.spec.metrics import Task
from ferryman.spec.rollout import LimitsSpec

_SIDES = ("champion", "candidate")
# A candidate that never predicts a third value is as good as constant.
_FEW_KINDS, _ROWS_FOR_FEW = 2, 200


def judge_traffic(
    champion: VariantFigures, candidate: VariantFigures, limits: LimitsSpec, *, task: Task
) -> Evidence:
    """What a stage of a canary or an A/B test has shown until now.

    A candidate that is no worse than the champion is failed by one of the rules in less than 3 FAIL
    of stages, however often and for however long it is looked at.
    """
    broken = _broken(champion, candidate)
    if broken is not None:
        return Evidence((broken,))
    return Evidence(
        (
            _requests(champion, candidate, limits),
            _errors(champion, candidate, limits),
            _latency(champion, candidate, limits),
            *_predictions(champion, candidate, limits, task),
        )
    )


def judge_shadow(  # noqa: PLR0913 - a shadow's own counts beside what all are judged by
    champion: VariantFigures,
    candidate: VariantFigures,
    limits: LimitsSpec,
    copied: int,
    dropped: int,
    *,
    task: Task,
) -> Evidence:
    """What a stage of a shadow has shown until now.

    `copied` and `dropped` are requests that it was sent, and others that it never got. Its latency
    is that of scoring in a process of its own: a slow one does not pass, but is not failed for it.
    """
    broken = _broken(champion, candidate)
    if broken is not None:
        return Evidence((broken,))
    slow = _latency(champion, candidate, limits)
    if slow.outcome == "failed":
        slow = replace(slow, outcome="undecided", text=f"{slow.text}, in the shadow's own process")
    return Evidence(
        (
            _copies(copied, dropped),
            _requests(champion, candidate, limits),
            _errors(champion, candidate, limits),
            slow,
            *_predictions(champion, candidate, limits, task),
        )
    )


def _broken(champion: VariantFigures, candidate: VariantFigures) -> Finding | None:
    """What makes figures say nothing: counts that cannot be, predictions that are no numbers."""
    for side, figures in zip(_SIDES, (champion, candidate), strict=True):
        counts = (figures.requests, figures.errors, figures.scored, *figures.seconds)
        if (
            min(counts) < 0
            or max(figures.errors, figures.scored) > figures.requests
            or len(figures.seconds) != len(SECONDS_BOUNDS) + 1
        ):
            return Finding("requests", "undecided", f"the figures of the {side} cannot be right")
    if not all_finite(candidate.scores):
        bad = sum(not math.isfinite(score) for score in candidate.scores)
        text = f"{bad} of {len(candidate.scores)} predictions of the candidate are not finite"
        return Finding("shift", "failed", text, count=len(candidate.scores))
    if not all_finite(champion.scores):
        text = "predictions of the champion are not finite: there is nothing to compare with"
        return Finding("shift", "undecided", text, count=len(candidate.scores))
    return None


def _requests(champion: VariantFigures, candidate: VariantFigures, limits: LimitsSpec) -> Finding:
    count = candidate.requests
    if count < limits.min_requests:
        return Finding(
            "requests", "undecided", f"{count} of {limits.min_requests} requests", count=count
        )
    if champion.requests == 0:
        text = "the champion answered no request: there is nothing to compare with"
        return Finding("requests", "undecided", text, count=count)
    return Finding("requests", "passed", f"{count} requests", count=count)


def _errors(champion: VariantFigures, candidate: VariantFigures, limits: LimitsSpec) -> Finding:
    ours = rates.Counted(candidate.errors, candidate.requests)
    theirs = rates.Counted(champion.errors, champion.requests)
    if not ours.requests or not theirs.requests:
        return Finding("errors", "undecided", "errors cannot be compared", count=ours.requests)
    effect = ours.rate - theirs.rate
    low = rates.proven_increase(ours, theirs, FAIL)
    high = rates.most_increase(ours, theirs, Z_PASS)
    enough = ours.requests >= LEAST_REQUESTS and ours.errors >= LEAST_ERRORS
    told = f"errors {ours.rate:.2%} against {theirs.rate:.2%}"
    outcome: Outcome = "undecided"
    likely = rates.wilson(ours, Z_LIKELY)[0] - theirs.rate > limits.errors
    if enough and low >= 0 and likely:
        outcome, text = "failed", f"{told}: worse by more than {limits.errors:.2%}"
    elif high <= limits.errors:
        outcome, text = "passed", f"{told}: worse by {max(high, 0):.2%} at most"
    else:
        text = f"{told}: worse by up to {high:.2%}, allowed are {limits.errors:.2%}"
    return Finding("errors", outcome, text, effect, low, high, ours.requests)


def _latency(champion: VariantFigures, candidate: VariantFigures, limits: LimitsSpec) -> Finding:
    ours, theirs = sum(candidate.seconds), sum(champion.seconds)
    if min(ours, theirs) < LEAST_LATENCIES:
        text = f"latencies of {min(ours, theirs)} of {LEAST_LATENCIES} requests"
        return Finding("latency", "undecided", text, count=ours)
    mine = percentiles.at_rank(candidate.seconds, percentiles.SHARE * ours)
    its = percentiles.at_rank(champion.seconds, percentiles.SHARE * theirs)
    if math.isinf(its):
        text = f"the champion's 95th percentile is beyond {SECONDS_BOUNDS[-1]:.0f} s"
        return Finding("latency", "undecided", text, count=ours)
    # What lies beyond the last bound is at least as slow as the bound.
    effect = min(mine, SECONDS_BOUNDS[-1]) / its
    low = _least_ratio(champion, candidate)
    doubt = math.hypot(_log_up(candidate, mine), _log_down(champion, its))
    high = effect * math.exp(doubt)
    told = f"95th percentile {_milliseconds(mine)} against {_milliseconds(its)}, {effect:.2f} times"
    outcome: Outcome = "undecided"
    if low > math.sqrt(limits.latency) and effect > limits.latency:
        outcome, text = "failed", f"{told}: more than {limits.latency:g}"
    elif high <= limits.latency:
        outcome, text = "passed", f"{told}: {high:.2f} at most"
    else:
        most = f"up to {high:.2f}" if math.isfinite(high) else "by too few requests to be sure"
        text = f"{told}: {most}, allowed is {limits.latency:g}"
    return Finding("latency", outcome, text, effect, low, _finite(high), ours)


def _least_ratio(champion: VariantFigures, candidate: VariantFigures) -> float:
    """A lower bound of the ratio of both percentiles that holds at all looks together."""
    rank, _ = percentiles.always_ranks(sum(candidate.seconds), FAIL / 2)
    _, its_rank = percentiles.always_ranks(sum(champion.seconds), FAIL / 2)
    above = percentiles.at_rank(champion.seconds, its_rank)
    below = percentiles.at_rank(candidate.seconds, rank)
    return min(below, SECONDS_BOUNDS[-1]) / above


def _log_up(figures: VariantFigures, estimate: float) -> float:
    if math.isinf(estimate):
        return math.inf
    _, rank = percentiles.look_ranks(sum(figures.seconds), Z_PASS)
    return math.log(percentiles.at_rank(figures.seconds, rank) / estimate)


def _log_down(figures: VariantFigures, estimate: float) -> float:
    rank, _ = percentiles.look_ranks(sum(figures.seconds), Z_PASS)
    return math.log(estimate / percentiles.at_rank(figures.seconds, rank))


def _predictions(
    champion: VariantFigures, candidate: VariantFigures, limits: LimitsSpec, task: Task
) -> tuple[Finding, ...]:
    ours, theirs = Predicted.of(candidate), Predicted.of(champion)
    least = min(len(ours), len(theirs))
    if least < LEAST_ROWS:
        text = f"predictions of {least} of {LEAST_ROWS} requests"
        return (Finding("shift", "undecided", text, count=len(ours)),)
    return _shift(ours, theirs, limits, task), _constant(ours, theirs, task)


def _shift(ours: Predicted, theirs: Predicted, limits: LimitsSpec, task: Task) -> Finding:
    found = distance(ours, theirs, task)
    told = f"predictions shifted by {found.estimate:.2f}"
    outcome: Outcome = "undecided"
    if found.proven > limits.shift / 2 and found.estimate > limits.shift:
        outcome, text = "failed", f"{told}: more than {limits.shift:g}"
    elif found.estimate > limits.shift:
        text = f"{told}: more than {limits.shift:g}, by too few answers to be sure ({len(ours)})"
    elif found.doubt > limits.shift / 2:
        text = f"{told}: by too few answers to be sure ({len(ours)})"
    else:
        outcome, text = "passed", f"{told}: allowed is {limits.shift:g}"
    high = min(1.0, found.estimate + found.doubt)
    return Finding("shift", outcome, text, found.estimate, found.proven, high, len(ours))


def _constant(ours: Predicted, theirs: Predicted, task: Task) -> Finding:
    ours, theirs = on_one_scale(ours, theirs, task)
    kinds, others = distinct(ours.scores), distinct(theirs.scores)
    most = 1 if task == "multiclass" or len(ours) < _ROWS_FOR_FEW else _FEW_KINDS
    outcome: Outcome = "passed"
    text = f"{kinds} different predictions in {len(ours)} answers"
    if kinds <= most and kinds < others:
        sure = chance_of_so_few(theirs, kinds, len(ours)) < FAIL / 10
        outcome = "failed" if sure else "undecided"
        text = f"{text}, of the champion {others} in {len(theirs)}"
    return Finding("constant", outcome, text, float(kinds), count=len(ours))


def _copies(copied: int, dropped: int) -> Finding:
    if copied < 0 or dropped < 0:
        return Finding("shadow", "undecided", "the counts of copies cannot be right")
    if copied + dropped == 0:
        return Finding("shadow", "undecided", "the shadow was sent no copies")
    lost = dropped / (copied + dropped)
    outcome: Outcome = "undecided" if lost > MOST_LOST else "passed"
    text = f"the shadow lost {lost:.0%} of the copies"
    return Finding("shadow", outcome, text, lost, count=copied)


def _milliseconds(seconds: float) -> str:
    if math.isinf(seconds):
        return f"over {SECONDS_BOUNDS[-1]:.0f} s"
    return f"{seconds * 1000:.3g} ms"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
