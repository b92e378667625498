"""Nights of one model in the running stack: what is monitored, alarmed, decided, scored, restated.

The tests run in the order of the file, each on what the ones before left. The model is their own:
they work beside, before and after those that release and train `rain`.
"""

from datetime import UTC, datetime, timedelta

import pytest
from rain_nights import NAME, RainNights
from rain_releases import ZOO, until

from ferryman.errors import SpecError
from ferryman.ledger.records import State
from ferryman.registry.mlflow_connection import connect
from ferryman.spec.windows import day_window, format_time

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
]

PIPELINES = ("monitoring", "training", "release", "scoring")
QUIET = (-10, -9, -8)  # nights, by days from today
POSTED = 40


def _is_far_from_midnight():
    now = datetime.now(UTC)
    return day_window(now).end - now > timedelta(minutes=10)


@pytest.fixture(scope="module")
def nights(stack, rain_hours):
    """Days of data up to today, published, and DAGs that wait for somebody to start them."""
    until(_is_far_from_midnight, timeout=660, pause=5)  # "last night" is one day for all tests
    found = RainNights(stack, ZOO / "rain", rain_hours)
    found.declare()
    found.ingest()
    for pipeline in PIPELINES:
        until(lambda name=f"{NAME}.{pipeline}": stack.api.has_dag(name), timeout=180)
        found.paused(pipeline, False)
    yield found
    for pipeline in PIPELINES:
        found.paused(pipeline, True)


def test_a_training_that_a_person_starts_names_them(nights):
    cutoff = format_time(nights.day(QUIET[0]).start)
    run = nights.begin("training", "first", "olga", cutoff=cutoff, reason="a first model")
    assert set(nights.ended("training", run).values()) == {"success"}
    told = nights.outputs("training", run, "train")
    assert (told["asked_by"], told["reason"], told["cutoff"]) == ("olga", "a first model", cutoff)
    tracked = connect(nights.settings.mlflow_uri).get_run(told["mlflow_run_id"])
    assert tracked.data.tags["ferryman.asked_by"] == "olga"
    nights.served(1)


def test_users_ask_labels_come_and_nights_say_how_good_it_was(nights):
    nights.ask(QUIET[0] - 1, *QUIET)
    assert {len(told) for told in nights.answers.values()} == {384}
    runs = [nights.night(f"night{number}", number) for number in QUIET]
    for number, run in zip(QUIET, runs, strict=True):
        assert nights.ended("monitoring", run) == {
            "join_labels": "success",
            "monitor": "success",
            "decide_retrain": "skipped",
            "verdict": "skipped",
        }
        report = nights.report(nights.day(number))
        quality = report["quality"]
        known = 384 * min(2, number - QUIET[0] + 1)
        assert (quality["predicted"], quality["labelled"]) == (known, known)
        assert quality["coverage"] == 1.0
        assert 0.3 < quality["low"] < quality["value"] < quality["high"] < 0.7
        assert report["champion"]["version"] == 1
        assert (report["drifted"], report["drift"]["alarm"]) == ([], False)
        decided = nights.outputs("monitoring", run, "decide_retrain")
        assert decided["reason"].startswith("nothing calls for it (log_loss ")
    with nights.person("guest") as api:
        page = api.call("GET", f"/ferryman/models/{NAME}/monitoring").text
    assert f"<dd>{quality['text']}</dd>" in page
    assert f"{nights.day(QUIET[-1] - 1).start:%Y-%m-%d}" in page
    assert "100.0%" in page
    assert nights.retrain_events() == []


def test_a_unit_that_changed_is_alarmed_retrained_and_served(nights, record_property):
    day = nights.day(-2)
    nights.ask(-3, -2)
    run = nights.night("changed", -2)
    states = nights.ended("monitoring", run)
    assert (states["monitor"], states["decide_retrain"]) == ("success", "success")
    report, decision = nights.report(day), nights.decision(day)
    assert report["drift"]["alarm"]
    assert "humidity" in report["drifted"]
    assert "drift" in decision["causes"]
    assert decision["probe"]["outcome"] == "helps"
    alert = nights.words("monitoring", run).partition(f"ALERT {NAME} ")[2]
    assert "Changed since" in alert
    assert "column humidity" in alert
    record_property("drift", report["drift"]["text"])
    record_property("decision", decision["reason"])
    [training] = until(lambda: nights.runs("training", run_type="asset_triggered"))
    assert set(nights.ended("training", training["dag_run_id"]).values()) == {"success"}
    [event] = nights.retrain_events()
    assert event["cutoff"] == format_time(day.end)
    assert "humidity" in event["reason"]
    told = nights.outputs("training", training["dag_run_id"], "train")
    assert (told["asked"], told["cutoff"]) == ("event", event["cutoff"])
    assert "asked_by" not in told
    nights.served(2)
    release = nights.runs("release")[0]["dag_run_id"]
    assert set(nights.ended("release", release).values()) == {"success"}
    gate = nights.api.result(f"{NAME}.release", release, "gate")
    record_property("gate", gate["text"])


def test_a_night_by_the_schedule_beside_a_backfill(nights, stack, record_property):
    """The night's alarm falls into the cool-down; the backfill moves nothing."""
    nights.ask(-1)
    nights.paused("monitoring", True)
    nights.declare(monitoring="0 0 * * *")
    dag = f"{NAME}.monitoring"
    path = f"/api/v2/dags/{dag}"
    until(
        lambda: "0 0" in str(stack.api.call("GET", path).json()["timetable_summary"]), timeout=180
    )
    told, kept = {number: nights.report(nights.day(number)) for number in QUIET}, nights.kept()
    days = [nights.day(number).start for number in QUIET]
    assert stack.begin_backfill(dag, days, max_active_runs=2) == ""
    nights.paused("monitoring", False)
    until(lambda: nights.runs("monitoring", run_type="scheduled"), timeout=120)
    [night] = nights.runs("monitoring", run_type="scheduled")
    states = nights.ended("monitoring", night["dag_run_id"])
    old = nights.runs("monitoring", run_type="backfill")
    assert len(old) == len(QUIET)

    # The night
    assert (states["monitor"], states["decide_retrain"]) == ("success", "skipped")
    window = nights.day(-1)
    report, decision = nights.report(window), nights.decision(window)
    assert report["champion"]["version"] == 2
    assert report["drift"]["alarm"]
    assert "clouds" in report["drifted"]
    assert not decision["retrain"]
    assert decision["reason"].endswith(", but cool-down: a retrain was asked for 1 day ago")
    record_property("decision", decision["reason"])

    # The backfill
    for run in old:
        assert nights.ended("monitoring", run["dag_run_id"]) == {
            "join_labels": "success",
            "monitor": "success",
            "decide_retrain": "skipped",
            "verdict": "skipped",
        }
        assert "ALERT" not in nights.words("monitoring", run["dag_run_id"])
        number = (datetime.fromisoformat(run["data_interval_start"]) - nights.today).days
        again = nights.report(nights.day(number), nights.backfilled(run["dag_run_id"]))
        assert again == told[number]
    now = nights.kept()
    assert {name: now[name] for name in kept} == kept
    new = {name.rpartition("/")[2].partition(".")[0] for name in now.keys() - kept.keys()}
    assert new == {window.key}
    assert len(nights.retrain_events()) == 1
    assert len(nights.runs("training")) == 2


def test_posted_labels_count_and_a_wish_names_who_asks(nights):
    received = nights.post_labels(nights.day(-1), POSTED)
    number = (received - nights.today).days
    window = nights.day(number)
    run = nights.night("wished", number, "olga", reason="new sensors since Monday")
    states = nights.ended("monitoring", run)
    assert (states["join_labels"], states["decide_retrain"]) == ("success", "skipped")
    report, decision = nights.report(window), nights.decision(window)
    assert report["labels"]["posted"] == POSTED
    assert report["champion_quality"]["labelled"] == 384 + POSTED
    told = decision["evidence"]
    assert (told["person"], told["wish"]) == ("olga", "new sensors since Monday")
    assert decision["causes"][0] == "person"
    assert "olga: new sensors since Monday" in decision["reason"]
    assert "cool-down" in decision["reason"]
    assert len(nights.retrain_events()) == 1


def test_scores_of_a_window_are_the_servers_answers(nights):
    """The champion's of now, and of a moment before it was released."""
    [first, second] = [
        row.at for row in nights.ledger.history(NAME) if row.state is State.COMMITTED
    ]
    before = format_time(second - (second - first) / 2)
    asked = {-1: {}, -2: {"as_of": before}}
    runs = {}
    for number, more in asked.items():
        start = f"{nights.day(number).start:%Y-%m-%d}"
        runs[number] = nights.begin("scoring", f"scores{number}", window_start=start, **more)
    for number, run in runs.items():
        assert nights.ended("scoring", run) == {"batch_score": "success"}
        told = nights.outputs("scoring", run, "batch_score")
        assert (told["version"], told["rows"]) == ({-1: 2, -2: 1}[number], 384)
        assert nights.scores(run) == pytest.approx(nights.answers[number], abs=1e-6)
    with nights.person("olga") as api, pytest.raises(SpecError, match="as_of"):
        api.trigger(f"{NAME}.scoring", "no-day", {"as_of": "yesterday"})
