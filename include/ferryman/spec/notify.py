"""The `notify` part of a declaration: who is told of a model's stages and alerts, and of which."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from ferryman.spec.part import Part
from ferryman.spec.step_names import StepOfDags

Event = Literal["success", "failure", "approval", "alert"]
Severity = Literal["info", "warning", "critical"]
Stage = Literal["all", StepOfDags]

DEFAULT_CHANNEL = "alerts"
# How serious each event is by itself; an alert says it of itself.
SEVERITY_OF: dict[Event, Severity] = {
    "success": "info",
    "approval": "warning",
    "failure": "critical",
    "alert": "critical",
}
_ORDER = get_args(Severity)


class ChannelSpec(Part):
    """One channel: a connection, and what of all that happens is told there."""

    connection: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    events: tuple[Event, ...] = Field(default=get_args(Event), min_length=1)
    severity: Severity = Field(default="info", description="What is less serious is not told.")

    def takes(self, event: Event, severity: Severity) -> bool:
        """Whether an event of some severity is told here."""
        return event in self.events and _ORDER.index(severity) >= _ORDER.index(self.severity)


class NotifySpec(Part):
    """Which stages tell of their success and failure, and on which channels."""

    success: tuple[Stage, ...] = Field(
        default=(), description="Stages (steps) that tell once that they succeeded, or all."
    )
    failure: tuple[Stage, ...] = Field(
        default=("all",), description="Stages that tell once that they failed for good."
    )
    approval: bool = Field(default=True, description="Whether approvers are told of a question.")
    channels: tuple[ChannelSpec, ...] = Field(
        default=(ChannelSpec(connection=DEFAULT_CHANNEL),),
        max_length=20,
        description="Connections; one that is not defined is passed over.",
    )

    @field_validator("channels")
    @classmethod
    def _named_once(cls, given: tuple[ChannelSpec, ...]) -> tuple[ChannelSpec, ...]:
        names = [one.connection for one in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"channel {twice[0]!r} is named twice")
        return given

    def tells(self, event: Event, stage: str) -> bool:
        """Whether a stage tells of an event."""
        if event == "approval":
            return self.approval
        listed = {"success": self.success, "failure": self.failure}.get(event)
        return listed is None or "all" in listed or stage in listed

    def channels_for(self, event: Event, severity: Severity | None = None) -> tuple[str, ...]:
        """The connections that are told of an event."""
        grave = severity or SEVERITY_OF[event]
        return tuple(one.connection for one in self.channels if one.takes(event, grave))
