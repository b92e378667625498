"""The fork server's preload: everything warmed, nothing left that a fork does not survive."""

import json
import os
import subprocess
import sys

_PROGRAM = """
import os, sys, threading, time
from ferryman_airflow import warm_up

seconds = warm_up.warm_up()
expected = set(warm_up.AIRFLOW_MODULES) | {f"ferryman.steps.{n}" for n in warm_up.STEP_NAMES}
expected |= {"plugins", "tables", "expectations", "model", "picture", "tracking", "lineage"}
expected |= {"keras"}  # the project's zoo has models that need it
print("missing", sorted(expected - set(seconds)))
print("threads", [thread.name for thread in threading.enumerate()])

import gc, sqlalchemy
pools = [found.pool for found in gc.get_objects() if isinstance(found, sqlalchemy.Engine)]
print("connections", sum(pool.checkedin() for pool in pools if hasattr(pool, "checkedin")))
before = set(sys.modules)

child = os.fork()
if child == 0:
    try:
        import duckdb, numpy as np, pyarrow as pa, pyarrow.parquet as pq
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits
        start = time.monotonic()
        values = np.random.default_rng(7).random((20_000, 8))
        with threadpool_limits(limits=2):
            fitted = HistGradientBoostingClassifier(max_iter=10).fit(values, values[:, 0] > 0.5)
        pq.write_table(pa.table({"a": values[:, 0]}), "a.parquet")
        found = duckdb.execute("SELECT count(*) FROM read_parquet('a.parquet')").fetchall()
        import keras
        line = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        line.compile(optimizer="sgd", loss="mse")
        line.fit(values, values.sum(axis=1), epochs=1, verbose=0)
        assert np.isfinite(line.predict(values, verbose=0)).all()
        assert found == [(20_000,)] and fitted.score(values, values[:, 0] > 0.5) > 0.9
        heavy = {"sklearn", "duckdb", "pandas", "mlflow", "great_expectations", "matplotlib"}
        heavy |= {"keras"}
        late = {name for name in set(sys.modules) - before if name.partition(".")[0] in heavy}
        print("late imports", sorted(late))
        print("child done", flush=True)
    finally:
        os._exit(0)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    if os.waitpid(child, os.WNOHANG)[0]:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
    print("child hangs")
sys.stdout.flush()
os._exit(0)
"""


def test_a_forked_child_finds_everything_imported_and_can_use_two_threads(tmp_path):
    environment = {
        **os.environ,
        "FERRYMAN_HOME": str(tmp_path / "home"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(tmp_path / "events.jsonl"), "append": True}
        ),
    }
    prepare = [sys.executable, "-m", "ferryman_airflow.stack.prepare_tracking"]
    subprocess.run(prepare, env=environment, check=True, capture_output=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
        timeout=200,
    )
    lines = done.stdout.splitlines()
    assert "missing []" in lines, done.stderr[-3000:]
    assert "threads ['MainThread']" in lines
    assert "connections 0" in lines
    assert "late imports []" in lines
    assert "child done" in lines, done.stdout
    assert not (tmp_path / "events.jsonl").exists()  # warming tells nobody anything
