"""Step operators: what to do is data, where to do it is a class, and `step` chooses."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout
from pydantic import JsonValue

from ferryman.errors import FerrymanError, Superseded
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import run_step
from ferryman.steps.pipelines import PIPELINES, Pipeline, pipeline_of
from ferryman_airflow.alerts import alert
from ferryman_airflow.asset_events import record_requester
from ferryman_airflow.connections import TaskConnections
from ferryman_airflow.lineage_events import lineage_of, source_lineage
from ferryman_airflow.links import links_of, task_page
from ferryman_airflow.notifications import tell_success
from ferryman_airflow.params import check_conf, check_params
from ferryman_airflow.step_requests import earlier_results, window_of

_FITTING = frozenset({"tune", "train", "report"})
_FIRST_OF_TRAINING = frozenset({"open_search", "train"})
_DEFAULT_POOL = "default_pool"  # Airflow's own
_SKIPPING = frozenset({"not_needed", "superseded"})

DerivedParams = Callable[[Any, str], dict[str, JsonValue]]


class InlineStep(BaseOperator):  # type: ignore[misc] # Airflow is untyped here
    """Runs one step in the task's own process; its result is the task's XCom.

    `takes` names the DAG's params that the step is given; `derive` computes further ones from the
    context; `worker` is given to a step that is mapped over its workers, `stage` to one that occurs
    several times. A result "not needed" or "superseded" skips the task, and so all that comes after
    it.
    """

    template_fields: Sequence[str] = ()  # nothing that a user can send is ever rendered
    ui_color = "#e6f1f2"

    def __init__(  # noqa: PLR0913 - what tasks differ in
        self,
        *,
        declared: DeclaredModel,
        step_name: str,
        takes: Sequence[str] = (),
        derive: DerivedParams | None = None,
        worker: int | None = None,
        stage: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**callbacks(declared, step_name), **kwargs})
        self.declared = declared
        self.step_name = step_name
        self.takes = tuple(takes)
        self.derive = derive
        self.worker = worker
        self.stage = stage
        self.operator_extra_links = links_of(step_name)
        self._request: StepRequest | None = None
        self._made: StepResult | None = None

    @property
    def made(self) -> StepResult | None:
        """The step's result, once it is there."""
        return self._made

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the step; a FerrymanError goes on to the retry policy, its text stands in the log."""
        return self.perform(context)

    def perform(self, context: Any) -> dict[str, Any]:
        """What `execute` does, for tasks that come back to it after a wait."""
        try:
            request = self._request = self.build_request(context)
            start, modules = time.perf_counter(), len(sys.modules)
            result = self._made = self.work(context, request)
            seconds, imported = time.perf_counter() - start, len(sys.modules) - modules
            self.log.info("the step took %.3f s and imported %d modules", seconds, imported)
        except Superseded as error:
            self.log.info("%s", error)
            raise AirflowSkipException(error.text) from None
        except AirflowTaskTimeout:  # whose own words are the id of a process
            text = f"{self.step_name} was ended at its limit of {self.execution_timeout} (h:mm:ss)"
            self.log.error("%s", text)
            raise AirflowTaskTimeout(text) from None
        except FerrymanError as error:
            self.log.error("%s failed (exit %d): %s", self.step_name, error.exit_code, error.text)
            self.log.error("Remedy: %s", error.remedy)
            raise
        value = result.model_dump(mode="json")
        if result.verdict in _SKIPPING:
            context["ti"].xcom_push(key="return_value", value=value)
            raise AirflowSkipException(result.text)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = event_extra(request, result)
        return value

    def work(self, context: Any, request: StepRequest) -> StepResult:
        """Run the step; what else belongs to it is for subclasses."""
        settings = load_settings()
        connections, origin = TaskConnections(settings), task_page(context["ti"])
        return run_step(request, self.declared, settings, connections, origin=origin)

    def get_openlineage_facets_on_start(self) -> Any:
        """What the OpenLineage provider is told before the step: only ingest knows its inputs."""
        known = self.declared.spec.data.sources if self.step_name == "ingest" else ()
        return source_lineage(self.declared.name, known)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """What the step read and made; of a failed one, what it was about to read."""
        if self._request is None:
            return None
        return lineage_of(self._request, self.declared.spec.data.sources, self._made)

    def build_request(self, context: Any) -> StepRequest:
        """The request that this task stands for; SpecError (exit 2) for a bad conf or param."""
        check_conf(context["dag_run"].conf, context["dag"].params)
        model, run_id = self.declared.name, context["run_id"]
        pipeline = _pipeline_in(str(context["dag"].dag_id), self.step_name)
        params: dict[str, JsonValue] = dict(self.derive(context, model)) if self.derive else {}
        params.update(check_params(context["params"], self.takes))
        if self.worker is not None:
            params["worker"] = self.worker
        if self.stage is not None:
            params["stage"] = self.stage
        # What workers did together stands in the run's folder; each one's result is for people.
        before = [
            task.task_id for task in self.get_flat_relatives(upstream=True) if not task.is_mapped
        ]
        folder = run_folder(load_settings().runs_root, model, pipeline.name, run_id)
        if self.step_name in _FIRST_OF_TRAINING:
            record_requester(folder, context)
        return StepRequest(
            model=model,
            step=self.step_name,
            run_id=run_id,
            run_uri=str(folder),
            window=window_of(context) if pipeline.windowed else None,
            params=params,
            spec_digest=self.declared.digest,
            results=earlier_results(context, before),
        )


def callbacks(declared: DeclaredModel, step_name: str) -> dict[str, Any]:
    """Who is told when a task has failed for good, and, where that is declared, has succeeded."""
    found: dict[str, Any] = {"on_failure_callback": alert}
    if declared.spec.notify.tells("success", step_name):
        found["on_success_callback"] = tell_success
    return found


def event_extra(request: StepRequest, result: StepResult) -> dict[str, JsonValue]:
    """What an asset event says: which run, and the result's plain outputs; never a secret."""
    extra: dict[str, JsonValue] = {"run": request.run_uri.rpartition("/")[2], "step": request.step}
    if request.window is not None:
        extra["window"] = str(request.window)
    plain = (str, int, float, bool)
    extra.update({key: value for key, value in result.outputs.items() if isinstance(value, plain)})
    return extra


def _pipeline_in(dag_id: str, step_name: str) -> Pipeline:
    """The pipeline of a DAG; some steps, such as reconcile, end more than one."""
    named = PIPELINES.get(dag_id.rpartition(".")[2])
    return named if named and step_name in named.verbs else pipeline_of(step_name)


_PLACES: Mapping[str, type[InlineStep]] = {"inline": InlineStep}


def step(
    model: DeclaredModel,
    name: str,
    *,
    takes: Sequence[str] = (),
    derive: DerivedParams | None = None,
    outlets: Sequence[Asset] = (),
) -> InlineStep:
    """The task that runs a step of a model at the place that the model declares."""
    operator = _PLACES[model.spec.runtime.place]
    pipeline = pipeline_of(name)
    searched = name == pipeline.steps[0] and bool(pipeline.search) and model.spec.search is not None
    return operator(
        task_id=name,
        pool=_pool(name),
        declared=model,
        step_name=name,
        takes=takes,
        derive=derive,
        outlets=list(outlets),
        # One dead worker does not end a search: what follows counts the failures itself.
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS if searched else TriggerRule.ALL_SUCCESS,
    )


def _pool(name: str) -> str:
    """Steps that fit models share a pool, so that many trainings at once wait for one another."""
    return (load_settings().training_pool if name in _FITTING else "") or _DEFAULT_POOL


def search(
    model: DeclaredModel, *, takes: Sequence[str] = (), derive: DerivedParams | None = None
) -> tuple[Any, ...]:
    """The tasks before the training of a model that declares a search; none for all others.

    One opens the search, the other is mapped: each of its workers draws many trials.
    """
    declared = model.spec.search
    if declared is None:
        return ()
    opening, drawing = PIPELINES["training"].search
    workers = _PLACES[model.spec.runtime.place].partial(
        task_id=drawing,
        declared=model,
        step_name=drawing,
        pool=_pool(drawing),
        max_active_tis_per_dagrun=declared.workers,
        **callbacks(model, drawing),
    )
    return (
        step(model, opening, takes=takes, derive=derive),
        workers.expand(worker=list(range(declared.workers))),
    )
