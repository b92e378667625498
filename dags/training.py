"""A new model from the newest data: fitted, evaluated on later days, packaged, registered.

Runs when monitoring asks for it, when somebody triggers it, and at the declared times. The param
`cutoff` trains as of an earlier moment, `pin` on a known dataset version; `accept_leakage` is a
person's reason why a column, or a result, that looks too good to be true is right. A model that
declares a search has two tasks more: its workers draw trials together, and `train` trains the best.
"""

from airflow.sdk import DAG, chain

from ferryman_airflow.asset_events import retrain_params
from ferryman_airflow.assets import candidate_asset, retrain_asset
from ferryman_airflow.declarations import about, by_asset_or_time, declared_models
from ferryman_airflow.operators import search, step
from ferryman_airflow.params import declare

DATA = ("cutoff", "reason", "pin")

for model in declared_models("training"):
    with DAG(
        schedule=by_asset_or_time(retrain_asset(model), model.spec.schedule.training),
        params=declare(*DATA, "accept_leakage"),
        max_active_runs=1,
        **about(model, "training", __doc__, hours=4),
    ):
        chain(
            *search(model, takes=DATA, derive=retrain_params),
            step(model, "train", takes=(*DATA, "accept_leakage"), derive=retrain_params),
            step(model, "evaluate"),
            step(model, "package"),
            step(model, "register", outlets=[candidate_asset(model)]),
            step(model, "report"),
        )
