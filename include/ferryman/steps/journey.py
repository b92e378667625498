"""Runs steps and whole pipelines of one model in this process, with no Airflow."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from ferryman.errors import SpecError
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import ERROR, run_folder, run_results
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window
from ferryman.steps.contract import load_step, run_step
from ferryman.steps.parallel import run_workers
from ferryman.steps.pipelines import EXPOSE, PIPELINES, Pipeline, pipeline_of, verb_of


class Journey:
    """One model's runs from the command line or a simulation.

    A run is a folder that later steps find their predecessors' results in. Without a run id, a
    pipeline's first step starts a new run, unless the newest one never finished that step (it was
    killed): then it is continued, as every later step continues the newest run. A killed search is
    continued too. The workers of a search run side by side, as many as there are cores.
    """

    def __init__(self, settings: Settings, model: DeclaredModel) -> None:
        self.settings = settings
        self.model = model

    def run(
        self,
        what: str,
        *,
        window: Window | None = None,
        run_id: str | None = None,
        params: Mapping[str, JsonValue] | None = None,
    ) -> Iterator[StepResult]:
        """Run a step or every step of a pipeline; yields each result as it is there."""
        if what in PIPELINES:
            pipeline = PIPELINES[what]
            steps = pipeline.steps_of(self.model.spec)
        else:
            verb, _ = verb_of(what)
            load_step(verb)
            pipeline, steps = pipeline_of(verb), (_numbered(what, params or {}),)
        name = run_id or self._choose_run(pipeline, steps[0], window)
        for step in steps:
            given = self._params_of(step, steps, params)
            yield self.run_one(pipeline, step, name, window, given)

    def run_one(
        self,
        pipeline: Pipeline,
        step: str,
        run_id: str,
        window: Window | None,
        params: Mapping[str, JsonValue],
    ) -> StepResult:
        """Run one step of a named run, with the results that it builds on.

        A numbered step (expose-2) has its number's parameters, and a folder of its own.
        """
        folder = run_folder(self.settings.runs_root, self.model.name, pipeline.name, run_id)
        results = run_results(folder)
        if pipeline.after is not None:
            results = {**self._newest_finished(PIPELINES[pipeline.after]), **results}
        steps = pipeline.steps_of(self.model.spec)
        before = steps[: steps.index(step)] if step in steps else ()
        earlier = {
            name: result for name, result in results.items() if name in before or name not in steps
        }
        verb, own = verb_of(step)
        request = StepRequest(
            model=self.model.name,
            step=verb,
            run_id=run_id,
            run_uri=str(folder),
            window=window if pipeline.windowed else None,
            params={**params, **own},
            spec_digest=self.model.digest,
            results=earlier,
        )
        if step == "tune" and "worker" not in params:
            return run_workers(request, self.model, self.settings)
        return run_step(request, self.model, self.settings)

    def _params_of(
        self, step: str, steps: tuple[str, ...], params: Mapping[str, JsonValue] | None
    ) -> dict[str, JsonValue]:
        """A pipeline's parameters go to the steps that know them; others are wrong."""
        given = dict(params or {})
        if len(steps) == 1:
            return given
        known = {
            name: set(load_step(verb_of(name)[0]).Params.model_fields) - set(verb_of(name)[1])
            for name in steps
        }
        unknown = sorted(set(given) - set().union(*known.values()))
        if unknown:
            legal = sorted(set().union(*known.values()))
            raise SpecError(
                f"unknown parameter {unknown[0]!r}", remedy=f"Parameters: {', '.join(legal)}."
            )
        return {name: value for name, value in given.items() if name in known[step]}

    def _choose_run(self, pipeline: Pipeline, step: str, window: Window | None) -> str:
        suffix = f"-{window.key}-{window.end:%Y%m%d}" if window and pipeline.windowed else ""
        newest = self._newest_run(pipeline, suffix)
        first = pipeline.steps_of(self.model.spec)[0]
        if step == first:
            if newest is not None and not _left_behind(newest, step, pipeline.steps[0]):
                return _run_id_of(newest)
            return f"cli-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{suffix}"
        if newest is None:
            raise SpecError(
                f"no run to continue with {step!r}",
                remedy=f"Run {first!r} first, or give --run-id.",
            )
        return _run_id_of(newest)

    def _newest_run(self, pipeline: Pipeline, suffix: str) -> Path | None:
        root = self.settings.runs_root / self.model.name / pipeline.name
        pattern = re.compile(rf"cli-\d{{8}}T\d{{12}}{re.escape(suffix)}-[0-9a-f]{{10}}")
        names = [entry.name for entry in root.iterdir()] if root.is_dir() else []
        found = sorted(name for name in names if pattern.fullmatch(name))
        return root / found[-1] if found else None

    def _newest_finished(self, pipeline: Pipeline) -> dict[str, StepResult]:
        root = self.settings.runs_root / self.model.name / pipeline.name
        finished = [
            file for file in root.glob(f"*/{pipeline.steps[-1]}/result.json") if file.is_file()
        ]
        if not finished:
            raise SpecError(
                f"no finished {pipeline.name} run of {self.model.name!r}",
                remedy=f"Run it first: ferryman run {pipeline.name} --model {self.model.name}.",
            )
        newest = max(finished, key=lambda file: file.stat().st_mtime_ns)
        return run_results(newest.parent.parent)


def _numbered(what: str, params: Mapping[str, JsonValue]) -> str:
    """A stage that is asked for by its parameter, by the name that it has in a run."""
    stage = params.get("stage", 0)
    return f"{what}-{stage + 1}" if what == EXPOSE and isinstance(stage, int) else what


def _left_behind(run: Path, first: str, main: str) -> bool:
    """Whether a run has done its first step, and its search, where it has one, was judged."""
    results = run_results(run)
    return first in results and (main in results or (run / main / ERROR).is_file())


def _run_id_of(folder: Path) -> str:
    """The run id of a folder that a run id of this module's own form gave its name to."""
    return folder.name.rpartition("-")[0]
