"""Time windows: half-open spans [start, end) of event time in UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator, model_validator

DAY = timedelta(days=1)


class Window(BaseModel):
    """A span of event time, start included, end not; both UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime

    @field_validator("start", "end")
    @classmethod
    def _to_utc(cls, value: datetime) -> datetime:
        return value.astimezone(UTC)

    @model_validator(mode="after")
    def _not_empty(self) -> "Window":
        if self.start >= self.end:
            raise ValueError(f"window is empty: start {self.start} is not before end {self.end}")
        return self

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    @property
    def key(self) -> str:
        """The start as a name that sorts by time and is legal in paths, such as 20130201T0000Z."""
        return self.start.strftime("%Y%m%dT%H%MZ")

    def days(self) -> Iterator["Window"]:
        """Each day of the window, oldest first; start and end must be midnights UTC."""
        for edge in (self.start, self.end):
            if edge != edge.replace(hour=0, minute=0, second=0, microsecond=0):
                raise ValueError(f"window edge {format_time(edge)} is not midnight UTC")
        start = self.start
        while start < self.end:
            yield Window(start=start, end=start + DAY)
            start += DAY

    def shifted(self, by: timedelta) -> "Window":
        """The same span, moved in time."""
        return Window(start=self.start + by, end=self.end + by)


def day_window(day: datetime) -> Window:
    """The UTC day that holds the given moment."""
    start = day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Window(start=start, end=start + DAY)


def format_time(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second (and microseconds where there are any)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
