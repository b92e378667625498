"""Goes back to a version that really served: one decision of the ledger, and no training.

It needs the server and the ledger. MLflow may be away: the alias then follows later.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydantic import Field, JsonValue

from ferryman.errors import (
    DependencyUnavailable,
    LostRace,
    Overtaken,
    PolicyRefused,
    Superseded,
)
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import ROLLBACK, Head, State
from ferryman.runtime.connections import Connections
from ferryman.runtime.messages import StepResult
from ferryman.runtime.model_server import ModelServer
from ferryman.runtime.run_store import RESULT, read_result, step_folder
from ferryman.settings import Settings
from ferryman.steps.contract import Reason, StepContext, StepParams
from ferryman.steps.model_servers import named_endpoint, named_model_server, server_name_of
from ferryman.steps.reconcile import reconcile_model
from ferryman.steps.rollback_target import Target, Targets
from ferryman.steps.rollout_share import standing_share
from ferryman.steps.served_answer import check_answer

_LONGEST = 500  # characters of a reason

logger = logging.getLogger(__name__)


class Params(StepParams):
    """Where to and why; `epoch` is the one that the asker saw: another one is not rolled back.

    `actor` is who asks, where that is not the installation's own user.
    """

    version: int | None = Field(default=None, ge=1)
    reason: Reason
    epoch: int | None = Field(default=None, ge=1)
    actor: str | None = Field(default=None, min_length=1, max_length=200)


@dataclass(frozen=True)
class Asked:
    """A rollback as somebody asked for it."""

    actor: str
    reason: str
    version: int | None = None
    epoch: int | None = None
    evidence: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class RolledBack:
    """What is served now. `left` is the version that was left, None where nothing was to be done.

    `later` says what could not follow yet, "" where all agrees.
    """

    head: Head
    left: int | None
    text: str
    later: str = ""


def run(context: StepContext) -> StepResult:
    """Roll the model back, or say that it was done before; a run that did it never does it again.

    Raises Overtaken (exit 8) where another epoch is served than the asker saw; PolicyRefused (exit
    9) or IntegrityBroken (exit 7), with the list of versions, where none, or not the named one, can
    be gone back to; DependencyUnavailable (exit 6) where server or ledger is away.
    """
    done_before = step_folder(context.request) / RESULT
    if done_before.is_file():
        # A run is one decision: cleared next month, it must not leave the champion of that day.
        told = read_result(done_before)
        return context.result(text=told.text, verdict=told.verdict, outputs=told.outputs)
    params = cast(Params, context.params)
    actor = params.actor or context.settings.actor
    asked = Asked(actor, params.reason, params.version, params.epoch)
    done = roll_back(context.settings, context.spec.name, asked, context.connections)
    return context.result(
        text=done.text + (f"; {done.later}" if done.later else ""),
        verdict="done" if done.left is not None or done.later else "not_needed",
        outputs={
            "epoch": done.head.epoch,
            "version": done.head.version,
            "digest": done.head.digest,
            "left": done.left,
            "later": done.later,
        },
    )


def roll_back(
    settings: Settings, model: str, asked: Asked, connections: Connections | None = None
) -> RolledBack:
    """Roll a model back; see `run` for what it raises."""
    ledger = Ledger(settings.ledger_url)
    head = ledger.head(model)
    if head is None:
        raise PolicyRefused(f"{model} has no release yet", remedy="Release a version first.")
    said = _done_before(ledger, head, asked)
    left = None
    if said is None:
        if asked.epoch not in (None, head.epoch):
            raise Overtaken(
                f"{model} is at epoch {head.epoch} (version {head.version}), you saw epoch "
                f"{asked.epoch}: somebody was faster",
                remedy="Look at what is served now, and ask again if that is still wrong.",
            )
        with named_model_server(settings, server_name_of(settings, model), connections) as server:
            _end_exposure(ledger, server, model, asked)
            targets = Targets(settings, ledger, server, head)
            target = targets.newest() if asked.version is None else targets.named(asked.version)
            left, head = head.version, _decide(ledger, target, head, asked)
        said = f"version {head.version} is served again (epoch {head.epoch}), {left} is quarantined"
    return _follow(settings, ledger, head, RolledBack(head, left, said), connections)


def _done_before(ledger: Ledger, head: Head, asked: Asked) -> str | None:
    """Why there is nothing to do; None where there is. Asked twice, it is one step back."""
    if asked.version is not None and asked.version == head.version:
        return f"version {head.version} is what the ledger says already (epoch {head.epoch})"
    made = ledger.made_by(head.model)
    if made is None or made.kind != ROLLBACK or asked.version is not None:
        return None
    if asked.epoch not in (None, head.epoch, made.base_epoch):
        return None
    return (
        f"already rolled back to version {head.version} (epoch {head.epoch}); name a version to go "
        "further"
    )


def _end_exposure(ledger: Ledger, server: ModelServer, model: str, asked: Asked) -> None:
    """Take a candidate's share back; its operation is judged anew beside the new champion."""
    exposed, lease = ledger.routing(model).op_id, ledger.lease(model)
    op = ledger.op(exposed) if exposed else None
    share = standing_share(ledger, op) if op is not None else None
    try:
        if op is not None and share is not None:
            told = share.evidence
            serial = lease.serial if lease is not None else int(told["serial"])
            ledger.set_traffic(
                op.op_id,
                serial=serial,
                stage=int(told["stage"]),
                variant=told["variant"],
                weight=0.0,
                reason=one_line(f"a rollback ends it: {asked.reason}"),
                evidence={},
                lease_seconds=float(told["lease_seconds"]),
            )
        elif lease is not None:
            # Of a rollback that was killed right here, or of a share that is about to be given.
            serial = lease.serial
        else:
            return
        server.withdraw(model, serial)
        ledger.drop_lease(model, serial)
    except (LostRace, Superseded) as error:
        # Somebody renewed it meanwhile. The commit ends every share: it stands beside one epoch.
        logger.info("%s: the share ends with the epoch: %s", model, error.text)


def _decide(ledger: Ledger, target: Target, head: Head, asked: Asked) -> Head:
    op = ledger.open_rollback(
        head.model,
        target.candidate,
        actor=asked.actor,
        reason=one_line(asked.reason),
        base_epoch=head.epoch,
    )
    if op.state is State.REQUESTED:
        evidence: dict[str, JsonValue] = {
            **asked.evidence,
            "digest": op.candidate.digest,
            "left": head.version,
            "registry": target.registry,
            "restored": target.restored,
            "refused": {str(version): why for version, why in target.refused.items()},
        }
        ledger.advance(op.op_id, State.STAGED, evidence, base_epoch=op.base_epoch)
    return ledger.commit(op.op_id, op.base_epoch)


def _follow(
    settings: Settings,
    ledger: Ledger,
    head: Head,
    done: RolledBack,
    connections: Connections | None,
) -> RolledBack:
    """Tell the server, set the alias, ask for a prediction; an alias that cannot follow waits."""
    later = ""
    name = server_name_of(settings, head.model)
    try:
        reconcile_model(ledger, settings, head.model, connections)
    except DependencyUnavailable as error:
        with named_model_server(settings, name, connections) as server:
            status = server.status(head.model)
        if status is None or (status["epoch"], status["digest"]) != (head.epoch, head.digest):
            raise
        later = f"the alias follows when MLflow is back (ferryman reconcile): {error.text}"
    bundle = settings.bundles_root / head.model / head.digest
    answered = check_answer(named_endpoint(settings, name), head, Path(bundle))
    return RolledBack(done.head, done.left, f"{done.text}: {answered}", later)


def one_line(text: str) -> str:
    """Words of evidence as the ledger takes reasons: no control characters, not too long."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:_LONGEST]
