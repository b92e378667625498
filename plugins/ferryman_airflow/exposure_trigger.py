"""Watches a candidate's share of the traffic from the triggerer, where no slot is taken.

What it is given is plain and small; the declaration is read from the zoo, the rest from the ledger.
A triggerer that was restarted goes on; where none runs any more, the lease of the share runs out at
the server.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from ferryman.catalog import load_catalog
from ferryman.errors import FerrymanError, SpecError
from ferryman.runtime.alerts import CHANNEL
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel
from ferryman_airflow.connections import TaskConnections


class ExposureTrigger(BaseTrigger):  # type: ignore[misc] # Airflow is untyped here
    """Fires when a stage is decided, or when only the task itself can tell what is wrong."""

    def __init__(  # noqa: PLR0913 - what must be known to look
        self,
        *,
        model: str,
        op_id: str,
        base_epoch: int,
        stage: int,
        spec_digest: str,
        origin: str = "",
    ) -> None:
        super().__init__()
        self.model = model
        self.op_id = op_id
        self.base_epoch = base_epoch
        self.stage = stage
        self.spec_digest = spec_digest
        self.origin = origin
        self._first_question: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the triggerer finds this class, and what it makes one with."""
        arguments = {
            "model": self.model,
            "op_id": self.op_id,
            "base_epoch": self.base_epoch,
            "stage": self.stage,
            "spec_digest": self.spec_digest,
            "origin": self.origin,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again, in a thread: a look asks the server, the ledger and the log."""
        # A triggerer's first question for a connection takes it seconds, as many as an alert has.
        self._first_question = asyncio.create_task(asyncio.to_thread(self._ask_for_channel))
        while True:
            outcome, text, again_in = await asyncio.to_thread(self.look)
            if outcome != "hold":
                yield TriggerEvent({"outcome": outcome, "text": text})
                return
            self.log.info("%s stage %d: %s", self.model, self.stage + 1, text)
            await asyncio.sleep(again_in)

    def look(self) -> tuple[str, str, float]:
        """One look: its outcome ("error" for what the task must raise), its text, its pause."""
        from ferryman.steps.expose import look

        settings = load_settings()
        try:
            declared = self._declared()
            if declared.digest != self.spec_digest:
                return "error", "the declaration changed: the task goes on with the new one", 0.0
            seen = look(
                settings,
                declared,
                self.op_id,
                self.base_epoch,
                self.stage,
                TaskConnections(settings),
                origin=self.origin,
            )
        except FerrymanError as error:
            return "error", error.text, 0.0
        return seen.outcome, seen.text, seen.again_in

    def _ask_for_channel(self) -> None:
        """Look for the channel of alerts; that there is none is no fault."""
        try:
            TaskConnections(load_settings()).get(CHANNEL)
        except FerrymanError as error:
            self.log.info("no alerts will be sent: %s", error.text)

    def _declared(self) -> DeclaredModel:
        catalog = load_catalog(load_settings().zoo, only=self.model)
        if self.model not in catalog.models:
            raise SpecError(catalog.errors.get(self.model, f"no model {self.model!r} is declared"))
        return catalog.models[self.model]
