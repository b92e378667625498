"""A bad model on purpose: is it caught, ended, told and recorded within `rollout.drill.within`?

It meets a small share of the live traffic, by the rules that every release meets. Off unless
`schedule.drill` says when; by hand the param `kind` says how the model is bad, `reason` why.
"""

from airflow.sdk import DAG

from ferryman_airflow.declarations import about, by_interval, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare
from ferryman_airflow.rollback_params import asked_by

ASKED = ("kind", "reason")

for model in declared_models("drill"):
    within = model.spec.rollout.drill.within
    with DAG(
        schedule=by_interval(model.spec.schedule.drill),
        params=declare(*ASKED),
        max_active_runs=1,
        **about(model, "drill", __doc__, hours=1 + int(within.total_seconds() // 3600)),
    ):
        step(model, "drill", takes=ASKED, derive=asked_by)
