"""The scoring DAG: off until a time is declared, by hand at any time, its params checked."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from release_world import ROWS
from served_world import ServedWorld
from small_bundles import _small_bundles, make_bundle

from ferryman.settings import Settings

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")
__all__ = ["_small_bundles", "make_bundle"]


def test_it_is_off_until_a_time_is_declared(load_dags, zoo, settings_from):
    from airflow.sdk import CronDataIntervalTimetable

    file = zoo / "other" / "model.yaml"
    text = file.read_text()
    assert "\nschedule:\n" in text
    file.write_text(text.replace("\nschedule:\n", '\nschedule:\n  scoring: "0 5 * * *"\n'))
    settings_from(zoo=zoo)
    dags = load_dags().dags
    usual, declared = dags["flights.scoring"], dags["other.scoring"]
    assert usual.timetable.can_be_scheduled is False
    assert isinstance(declared.timetable, CronDataIntervalTimetable)
    asked = {"as_of", "version", "dataset", "file", "window_start", "window_end"}
    assert set(usual.params) == asked
    assert [asset.uri for asset in usual.get_task("batch_score").outlets] == [
        "ferryman://flights/scores"
    ]


def test_a_window_is_scored_by_hand_and_its_event_says_where(
    load_dags, settings_from, tmp_path, make_bundle
):
    from airflow.models.asset import AssetEvent
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session
    from sqlalchemy import select

    initdb()
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    ServedWorld(settings, make_bundle)
    settings_from(home=settings.home, zoo=settings.zoo)
    dag = load_dags().dags["tiny.scoring"]
    conf = {"window_start": "2013-01-02", "window_end": "2013-01-04"}
    run = dag.test(run_conf=conf)
    assert str(run.state) == "success"
    with create_session() as session:
        newest = select(AssetEvent).order_by(AssetEvent.id.desc()).limit(1)
        extra = session.scalars(newest).one().extra
    assert (extra["version"], extra["epoch"], extra["rows"]) == (2, 1, 2 * ROWS)
    scores = Path(str(extra["scores"]).removeprefix("file://"))
    assert pq.read_metadata(scores).num_rows == 2 * ROWS
    # Before the ledger's first release nobody was champion: no retry would help.
    past = dag.test(run_conf={**conf, "as_of": "2013-01-04"})
    assert str(past.state) == "failed"


def test_params_are_checked_whole():
    from ferryman.errors import SpecError
    from ferryman_airflow.params import check_params

    names = ("as_of", "dataset", "file", "version", "as_known")
    given = {"as_of": "2013-02-01", "file": "bucket:in/rows.parquet", "version": 3}
    assert check_params(given, names) == {
        "as_of": "2013-02-01T00:00:00Z",
        "file": "bucket:in/rows.parquet",
        "version": "3",
    }
    for name, wrong in (
        ("as_of", "yesterday"),
        ("as_of", "2013-02-01T00:00:00"),  # no time zone
        ("file", "in/rows.parquet\n"),
        ("file", "a:b:c"),
        ("dataset", "../night"),
        ("as_known", "later"),
        ("version", 0),
    ):
        with pytest.raises(SpecError, match=f"param '{name}' has an illegal value"):
            check_params({name: wrong}, names)
