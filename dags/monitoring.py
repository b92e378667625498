"""Every night: what was predicted meets what came true; a fall in quality asks for a retrain.

The window is the run's data interval. Where the window's data is not published yet, the run waits
and tries again. A backfill says in a place of its own what was known on that day, or what is known
now with the param `as_known`; it sends nothing and moves nothing. `verdict` looks at the answers of
the newest release's exposure with the labels known by now: a champion that proves worse is rolled
back. It stands beside the others, so that neither waits for the other.
"""

from airflow.sdk import DAG

from ferryman_airflow.asset_events import backfill_params, wish_params
from ferryman_airflow.assets import retrain_asset
from ferryman_airflow.declarations import about, by_interval, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare

for model in declared_models("monitoring"):
    with DAG(
        schedule=by_interval(model.spec.schedule.monitoring),
        params=declare("window_start", "window_end", "as_known", "reason"),
        max_active_runs=1,
        **about(model, "monitoring", __doc__, hours=2, retries=30),
    ):
        join, monitor = (
            step(model, name, takes=("as_known",), derive=backfill_params)
            for name in ("join_labels", "monitor")
        )
        decide = step(
            model,
            "decide_retrain",
            takes=("reason",),
            derive=wish_params,
            outlets=[retrain_asset(model)],
        )
        verdict = step(model, "verdict", derive=backfill_params)
        join >> monitor >> decide
        join >> verdict
        if model.spec.data.replay is not None:
            (
                step(model, "score", derive=backfill_params) >> join
            )  # nobody else sends a recorded year's requests
