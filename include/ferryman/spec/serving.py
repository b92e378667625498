"""The `serving` part of model.yaml: which server answers for the model, and what it remembers."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from ferryman.spec.durations import Duration
from ferryman.spec.part import Part

MAIN = "main"


class PredictionLogSpec(Part):
    """Which inputs the prediction log keeps beside each answer, and for how long."""

    columns: Literal["all"] | list[str] = Field(
        default="all", description="Features that are logged; drift is watched on these only."
    )
    keep: Duration = timedelta(days=90)


class ServingSpec(Part):
    """How the model is served."""

    server: str = Field(default=MAIN, description="A server of servers.yaml.")
    log: PredictionLogSpec = PredictionLogSpec()
