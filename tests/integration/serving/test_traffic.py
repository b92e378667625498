"""A candidate's share: as wide as its weight, sticky, under a lease, and no user's trouble."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from keyed_load import Answered, ask_all, keyed_clients
from line_candidates import LINE, LineBundle, make_line, share_of

from ferryman.errors import DependencyUnavailable, IntegrityBroken, Superseded


class Served:
    """A server of `line` at some epoch, with y = 2x, and its candidates."""

    def __init__(self, server: Any, champion: LineBundle) -> None:
        self.server, self.champion = server, champion
        self.client, self.port = server.client, server.endpoint.port
        self.epoch = self.fence = 0
        self._made: dict[Any, LineBundle] = {}
        self.release(champion)

    def release(self, bundle: LineBundle) -> None:
        """Serve a bundle at the next epoch, as the version of that number."""
        self.epoch += 1
        where = {"bundle": str(bundle.folder), "digest": bundle.digest}
        self.client.load(LINE, version=self.epoch, epoch=self.epoch, **where)

    def candidate(self, slope: float, kind: Any = "line") -> LineBundle:
        """A bundle; the same one for the same line."""
        key = (slope, kind)
        if key not in self._made:
            self._made[key] = make_line(self.server.settings.bundles_root, slope, kind)
        return self._made[key]

    def expose(self, bundle: LineBundle, **told: Any) -> Any:
        """Give it a share, or renew it."""
        self.fence += 1
        traffic = share_of(bundle, **{"base_epoch": self.epoch, "fence": self.fence, **told})
        return self.client.expose(LINE, traffic, str(bundle.folder))

    def withdraw(self) -> None:
        """Take the share back."""
        self.fence += 1
        self.client.withdraw(LINE, self.fence)


@pytest.fixture(scope="module")
def served(start_shared_server: Any) -> Served:
    server = start_shared_server(replicas=2)
    return Served(server, make_line(server.settings.bundles_root))


@pytest.fixture
def own(start_server: Any) -> Served:
    """A server for one test alone, which may kill it."""
    server = start_server(replicas=2)
    return Served(server, make_line(server.settings.bundles_root))


def by_key(answers: list[Answered]) -> dict[int, str]:
    return {answer.key: answer.variant for answer in answers}


def check(answers: list[Answered], slopes: dict[str, float]) -> None:
    """Every answer is that of the version that it names."""
    assert {answer.status for answer in answers} == {200}
    assert [one for one in answers if one.score != slopes[one.version]] == []


def test_a_share_is_as_wide_as_its_weight_and_sticks(served: Served, wait_for: Any) -> None:
    bundle = served.candidate(3.0)
    state = served.expose(bundle, weight=0.2, lease=300.0)
    assert state.everywhere and 250 < state.remaining <= 300
    answers = ask_all(served.port, range(20_000))
    check(answers, {str(served.epoch): 2.0, "7": 3.0})
    first = by_key(answers)
    drawn = {key for key, variant in first.items() if variant == "canary"}
    assert abs(len(drawn) / 20_000 - 0.2) < 0.01
    assert {one.epoch for one in answers} == {str(served.epoch)}
    state = served.client.traffic(LINE)
    assert (state.champion.requests, state.candidate.requests) == (20_000 - len(drawn), len(drawn))
    assert sum(state.candidate.seconds) == len(drawn) and set(state.candidate.scores) == {3.0}
    assert state.champion.scored == state.champion.requests and len(state.champion.scores) == 2000
    pids = served.server.pids()
    os.kill(pids["r1"], signal.SIGKILL)
    wait_for(lambda: served.server.pids().get("r1", pids["r1"]) != pids["r1"])
    wait_for(lambda: served.server.deployer.status().detail == "")
    again = ask_all(served.port, range(2_000), connections=64)
    assert all(first[answer.key] == answer.variant for answer in again)
    assert served.client.traffic(LINE).everywhere
    served.expose(bundle, weight=0.5, stage=1, lease=300.0)
    wider = by_key(ask_all(served.port, range(2_000)))
    assert all(wider[key] == "canary" for key in drawn if key < 2_000)
    assert abs(sum(variant == "canary" for variant in wider.values()) / 2_000 - 0.5) < 0.05
    assert served.client.traffic(LINE).candidate.requests < 1_200  # of the new stage alone
    served.withdraw()
    assert set(by_key(ask_all(served.port, range(500))).values()) == {"champion"}
    assert served.client.traffic(LINE) is None


def test_who_answers_is_logged_with_its_propensity(served: Served) -> None:
    from datetime import UTC, datetime, timedelta

    from ferryman.serving.log.prediction_log import read_predictions

    began = datetime.now(UTC)
    broken = served.candidate(5.0, "root")
    served.expose(broken, weight=0.25, version=11, variant="challenger")
    answers = ask_all(served.port, range(100), x=4.0) + ask_all(served.port, range(100), x=-1.0)
    served.withdraw()
    served.client.flush()
    ended = datetime.now(UTC) + timedelta(seconds=1)
    root = served.server.settings.predictions_root
    rows = read_predictions(root, LINE, began, ended, task="regression").to_pylist()
    found = sorted((row["variant"], row["propensity"], row["version"]) for row in rows)
    versions = {"champion": served.epoch, "fallback": served.epoch, "challenger": 11}
    chances = {"champion": 0.75, "fallback": 0.25, "challenger": 0.25}
    seen = [one.variant for one in answers]
    assert found == sorted((name, chances[name], versions[name]) for name in seen)
    assert set(seen) == {"champion", "challenger", "fallback"}


def test_what_a_candidate_fails_at_the_champion_answers(served: Served) -> None:
    bundle = served.candidate(5.0, "root")
    served.expose(bundle, stage=3)
    bad = ask_all(served.port, range(400), x=-1.0)
    assert {one.status for one in bad} == {200} and {one.score for one in bad} == {-2.0}
    assert set(by_key(bad).values()) == {"champion", "fallback"}
    good = by_key(ask_all(served.port, range(400), x=4.0))
    assert {key for key, who in by_key(bad).items() if who == "fallback"} == {
        key for key, who in good.items() if who == "canary"
    }
    state = served.client.traffic(LINE)
    failed = sum(who == "fallback" for who in by_key(bad).values())
    assert (state.candidate.errors, state.candidate.requests) == (failed, 2 * failed)
    assert sum(state.candidate.seconds) == state.candidate.scored == failed
    assert state.champion.errors == 0 and state.champion.requests == 2 * (400 - failed)
    page = httpx.get(f"{served.server.endpoint.url}/metrics", trust_env=False).text
    assert 'ferryman_traffic_weight{model="line",replica="r1",variant="canary"} 0.5' in page
    assert 'ferryman_variant_errors_total{model="line",replica="r1",variant="canary"}' in page
    served.withdraw()


def test_a_client_s_own_mistake_is_nobody_s_error(served: Served) -> None:
    served.expose(served.candidate(5.0, "root"), stage=4, weight=0.99)
    url = f"{served.server.endpoint.url}/v1/models/line:predict"
    with httpx.Client(trust_env=False) as client:
        for body in ({"instances": [{"x": "far", "k": 1}]}, {"instances": [{"y": 1}]}, {}):
            answer = client.post(url, json=body)
            assert (answer.status_code, answer.headers["x-model-variant"]) == (400, "champion")
    state = served.client.traffic(LINE)
    assert (state.candidate.requests, state.champion.requests) == (0, 0)
    served.withdraw()


def test_a_candidate_that_reads_rows_otherwise_reads_them_itself(served: Served) -> None:
    served.expose(served.candidate(3.0, "sum"), stage=5)
    answers = ask_all(served.port, range(200))
    for answer in answers:
        wanted = 2.0 if answer.variant == "champion" else 3.0 + answer.key
        assert answer.score == wanted
    assert {one.variant for one in answers} == {"champion", "canary"}
    # Whom a head names counts before whom a row names; a path that names a version is not drawn.
    url = f"{served.server.endpoint.url}/v1/models/line"
    body = {"instances": [{"x": 1, "k": key} for key in range(50)]}
    with httpx.Client(trust_env=False) as client:
        for key in range(20):
            seen = {
                client.post(
                    f"{url}:predict",
                    json={"instances": [{"x": 1, "k": other}]},
                    headers={"x-entity-key": str(key)},
                ).headers["x-model-variant"]
                for other in range(5)
            }
            assert seen == {by_key(answers)[key]}
        named = client.post(f"{url}/labels/candidate:predict", json=body)
        assert named.json()["predictions"] == [3.0 + key for key in range(50)]
        assert named.headers["x-model-variant"] == "canary"
        labels = client.get(url).json()["labels"]
        assert (labels["champion"], labels["candidate"]) == (served.epoch, 7)
        served.withdraw()
        assert client.post(f"{url}/labels/candidate:predict", json=body).status_code == 404


def test_a_lease_that_nobody_renews_runs_out_under_load(served: Served, wait_for: Any) -> None:
    with keyed_clients(served.port, 100) as answers:
        wait_for(lambda: len(answers) > 50)
        began = time.monotonic()
        served.expose(served.candidate(3.0), stage=6, lease=1.5)
        wait_for(lambda: any(one.variant == "canary" for one in answers))
        time.sleep(max(0.0, began + 1.6 - time.monotonic()))
        after = len(answers)
        wait_for(lambda: len(answers) > after + 300)
    assert {one.variant for one in answers[after + 4 :]} == {"champion"}
    check(answers, {str(served.epoch): 2.0, "7": 3.0})
    assert served.client.traffic(LINE) is None
    wait_for(lambda: served.server.log().count("the share of the canary has ended") >= 2)


def test_renewals_under_load_change_nothing_but_the_lease(served: Served, wait_for: Any) -> None:
    bundle = served.candidate(4.0)
    told = served.server.log().count("has 0.5 of the requests")
    served.expose(bundle, stage=7, lease=2.0)
    with keyed_clients(served.port, 100) as answers:
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            assert served.expose(bundle, stage=7, lease=2.0).everywhere
            time.sleep(0.05)
    check(answers, {str(served.epoch): 2.0, "7": 4.0})
    who: dict[int, set[str]] = {}
    for answer in answers:
        who.setdefault(answer.key, set()).add(answer.variant)
    assert all(len(variants) == 1 for variants in who.values())
    state = served.client.traffic(LINE)
    assert state.champion.requests + state.candidate.requests == len(answers)
    assert served.server.log().count("has 0.5 of the requests") == told + 3  # two and the front
    served.withdraw()


def test_a_release_under_load_ends_the_share_and_nobody_gets_a_wrong_answer(
    served: Served, wait_for: Any
) -> None:
    slopes = {str(served.epoch): 2.0, "7": 6.0, "8": 9.0, str(served.epoch + 1): 6.0}
    bundle = served.candidate(6.0)
    with keyed_clients(served.port, 100) as answers:
        served.expose(bundle, stage=8)
        wait_for(lambda: any(one.variant == "canary" for one in answers))
        served.expose(served.candidate(9.0), stage=9, version=8)
        wait_for(lambda: any(one.version == "8" for one in answers))
        served.release(bundle)
        after = len(answers)
        wait_for(lambda: len(answers) > after + 200)
    check(answers, slopes)
    assert {one.variant for one in answers[after + 4 :]} == {"champion"}
    assert served.client.traffic(LINE) is None
    with pytest.raises(Superseded, match=f"serves epoch {served.epoch}"):
        served.expose(bundle, base_epoch=served.epoch - 1)
    served.release(served.champion)


def test_a_share_is_refused_to_the_late_and_to_the_damaged(served: Served) -> None:
    bundle = served.candidate(3.0)
    served.expose(bundle, stage=10)
    for ask in _late(served, bundle):
        with pytest.raises(Superseded, match="fence 1 is below"):
            ask()
    assert served.client.traffic(LINE).traffic.stage == 10
    broken = make_line(served.server.settings.bundles_root, 77.0)
    (broken.folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        served.expose(broken, stage=11)
    assert set(by_key(ask_all(served.port, range(50))).values()) == {"champion", "canary"}
    served.withdraw()
    served.withdraw()


def _late(served: Served, bundle: LineBundle) -> list[Callable[[], Any]]:
    traffic = share_of(bundle, base_epoch=served.epoch, fence=1, stage=12)
    return [
        lambda: served.client.expose(LINE, traffic, str(bundle.folder)),
        lambda: served.client.withdraw(LINE, 1),
    ]


def test_a_killed_front_leaves_the_share_to_its_lease(own: Served, wait_for: Any) -> None:
    bundle = own.candidate(3.0)
    with keyed_clients(own.port, 100) as answers:
        own.fence = 4
        own.expose(bundle, lease=4.0)
        given = time.monotonic()
        front = int(own.server.deployer.status().process)
        os.kill(front, signal.SIGKILL)
        wait_for(lambda: own.server.deployer.status().process not in ("", str(front)))
        time.sleep(max(0.0, given + 4.1 - time.monotonic()))
        after = len(answers)
        wait_for(lambda: len(answers) > after + 200)
        wait_for(lambda: own.server.deployer.status().state == "ready")
        for ask in _late(own, bundle):  # what was seen before the kill
            with pytest.raises(Superseded, match="fence 1 is below 5"):
                ask()
        more = len(answers)
        assert own.expose(bundle).everywhere
        wait_for(lambda: any(one.variant == "canary" for one in answers[more:]))
    assert "canary" in {one.variant for one in answers[:after]}
    assert {one.variant for one in answers[after + 4 : more - 4]} == {"champion"}
    check(answers, {"1": 2.0, "7": 3.0})


def test_a_candidate_that_is_too_large_beside_the_champion_costs_no_answer(
    start_server: Any, wait_for: Any
) -> None:
    server = start_server(replicas=2, resources={"memory": "200Mi"})
    served = Served(server, make_line(server.settings.bundles_root))
    pids = server.pids()
    with keyed_clients(served.port, 100) as answers:
        with pytest.raises(IntegrityBroken, match="more than the declared 200 MiB"):
            served.expose(served.candidate(3.0, "fat"), lease=60.0)
        after = len(answers)
        wait_for(lambda: len(answers) > after + 100)
    check(answers, {"1": 2.0})
    assert served.client.traffic(LINE) is None
    assert set(server.pids().values()) & set(pids.values())  # the other has not even tried


def test_a_replica_that_hears_no_withdrawal_is_told_of_and_ends_with_the_lease(
    own: Served, wait_for: Any
) -> None:
    own.expose(own.candidate(3.0), lease=7.0)
    given, pid = time.monotonic(), own.server.pids()["r1"]
    with keyed_clients(own.port, 100) as answers:
        wait_for(lambda: any(one.variant == "canary" for one in answers))
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DependencyUnavailable, match=r"r1 did not answer; .* its lease"):
                own.withdraw()
            time.sleep(max(0.0, given + 7.1 - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)
        after = len(answers)
        wait_for(lambda: len(answers) > after + 300)
    check(answers, {"1": 2.0, "7": 3.0})
    # What was read before the end and scored after it counts, too: at most one for each client.
    assert {one.variant for one in answers[after + 4 :]} == {"champion"}
    own.withdraw()
