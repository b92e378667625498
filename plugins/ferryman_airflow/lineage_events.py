"""What a step read and made, as OpenLineage datasets: ids as names, so that events alone tell it.

    sources/<name> -> ingest -> snapshots/<id> -> validate -> published/<id>
    published/<id>, datasets/<id> -> train -> runs/<id> -> package -> bundles/<digest>
    runs/<id>, bundles/<digest> -> register -> versions/<n> -> commit -> served/<epoch>

Each name stands below its model's. A training run names the dataset versions that it read and the
published snapshots that these consist of. Nothing here can fail a task: the provider calls it in
bounded time, and logs what goes wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.settings import load_settings
from ferryman_airflow.connections import TaskConnections

NAMESPACE = "ferryman"


@dataclass(frozen=True)
class StepLineage:
    """The names of the datasets that a step read and made, without the model's."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def lineage_of(request: StepRequest, sources: Iterable[str], made: StepResult | None) -> Any:
    """The provider's OperatorLineage of one step; `made` is None where it has not ended well."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    told = _tell(request, tuple(sources), made)
    return OperatorLineage(
        inputs=[InputDataset(NAMESPACE, f"{request.model}/{name}") for name in told.inputs],
        outputs=[OutputDataset(NAMESPACE, f"{request.model}/{name}") for name in told.outputs],
    )


def source_lineage(model: str, sources: Iterable[str]) -> Any:
    """The OperatorLineage of an ingest that has only begun."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset

    names = (f"{model}/sources/{name}" for name in sources)
    return OperatorLineage(inputs=[InputDataset(NAMESPACE, name) for name in names])


def _tell(request: StepRequest, sources: tuple[str, ...], made: StepResult | None) -> StepLineage:
    if request.step == "ingest":
        return StepLineage(
            tuple(f"sources/{name}" for name in sources), _names("snapshots", made, "snapshots")
        )
    teller = _TELLERS.get(request.step)
    return teller(request, made) if teller else StepLineage()


def _validate(request: StepRequest, made: StepResult | None) -> StepLineage:
    ingested = _names("snapshots", request.results.get("ingest"), "snapshots")
    return StepLineage(ingested, _names("published", made, "published"))


def _train(request: StepRequest, made: StepResult | None) -> StepLineage:
    from ferryman.data.versions.dataset import DatasetStore

    if made is None:
        return StepLineage()
    settings = load_settings()
    store = DatasetStore(open_data_store(settings, TaskConnections(settings)))
    ids = [str(made.outputs[key]) for key in ("train_dataset", "eval_dataset")]
    versions = [store.get(name, request.model) for name in ids]
    snapshots = {name for one in versions for name in (*one.snapshot_ids, *one.label_snapshot_ids)}
    datasets = tuple(f"datasets/{name}" for name in ids)
    published = tuple(f"published/{name}" for name in sorted(snapshots))
    return StepLineage((*datasets, *published), _run(made))


def _evaluate(request: StepRequest, made: StepResult | None) -> StepLineage:  # noqa: ARG001
    trained = request.results.get("train")
    judged = _one("datasets", trained, "eval_dataset")
    return StepLineage((*judged, *_run(trained)))


def _package(request: StepRequest, made: StepResult | None) -> StepLineage:
    return StepLineage(_run(request.results.get("train")), _one("bundles", made, "digest"))


def _register(request: StepRequest, made: StepResult | None) -> StepLineage:
    packed = _one("bundles", request.results.get("package"), "digest")
    run = _run(request.results.get("train"))
    return StepLineage((*run, *packed), _one("versions", made, "version"))


def _gate(request: StepRequest, made: StepResult | None) -> StepLineage:  # noqa: ARG001
    candidate = request.params.get("candidate")
    given = candidate if isinstance(candidate, Mapping) else {}
    return StepLineage((f"versions/{given['version']}",) if "version" in given else ())


def _commit(request: StepRequest, made: StepResult | None) -> StepLineage:  # noqa: ARG001
    return StepLineage(_one("versions", made, "version"), _one("served", made, "epoch"))


_TELLERS: Mapping[str, Callable[[StepRequest, StepResult | None], StepLineage]] = {
    "validate": _validate,
    "train": _train,
    "evaluate": _evaluate,
    "package": _package,
    "register": _register,
    "gate": _gate,
    "commit": _commit,
    "reconcile": _commit,
}


def _run(trained: StepResult | None) -> tuple[str, ...]:
    return _one("runs", trained, "mlflow_run_id")


def _one(kind: str, result: StepResult | None, key: str) -> tuple[str, ...]:
    value: JsonValue = result.outputs.get(key) if result is not None else None
    return (f"{kind}/{value}",) if value is not None else ()


def _names(kind: str, result: StepResult | None, key: str) -> tuple[str, ...]:
    found = result.outputs.get(key) if result is not None else None
    entries = found if isinstance(found, list) else []
    return tuple(f"{kind}/{entry['id']}" for entry in entries if isinstance(entry, dict))
