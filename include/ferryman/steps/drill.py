"""Ships a deliberately bad model to a canary of the live server, to see that it is caught.

Nothing of it is registered, and its operation can never be committed. It is judged by the rules
that releases are judged by, and it ends whatever happens: withdrawn here, or by its lease.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from pydantic import Field, JsonValue

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    GateRefused,
    LostRace,
    PolicyRefused,
    SpecError,
)
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import DRILL, PROMOTE, Head, State
from ferryman.packaging.spoiled_bundle import SpoiledKind
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import Reason, StepContext, StepParams
from ferryman.steps.drill_findings import Line, check, shown_in_ledger
from ferryman.steps.drill_model import (
    clear,
    drilled,
    golden_rows,
    known_op,
    make_bad_model,
    remembered,
)
from ferryman.steps.drill_requests import OwnRequests, Pace, Row
from ferryman.steps.expose import look
from ferryman.steps.model_servers import endpoint_for, has_administration, model_server_of
from ferryman.steps.rollout_ending import abort
from ferryman.steps.rollout_share import Exposure, end_any_share

_LOOKED = 1.0  # seconds: a drill is looked at more often than a release, it is short
_LIVE = 10.0  # seconds in which live traffic shows whether it is enough
_ENOUGH = 100  # requests of the bad model, or limits.min_requests where those are more
_REPORT = "report.json"

logger = logging.getLogger(__name__)


class Params(StepParams):
    """How the model is bad (see packaging.spoiled_bundle), why the drill is made, and by whom."""

    kind: SpoiledKind = "constant"
    reason: Reason = "the declared fire drill"
    actor: str | None = Field(default=None, min_length=1, max_length=200)


@dataclass(frozen=True)
class _Drill:
    """One drill: where it happens, beside whom, and what rows it may send."""

    context: StepContext
    exposure: Exposure
    head: Head
    rows: list[Row]

    @property
    def within(self) -> float:
        return self.exposure.model.spec.rollout.drill.within.total_seconds()


def run(context: StepContext) -> StepResult:
    """Make the drill; green where detection, return, alert and ledger entry came in time.

    A killed drill is continued, a finished one made anew. Raises GateRefused (exit 4) with what is
    missing; PolicyRefused (exit 9) while a release is exposed or the model is frozen; SpecError
    (exit 2) for a server in a cluster; LostRace (exit 8) where the champion changed meanwhile; what
    the ledger and the server raise before the bad model meets anybody.
    """
    if not has_administration(context.settings, context.spec):
        raise SpecError(
            f"the server {context.spec.serving.server!r} knows no shares: it is in a cluster",
            remedy="Drill where the model is served by processes or containers.",
        )
    ledger = Ledger(context.settings.ledger_url)
    head = ledger.head(context.spec.name)
    if head is None:
        return context.result(text="there is no release yet to drill beside", verdict="not_needed")
    return _carry_out(_begun(context, ledger, head))


def _begun(context: StepContext, ledger: Ledger, head: Head) -> _Drill:
    """Begin the drill, or find the one that a killed attempt of this run began."""
    params = cast(Params, context.params)
    candidate = remembered(context)
    op_id = known_op(ledger, head.model, candidate)
    _refuse(ledger, head, op_id)
    _close_left_behind(context, ledger, op_id)
    if candidate is None or op_id is None:
        clear(context)  # of one that was killed before it was opened
        candidate = make_bad_model(context, ledger, head, params.kind)
    actor = params.actor or context.settings.actor
    op = ledger.open_drill(head.model, candidate, actor=actor, reason=params.reason)
    exposure = Exposure(
        context.settings,
        drilled(context.model),
        ledger,
        op,
        0,
        context.connections,
        context.origin,
    )
    return _Drill(context, exposure, head, golden_rows(head))


def _carry_out(drill: _Drill) -> StepResult:
    op, ledger, context = drill.exposure.op, drill.exposure.ledger, drill.context
    spec, trouble = context.spec, ""
    url = endpoint_for(context.settings, spec).url
    with OwnRequests(url, op.model, op.op_id, drill.rows) as own:
        try:
            if op.state is State.REQUESTED:
                _stage(drill)
            trouble = _expose(drill, own)
        finally:
            own.per_second = 0.0
            unfinished = _end(drill.exposure)
            if not unfinished:
                clear(context)
    now = ledger.head(op.model)
    if now is None or now.epoch != op.base_epoch:
        raise LostRace(
            f"{op.model}: the champion changed during the drill (epoch {op.base_epoch})",
            remedy="Run the drill again, beside the new champion.",
        )
    return _conclude(
        drill, check(drill.exposure, drill.head, drill.rows), own, trouble or unfinished
    )


def _stage(drill: _Drill) -> None:
    """Let the server try the bad model: as a bundle it is in order."""
    op, context = drill.exposure.op, drill.context
    with model_server_of(context.settings, context.spec, context.connections) as server:
        server.check(op.model, op.candidate.bundle, op.candidate.digest)
    told: dict[str, JsonValue] = {
        "digest": op.candidate.digest,
        "kind": cast(Params, context.params).kind,
        "weight": context.spec.rollout.drill.weight,
        "within": drill.within,
    }
    drill.exposure.ledger.advance(op.op_id, State.STAGED, told, base_epoch=op.base_epoch)


def _expose(drill: _Drill, own: OwnRequests) -> str:
    """Look until it is caught or time is over; returns what went wrong, "" where nothing did."""
    exposure, context = drill.exposure, drill.context
    op = exposure.op
    try:
        while True:
            seen = look(
                context.settings,
                exposure.model,
                op.op_id,
                op.base_epoch,
                0,
                context.connections,
                origin=context.origin,
            )
            if seen.outcome != "hold":
                return "" if seen.outcome in ("failed", "undecided") else seen.text
            passed = shown_in_ledger(exposure).after(datetime.now(UTC))
            if passed > drill.within:
                text = f"not detected within {drill.within:g} s: {seen.text}"
                text += _pace(drill).shortfall(own.met)
                abort(exposure, "undecided", text)
                return text
            if passed >= min(_LIVE, drill.within / 10):
                _set_pace(drill, own, passed)
            time.sleep(min(seen.again_in, _LOOKED))
    except FerrymanError as error:
        logger.warning("%s: %s", exposure.title, error)
        return error.text


def _pace(drill: _Drill) -> Pace:
    """Enough requests of the bad model in half of the time."""
    rollout = drill.context.spec.rollout
    needed = max(_ENOUGH, rollout.limits.min_requests)
    return Pace(needed, rollout.drill.weight, drill.within / 2)


def _set_pace(drill: _Drill, own: OwnRequests, passed: float) -> None:
    """Send what live traffic lacks by now; as before while the server is away, as a look waits."""
    op, context = drill.exposure.op, drill.context
    try:
        with model_server_of(context.settings, context.spec, context.connections) as server:
            state = server.traffic(op.model)
    except DependencyUnavailable as error:
        logger.info("%s: %s", drill.exposure.title, error.text)
        return
    if state is None:
        own.per_second = 0.0
        return
    met = own.met = state.candidate.requests
    own.per_second = _pace(drill).lacking(passed, met, own.of_candidate)


def _end(exposure: Exposure) -> str:
    """Take the share back and end the operation, whatever came before; what went wrong, or ""."""
    ledger, op = exposure.ledger, exposure.op
    text = "the fire drill is over"
    try:
        end_any_share(exposure.settings, exposure.model, op, text, exposure.connections)
        newest = ledger.op(op.op_id)
        if newest is not None and newest.state is not State.ABORTED:
            told: dict[str, JsonValue] = {**exposure.facts, "outcome": "undecided", "text": text}
            ledger.advance(op.op_id, State.ABORTED, told, base_epoch=op.base_epoch)
    except FerrymanError as error:
        logger.warning("%s: the ledger does not learn of the end: %s", exposure.title, error)
        _withdraw(exposure)
        return error.text
    return ""


def _withdraw(exposure: Exposure) -> None:
    """Take the share back where the ledger cannot say under which lease it stands."""
    op = exposure.op
    try:
        with model_server_of(
            exposure.settings, exposure.model.spec, exposure.connections
        ) as server:
            state = server.traffic(op.model)
            if state is not None and state.traffic.op == op.op_id:
                server.withdraw(op.model, state.traffic.fence)
    except FerrymanError as error:
        logger.warning("%s: the share ends with its lease: %s", exposure.title, error)


def _conclude(drill: _Drill, lines: list[Line], own: OwnRequests, trouble: str) -> StepResult:
    context, op = drill.context, drill.exposure.op
    told: dict[str, JsonValue] = {
        "op": op.op_id,
        "kind": cast(Params, context.params).kind,
        "lines": [line.as_json for line in lines],
        "own_requests": own.sent,
        "own_requests_of_the_bad_model": own.of_candidate,
        "failed_answers": own.answers["failed"],
        "trouble": trouble,
    }
    report = context.folder / _REPORT
    write_json(report, told)
    missing = [f"{line.name}: {line.text}" for line in lines if not line.ok]
    if missing:
        text = f"fire drill of {op.model}: {'; '.join(missing)}"
        raise GateRefused(
            text + (f" ({trouble})" if trouble else ""),
            remedy="Repair what is named: until then a bad release may harm unnoticed.",
        )
    told_lines = "; ".join(f"{line.name}: {line.text}" for line in lines)
    text = f"{told_lines}; {own.sent} requests were the drill's own"
    return context.result(
        text=text,
        verdict="passed",
        outputs=told,
        metrics={f"{line.name}_seconds": line.seconds for line in lines},
        artifacts={"report": str(report)},
    )


def _refuse(ledger: Ledger, head: Head, own: str | None) -> None:
    """PolicyRefused (exit 9) where a drill would disturb a release, or may not be exposed."""
    lease = ledger.lease(head.model)
    live = lease is not None and lease.expires_at > datetime.now(UTC) and lease.op_id != own
    for op in ledger.ops(head.model):
        exposed = op.state in (State.EXPOSED, State.PROVEN) and op.base_epoch == head.epoch
        if op.kind == PROMOTE and exposed:
            raise PolicyRefused(
                f"{head.model} version {op.candidate.version} is exposed: a drill would disturb it",
                remedy="Drill again when that release is over.",
            )
        if live and lease is not None and op.op_id == lease.op_id and op.kind == DRILL:
            raise PolicyRefused(
                f"another drill of {head.model} is under way",
                remedy="Wait for its end; a killed one is over within a minute.",
            )
    if head.frozen:
        raise PolicyRefused(f"{head.model} is frozen at epoch {head.epoch}: nothing meets users")


def _close_left_behind(context: StepContext, ledger: Ledger, own: str | None) -> None:
    """End drills whose process was killed and that nobody continued."""
    open_states = (State.REQUESTED, State.STAGED, State.EXPOSED)
    for op in ledger.ops(context.spec.name):
        if op.kind == DRILL and op.state in open_states and op.op_id != own:
            changed = drilled(context.model)
            _end(Exposure(context.settings, changed, ledger, op, 0, context.connections))
