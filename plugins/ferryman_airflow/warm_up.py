"""Imports what tasks need, once, in the fork server, so that no task pays for it.

Every task is forked from the process that did this: libraries are in memory, and one dry run of the
calls has paid for what they load late. Nothing that does not survive a fork may be left behind: no
thread, no database engine, no session. OpenMP is held to one thread here, because a parent that
once used more makes its forked children hang. TensorFlow is imported, where a declared model needs
it, and not used: a parent that used it makes its forked children hang as well.

A failure is logged and the task then imports for itself: warming may never stop the scheduler.
"""

import gc
import importlib
import logging
import pkgutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from ferryman.catalog import load_catalog
from ferryman.runtime.onnx_library import load_onnxruntime
from ferryman.settings import load_settings
from ferryman.spec.step_names import STEP_NAMES
from ferryman_airflow.lineage_events import source_lineage

logger = logging.getLogger(__name__)

AIRFLOW_MODULES = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.xcom",
    "airflow.sdk.definitions.connection",
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.bundles.local",
    "airflow.providers.common.io.assets.file",
    "ferryman_airflow.assets",
    "ferryman_airflow.operators",
    "ferryman_airflow.asset_events",
    "ferryman_airflow.declarations",
    "ferryman_airflow.exposure",
    "ferryman_airflow.lineage_events",
)
ROOMS = (
    "data",
    "training",
    "evaluation",
    "registry",
    "packaging",
    "ledger",
    "monitoring",
    "rollout",
)


def warm_up() -> dict[str, float]:
    """Import everything and make each dry run; seconds by name, of those that went well."""
    # skops looks through every loaded module's names, and Airflow warns about its old ones.
    warnings.filterwarnings("ignore", module=r"skops\.io\._utils")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # tells of every function
    seconds: dict[str, float] = {}
    steps = (f"ferryman.steps.{name}" for name in STEP_NAMES)
    for module in (*AIRFLOW_MODULES, *steps, *_room_modules()):
        _attempt(module, partial(importlib.import_module, module), seconds)
    with tempfile.TemporaryDirectory(prefix="ferryman-preload-") as scratch:
        runs = [_plugins, _tables, _expectations, _model, _picture, _tracking, _lineage]
        frameworks, searched = _declared()
        runs += [_keras] if "keras" in frameworks else []
        runs += [_search] if searched else []
        for run in runs:
            _attempt(run.__name__.strip("_"), partial(run, Path(scratch)), seconds)
    _dispose_engines()
    gc.collect()
    gc.freeze()  # what stands here is shared by every task; the collector need not touch its pages
    return seconds


def _attempt(name: str, call: Callable[[], object], seconds: dict[str, float]) -> None:
    start = time.monotonic()
    try:
        call()
    except Exception:  # a bare import error in here would end the fork server
        logger.exception("warming %s failed; tasks will import for themselves", name)
    else:
        seconds[name] = time.monotonic() - start


def _room_modules() -> list[str]:
    """Every module of the rooms that steps use; some are imported late, when they are needed."""
    return [
        f"ferryman.{room}.{module.name}"
        for room in ROOMS
        for module in pkgutil.iter_modules(importlib.import_module(f"ferryman.{room}").__path__)
    ]


def _declared() -> tuple[set[str], bool]:
    """The frameworks of the zoo, and whether any model searches: TensorFlow costs eight seconds."""
    try:
        models = load_catalog(load_settings().zoo).models.values()
    except OSError:
        logger.exception("the zoo cannot be read; TensorFlow and optuna are not warmed")
        return set(), False
    specs = [model.spec for model in models]
    return {spec.train.framework for spec in specs}, any(spec.search for spec in specs)


def _dispose_engines() -> None:
    """Close every pooled database connection: two processes on one connection corrupt it."""
    from sqlalchemy import Engine

    for engine in [found for found in gc.get_objects() if isinstance(found, Engine)]:
        engine.dispose()


def _plugins(_: Path) -> None:
    from airflow.sdk.listener import get_listener_manager
    from airflow.sdk.plugins_manager import integrate_macros_plugins

    get_listener_manager()  # looks for plugins in the folder and in every installed package
    integrate_macros_plugins()


def _lineage(scratch: Path) -> None:
    """Make the client that every task's events go through, and write two events elsewhere."""
    from airflow.providers.openlineage import conf

    if conf.is_disabled():
        return
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.providers.openlineage.plugins.listener import get_openlineage_listener
    from openlineage.client import OpenLineageClient

    # The listener gets an adapter that has not logged: a logger's first use binds it to a process.
    client = OpenLineageAdapter().get_or_create_openlineage_client()
    get_openlineage_listener().adapter = OpenLineageAdapter(client)
    transport = {"type": "file", "log_file_path": str(scratch / "events"), "append": True}
    adapter = OpenLineageAdapter(OpenLineageClient(config={"transport": transport}))
    event = {
        "run_id": "00000000-0000-7000-8000-000000000000",
        "job_name": "warm.up",
        "task": source_lineage("warm", ["up"]),
        "nominal_start_time": None,
        "nominal_end_time": None,
        "owners": ["nobody"],
        "tags": ["warm"],
        "job_description": None,
    }
    now = "2000-01-01T00:00:00+00:00"
    adapter.start_task(event_time=now, **event)
    adapter.complete_task(end_time=now, **event)


def _tables(scratch: Path) -> None:
    import duckdb
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    table = pa.Table.from_pandas(pd.DataFrame({"n": [1.0, 2.0, None], "c": ["a", "b", "a"]}))
    file = scratch / "table.parquet"
    pq.write_table(table, file)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("rows", table)
        connection.execute("SET TimeZone = 'UTC'")
        connection.sql("SELECT c, avg(n), now() FROM rows GROUP BY c").to_arrow_table()
        connection.execute("SELECT count(*) FROM read_parquet(?)", [str(file)]).fetchall()


def _expectations(_: Path) -> None:
    import great_expectations as gx
    import pandas as pd
    import tqdm  # type: ignore[import-untyped]

    tqdm.tqdm.monitor_interval = 0  # its monitor is a thread
    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("rows")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": pd.DataFrame({"n": [1, 2, 3]})})
    )
    batch.validate(gx.expectations.ExpectColumnValuesToNotBeNull(column="n"))


def _model(scratch: Path) -> None:
    import numpy as np
    import pandas as pd
    import scipy.stats
    import skops.io
    from skl2onnx import to_onnx
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        values = np.linspace(0, 1, 60, dtype=np.float32)
        frame = pd.DataFrame({"n": values, "c": ["a", "b", "c"] * 20})
        labels = values > 0.5
        encode = make_column_transformer((OrdinalEncoder(), ["c"]), remainder="passthrough")
        make_pipeline(encode, HistGradientBoostingClassifier(max_iter=2)).fit(frame, labels)
        fitted = HistGradientBoostingClassifier(max_iter=2).fit(values.reshape(-1, 1), labels)
        scores = fitted.predict_proba(values.reshape(-1, 1))[:, 1]
        log_loss(labels, scores), roc_auc_score(labels, scores), scipy.stats.norm.ppf(0.975)
        skops.io.dump(fitted, scratch / "model.skops")
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = to_onnx(fitted, values.reshape(-1, 1)).SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: values.reshape(-1, 1)})
        del session


def _keras(_: Path) -> None:
    from ferryman.training.keras_runtime import import_keras

    import_keras()


def _search(_: Path) -> None:
    import cmaes  # noqa: F401 - imported for the tasks that fork from here
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)


def _picture(_: Path) -> None:
    from ferryman.evaluation.pictures import confusion_png

    confusion_png([[1, 0], [0, 1]], ["no", "yes"], label="warm")


def _tracking(scratch: Path) -> None:
    from ferryman.registry.mlflow_registry import MlflowRegistry
    from ferryman.registry.mlflow_tracking import MlflowTracker

    copy = scratch / "mlflow.db"
    _copy_tables(load_settings().mlflow_uri, copy)
    uri = f"sqlite:///{copy}"
    tracker = MlflowTracker(uri, scratch)
    tracked = tracker.start("warm-up", "run", "key", {"n": "1"})
    tracker.log(tracked.id, params={"n": 1}, metrics={"n": 1.0}, tags={"n": "1"})
    tracker.log_files(tracked.id, {"n.txt": b"1"})
    registry = MlflowRegistry(uri, scratch)
    version = registry.register("warm-up", "key", "0" * 64, str(scratch), {"n": "1"})
    registry.set_alias("warm-up", "champion", version.version)
    tracker.finish(tracked.id)


def _copy_tables(uri: str, target: Path) -> None:
    """Copy the tables of a SQLite database, without their rows, and the version of their schema.

    MLflow would need eight seconds of migrations to make the same.
    """
    source = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not source.is_file():
        return
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        for (statement,) in old.execute(query).fetchall():
            new.execute(statement)
        version = old.execute("SELECT version_num FROM alembic_version").fetchall()
        new.executemany("INSERT INTO alembic_version VALUES (?)", version)
        new.commit()
