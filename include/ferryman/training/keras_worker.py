"""One of several processes that fit a Keras model together: `python -m ...keras_worker FOLDER N`.

Each holds the whole model and takes its share of every batch; TensorFlow's multi-worker strategy
sums their gradients, so that all make the same step. Keras 3 cannot do that in `model.fit` (it
builds its metrics from per-replica values and fails), hence the loop below, over the model's own
loss and optimizer. The first worker writes the weights.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ferryman.errors import SpecError
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.parent_death import end_with_parent
from ferryman.spec.model import DeclaredModel
from ferryman.spec.training import ParamValue
from ferryman.training.keras_runtime import prepare_keras
from ferryman.training.pipeline_file import blamed_on, build_estimator
from ferryman.training.trainer import FitPlan

JOB, ROWS, WEIGHTS, HISTORY, FAILURE = (
    "job.json",
    "rows.npz",
    "weights.npz",
    "history.json",
    "failure.json",
)


class Job(BaseModel):
    """What the workers are told; the rows lie beside it as arrays `values` and `targets`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    declared: DeclaredModel
    pipeline: str
    params: dict[str, ParamValue]
    seed: int
    epochs: int
    batch_size: int
    addresses: list[str]
    cores: int


def main(folder: Path, place: int, parent: int) -> None:
    """Fit as worker number `place`; a mistake in the user's file is told in failure.json.

    `parent` is the process that started it, and that it does not outlive: TensorFlow would wait for
    the other workers for ever, without letting any thread of Python run.
    """
    end_with_parent(parent)
    job = Job.model_validate(read_json(folder / JOB))
    rows = np.load(folder / ROWS, allow_pickle=False)
    try:
        model, history = _fit(job, place, rows["values"], rows["targets"])
    except SpecError as error:
        write_json(folder / FAILURE, {"text": error.text, "remedy": error.remedy})
        raise
    if place == 0:
        weights = model.get_weights()
        np.savez(folder / WEIGHTS, **{f"w{number}": array for number, array in enumerate(weights)})
        write_json(folder / HISTORY, [str(loss) for loss in history])  # JSON has no NaN


def _fit(
    job: Job, place: int, values: npt.NDArray[np.float32], targets: npt.NDArray[Any]
) -> tuple[Any, list[float]]:
    """The fitted model, and the mean loss of each epoch."""
    prepare_keras(cores=job.cores, seed=job.seed)
    import tensorflow as tf

    strategy = _strategy(job.addresses, place)
    plan = FitPlan(job.pipeline, job.params, job.seed)
    with strategy.scope():
        model = build_estimator(job.declared, plan)
        model.optimizer.build(model.trainable_variables)
    step = _together(model, strategy)
    file = job.declared.folder / job.pipeline.partition(":")[0]
    workers, generator = len(job.addresses), np.random.default_rng(job.seed)
    history = []
    for _ in range(job.epochs):
        total, count = 0.0, 0
        for batch in batches(len(values), job.batch_size, workers, generator):
            share = batch[place::workers]
            given = (tf.constant(values[share]), tf.constant(targets[share]))
            total += float(blamed_on(file, lambda given=given: step(*given))) * len(batch)  # type: ignore[misc]
            count += len(batch)
        history.append(total / max(count, 1))
    return model, history


def batches(
    rows: int, size: int, workers: int, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """The row numbers of each batch of an epoch, shuffled; `size` rows for all workers together.

    Each worker must have an equal share, so that the mean of their means is the mean: where a batch
    does not divide, its last rows (fewer than there are workers) wait for another epoch.
    """
    order = generator.permutation(rows)
    cut = [order[start : start + size] for start in range(0, rows, size)]
    whole = [batch[: len(batch) // workers * workers] for batch in cut]
    return [batch for batch in whole if len(batch)]


def _strategy(addresses: list[str], place: int) -> Any:
    import tensorflow as tf

    distribute = tf.distribute
    cluster = distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}),
        task_type="worker",
        task_id=place,
        rpc_layer="grpc",
    )
    ring = distribute.experimental.CommunicationOptions(
        implementation=distribute.experimental.CommunicationImplementation.RING
    )
    return distribute.MultiWorkerMirroredStrategy(cluster, communication_options=ring)


def _together(model: Any, strategy: Any) -> Callable[[Any, Any], Any]:
    """A step of all workers on their shares of one batch; gives the batch's mean loss."""
    import tensorflow as tf

    def share(values: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            # Keras divides the loss by the number of workers, and sums the gradients of all.
            answers = model(values, training=True)
            loss = model.compute_loss(x=values, y=targets, y_pred=answers, training=True)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(values: Any, targets: Any) -> Any:
        losses = strategy.run(share, args=(values, targets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step  # type: ignore[no-any-return]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
