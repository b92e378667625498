"""Back to a version that served before: no training, no gate, right within seconds.

Triggered by hand, by a button of the Models page or by one REST call. The param `version` names the
version; left out, it is the newest one before that really served and still verifies. `reason` says
why, and stands in the ledger; `epoch`, where it is given, is the one that whoever asks has seen.
The version that is left is quarantined: no retry of its release brings it back.
"""

from airflow.sdk import DAG

from ferryman_airflow.assets import champion_asset
from ferryman_airflow.declarations import about, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare
from ferryman_airflow.rollback_params import asked_by

ASKED = ("version", "reason", "epoch")

for model in declared_models("rollback"):
    with DAG(
        schedule=None,
        params=declare(*ASKED),
        max_active_runs=1,
        **about(model, "rollback", __doc__, hours=1),
    ):
        (
            step(model, "roll_back", takes=ASKED, derive=asked_by)
            >> step(model, "reconcile", outlets=[champion_asset(model)])
        )
