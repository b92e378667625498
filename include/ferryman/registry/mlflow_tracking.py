"""The tracker port on MLflow tracking: one experiment a model, one run a training."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_RUN_NAME,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from ferryman.registry.mlflow_connection import (
    ABSENT,
    artifact_location,
    connect,
    mlflow_errors,
    quoted,
)
from ferryman.registry.mlflow_trials import MlflowTrials
from ferryman.registry.registry import RUN_KEY_TAG
from ferryman.registry.tracking import (
    EPOCH,
    FAILED_TAG,
    RUN_ID_TAG,
    TRIAL_TAG,
    RunFacts,
    TrackedRun,
    TrackedTrial,
)
from ferryman.runtime.files import SCRATCH

# MLflow's limits for one value.
_MAX_TAG = 5000
_MAX_PARAM = 6000
# And for one batch: of params and of tags one each, of metrics the larger one.
_MAX_NAMES = 100
_MAX_METRICS = 1000
_ENDED_EARLY = {"FAILED", "KILLED"}


class MlflowTracker:
    """Runs are found again by the tags of Ferryman's run id and run key."""

    def __init__(self, uri: str, artifacts: Path, *, actor: str = "") -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._actor = actor
        self._trials: dict[str, MlflowTrials] = {}

    def start(
        self, experiment: str, run_id: str, run_key: str, tags: Mapping[str, str]
    ) -> TrackedRun:
        """The tracked run of a Ferryman run, made now if there is none; its tags are brought up."""
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            place = self._experiment(client, experiment)
            own = {**tags, RUN_ID_TAG: run_id[:_MAX_TAG], RUN_KEY_TAG: run_key}
            own = {key: value[:_MAX_TAG] for key, value in own.items()}
            run = self._find(client, place, own)
            if run is None:
                name = {
                    MLFLOW_RUN_NAME: run_id[:250],
                    MLFLOW_SOURCE_NAME: "ferryman",
                    **({MLFLOW_USER: self._actor} if self._actor else {}),
                }
                made = client.create_run(place, tags={**own, **name})
                run = self._find(client, place, own) or made
                if run.info.run_id != made.info.run_id:
                    client.delete_run(made.info.run_id)  # another process was a moment faster
            else:
                client.log_batch(
                    run.info.run_id, tags=[RunTag(key, value) for key, value in own.items()]
                )
                if run.info.status in _ENDED_EARLY:
                    client.update_run(run.info.run_id, status="RUNNING")
                    if FAILED_TAG in run.data.tags:
                        client.delete_tag(run.info.run_id, FAILED_TAG)
            return TrackedRun(id=run.info.run_id, artifacts=run.info.artifact_uri)

    def log(
        self,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        history: Sequence[Mapping[str, float | None]] = (),
    ) -> None:
        """Log values in as few batches as there can be; metrics that are None are left out."""
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            # The run's own start as the time: the same value logged twice is then one point.
            moment = client.get_run(run).info.start_time
            points = [(name, value, 0) for name, value in (metrics or {}).items()]
            for epoch, figures in enumerate(history):
                points += [(f"{EPOCH}{name}", value, epoch) for name, value in figures.items()]
            figures_of = [
                Metric(name, float(value), moment, step)
                for name, value, step in points
                if value is not None
            ]
            params_of = [
                Param(name, str(value)[:_MAX_PARAM]) for name, value in (params or {}).items()
            ]
            tags_of = [RunTag(name, value[:_MAX_TAG]) for name, value in (tags or {}).items()]
            _log_in_batches(client, run, figures_of, params_of, tags_of)

    def log_trials(self, run: str, trials: Sequence[TrackedTrial]) -> None:
        """Log trials below the run of their search; what is there is asked for once."""
        with mlflow_errors(self._uri):
            if run not in self._trials:
                self._trials[run] = MlflowTrials(connect(self._uri), run, actor=self._actor)
            self._trials[run].log(trials)

    def log_datasets(self, run: str, datasets: Mapping[str, str]) -> None:
        """Log which dataset versions a run read; MLflow's pages show them as its datasets."""
        inputs = [
            DatasetInput(
                # A digest may have 36 characters there; the whole id is the source's.
                Dataset(
                    name=f"{purpose}-{dataset[:12]}",
                    digest=dataset[:36],
                    source_type="ferryman",
                    source=json.dumps({"dataset": dataset}),
                ),
                tags=[InputTag(MLFLOW_DATASET_CONTEXT, purpose)],
            )
            for purpose, dataset in datasets.items()
        ]
        with mlflow_errors(self._uri):
            connect(self._uri).log_inputs(run, datasets=inputs)

    def log_files(self, run: str, files: Mapping[str, bytes], folder: str = "") -> None:
        """Log small files by name; a name may be a path below the folder."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            for name, content in files.items():
                target = Path(scratch) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            with mlflow_errors(self._uri):
                connect(self._uri).log_artifacts(run, scratch, folder or None)

    def log_folder(self, run: str, source: Path, folder: str) -> str:
        """Log every file of a folder, and return the URI of where they are."""
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            client.log_artifacts(run, str(source), folder)
            return f"{str(client.get_run(run).info.artifact_uri).rstrip('/')}/{folder}"

    def fetch(self, run: str, folder: str, target: Path) -> bool:
        """Copy what was logged in a folder into an existing one; False where nothing was."""
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            try:
                if not client.list_artifacts(run, folder):
                    return False
            except MlflowException as error:
                if error.error_code not in ABSENT:
                    raise
                return False
            with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
                # A folder of this machine is answered where it is; others are copied.
                found = client.download_artifacts(run, folder, scratch)
                shutil.copytree(found, target, dirs_exist_ok=True)
            return True

    def finish(self, run: str) -> None:
        """Mark the run as finished."""
        with mlflow_errors(self._uri):
            connect(self._uri).set_terminated(run, "FINISHED")

    def fail(self, run: str, reason: str, *, killed: bool = False) -> None:
        """Mark the run as failed, or as killed, unless it is finished; the reason is its tag."""
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            if client.get_run(run).info.status == "FINISHED":
                return
            client.set_tag(run, FAILED_TAG, reason[:_MAX_TAG])
            client.set_terminated(run, "KILLED" if killed else "FAILED")

    def read(self, run: str) -> RunFacts | None:
        """What is remembered of a run, or None where it is not there, or was deleted."""
        with mlflow_errors(self._uri):
            try:
                found = connect(self._uri).get_run(run)
            except MlflowException as error:
                if error.error_code not in ABSENT:
                    raise
                return None
            return _facts(found) if found.info.lifecycle_stage == "active" else None

    def search(self, experiment: str, tag: str, value: str) -> list[RunFacts]:
        """The runs of an experiment with a tag of this value, oldest first."""
        return self._search(experiment, f"tags.`{tag}` = '{quoted(value)}'")

    def unfinished(self, experiment: str) -> list[RunFacts]:
        """The runs and trials of Ferryman that nobody has ended, oldest first."""
        own = {RUN_ID_TAG, TRIAL_TAG}  # of others' runs in the experiment nothing is known
        found = self._search(experiment, "attributes.status = 'RUNNING'")
        return [facts for facts in found if own & facts.tags.keys()]

    def _search(self, experiment: str, asked: str) -> list[RunFacts]:
        with mlflow_errors(self._uri):
            client = connect(self._uri)
            place = client.get_experiment_by_name(experiment)
            if place is None:
                return []
            found: list[RunFacts] = []
            token: str | None = None
            while True:
                page = client.search_runs(
                    [place.experiment_id],
                    filter_string=asked,
                    run_view_type=ViewType.ACTIVE_ONLY,
                    order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
                    max_results=1000,
                    page_token=token,
                )
                found += [_facts(run) for run in page]
                token = page.token
                if not token:
                    return found

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found: Experiment | None = client.get_experiment_by_name(name)
        if found is None:
            location = artifact_location(self._uri, self._artifacts, name)
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _find(self, client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> Run | None:
        """The oldest run with the key whose run id is the given one."""
        # The run id is compared here: it may hold quotes, for which the filter has no escape.
        candidates = client.search_runs(
            [experiment],
            filter_string=f"tags.`{RUN_KEY_TAG}` = '{tags[RUN_KEY_TAG]}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            max_results=1000,
        )
        for run in candidates:
            if run.data.tags.get(RUN_ID_TAG) == tags[RUN_ID_TAG]:
                return run
        return None


def _log_in_batches(
    client: MlflowClient,
    run: str,
    metrics: list[Metric],
    params: list[Param],
    tags: list[RunTag],
) -> None:
    """One call for most runs; further ones for what is over the limits of a batch."""
    first_metrics = _MAX_METRICS - 2 * _MAX_NAMES
    client.log_batch(run, metrics[:first_metrics], params[:_MAX_NAMES], tags[:_MAX_NAMES])
    for start in range(first_metrics, len(metrics), _MAX_METRICS):
        client.log_batch(run, metrics=metrics[start : start + _MAX_METRICS])
    for start in range(_MAX_NAMES, max(len(params), len(tags)), _MAX_NAMES):
        end = start + _MAX_NAMES
        client.log_batch(run, params=params[start:end], tags=tags[start:end])


def _facts(run: Run) -> RunFacts:
    started = run.info.start_time
    return RunFacts(
        id=run.info.run_id,
        run_id=run.data.tags.get(RUN_ID_TAG, ""),
        status=run.info.status,
        started=None if started is None else datetime.fromtimestamp(started / 1000, tz=UTC),
        tags=dict(run.data.tags),
    )
