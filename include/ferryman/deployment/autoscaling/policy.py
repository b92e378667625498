"""Decides how many replicas a server shall have: declared rules, figures and a memory in, one out.

Pure: no clock, no network. Up at once, down slowly: fewer replicas only when fewer would have been
enough all through `scale_down_after`. A number that was tried and did not suffice is not tried
again for a time that doubles with each failure, unless the load has become clearly lighter. That
bounds how often a constant load can change anything.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ferryman.deployment.autoscaling.decision import (
    Change,
    Decision,
    Figures,
    Memory,
    Recommended,
    RuleName,
    TooFew,
)
from ferryman.deployment.autoscaling.rules import Reading, is_above, recommend
from ferryman.spec.servers import AutoscalingSpec

_STEP_UP = 4  # per decision, or a doubling where that is more: as in Kubernetes
_LONGEST = timedelta(days=1)  # for which a number of replicas is thought to be too few
_LEAST_PROBATION = timedelta(minutes=1)
_GAP = timedelta(minutes=2)  # without readings, after which the past is unknown


@dataclass(frozen=True)
class Moment:
    """A server at a moment: `current` replicas are wanted, `figures` or, with None, why not."""

    server: str
    now: datetime
    current: int
    figures: Figures | None
    trouble: str = ""


@dataclass(frozen=True)
class _Step:
    wanted: int
    rule: RuleName
    reason: str


def decide(spec: AutoscalingSpec, memory: Memory, moment: Moment) -> tuple[Decision, Memory]:
    """How many replicas to run from now on, and what to remember of it.

    Without figures nothing changes. The result lies within the declared min and max, whatever the
    figures say.
    """
    current, now = moment.current, moment.now
    memory = _kept_up(spec, memory, current, now)
    bounded = min(max(current, spec.min), spec.max)
    if bounded != current:
        text = f"{current} is outside of the declared {spec.min} to {spec.max}"
        step = _Step(bounded, "limits", text)
    elif moment.figures is None or moment.figures.stale:
        # Nothing was measured: nothing shows that fewer would do.
        memory = _remember(spec, memory, current, now).model_copy(update={"above": 0})
        step = _Step(current, "none", f"no figures: {_trouble(moment)}")
    else:
        above = memory.above + 1 if is_above(spec.rules, moment.figures) else 0
        memory = memory.model_copy(update={"above": above})
        asked = _asked(spec, memory, moment.figures, moment)
        memory = _remember(spec, memory, asked.wanted, now)
        step = _allowed(spec, memory, moment, asked)
        if step.wanted > current:
            memory = _learnt(spec, memory, moment)
    if step.wanted != current:
        memory = _changed(memory, current, step.wanted, now)
    decision = Decision(
        at=now,
        server=moment.server,
        current=current,
        wanted=step.wanted,
        rule=step.rule,
        reason=step.reason,
        figures=moment.figures,
    )
    return decision, memory.model_copy(update={"wanted": step.wanted})


def _asked(spec: AutoscalingSpec, memory: Memory, figures: Figures, moment: Moment) -> _Step:
    """The largest count that a rule asks for, within min and max."""
    current = moment.current
    reading = Reading(
        figures=figures,
        current=current,
        tolerance=spec.tolerance,
        above=memory.above,
        settling=_settling(memory, moment),
    )
    found = [recommend(rule, reading) for rule in spec.rules]
    known = [one for one in found if one.count is not None]
    silent = "; ".join(one.reason for one in found if one.count is None)
    if not known:
        return _Step(current, "none", silent)
    largest = max(known, key=lambda one: one.count or 0)
    wanted, reason = largest.count or 0, largest.reason
    if silent and wanted < current:
        # What a missing figure would have said cannot be known: it may have asked for more.
        wanted, reason = current, f"{reason}; not fewer: {silent}"
    return _Step(min(max(wanted, spec.min), spec.max), largest.rule.kind, reason)


def _allowed(spec: AutoscalingSpec, memory: Memory, moment: Moment, asked: _Step) -> _Step:
    """The step from the current number that is taken now towards the one asked for."""
    current = moment.current
    if asked.wanted >= current:
        wanted = min(asked.wanted, max(2 * current, current + _STEP_UP))
        return _Step(wanted, asked.rule, asked.reason)
    lately = max(entry.count for entry in memory.recommended)
    if lately >= current or _settling(memory, moment):
        seconds = spec.scale_down_after.total_seconds()
        text = f"{asked.reason}: {asked.wanted} would do, but not for {seconds:.0f} s yet"
        return _Step(current, asked.rule, text)
    load = None if moment.figures is None else moment.figures.load
    too_few = memory.counts_out(moment.now, load)
    # By half at most: a load that comes back at once still finds replicas.
    wanted = max(lately, too_few + 1, (current + 1) // 2)
    if wanted >= current:
        text = f"{asked.reason}: {asked.wanted} would do, but {too_few} did not suffice lately"
        return _Step(current, asked.rule, text)
    return _Step(wanted, asked.rule, asked.reason)


def _learnt(spec: AutoscalingSpec, memory: Memory, moment: Moment) -> Memory:
    """The memory that the number which was just gone down to did not suffice."""
    current, now, changed = moment.current, moment.now, memory.changed
    if changed is None or changed.after != current or changed.before < current:
        return memory
    known = next((entry for entry in memory.too_few if entry.count == current), None)
    if known is None and now - changed.at > max(spec.scale_down_after, _LEAST_PROBATION):
        return memory
    times = 1 if known is None else known.times + 1
    entry = TooFew(
        count=current,
        until=now + _held(spec, times),
        load=None if moment.figures is None else moment.figures.load,
        times=times,
    )
    others = tuple(one for one in memory.too_few if one.count != current)
    return memory.model_copy(update={"too_few": (*others, entry)})


def _held(spec: AutoscalingSpec, times: int) -> timedelta:
    """Four times the time that going down takes, then eight, sixteen, ..., at most a day."""
    doublings: int = 2 ** min(times + 1, 12)
    return min(max(spec.scale_down_after, _LEAST_PROBATION) * doublings, _LONGEST)


def _settling(memory: Memory, moment: Moment) -> bool:
    """Whether the figures still reach back to before the last change."""
    if memory.changed is None or moment.figures is None:
        return False
    ago = moment.now - memory.changed.at
    return timedelta(0) <= ago < timedelta(seconds=moment.figures.window)


def _kept_up(spec: AutoscalingSpec, memory: Memory, current: int, now: datetime) -> Memory:
    """The memory without what has run out; after a gap, or at first, the present is its past."""
    followed = memory.seen is not None and timedelta(0) <= now - memory.seen <= _GAP
    too_few = tuple(
        entry
        for entry in memory.too_few
        # Kept for as long again, to be doubled; one further ahead is of a clock that was wrong.
        if now < entry.until + _held(spec, entry.times) and entry.until <= now + _LONGEST
    )
    memory = memory.model_copy(update={"seen": now, "too_few": too_few})
    if not followed:
        fresh = (Recommended(at=now, count=current),)
        memory = memory.model_copy(update={"recommended": fresh, "above": 0})
    before = memory.wanted
    if before is not None and before != current:
        # Somebody else set the number: it gets its time as one of ours would.
        memory = _changed(_remember(spec, memory, current, now), before, current, now)
    return memory


def _remember(spec: AutoscalingSpec, memory: Memory, count: int, now: datetime) -> Memory:
    """Add a recommendation; only those that can still be the largest of their time are kept."""
    oldest = now - spec.scale_down_after
    kept = [entry for entry in memory.recommended if entry.at >= oldest and entry.count > count]
    return memory.model_copy(update={"recommended": (*kept, Recommended(at=now, count=count))})


def _changed(memory: Memory, before: int, after: int, now: datetime) -> Memory:
    change = Change(at=now, before=before, after=after)
    return memory.model_copy(update={"changed": change, "above": 0})


def _trouble(moment: Moment) -> str:
    if moment.figures is None:
        return moment.trouble or "none were read"
    return f"the newest is {moment.figures.age:.0f} s old"
