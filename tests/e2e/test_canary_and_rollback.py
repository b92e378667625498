"""Releases of `rain` in the running stack, by REST alone: who may, what is found, what survives.

The tests share one stack with those of `flights`, and run before them in the order of the file.
"""

import os
import signal
import time

import httpx
import psutil
import pytest
from rain_releases import CONSTANT, ZOO, RainReleases, Users, declare, process_of, until
from rollback_world import alert_channel

from ferryman.ledger.records import DRILL, PROMOTE, State

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
]

LEASE = 60.0  # seconds after which a share is gone that nobody renews
# More trees or fewer: models that differ little from the first.
TREES = {"first": 20, "good": 26, "killed": 24}


@pytest.fixture(scope="module")
def releases(stack, rain_hours, tmp_path_factory):
    """`rain` with its first version served, approved by olga."""
    found = RainReleases(stack, rain_hours(1, seed=9), ZOO / "rain")
    zoo = tmp_path_factory.mktemp("other-zoo")
    declare(zoo, ZOO / "rain")
    found.ingest()
    for dag in ("release", "rollback"):
        stack.api.unpause(f"rain.{dag}")
    found.trained = {
        name: found.train(name, zoo, max_iter=trees, learning_rate=0.2)
        for name, trees in TREES.items()
    }
    found.trained["constant"] = found.train("constant", zoo, **CONSTANT)
    found.begin("first", found.trained["first"])
    found.asked("first")
    assert found.answer("first", "olga") == 200
    assert set(found.states("first").values()) <= {"success", "skipped"}
    assert found.head() == found.served() == (1, 1)
    return found


@pytest.fixture
def alerts(stack):
    """What the connection `alerts` takes, as somebody defined it in Airflow."""
    with alert_channel() as (url, received):
        made = {"connection_id": "alerts", "conn_type": "generic", "host": url}
        stack.api.call("POST", "/api/v2/connections", json=made)
        yield received
        stack.api.call("DELETE", "/api/v2/connections/alerts", ok=(204,))


def _approved(releases, run_id, name):
    releases.begin(run_id, releases.trained[name])
    releases.asked(run_id)
    assert releases.answer(run_id, "olga") == 200


def test_a_release_asks_another_person_and_goes_stage_by_stage(releases, record_property):
    releases.begin("good", releases.trained["good"])
    with releases.api("rita") as api:
        assert not api.trigger("rain.release", "good", {})  # one id is one run: 409
    releases.asked("good")
    shown = releases.question("good", "olga")
    assert shown["subject"] == "Release version 2 of rain (against epoch 1)"
    assert [one["id"] for one in shown["assigned_users"]] == ["olga"]
    for words in (
        "Asked for by",
        "rita",
        "log\\_loss",
        "Worst slice",
        "canary",
        "/ferryman/models",
    ):
        assert words in shown["body"], shown["body"]
    refused = {person: releases.answer("good", person) for person in ("rita", "guest", "admin")}
    assert refused == dict.fromkeys(refused, 403)
    assert releases.served() == (1, 1)
    with Users(releases.settings, releases.rows) as users:
        assert releases.answer("good", "olga") == 200
        assert set(releases.states("good").values()) == {"success"}
    assert users.failed == []
    assert {one.variant for one in users.answers} == {"champion", "canary"}
    assert releases.head() == releases.served() == (2, 2)
    ledger = releases.ledger
    [yes] = [row for row in ledger.history("rain")[-20:] if _is(row, State.APPROVED, 2)]
    head = ledger.head("rain")
    assert (yes.actor, yes.base_epoch) == ("olga", 1)
    assert yes.candidate.digest == head.digest
    assert yes.evidence["requester"] == "rita"
    assert ledger.verify() == []
    record_property("page", shown["body"])
    record_property("ledger line", f"{yes.at} {yes.state} {yes.actor} {yes.candidate.digest}")


def test_a_rollback_is_one_call_and_a_second_one_changes_nothing(releases, stack, record_property):
    conf = {"reason": "users see wrong answers", "epoch": 2}
    with Users(releases.settings, releases.rows) as users, releases.api("rita") as api:
        began = time.monotonic()
        api.trigger("rain.rollback", "back", conf)
        until(lambda: users.answers[-1].version == "1", timeout=60, pause=0.02)
        seconds = time.monotonic() - began
        api.trigger("rain.rollback", "back-again", conf)
        for run_id in ("back", "back-again"):
            until(lambda name=run_id: _ended(stack, "rain.rollback", name))
    assert seconds < 30
    assert users.failed == []
    assert releases.head() == releases.served() == (3, 1)
    assert releases.ledger.verify() == []
    record_property("seconds from the call to the target's answer", seconds)


def test_a_canary_that_answers_a_constant_is_withdrawn(releases, alerts, record_property):
    before = releases.head()
    url = f"{releases.settings.serving_url}/v1/models/rain:predict"
    right = httpx.post(url, json={"instances": releases.rows}).json()["predictions"]
    with Users(releases.settings, releases.rows) as users:
        began = time.monotonic()
        _approved(releases, "constant", "constant")
        until(lambda: releases.share() > 0, timeout=60)
        exposed = time.monotonic()
        until(lambda: releases.share() == 0, timeout=90, pause=0.05)
        withdrawn = time.monotonic()
        until(lambda: _last(releases).state is State.ABORTED)
        states = releases.states("constant")
    assert states["canary_30pct"] == "failed"
    assert states["canary_60pct"] == states["commit"] == "upstream_failed"
    assert users.failed == []
    wrong = [one for one in users.answers if abs(one.score - right[one.row]) > 1e-6]
    during = [one for one in users.answers if exposed - 1 <= one.at <= withdrawn]
    assert {one.variant for one in wrong} == {"canary"}
    assert not [one for one in wrong if one.at > withdrawn + 1]
    scores = [one.score for one in wrong]
    assert max(scores) - min(scores) < 1e-4
    assert len(wrong) / len(during) < 0.3 + 0.12  # of at least a hundred draws
    assert releases.head() == releases.served() == before
    assert releases.ledger.routing("rain").weight == 0
    [told] = until(lambda: [one for one in alerts if "findings" in one], timeout=30)
    assert set(told["rule"].split(", ")) <= {"constant", "shift"}
    assert (told["model"], told["version"]) == ("rain", _last(releases).candidate.version)
    record_property("seconds from trigger to abort", withdrawn - began)
    record_property("seconds of exposure", withdrawn - exposed)
    record_property("answers", len(users.answers))
    record_property("wrong", f"{len(wrong)} of {len(during)} during the exposure")
    record_property("alert", told)


def test_a_release_outlives_its_killed_triggerer_and_scheduler(releases, stack, record_property):
    epoch, _ = releases.head()
    with Users(releases.settings, releases.rows) as users:
        _approved(releases, "killed", "killed")
        until(lambda: releases.state("killed", "canary_30pct") == "deferred", timeout=60)
        until(lambda: releases.share() > 0)
        with _HeldLauncher(stack):  # for as long as the lease, which is the longer pause
            killed = time.monotonic()
            _kill(stack, "triggerer", whole=True)
            _kill(stack, "scheduler")
            until(lambda: releases.share() == 0, timeout=LEASE)
            record_property("seconds to weight 0", time.monotonic() - killed)
        until(lambda: releases.share() > 0, timeout=120)
        with _HeldLauncher(stack):
            _kill(stack, "scheduler")
            time.sleep(2)  # the fault itself: so long nobody schedules
        supervised = until(
            lambda: process_of(stack, "rain.release", "killed", "commit"), timeout=180
        )
        supervisor = supervised.parent()
        with _HeldLauncher(stack):
            until(lambda: releases.head()[0] > epoch, pause=0.005)
            _kill(stack, "scheduler")
            supervisor.kill()  # and its task, in the midst of its commit, lives on
            record_property("the task of the commit", releases.state("killed", "commit"))
            time.sleep(2)
        until(lambda: releases.state("killed", "commit") == "success", timeout=240)
        assert set(releases.states("killed").values()) == {"success"}
    assert users.failed == []
    assert _answers_of_two(users) == {}
    epoch_now, version = releases.head()
    assert releases.served() == (epoch_now, version)
    assert epoch_now == epoch + 1
    rows = [row for row in releases.ledger.history("rain") if row.candidate.version == version]
    assert len({row.op_id for row in rows}) == 1
    assert [row.state for row in rows].count(State.COMMITTED) == 1
    assert releases.ledger.verify() == []


def test_no_answer_in_time_is_a_no(releases, stack, record_property):
    before = releases.head()  # another champion than the one beside which it was withdrawn
    zoo = releases.settings.zoo
    declare(zoo, ZOO / "rain", rollout__approval__answer_within="3s")
    began = time.monotonic()
    releases.begin("late", releases.trained["constant"])
    states = releases.states("late")
    record_property("seconds from trigger to the no", time.monotonic() - began)
    declare(zoo, ZOO / "rain")
    assert states["approve"] == "success"
    assert {states[name] for name in ("canary_30pct", "commit", "reconcile")} == {"skipped"}
    last = _last(releases)
    assert (last.state, last.actor) == (State.REJECTED, "nobody")
    assert releases.head() == releases.served() == before


def _is(row, state, version):
    return row.state is state and row.candidate.version == version


def _last(releases):
    return [row for row in releases.ledger.history("rain") if row.kind in (PROMOTE, DRILL)][-1]


def _ended(stack, dag, run_id):
    return stack.api.run(dag, run_id)["state"] in ("success", "failed")


def _answers_of_two(users):
    """What one version told of one row in more than one way: an answer was another's."""
    told = {}
    for one in users.answers:
        told.setdefault((one.version, one.row), set()).add(round(one.score, 4))
    return {one: scores for one, scores in told.items() if max(scores) - min(scores) > 2e-4}


class _HeldLauncher:
    """While it is stopped, nobody starts again what ends."""

    def __init__(self, stack):
        self.process = stack.process

    def __enter__(self):
        self.process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)


def _kill(stack, name, *, whole=False):
    """SIGKILL a process of the stack; with `whole`, its children, too, as a machine dies."""
    pid = stack.pid_of(name)
    members = psutil.Process(pid).children(recursive=True) if whole else []
    os.kill(pid, signal.SIGKILL)
    for member in members:
        member.kill()
