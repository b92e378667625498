"""The tasks in which a candidate gets a share of the traffic, one for each declared stage."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ferryman.errors import SpecError
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import RolloutSpec
from ferryman.steps.pipelines import EXPOSE
from ferryman_airflow.connections import TaskConnections
from ferryman_airflow.exposure_trigger import ExposureTrigger
from ferryman_airflow.links import task_page
from ferryman_airflow.operators import InlineStep

_LEAST_PERCENT = Decimal("0.000001")


class ExposeStep(InlineStep):
    """Holds one stage of a rollout; while nothing is decided it waits in the triggerer.

    Killed anywhere it goes on where the ledger says: the share itself stands under a lease, and is
    0 within a minute where nobody looks any more.
    """

    def work(self, context: Any, request: StepRequest) -> StepResult:
        """Look once and wait, or run the step: it finds the stage decided and says how."""
        from ferryman.steps.expose import look

        op_id, base_epoch = _gated(request)
        stage, settings = int(self.stage or 0), load_settings()
        connections, origin = TaskConnections(settings), task_page(context["ti"])
        seen = look(settings, self.declared, op_id, base_epoch, stage, connections, origin=origin)
        if seen.outcome == "hold":
            self.log.info("%s: waiting in the triggerer", seen.text)
            self.defer(
                trigger=ExposureTrigger(
                    model=self.declared.name,
                    op_id=op_id,
                    base_epoch=base_epoch,
                    stage=stage,
                    spec_digest=self.declared.digest,
                    origin=origin,
                ),
                method_name="execute_complete",
            )
        return super().work(context, request)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the wait: the event wakes the task, what counts is what it sees itself."""
        self.log.info("%s: %s", event.get("outcome"), event.get("text"))
        return self.perform(context)


def exposure(model: DeclaredModel) -> tuple[ExposeStep, ...]:
    """One task a planned stage; none for a direct rollout."""
    return tuple(
        ExposeStep(task_id=name, declared=model, step_name=EXPOSE, stage=stage)
        for stage, name in enumerate(stage_names(model.spec.rollout))
    )


def stage_names(rollout: RolloutSpec) -> Sequence[str]:
    """What the tasks are called: canary_5pct, canary_25pct; ab_test; shadow."""
    if rollout.strategy == "canary":
        return [f"canary_{_percent(stage.weight)}pct" for stage in rollout.planned]
    name = {"ab": "ab_test"}.get(rollout.strategy, rollout.strategy)
    return [name for _ in rollout.planned]


def waiting_time(model: DeclaredModel) -> timedelta:
    """How long a release may wait: for an answer, and for every stage to its end."""
    rollout = model.spec.rollout
    answer = rollout.approval.answer_within if rollout.approval else timedelta()
    return sum((stage.hold + stage.patience for stage in rollout.planned), start=answer)


def _percent(weight: float) -> str:
    """A share of one in percent, exact, so that two stages never have one name."""
    percent = (Decimal(repr(weight)) * 100).normalize()
    return f"{percent:f}" if percent >= _LEAST_PERCENT else str(percent)


def _gated(request: StepRequest) -> tuple[str, int]:
    """The operation that the gate let pass, and the epoch that it saw."""
    gate = request.results.get("gate")
    if gate is None:
        raise SpecError("this run has no result of 'gate'", remedy="Clear the run from `gate`.")
    return str(gate.outputs["op_id"]), int(str(gate.outputs["base_epoch"]))
