"""Every night, the day's rows become a snapshot, are checked, and are published.

The window is the run's data interval; a backfill's dates are the data's dates. A run by hand may
name its own window with the params `window_start` and `window_end`, and say with `accept_leakage`
why values that were known too late are right.
"""

from airflow.sdk import DAG

from ferryman_airflow.assets import data_asset
from ferryman_airflow.declarations import about, by_interval, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare

for model in declared_models("ingest"):
    with DAG(
        schedule=by_interval(model.spec.schedule.ingest),
        params=declare("window_start", "window_end", "accept_leakage"),
        max_active_runs=4,
        **about(model, "ingest", __doc__, hours=2),
    ):
        (
            step(model, "ingest", takes=("accept_leakage",))
            >> step(model, "validate", outlets=[data_asset(model)])
        )
