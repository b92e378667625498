"""The trials of a search in MLflow: runs below the run of the search."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, ViewType
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from ferryman.registry.tracking import TRIAL_TAG, TrackedTrial

_MAX_TAG, _MAX_PARAM = 5000, 6000  # MLflow's limits for one value


class MlflowTrials:
    """The trials below one run; those that are there already are asked for once."""

    def __init__(self, client: MlflowClient, parent: str, *, actor: str = "") -> None:
        self._client = client
        self._parent = parent
        self._actor = actor
        self._experiment = str(client.get_run(parent).info.experiment_id)
        self._known = self._find()

    def log(self, trials: Iterable[TrackedTrial]) -> None:
        """Log each trial that is not finished there yet: three calls a trial."""
        for trial in trials:
            run, finished = self._known.get(trial.number, ("", False))
            if not finished:
                self._log(trial, run)

    def _log(self, trial: TrackedTrial, run: str) -> None:
        started, ended = _milliseconds(trial.started), _milliseconds(trial.ended)
        if not run:
            made = self._client.create_run(self._experiment, started, tags=self._tags(trial))
            run = str(made.info.run_id)
            self._known[trial.number] = (run, False)
        self._client.log_batch(
            run,
            metrics=[
                Metric(name, float(value), ended, 0)
                for name, value in trial.metrics.items()
                if value is not None
            ],
            params=[Param(name, str(value)[:_MAX_PARAM]) for name, value in trial.params.items()],
        )
        self._client.set_terminated(run, trial.status, ended)
        self._known[trial.number] = (run, True)

    def _tags(self, trial: TrackedTrial) -> Mapping[str, str]:
        return {
            MLFLOW_PARENT_RUN_ID: self._parent,
            MLFLOW_RUN_NAME: f"trial {trial.number}",
            MLFLOW_SOURCE_NAME: "ferryman",
            TRIAL_TAG: str(trial.number),
            **{name: value[:_MAX_TAG] for name, value in trial.tags.items()},
            **({MLFLOW_USER: self._actor} if self._actor else {}),
        }

    def _find(self) -> dict[int, tuple[str, bool]]:
        """Run id and whether it is finished, of each trial that was logged before."""
        found: dict[int, tuple[str, bool]] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                filter_string=f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent}'",
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1000,
                page_token=token,
            )
            for run in page:
                number = run.data.tags.get(TRIAL_TAG)
                if number is not None:
                    found[int(number)] = (run.info.run_id, run.info.status != "RUNNING")
            token = page.token
            if not token:
                return found


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
