"""Several processes fit one Keras model: the figure of one, and no process left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from keras_models import hills, places

from ferryman.errors import DataRejected, DependencyUnavailable, SpecError
from ferryman.training.keras_worker import batches
from ferryman.training.trainers import make_trainer

TOLERANCE = 0.02  # of the accuracy on 2,000 rows; the two differ in the order of rows only


def workers_of(pid: int) -> list[int]:
    """The running workers that a process started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended, or is none of ours
            continue
        if b"ferryman.training.keras_worker" in words and stat[0] != "Z" and int(stat[1]) == pid:
            found.append(int(entry.name))
    return found


def is_gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_two_workers_learn_what_one_learns(tmp_path: Path) -> None:
    later = places("multiclass", rows=2000, seed=1)
    shares = {}
    for workers in (1, 2):
        model = hills(tmp_path / str(workers), "multiclass", workers=workers)
        fitted = make_trainer(model.spec, cores=2).fit(places("multiclass"), model)
        names = np.array(model.spec.train.classes)[fitted.predict(later).argmax(axis=1)]
        shares[workers] = (names == later["label"]).mean()
        assert len(fitted.history) == 12
        assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
        fitted.save(tmp_path / f"{workers}.keras")
    assert shares[1] > 0.9
    assert shares[2] == pytest.approx(shares[1], abs=TOLERANCE)
    assert workers_of(os.getpid()) == []


def test_a_killed_worker_ends_all_and_is_told(tmp_path: Path) -> None:
    model = hills(tmp_path, "regression", workers=2)
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not killed:
            if len(running := workers_of(os.getpid())) == 2:
                killed.extend(running)
                os.kill(max(running), signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(DependencyUnavailable, match=r"worker \d of 2 was killed by signal 9"):
        make_trainer(model.spec, cores=2).fit(places("regression"), model)
    killer.join()
    assert all(is_gone(pid) for pid in killed)


_FIT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from keras_models import hills, places
from ferryman.training.trainers import make_trainer
model = hills(Path(sys.argv[1]), "regression", workers=2)
plan_rows = places("regression", rows=5000)
make_trainer(model.spec, cores=2).fit(plan_rows, model)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FIT, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 120
        while len(running := workers_of(parent.pid)) < 2:
            assert time.monotonic() < deadline
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    deadline = time.monotonic() + 60
    while not all(is_gone(pid) for pid in running):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def test_a_mistake_that_only_the_fit_shows_names_the_file(tmp_path: Path) -> None:
    model = hills(tmp_path, "multiclass", workers=2, loss="categorical_crossentropy")
    with pytest.raises(SpecError, match=r"pipeline\.py:\d+: ValueError"):
        make_trainer(model.spec, cores=2).fit(places("multiclass"), model)
    assert workers_of(os.getpid()) == []


def test_more_workers_than_rows_of_a_batch_are_refused(tmp_path: Path) -> None:
    model = hills(tmp_path, "regression", workers=40)
    with pytest.raises(DataRejected, match="40 workers cannot share 601 rows in batches of 30"):
        make_trainer(model.spec, cores=2).fit(places("regression"), model)


def test_each_worker_has_an_equal_share_of_every_batch() -> None:
    cut = batches(103, 10, 3, np.random.default_rng(0))
    assert [len(batch) for batch in cut] == [9] * 10 + [3]
    rows = np.concatenate(cut)
    assert len(set(rows)) == len(rows) == 93
    assert set(rows) <= set(range(103))
    again = batches(103, 10, 3, np.random.default_rng(0))
    assert all((one == other).all() for one, other in zip(cut, again, strict=True))
