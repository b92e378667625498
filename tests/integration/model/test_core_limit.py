"""The declared cores hold, whatever number of jobs an estimator asks for."""

import os
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from ferryman.settings import thread_environment
from ferryman.spec.model import DeclaredModel
from ferryman.training.core_limit import core_limit
from ferryman.training.trainers import make_trainer

FOREST = """
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

def build(params, seed):
    numbers = make_column_selector(dtype_include="number")
    columns = make_column_transformer((SimpleImputer(), numbers))
    return make_pipeline(columns, RandomForestClassifier(n_jobs=-1, random_state=seed, **params))
"""


class Crowd:
    """Counts how many callers are inside at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.threads: set[int] = set()

    def visit(self, _: int = 0) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.get_ident())
        time.sleep(0.005)
        with self.lock:
            self.inside -= 1


@pytest.mark.parametrize("cores", [1, 2, 3])
@pytest.mark.parametrize("asked", [-1, 8])
@pytest.mark.parametrize("prefer", [None, "processes", "threads"])
def test_no_more_jobs_run_than_there_are_cores(cores: int, asked: int, prefer: str | None) -> None:
    crowd = Crowd()
    with core_limit(cores):
        joblib.Parallel(n_jobs=asked, prefer=prefer, batch_size=1)(
            joblib.delayed(crowd.visit)() for _ in range(12)
        )
    assert crowd.most <= cores
    assert len(crowd.threads) <= cores
    if asked == 8 and cores > 1:
        assert crowd.most > 1  # they were not merely done in turn


def test_jobs_within_jobs_add_no_threads() -> None:
    crowd = Crowd()

    def outer() -> None:
        joblib.Parallel(n_jobs=4)(joblib.delayed(crowd.visit)() for _ in range(4))

    with core_limit(2):
        joblib.Parallel(n_jobs=4)(joblib.delayed(outer)() for _ in range(4))
    assert crowd.most <= 2


def openmp_threads() -> int:
    return max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "openmp")


def test_threads_of_openmp_are_not_multiplied_by_those_of_joblib() -> None:
    HistGradientBoostingClassifier(max_iter=1).fit(np.eye(4), [0, 1, 0, 1])  # loads the library
    seen: list[int] = []
    with threadpool_limits(4), core_limit(2):
        assert openmp_threads() == 2
        joblib.Parallel(n_jobs=2)(
            joblib.delayed(lambda: seen.append(openmp_threads()))() for _ in range(4)
        )
        assert openmp_threads() == 2
    assert seen == [1] * 4


def test_estimators_with_many_jobs_learn_as_with_one() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(200, 4))
    labels = rows[:, 0] > 0
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, n_jobs=-1)
    bag = BaggingClassifier(n_jobs=8, n_estimators=8, random_state=0)
    for estimator in (search, bag):
        alone = estimator.set_params(n_jobs=1).fit(rows, labels).predict_proba(rows)
        with core_limit(2):
            fitted = estimator.set_params(n_jobs=-1).fit(rows, labels)
            assert (fitted.predict_proba(rows) == alone).all()


def test_a_forest_of_all_cores_takes_one_where_one_is_declared(rain: DeclaredModel) -> None:
    (rain.folder / "pipeline.py").write_text(FOREST)
    spec = rain.spec.train.model_copy(update={"params": {"n_estimators": 60}})
    model = rain.model_copy(update={"spec": rain.spec.model_copy(update={"train": spec})})
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "station": "north",
            "sky": "grey",
            "humidity": generator.normal(size=1500),
            "clouds": generator.normal(size=1500),
        }
    ).assign(label=lambda rows: rows["humidity"] + generator.normal(size=1500) > 0)
    trainer = make_trainer(model.spec, cores=1)
    clock, cpu = time.perf_counter(), time.process_time()
    fitted = trainer.fit(frame, model)
    fitted.predict(frame)
    used = (time.process_time() - cpu) / (time.perf_counter() - clock)
    assert used <= 1.2


def test_a_started_process_is_told_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os; print(os.environ.get('OMP_NUM_THREADS'), os.environ['MKL_NUM_THREADS'])"

    def told(cores: int) -> list[str]:
        with thread_environment(cores):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        return done.stdout.decode().split()

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "2")  # fewer are allowed already
    assert told(3) == ["3", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert told(1) == ["1", "1"]
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("64", "2")
