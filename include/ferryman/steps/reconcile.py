"""Makes alias, served version and ledger agree; the ledger is the truth, the others follow.

It is the end of a release, and finishes what a crash left: at start, before the next gate, and on a
timer. Every line of it may be repeated.
"""

import logging
from typing import Any

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    LostRace,
    Superseded,
)
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION, Registry
from ferryman.runtime.connections import Connections
from ferryman.runtime.messages import StepResult
from ferryman.runtime.model_server import ModelServer
from ferryman.runtime.traffic import Traffic
from ferryman.settings import Settings
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.model_servers import named_endpoint, named_model_server, server_name_of
from ferryman.steps.rollout_share import standing_share

_ATTEMPTS = 5
_UNFINISHED = (State.COMMITTED, State.PROJECTED)

logger = logging.getLogger(__name__)


class Params(StepParams):
    """No parameters: the ledger says what must be served."""


def run(context: StepContext) -> StepResult:
    """Project the model's head, read back until all agree, and look after what is protected.

    Raises DependencyUnavailable (exit 6) when the server or the registry is away.
    """
    model, settings = context.spec.name, context.settings
    ledger = Ledger(settings.ledger_url)
    head, found = reconcile_and_guard(ledger, settings, model, context.connections)
    if head is None:
        return context.result(text=f"{model} has no release yet", verdict="not_needed")
    agreed = f"epoch {head.epoch}: version {head.version} is served, alias and ledger agree"
    return context.result(
        text="; ".join([agreed, *found]),
        outputs={
            "epoch": head.epoch,
            "version": head.version,
            "served": _url(settings, model),
            **({"found": list(found)} if found else {}),
        },
    )


def reconcile_all(settings: Settings) -> dict[str, dict[str, Any]]:
    """Reconcile every model that has a head; returns {model: {epoch, version, served}}.

    What the guard found stands there as `found`. One model's trouble does not keep the others
    waiting: the first error is raised at the end.
    """
    ledger = Ledger(settings.ledger_url)
    found: dict[str, dict[str, Any]] = {}
    errors: list[FerrymanError] = []
    for known in ledger.heads():
        try:
            head, told = reconcile_and_guard(ledger, settings, known.model)
            head = head or known
        except FerrymanError as error:
            logger.error("%s cannot be reconciled: %s", known.model, error)
            errors.append(error)
            continue
        found[head.model] = {
            "epoch": head.epoch,
            "version": head.version,
            "served": _url(settings, head.model),
            **({"found": told} if told else {}),
        }
    if errors:
        raise errors[0]
    return found


def finish_last_release(ledger: Ledger, settings: Settings, model: str) -> None:
    """Reconcile a model whose last commit was never projected to the end; else do nothing."""
    head = ledger.head(model)
    last = ledger.commit_of_epoch(model, head.epoch) if head else None
    op = ledger.op(last.op_id) if last else None
    if op is not None and op.state in _UNFINISHED:
        logger.warning(
            "%s: finishing the release of epoch %d first", model, head.epoch if head else 0
        )
        reconcile_model(ledger, settings, model)


def reconcile_and_guard(
    ledger: Ledger, settings: Settings, model: str, connections: Connections | None = None
) -> tuple[Head | None, list[str]]:
    """Reconcile one model and look after what is protected: its head, and what was not right."""
    from ferryman.steps.guard import alias_moved, guard_model

    head = ledger.head(model)
    if head is None:
        return None, []
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    try:
        # Asked before it is set back: who moved it by hand must learn of it.
        moved = alias_moved(
            ledger, settings, head, registry.get_alias(model, CHAMPION), connections
        )
    except DependencyUnavailable as error:
        logger.warning("%s: %s", model, error.text)
        moved = None
    head = reconcile_model(ledger, settings, model, connections) or head
    found = guard_model(ledger, registry, settings, head, connections)
    return head, [moved, *found] if moved else found


def reconcile_model(
    ledger: Ledger, settings: Settings, model: str, connections: Connections | None = None
) -> Head | None:
    """Reconcile one model and return its head; None before its first release."""
    from ferryman.steps.guard import guard_model

    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    is_mended = False
    with named_model_server(settings, server_name_of(settings, model), connections) as server:
        for _ in range(_ATTEMPTS):
            head = ledger.head(model)
            if head is None:
                return None
            try:
                project(head, registry, server, ledger)
            except IntegrityBroken as error:
                if is_mended:
                    raise
                # A damaged bundle, and no copy at the server: MLflow may have one.
                logger.error("%s: epoch %d: %s", model, head.epoch, error.text)
                guard_model(ledger, registry, settings, head, connections)
                is_mended = True
                continue
            _end_unknown_share(model, server, ledger)
            _record(ledger, head, State.PROJECTED)
            # A slower release may have written its alias after ours, a newer one may have
            # committed: only what is read back counts.
            if _agrees(head, registry, server) and _is_still(head, ledger):
                _record(ledger, head, State.DONE)
                _close_passed_over(ledger, head)
                return head
    raise LostRace(f"{model}: releases follow one another too fast to project one")


def project(head: Head, registry: Registry, server: ModelServer, ledger: Ledger) -> None:
    """Tell the server, set the alias. One being away does not keep the other from following."""
    errors: list[DependencyUnavailable] = []
    for follow in (_serve, _name_champion):
        try:
            follow(head, registry, server, ledger)
        except DependencyUnavailable as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _serve(head: Head, registry: Registry, server: ModelServer, ledger: Ledger) -> None:
    del registry
    if _is_served(head, server):
        return
    try:
        server.load(
            head.model,
            version=head.version,
            epoch=head.epoch,
            bundle=head.bundle,
            digest=head.digest,
        )
    except Superseded as error:
        if _is_still(head, ledger):
            raise IntegrityBroken(
                f"the server is ahead of the ledger, which says epoch {head.epoch}: {error.text}",
                remedy="Restore the ledger; or stop the server and remove its served.json.",
            ) from error
        logger.info("%s: a newer release is served already", head.model)


def _name_champion(head: Head, registry: Registry, server: ModelServer, ledger: Ledger) -> None:
    del server, ledger
    named = registry.get_alias(head.model, CHAMPION)
    if named is not None and named.version == head.version:
        return
    if registry.get_version(head.model, head.version) is None:
        logger.error(
            "%s: version %d is gone in MLflow: no alias names it", head.model, head.version
        )
        return
    if named is not None:
        logger.info(
            "%s: alias moves from version %d to %d", head.model, named.version, head.version
        )
    registry.set_alias(head.model, CHAMPION, head.version)


def _end_unknown_share(model: str, server: ModelServer, ledger: Ledger) -> None:
    """A share at the server is a projection, too: what the ledger does not hold is withdrawn."""
    state = server.traffic(model)
    if state is None or _is_held(model, state.traffic, ledger):
        return
    logger.warning("%s: a share of version %d is withdrawn", model, state.traffic.version)
    try:
        server.withdraw(model, state.traffic.fence)
    except Superseded as error:
        logger.info("%s: a newer share stands: %s", model, error.text)


def _is_held(model: str, traffic: Traffic, ledger: Ledger) -> bool:
    lease, op = ledger.lease(model), ledger.op(traffic.op)
    if lease is None or op is None or op.state not in (State.EXPOSED, State.PROVEN):
        return False
    held = (lease.op_id, lease.serial) == (traffic.op, traffic.fence)
    return held and standing_share(ledger, op) is not None


def _is_served(head: Head, server: ModelServer) -> bool:
    status = server.status(head.model)
    if status is None or not status["loaded"]:
        return False
    return (status["epoch"], status["digest"]) == (head.epoch, head.digest)


def _agrees(head: Head, registry: Registry, server: ModelServer) -> bool:
    if not _is_served(head, server):
        return False
    named = registry.get_alias(head.model, CHAMPION)
    if named is not None and named.version == head.version:
        return True
    return registry.get_version(head.model, head.version) is None  # which the guard tells


def _is_still(head: Head, ledger: Ledger) -> bool:
    now = ledger.head(head.model)
    return now is not None and now.epoch == head.epoch


def _url(settings: Settings, model: str) -> str:
    return named_endpoint(settings, server_name_of(settings, model)).url


def _record(ledger: Ledger, head: Head, state: State) -> None:
    commit = ledger.commit_of_epoch(head.model, head.epoch)
    if commit is None:
        raise IntegrityBroken(
            f"the ledger has no commit of epoch {head.epoch} of {head.model}",
            remedy="Run `ferryman ledger verify`.",
        )
    op = ledger.op(commit.op_id)
    if op is not None and op.state in _UNFINISHED:
        ledger.advance(op.op_id, state, {"epoch": head.epoch})


def _close_passed_over(ledger: Ledger, head: Head) -> None:
    """Commits that a newer one followed before they were projected end here."""
    for op in ledger.ops(head.model):
        if op.state in _UNFINISHED:
            ledger.advance(op.op_id, State.SUPERSEDED, {"by": {"epoch": head.epoch}})
