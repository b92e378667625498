"""Going back: to the last good version or a named one, once, whatever else is broken."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from release_world import Release, candidate, declare
from rollback_world import REASON, Client, World, alert_channel, started
from served_three import served, world

from ferryman.errors import IntegrityBroken, LostRace, Overtaken, PolicyRefused, SpecError
from ferryman.ledger.records import ROLLBACK, TRAFFIC, State
from ferryman.rollout.evidence import Finding
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.traffic import Traffic
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.steps.reconcile import reconcile_model
from ferryman.steps.roll_back import Asked, roll_back
from ferryman.steps.rollback_by_evidence import AUTOMATIC, automatic

__all__ = ["served", "world"]

BAD = Finding("labels", "failed", "log_loss is worse\nby 0.2 in [0.1, 0.3]", 0.2, 0.1, 0.3, 900)


def test_the_last_good_version_serves_again(world: World) -> None:
    before = world.ledger.head("tiny")
    assert before is not None
    began = time.monotonic()
    done = world.run("roll_back", reason=REASON, actor="ada")
    seconds = time.monotonic() - began
    sys.stdout.write(f"rollback: {seconds:.2f} s until another version answered\n")
    assert seconds < 30
    assert world.state() == (4, 3, 3, 4, 3)
    assert done.outputs["left"] == 2
    assert "version 3 (epoch 4) answers as recorded" in done.text
    head = world.ledger.head("tiny")
    assert head is not None and head.order_key == before.order_key
    assert world.ledger.is_quarantined("tiny", before.digest)
    made = world.ledger.made_by("tiny")
    assert made is not None
    assert (made.kind, made.actor, made.reason) == (ROLLBACK, "ada", REASON)
    assert made.evidence["before"]["version"] == 2
    assert made.evidence["after"]["version"] == 3
    assert world.ledger.ops("tiny")[-1].state is State.DONE
    assert world.ledger.verify() == []
    # Its release is retried, and its quarantine holds.
    again = Release(world.settings, "again", candidate(world.settings, 2, world.make_bundle))
    with pytest.raises(PolicyRefused, match="quarantined"):
        again.run("gate")


def test_asked_twice_it_is_one_step_back(world: World) -> None:
    world.run("roll_back", reason=REASON, epoch=3)
    for seen in ({}, {"epoch": 3}, {"epoch": 4}, {"version": 3}):
        again = world.run("roll_back", reason=REASON, **seen)
        assert again.verdict == "not_needed"
        assert world.state() == (4, 3, 3, 4, 3)
    assert "name a version to go further" in world.run("roll_back", reason=REASON).text
    further = world.run("roll_back", reason=REASON, version=1)
    assert further.outputs["version"] == 1
    assert world.state() == (5, 1, 1, 5, 1)
    with pytest.raises(PolicyRefused, match="cannot go back to version 3: it is quarantined"):
        world.run("roll_back", reason=REASON, version=3)


def test_a_rollback_that_is_cleared_later_leaves_the_new_champion_alone(
    template: Settings, tmp_path: Path, free_ports, make_bundle
) -> None:
    with started(template, tmp_path / "home", free_ports(2), make_bundle) as world:
        world.serve(3)
        first = world.run("roll_back", run_id="in january", reason=REASON)
        assert world.state() == (3, 1, 1, 3, 1)
        world.serve(2)
        again = world.run("roll_back", run_id="in january", reason=REASON)
        assert (again.verdict, again.text) == (first.verdict, first.text)
        assert world.state() == (4, 2, 2, 4, 2)


def test_what_is_refused_changes_nothing(world: World) -> None:
    with pytest.raises(Overtaken, match="you saw epoch 2: somebody was faster"):
        world.run("roll_back", reason=REASON, epoch=2)
    first = world.ledger.commit_of_epoch("tiny", 2)
    assert first is not None
    with pytest.raises(Overtaken, match="somebody was faster"):
        automatic(world.settings, declare(world.settings.zoo), op=first, finding=BAD)
    with pytest.raises(PolicyRefused, match="the ledger does not know it") as caught:
        world.run("roll_back", reason=REASON, version=9)
    assert "Versions that can be gone back to: 3, 1." in caught.value.remedy
    with pytest.raises(SpecError, match="at least 10 characters"):
        world.run("roll_back", reason="bad")
    with pytest.raises(SpecError, match="'reason'"):
        world.run("roll_back")
    assert world.state() == (3, 2, 2, 3, 2)
    assert [op for op in world.ledger.ops("tiny") if op.kind == ROLLBACK] == []


def test_a_frozen_model_goes_back_to_the_version_that_is_named(world: World) -> None:
    world.ledger.set_frozen("tiny", True, actor="tests", reason="nothing may change")
    world.run("roll_back", reason=REASON, version=1)
    assert world.state() == (4, 1, 1, 4, 1)


def test_a_damaged_bundle_is_restored_first(world: World) -> None:
    world.damage(3, copies=False)
    world.run("roll_back", reason=REASON)
    assert world.state() == (4, 3, 3, 4, 3)
    rows = [row for row in world.ledger.history("tiny") if row.kind == ROLLBACK]
    staged = next(row for row in rows if row.state is State.STAGED)
    assert "verified copy" in staged.evidence["restored"]


def test_what_does_not_verify_is_passed_over(world: World) -> None:
    world.damage(3, copies=True)
    with pytest.raises(IntegrityBroken, match="cannot go back to version 3: the bundle") as caught:
        world.run("roll_back", reason=REASON, version=3)
    assert "Versions that can be gone back to: 1." in caught.value.remedy
    assert world.state() == (3, 2, 2, 3, 2)
    world.run("roll_back", reason=REASON)
    assert world.state() == (4, 1, 1, 4, 1)
    rows = [row for row in world.ledger.history("tiny") if row.kind == ROLLBACK]
    staged = next(row for row in rows if row.state is State.STAGED)
    assert "digest mismatch" in staged.evidence["refused"]["3"]


def test_where_nothing_verifies_the_current_one_stays(world: World) -> None:
    world.damage(3, copies=True)
    world.delete_version(1)
    with pytest.raises(IntegrityBroken, match="version 2 stays") as caught:
        world.run("roll_back", reason=REASON)
    assert "version 3: the bundle" in caught.value.text
    assert "version 1: it was deleted in MLflow" in caught.value.text
    with pytest.raises(IntegrityBroken, match="version 1: it was deleted in MLflow") as caught:
        world.run("roll_back", reason=REASON, version=1)
    assert "Versions that can be gone back to: none. Not: version 3" in caught.value.remedy
    assert world.state() == (3, 2, 2, 3, 2)
    assert [op for op in world.ledger.ops("tiny") if op.kind == ROLLBACK] == []


def test_without_mlflow_the_alias_follows_later(world: World, free_ports) -> None:
    away = Settings(
        **{
            **world.settings.model_dump(exclude_unset=True),
            "mlflow_uri": f"http://127.0.0.1:{free_ports(1)[0]}",
        }
    )
    done = world.run("roll_back", away, reason=REASON)
    assert done.verdict == "done"
    assert "the alias follows when MLflow is back" in done.text
    assert world.state() == (4, 3, 2, 4, 3)
    reconcile_model(world.ledger, world.settings, "tiny")
    assert world.state() == (4, 3, 3, 4, 3)
    assert world.ledger.verify() == []


def test_a_rollback_that_was_killed_is_finished_by_the_next(world: World) -> None:
    ledger = world.ledger
    killed = ledger.open_rollback(
        "tiny", ledger.good_versions("tiny")[0], actor="tests", reason=REASON
    )
    world.run("roll_back", reason=REASON)
    assert world.state() == (4, 3, 3, 4, 3)
    assert [op.op_id for op in ledger.ops("tiny") if op.kind == ROLLBACK] == [killed.op_id]
    # The next one dies after its commit, before anybody was told.
    first = ledger.good_versions("tiny")[0]
    place = world.settings.bundles_root / "tiny" / first.digest
    target = first.model_copy(update={"bundle": str(place)})
    killed = ledger.open_rollback("tiny", target, actor="tests", reason=REASON)
    ledger.advance(killed.op_id, State.STAGED, {}, base_epoch=killed.base_epoch)
    ledger.commit(killed.op_id, killed.base_epoch)
    assert world.state() == (5, 1, 3, 4, 3)
    assert world.run("roll_back", reason=REASON, version=1).verdict == "not_needed"
    assert world.state() == (5, 1, 1, 5, 1)
    states = [op.state for op in ledger.ops("tiny") if op.kind == ROLLBACK]
    assert states == [State.DONE, State.DONE]
    assert ledger.verify() == []


def test_a_rollback_that_aimed_at_another_version_is_given_up(world: World) -> None:
    other = world.ledger.good_versions("tiny")[1]
    begun = world.ledger.open_rollback("tiny", other, actor="tests", reason=REASON)
    world.ledger.advance(begun.op_id, State.STAGED, {}, base_epoch=begun.base_epoch)
    world.run("roll_back", reason=REASON)
    assert world.state() == (4, 3, 3, 4, 3)
    found = world.ledger.op(begun.op_id)
    assert found is not None and found.state is State.FAILED


def test_evidence_rolls_back_and_tells(world: World) -> None:
    op = world.ledger.made_by("tiny")
    assert op is not None
    with alert_channel() as (address, received):
        channel = {"connection_urls": {"alerts": SecretStr(address)}}
        settings = world.settings.model_copy(update=channel)
        done = automatic(settings, declare(settings.zoo), op=op, finding=BAD)
        assert (done.left, done.head.version) == (2, 3)
        automatic(settings, declare(settings.zoo), op=op, finding=BAD)  # a retry of the task
    assert world.state() == (4, 3, 3, 4, 3)
    made = world.ledger.made_by("tiny")
    assert made is not None
    assert made.actor == AUTOMATIC
    assert made.reason == "evidence of labels: log_loss is worse by 0.2 in [0.1, 0.3]"
    (message,) = [told for told in received if "rolled back" in told["title"]]
    assert (message["rule"], message["left"], message["served"]) == ("labels", 2, 3)


def test_a_client_meets_both_versions_and_nothing_else(world: World) -> None:
    with Client(world) as client:
        world.run("roll_back", reason=REASON)
        time.sleep(0.3)  # three more requests, after the change
    assert (client.wrong, client.versions) == ([], {2, 3})


def test_a_candidate_loses_its_share_first(
    template: Settings, tmp_path: Path, free_ports, make_bundle
) -> None:
    with started(template, tmp_path / "home", free_ports(2), make_bundle) as world:
        world.serve(3)
        op, ledger = world.staged(2), world.ledger
        lease = ledger.take_lease("tiny", op.op_id, "tests", 60)
        ledger.advance(op.op_id, State.EXPOSED, {}, base_epoch=2)
        ledger.set_traffic(
            op.op_id,
            serial=lease.serial,
            stage=0,
            variant="canary",
            weight=0.5,
            reason="the stage begins",
            evidence={},
            lease_seconds=60,
        )
        share = Traffic(
            op=op.op_id,
            variant="canary",
            version=2,
            digest=op.candidate.digest,
            weight=0.5,
            base_epoch=2,
            fence=lease.serial,
            stage=0,
            lease=60,
        )
        with ServingClient(main_endpoint(world.settings)) as client:
            client.expose("tiny", share, op.candidate.bundle)
            assert client.traffic("tiny") is not None
            world.run("roll_back", reason=REASON)
            assert client.traffic("tiny") is None
        assert world.state() == (3, 1, 1, 3, 1)
        assert (ledger.routing("tiny").weight, ledger.lease("tiny")) == (0.0, None)
        taken = ledger.notes("tiny", TRAFFIC)[-1]
        assert taken.reason == f"a rollback ends it: {REASON}"
        # It is judged anew beside the champion of now.
        found = ledger.advance(op.op_id, State.GATED, {}, base_epoch=3)
        assert (found.state, found.base_epoch) == (State.GATED, 3)
        assert ledger.verify() == []


def test_four_who_ask_at_once_go_one_step_back(world: World) -> None:
    def ask(number: int) -> int | str:
        asked = Asked(f"person {number}", REASON)
        try:
            return roll_back(world.settings, "tiny", asked).head.epoch
        except LostRace as error:
            return error.text

    with ThreadPoolExecutor(4) as people:
        answers = list(people.map(ask, range(4)))
    assert 4 in answers
    assert all(answer == 4 or "at epoch" in str(answer) for answer in answers), answers
    assert world.state() == (4, 3, 3, 4, 3)
    assert len([op for op in world.ledger.ops("tiny") if op.kind == ROLLBACK]) == 1
    assert world.ledger.verify() == []
