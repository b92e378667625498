"""What every part of a declaration shares."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the declaration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
