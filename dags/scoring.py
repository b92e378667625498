"""A window scored in batch, by the code that answers online: with the champion, or that of `as_of`.

Off unless `schedule.scoring` says when: then each run scores the rows of its data interval. By hand
the params say what else to score and with which version. The scores lie in the data store, and the
event of the asset `scores` says where; nothing is written into the prediction log.
"""

from airflow.sdk import DAG

from ferryman_airflow.assets import scores_asset
from ferryman_airflow.declarations import about, by_interval, declared_models
from ferryman_airflow.operators import step
from ferryman_airflow.params import declare

ASKED = ("as_of", "version", "dataset", "file")

for model in declared_models("scoring"):
    with DAG(
        schedule=by_interval(model.spec.schedule.scoring),
        params=declare("window_start", "window_end", *ASKED),
        **about(model, "scoring", __doc__, hours=4),
    ):
        step(model, "batch_score", takes=ASKED, outlets=[scores_asset(model)])
