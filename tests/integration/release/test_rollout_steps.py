"""A candidate meets users in stages: what passes goes on, what fails is withdrawn, for good."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from release_world import Release, Users, candidate
from rollout_world import ASKED, CANARY, IMPATIENT, SHIFTED, World

from ferryman.errors import GateRefused, LostRace, Overtaken, PolicyRefused
from ferryman.ledger.records import ALERT, STAGE, Candidate, State
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.traffic import Traffic
from ferryman.serving.client import ServingClient
from ferryman.steps.approve import record_answer
from ferryman.steps.expose import Look
from ferryman.steps.reconcile import reconcile_all


@contextmanager
def channel() -> Iterator[tuple[GivenConnections, list[dict[str, Any]]]]:
    """The connection `alerts`, and what was posted to it."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What came is looked at, not a log."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield GivenConnections(Connection("alerts", url)), received
        server.shutdown()
        thread.join()


def test_a_good_candidate_goes_through_its_stages(open_world: Callable[[str], World]) -> None:
    world = open_world(CANARY)
    release = world.release()
    with Users(world.settings, world.rows) as users:
        done = release.run_all()
    assert done.outputs["epoch"] == 2
    assert users.failed == 0 and users.variants["canary"] > 40
    assert world.states() == [
        *("TRAINED", "REGISTERED", "GATED", "STAGED", "EXPOSED", "PROVEN"),
        *("COMMITTED", "PROJECTED", "DONE"),
    ]
    assert world.shares() == [0.3, 0.6]  # the commit ended the last one
    assert world.share_at_server() == 0
    assert [note.evidence["stage"] for note in world.ledger.notes("tiny", STAGE)] == [0, 1]
    routing = world.ledger.routing("tiny")
    assert routing.weight == 0 and routing.head is not None and routing.head.version == 2
    assert world.ledger.verify() == []
    rows = len(world.ledger.history("tiny"))
    assert Release(world.settings, "again", release.given).run_all().outputs["epoch"] == 2
    assert len(world.ledger.history("tiny")) == rows
    folders = {file.parent.name for file in world.settings.runs_root.rglob("result.json")}
    assert {"expose-1", "expose-2"} <= folders


def test_a_candidate_that_breaks_a_limit_is_withdrawn_and_told(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(SHIFTED)
    release, op = world.staged()
    with channel() as (connections, received), Users(world.settings, world.rows) as users:
        seen = Look("hold", "")
        while seen.outcome == "hold":
            seen = world.look(release.model, op, connections=connections, origin="http://page")
        assert seen.outcome == "failed" and "canary at 30 %" in seen.text
        assert world.share_at_server() == 0
        assert world.look(release.model, op, connections=connections).outcome == "failed"
    assert users.failed == 0
    assert world.shares() == [0.3, 0.0]
    assert world.states()[-2:] == ["EXPOSED", "ABORTED"]
    assert len(received) == len(world.ledger.notes("tiny", ALERT)) == 1
    told = received[0]
    assert (told["rule"], told["version"], told["weight"]) == ("shift", 2, 0.3)
    assert told["link"] == "http://page" and told["findings"] and told["remedy"]
    assert world.ledger.lease("tiny") is None or not world.ledger.routing("tiny").weight
    for step in ("gate", "stage", "expose-1", "commit"):
        with pytest.raises(GateRefused, match="withdrawn"):
            release.run(step)
    assert world.ledger.verify() == []


def test_what_is_undecided_when_patience_ends_is_never_promoted(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(IMPATIENT)
    release, op = world.staged()
    with pytest.raises(GateRefused, match=r"undecided: patience ended.*0 of 20 requests"):
        release.run("expose-1")  # nobody asks anything
    assert world.ledger.ops("tiny")[-1].evidence["outcome"] == "undecided"
    assert world.look(release.model, op).outcome == "undecided"
    with pytest.raises(GateRefused):
        release.run("commit")
    head = world.ledger.head("tiny")
    assert head is not None and head.epoch == 1


def test_a_commit_without_its_stages_is_refused(open_world: Callable[[str], World]) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    with pytest.raises(PolicyRefused, match="EXPOSED"):
        release.run("commit")
    with pytest.raises(PolicyRefused, match="stage 1 has not passed"):
        release.run("expose-2")
    assert world.look(release.model, op).outcome == "hold"
    with pytest.raises(PolicyRefused):
        release.run("commit")
    assert world.share_at_server() == 0.3  # what goes on is not ended by a commit before its time


def test_a_lost_lease_begins_the_stage_anew_and_ends_it_the_third_time(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    for serial in (1, 2, 3):
        assert world.look(release.model, op).outcome == "hold"
        lease = world.ledger.lease("tiny")
        assert lease is not None and lease.serial == serial
        world.ledger.renew_lease("tiny", serial, 0.01)  # its keeper dies
        while "lease was lost" not in world.look(release.model, op).text:
            assert world.share_at_server() == 0.3
    seen = world.look(release.model, op)
    assert seen.outcome == "undecided" and "3 times" in seen.text
    assert world.shares() == [0.3, 0.0] * 3
    assert world.share_at_server() == 0 and world.states()[-1] == "ABORTED"


def test_a_champion_that_changes_ends_the_exposure(open_world: Callable[[str], World]) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    assert world.look(release.model, op).outcome == "hold"
    other = world.ledger.open_op("promote", "tiny", _third(world), "ann", "by another way")
    for state, base in ((State.REGISTERED, 0), (State.GATED, 1), (State.STAGED, 1)):
        world.ledger.advance(other.op_id, state, {}, base_epoch=base)
    world.ledger.commit(other.op_id, 1)
    with pytest.raises(Overtaken, match="champion changed") as lost:
        release.run("expose-1")
    assert "Release the run of its training again" in lost.value.remedy
    assert world.share_at_server() == 0
    with pytest.raises(Overtaken) as lost:
        release.run("commit")
    assert "Release the run of its training again" in lost.value.remedy
    again = world.release(2, "again")
    assert again.run("gate").outputs["base_epoch"] == 2


def test_a_race_for_the_traffic_may_be_won_by_another_try(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(IMPATIENT)
    release, op = world.staged()
    other = world.ledger.open_op("promote", "tiny", _third(world), "ann", "by another way")
    lease = world.ledger.take_lease("tiny", other.op_id, "another release", 300)
    seen = world.look(release.model, op)
    while seen.outcome == "hold":
        time.sleep(0.1)
        seen = world.look(release.model, op)
    assert (seen.outcome, seen.overtaken) == ("lost", False)
    with pytest.raises(LostRace, match="another release holds") as lost:
        release.run("expose-1")
    assert not isinstance(lost.value, Overtaken)
    world.ledger.drop_lease("tiny", lease.serial)
    assert world.look(release.model, op).outcome == "hold"
    assert world.share_at_server() == 0.3


def test_a_lease_that_was_taken_before_the_first_share_goes_with_it(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    world.ledger.take_lease("tiny", op.op_id, "a controller that was killed", 60)
    world.ledger.set_frozen("tiny", True, actor="ann", reason="an incident at night")
    with pytest.raises(PolicyRefused, match="frozen"):
        world.look(release.model, op)
    assert world.ledger.lease("tiny") is None


def test_a_freeze_ends_the_exposure(open_world: Callable[[str], World]) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    assert world.look(release.model, op).outcome == "hold"
    world.ledger.set_frozen("tiny", True, actor="ann", reason="an incident at night")
    with pytest.raises(PolicyRefused, match="frozen"):
        world.look(release.model, op)
    assert world.share_at_server() == 0 and world.shares() == [0.3, 0.0]


def test_a_share_that_the_ledger_does_not_know_is_withdrawn(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    given = op.candidate
    traffic = Traffic(
        op="f" * 64,
        variant="canary",
        version=given.version,
        digest=given.digest,
        weight=0.5,
        base_epoch=1,
        fence=1,
        stage=0,
        lease=60,
    )
    with ServingClient(main_endpoint(world.settings)) as client:
        client.expose("tiny", traffic, given.bundle)
    assert world.share_at_server() == 0.5
    reconcile_all(world.settings)
    assert world.share_at_server() == 0
    assert world.look(release.model, op).outcome == "hold"
    reconcile_all(world.settings)
    assert world.share_at_server() == 0.3  # what the ledger holds stays


def test_nobody_meets_users_unapproved(open_world: Callable[[str], World]) -> None:
    world = open_world(ASKED)
    release, op = world.staged()
    with pytest.raises(PolicyRefused, match="ferryman approve") as waiting:
        release.run("approve")
    assert "bea" in waiting.value.remedy
    with pytest.raises(PolicyRefused, match="approver"):
        release.run("expose-1")
    asked = (world.settings, release.model, op.op_id, 1, op.candidate.digest)
    for name, text in (("carl", "no approver"), (world.settings.actor, "approver")):
        with pytest.raises(PolicyRefused, match=text):
            record_answer(*asked, True, name, world.settings.actor, "it looks good to me")
    with pytest.raises(Overtaken, match="epoch"):
        record_answer(*asked[:3], 0, *asked[4:], True, "bea", "ann", "it looks good to me")
    said = record_answer(*asked, True, "bea", world.settings.actor, "it looks good to me")
    assert said.state is State.APPROVED
    assert "approved by bea" in release.run("approve").text
    assert world.look(release.model, op).outcome == "hold"
    assert world.share_at_server() == 0.3


def test_a_no_is_final_at_its_epoch(open_world: Callable[[str], World]) -> None:
    world = open_world(ASKED)
    release, op = world.staged()
    asked = (world.settings, release.model, op.op_id, 1, op.candidate.digest)
    record_answer(*asked, False, "bea", "ann", "the worst slice is too bad")
    for step in ("gate", "approve", "expose-1", "commit"):
        with pytest.raises(GateRefused, match="rejected by bea: the worst slice"):
            release.run(step)


def _third(world: World) -> Candidate:
    return Candidate.model_validate(candidate(world.settings, 3, world.make_bundle))
