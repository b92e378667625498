"""What is measured: a search whose trials are free, and one whose trials are honest fits."""

import shutil
import time
from collections.abc import Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.steps.trial_log import TrialLog
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_worker import Objective, work

ROWS, COLUMNS = 8_000, 12


def declare(method: str, trials: int) -> SearchSpec:
    low_high = {"learning_rate": (0.02, 0.5), "l2_regularization": (0.001, 1.0)}
    space: dict[str, Any] = {
        name: {"min": low, "max": high, "log": method != "grid"}
        | ({"step": (high - low) / 20} if method == "grid" else {})
        for name, (low, high) in low_high.items()
    }
    space["max_leaf_nodes"] = {"min": 8, "max": 32, "integer": True}
    more = {"halving": True, "hyperband": True}.get(method, False)
    resource = {"resource": {"param": "max_iter", "min": 5, "max": 45}} if more else {}
    return SearchSpec.model_validate(
        {"method": method, "space": space, "trials": trials, "metric": "log_loss", **resource}
    )


def formula(params: Mapping[str, ParamValue]) -> float:
    return abs(float(params["learning_rate"]) - 0.1) + 1 / float(params.get("max_iter", 45))


def fitting() -> Objective:
    """An honest trial: boosted trees on most rows, log loss on the others."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(1)
    values = generator.normal(size=(ROWS, COLUMNS))
    labels = (values[:, :3].sum(axis=1) + generator.normal(size=ROWS)) > 0
    cut = ROWS * 3 // 4

    def objective(params: Mapping[str, ParamValue]) -> float:
        with threadpool_limits(1):
            trees = HistGradientBoostingClassifier(**params, max_iter=60, random_state=1)
            trees.fit(values[:cut], labels[:cut])
            return float(log_loss(labels[cut:], trees.predict_proba(values[cut:])[:, 1]))

    return objective


def tracked(home: Path, empty: Path | None = None) -> tuple[Any, str]:
    """A tracker and the run of a search in it; given an empty database, on a copy of that."""
    from ferryman.registry.mlflow_tracking import MlflowTracker

    database = home / "mlflow" / "mlflow.db"
    if empty is not None:
        database.parent.mkdir(parents=True)
        shutil.copyfile(empty, database)
    tracker = MlflowTracker(f"sqlite:///{database}", home / "artifacts")
    return tracker, tracker.start("bench", "r/search", "k", {}).id


def worker(home: Path, search: SearchSpec, index: int, ready: Barrier, timed: Any) -> None:
    objective = fitting()
    objective({"learning_rate": 0.1})
    tracker, parent = tracked(home)
    log = TrialLog(tracker, parent, search.metric)
    study = SearchStudy(home / "study", search, 7)
    ready.wait()
    start = time.time()
    work(study, search, index, objective, log.add)
    log.flush()
    timed.put((start, time.time()))
