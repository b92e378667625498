"""Asset events are hints: what is released is what our own run store knows."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from ferryman.errors import SpecError
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult


@pytest.fixture
def train(tmp_path, settings_from):
    """Write a finished training run of `flights`; returns what its asset event says."""
    settings_from(home=tmp_path)

    def write(run, version, cutoff, asked=None):
        outputs = {
            "train": {
                "cutoff": cutoff,
                "train_dataset": "t",
                "eval_dataset": "e",
                "mlflow_run_id": "m",
                "code_version": "c",
                "reason": "test",
                **({"asked": asked} if asked else {}),
            },
            "register": {
                "version": version,
                "bundle": f"/bundles/{version}",
                "digest": f"{version:064x}",
                "run_key": f"key-{version}",
            },
        }
        folder = tmp_path / "runs" / "flights" / "training" / run
        for step, values in outputs.items():
            result = StepResult(model="flights", step=step, request_digest="d", outputs=values)
            write_json(folder / step / "result.json", result.model_dump(mode="json"))
        return {"run": run, "version": version, "digest": f"{version:064x}"}

    return write


def _context(name, *extras, params=None, run_type="asset_triggered"):
    return {
        "params": params or {},
        "triggering_asset_events": _Events(name, extras),
        "dag_run": SimpleNamespace(run_type=run_type, triggering_user_name=None),
    }


class _Events:
    """The shape of Airflow's triggering_asset_events: a mapping of assets to their events."""

    def __init__(self, name, extras):
        self._asset = SimpleNamespace(name=name)
        self._events = [SimpleNamespace(extra=extra) for extra in extras]

    def __iter__(self):
        return iter([self._asset] if self._events else [])

    def __getitem__(self, asset):
        assert asset is self._asset
        return self._events


def _candidate(context):
    from ferryman_airflow.asset_events import candidate_params

    return candidate_params(context, "flights")["candidate"]


def test_the_newest_cutoff_is_released_whatever_the_order_of_events(train):
    old = train("run-a", 9, "2013-03-01T00:00:00Z")
    new = train("run-b", 3, "2013-03-08T00:00:00Z")
    for events in ((old, new), (new, old)):
        assert _candidate(_context("flights.candidate", *events))["version"] == 3


def test_of_one_cutoff_the_higher_version_is_released(train):
    events = [train(f"run-{n}", n, "2013-03-01T00:00:00Z") for n in (2, 10, 9)]
    candidate = _candidate(_context("flights.candidate", *events))
    assert candidate["version"] == candidate["sequence"] == 10
    assert candidate["run_key"] == "key-10"


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"run": "nobody-made-this"},
        {"run": "../../../etc"},
        {"run": "run-a", "version": 8},
        {"run": "run-a", "digest": "f" * 64},
        {"run": ["run-a"]},
        {"version": 1},
    ],
)
def test_a_forged_event_is_ignored(train, forged):
    good = train("run-a", 1, "2013-03-01T00:00:00Z")
    assert _candidate(_context("flights.candidate", forged, good))["version"] == 1
    with pytest.raises(SpecError, match="no candidate"):
        _candidate(_context("flights.candidate", forged))


def test_extras_never_replace_what_the_run_store_says(train):
    event = train("run-a", 1, "2013-03-01T00:00:00Z")
    event |= {"bundle": "/evil", "cutoff": "2999-01-01"}
    candidate = _candidate(_context("flights.candidate", event))
    assert candidate["bundle"] == "/bundles/1"
    assert candidate["cutoff"] == "2013-03-01T00:00:00Z"


def test_a_run_folder_that_links_outside_is_refused(train, tmp_path):
    train("run-a", 1, "2013-03-01T00:00:00Z")
    root = tmp_path / "runs" / "flights" / "training"
    outside = tmp_path / "outside"
    (root / "run-a").rename(outside)
    (root / "run-b").symlink_to(outside)
    with pytest.raises(SpecError, match="leads outside"):
        _candidate(_context("flights.candidate", params={"run": "run-b"}))


def test_a_named_run_is_released_by_hand(train):
    train("run-a", 1, "2013-03-01T00:00:00Z")
    newer = train("run-b", 2, "2013-03-08T00:00:00Z")
    context = _context("flights.candidate", newer, params={"run": "run-a"})
    assert _candidate(context)["version"] == 1


def test_another_models_events_do_not_count(train):
    event = train("run-a", 1, "2013-03-01T00:00:00Z")
    with pytest.raises(SpecError, match="no candidate"):
        _candidate(_context("other.candidate", event))


def test_a_retrain_takes_the_newest_cutoff_and_a_harmless_reason():
    from ferryman_airflow.asset_events import retrain_params

    context = _context(
        "flights.retrain",
        {"cutoff": "2013-03-08T00:00:00Z", "reason": "log loss $(reboot) {{ ds }}\n"},
        {"cutoff": "2013-03-01T00:00:00Z", "reason": "older"},
        {"cutoff": "tomorrow", "reason": "forged"},
    )
    params = retrain_params(context, "flights")
    assert params["cutoff"] == "2013-03-08T00:00:00Z"
    assert params["asked"] == "event"
    assert not set(params["reason"]) & set("${}\n")


@pytest.mark.parametrize(("run_type", "asked"), [("manual", "person"), ("scheduled", "schedule")])
def test_without_events_only_who_asks_is_derived(run_type, asked):
    from ferryman_airflow.asset_events import retrain_params

    context = _context("flights.retrain", run_type=run_type)
    assert retrain_params(context, "flights") == {"asked": asked}


@pytest.mark.parametrize(
    ("run_type", "of_training"),
    [
        ("manual", {"asked": "person", "actor": "olga"}),
        ("scheduled", {"asked": "schedule"}),
        ("asset_triggered", {"asked": "event"}),
    ],
)
def test_a_person_is_named_as_airflow_knows_them(run_type, of_training):
    from ferryman_airflow.asset_events import retrain_params, wish_params

    context = _context("flights.retrain", run_type=run_type)
    assert wish_params(context, "flights") == {"backfill": False}
    context["dag_run"].triggering_user_name = "olga"
    assert retrain_params(context, "flights") == of_training
    assert wish_params(context, "flights") == {"backfill": False, "actor": "olga"}


def test_a_backfill_trains_as_of_its_own_days():
    from ferryman_airflow.asset_events import retrain_params

    day = datetime(2013, 3, 1, tzinfo=UTC)
    context = _context("flights.retrain", run_type="backfill")
    context |= {"data_interval_start": day, "data_interval_end": day + timedelta(days=1)}
    params = retrain_params(context, "flights")
    assert params["asked"] == "backfill"
    assert params["cutoff"] == "2013-03-02T00:00:00Z"
    context["params"] = {"pin": "old"}  # a pinned dataset has its own cut-off
    assert retrain_params(context, "flights") == {"asked": "backfill"}


def test_what_a_backfill_made_counts_after_all_others_and_is_told_as_such(train):
    from ferryman_airflow.asset_events import candidate_params

    old = train("run-a", 1, "2013-03-01T00:00:00Z")
    restated = train("run-b", 2, "2013-03-08T00:00:00Z", asked="backfill")
    older = train("run-c", 3, "2013-02-01T00:00:00Z", asked="backfill")
    both = candidate_params(_context("flights.candidate", restated, old), "flights")
    assert (both["candidate"]["version"], "backfill" in both) == (1, False)
    alone = candidate_params(_context("flights.candidate", older, restated), "flights")
    assert (alone["candidate"]["version"], alone["backfill"]) == (2, True)
    asked = _context("flights.candidate", restated, params={"run": "run-b"})
    assert "backfill" not in candidate_params(asked, "flights")


@pytest.mark.parametrize(("run_type", "expected"), [("backfill", True), ("scheduled", False)])
def test_a_backfill_says_so(run_type, expected):
    from ferryman_airflow.asset_events import backfill_params

    context = {"dag_run": SimpleNamespace(run_type=run_type)}
    assert backfill_params(context, "flights") == {"backfill": expected}


def test_who_started_a_training_is_kept_with_it_and_asks_for_its_release(train, tmp_path):
    from ferryman_airflow.asset_events import proposal_params, record_requester

    event = train("run-a", 1, "2013-03-01T00:00:00Z")
    folder = tmp_path / "runs" / "flights" / "training" / "run-a"

    def asked(by):
        context = _context("flights.candidate", {**event, "requester": "forged"})
        return proposal_params({**context, "dag_run": _started(by)}, "flights")

    assert asked(None) == {"requester": "schedule", "training_run": "run-a"}
    record_requester(folder, {"dag_run": _started(None)})
    assert asked(None)["requester"] == "schedule"
    record_requester(folder, {"dag_run": _started("olga")})
    assert asked(None)["requester"] == "olga"
    assert asked("rita")["requester"] == "rita"


def _started(user):
    return SimpleNamespace(triggering_user_name=user)
