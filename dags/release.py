"""A registered candidate meets the gate; what passes is staged, exposed, committed and served.

Started by the candidate's asset event; of several, the newest by data cut-off. The param `run`
releases the model of a named training run by hand. Where the declaration asks for it, a person
approves before any user is answered, and shares of the traffic decide before all of it moves.
"""

from airflow.sdk import DAG, chain

from ferryman_airflow.asset_events import candidate_params
from ferryman_airflow.assets import candidate_asset, champion_asset
from ferryman_airflow.declarations import about, by_asset_or_time, declared_models
from ferryman_airflow.exposure import exposure, waiting_time
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare
from ferryman_airflow.release_tasks import approval

for model in declared_models("release"):
    with DAG(
        schedule=by_asset_or_time(candidate_asset(model), None),
        params=declare("run"),
        max_active_runs=1,
        **about(model, "release", __doc__, hours=1, waits=waiting_time(model)),
    ):
        chain(
            step(model, "gate", derive=candidate_params),
            step(model, "stage"),
            *approval(model),
            *exposure(model),
            step(model, "commit"),
            step(model, "reconcile", outlets=[champion_asset(model)]),
        )
