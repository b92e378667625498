"""The step contract: a verb is a module with `Params` and `run(context)`.

Steps are named in spec.step_names and imported only when they run: a step pays for its own
libraries alone.
"""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from ferryman.errors import FerrymanError, SpecError
from ferryman.monitoring.looks import first_look, report_file
from ferryman.runtime.connections import Connections
from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.json_logs import log_context
from ferryman.runtime.messages import StepRequest, StepResult, Verdict
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.run_store import finished_result, step_folder, store_error, store_result
from ferryman.runtime.timings import timed
from ferryman.settings import Settings, thread_environment
from ferryman.spec.mistakes import nearest
from ferryman.spec.model import DeclaredModel, ModelSpec
from ferryman.spec.step_names import STEP_NAMES
from ferryman.spec.windows import Window
from ferryman.steps.step_costs import cost_kept

# What these make follows from the request alone, and is dear: a finished result is returned as it
# is. All others look at the world (a source, the ledger, the server, new labels), which may have
# changed since; they are cheap, and repeating them writes nothing twice.
REMEMBERED = frozenset({"open_search", "train", "evaluate", "package", "register", "report"})

# What a person says who lets something through that the rules would stop; it is recorded.
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=200)]

BACKFILLS = "backfills"  # the folder of windows that are looked at again, below monitoring's

logger = logging.getLogger(__name__)


class StepParams(BaseModel):
    """Parameters of a step: frozen, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LookBack(StepParams):
    """Of steps that may look at a past window again, without moving anything."""

    backfill: bool = False
    as_known: Literal["then", "now"] = Field(
        default="then", description="What a backfill counts: what was known then, or is known now."
    )


@dataclass(frozen=True)
class StepContext:
    """What a step is given: its request, the declaration, the installation, its parameters.

    `origin` is the address of the page of whoever asked for the step, where there is one.
    """

    request: StepRequest
    model: DeclaredModel
    settings: Settings
    params: StepParams
    connections: Connections
    origin: str = ""

    @property
    def spec(self) -> ModelSpec:
        """The model's declaration."""
        return self.model.spec

    @cached_property
    def data_store(self) -> ObjectStore:
        """Where snapshots, datasets and all that belongs to them are kept."""
        return open_data_store(self.settings, self.connections)

    @property
    def restates(self) -> bool:
        """Whether this run looks at a past window again, and must move nothing."""
        return bool(getattr(self.params, "backfill", False))

    @property
    def monitoring_root(self) -> Path:
        """What monitoring keeps; of a backfill a place of its own, one a run."""
        root = self.settings.monitoring_root
        return root / BACKFILLS / Path(self.request.run_uri).name if self.restates else root

    @cached_property
    def known_until(self) -> datetime | None:
        """Until when something must have been known to count; None: all that is known now does.

        A backfill looks at a window as its night did: at the moment of that night's first look,
        or at the window's end where no night ever looked; not so with `as_known: now`.
        """
        if not self.restates or getattr(self.params, "as_known", "then") == "now":
            return None
        report = report_file(self.settings.monitoring_root, self.model.name, self.window)
        return first_look(report, self.window) or self.window.end

    @property
    def folder(self) -> Path:
        """The step's own folder in the run store; it exists."""
        folder = step_folder(self.request)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def window(self) -> Window:
        """The data window; SpecError (exit 2) when the request has none."""
        if self.request.window is None:
            raise SpecError(
                f"step {self.request.step!r} needs a data window",
                remedy="Give --window START..END, or the params window_start and window_end.",
            )
        return self.request.window

    def earlier(self, step: str) -> StepResult:
        """The result of an earlier step of this run; SpecError (exit 2) when it was not run."""
        try:
            return self.request.results[step]
        except KeyError:
            raise SpecError(
                f"step {self.request.step!r} needs the result of {step!r}",
                remedy=f"Run {step!r} in the same run first.",
            ) from None

    def result(
        self,
        *,
        text: str,
        verdict: Verdict = "done",
        outputs: Mapping[str, JsonValue] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        artifacts: Mapping[str, str] | None = None,
    ) -> StepResult:
        """The result of this request."""
        return StepResult(
            model=self.request.model,
            step=self.request.step,
            request_digest=self.request.digest,
            verdict=verdict,
            text=text,
            outputs=dict(outputs or {}),
            metrics=dict(metrics or {}),
            artifacts=dict(artifacts or {}),
        )


class Step(Protocol):
    """The shape of a step's module."""

    Params: type[StepParams]

    def run(self, context: StepContext) -> StepResult:
        """Do the work, or find it done; raise a FerrymanError where it cannot be done."""
        ...


def load_step(name: str) -> Step:
    """The module of a verb; SpecError (exit 2) names the nearest one."""
    if name not in STEP_NAMES:
        meant = nearest(name[:100], STEP_NAMES)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(f"no step {name[:100]!r}{hint}", remedy=f"Steps: {', '.join(STEP_NAMES)}.")
    return cast(Step, importlib.import_module(f"ferryman.steps.{name}"))


def run_step(
    request: StepRequest,
    model: DeclaredModel,
    settings: Settings,
    connections: Connections | None = None,
    *,
    origin: str = "",
) -> StepResult:
    """Run one request, or return the result that it already has (see REMEMBERED).

    Connections are those of the installation unless others are given. `origin` is the address of
    the page of whoever asks; what the step cost is kept beside its result (runtime.timings).
    Raises the FerrymanError of the step, after writing it beside where the result would stand.
    """
    done = finished_result(request) if request.step in REMEMBERED else None
    if done is not None:
        logger.info("%s %s: already done: %s", request.model, request.step, done.text)
        return done
    step = load_step(request.step)
    try:
        params = parse_params(step.Params, request)
        context = StepContext(
            request=request,
            model=model,
            settings=settings,
            params=params,
            connections=connections or DeclaredConnections(settings),
            origin=origin,
        )
        cores = min(settings.core_count, model.spec.runtime.cpu)
        told = log_context(run_id=request.run_id, step=request.step, model=request.model)
        with (
            told,
            cost_kept(request, settings) as cost,
            timed(request),
            thread_environment(cores),
        ):
            result = cost.result = step.run(context)
    except FerrymanError as error:
        store_error(request, int(error.exit_code), str(error))
        raise
    store_result(request, result)
    logger.info("%s %s: %s", request.model, request.step, result.text)
    return result


def parse_params(kind: type[StepParams], request: StepRequest) -> StepParams:
    """Check parameters against a step's Params; SpecError (exit 2) names each bad one."""
    try:
        return kind.model_validate(request.params)
    except ValidationError as error:
        texts = [_param_mistake(detail, kind) for detail in error.errors(include_url=False)[:10]]
        raise SpecError(
            f"step {request.step!r}: " + "; ".join(texts),
            remedy=f"Parameters of {request.step!r}: {', '.join(kind.model_fields) or 'none'}.",
        ) from error


def _param_mistake(detail: object, kind: type[StepParams]) -> str:
    entry = cast(Mapping[str, object], detail)
    location = cast(tuple[str | int, ...], entry["loc"])
    name = ".".join(str(part) for part in location)[:100]
    if entry["type"] != "extra_forbidden":
        return f"parameter {name!r}: {entry['msg']}"
    meant = nearest(name, list(kind.model_fields))
    return f"unknown parameter {name!r}" + (f"; did you mean {meant!r}?" if meant else "")
