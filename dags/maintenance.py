"""Every week: what no kept version, run, release, pin or legal hold needs may go.

It only says what would go, and why, unless the declaration has `data.retention.apply: true`. The
param `apply` removes, or does not, in a run by hand.
"""

from airflow.sdk import DAG

from ferryman_airflow.declarations import about, by_interval, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare

for model in declared_models("maintenance"):
    with DAG(
        schedule=by_interval(model.spec.schedule.maintenance),
        params=declare("apply"),
        max_active_runs=1,
        **about(model, "maintenance", __doc__, hours=2),
    ):
        step(model, "maintenance", takes=("apply",))
