"""Labels that come after a release: a real server drew who answered, and logged it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from late_world import REQUESTS, Exposed, against, late_world
from release_world import FIRST_DAY, ROWS

from ferryman.errors import DependencyUnavailable
from ferryman.ledger.records import TRAFFIC
from ferryman.settings import Settings


@pytest.fixture
def installed(
    template: Settings, tmp_path: Path, free_ports, make_bundle
) -> Iterator[Callable[[str], Exposed]]:
    """A function from a strategy to the world in which version 2 was exposed so, and released."""
    running: list[Exposed] = []

    def install(strategy: str) -> Exposed:
        world = late_world(template, tmp_path, free_ports(2), make_bundle, strategy)
        running.append(world)
        world.deployer.start()
        return world

    yield install
    for world in running:
        world.deployer.stop()


def test_a_candidate_that_passed_is_rolled_back_by_its_labels_once(installed) -> None:
    world = installed("canary")
    world.expose(0.4)
    assert world.state() == (2, 2, 2, 2, 2)
    early = world.run("verdict")
    assert "0 of the candidate, 0 of the champion" in early.text
    world.publish(against("canary"))
    assert world.run("verdict", backfill=True).verdict == "not_needed"
    assert world.state()[:2] == (2, 2)
    late = world.run("verdict")
    assert late.outputs["rolled_back"] is True
    assert late.outputs["low"] > 0.05
    assert world.state() == (3, 1, 1, 3, 1)
    made = world.ledger.made_by("tiny")
    assert made is not None and made.actor == "ferryman"
    staged = [op for op in world.ledger.history("tiny") if op.op_id == made.op_id][1]
    assert staged.evidence["finding"]["low"] == late.outputs["low"]
    again = world.run("verdict")
    assert again.verdict == "not_needed"
    assert "by rollback" in again.text
    assert [look["outcome"] for look in world.looks()] == ["undecided", "failed"]
    assert world.ledger.verify() == []
    frame = world.logged()
    counts = frame[frame.propensity < 1].variant.value_counts().to_dict()
    assert late.outputs["answered"] == {
        "candidate": counts["canary"],
        "champion": counts["champion"],
        "fallback": 0,
    }
    assert abs(counts["canary"] / REQUESTS - 0.4) < 0.08


def test_a_good_one_stays_and_is_looked_at_once_a_change(installed) -> None:
    world = installed("ab")
    world.expose(0.5)
    world.publish(against("champion"), share=0.4)
    first = world.run("verdict")
    assert first.verdict == "done"
    assert first.outputs["outcome"] in ("undecided", "passed")
    same = world.run("verdict")
    assert (same.verdict, same.outputs["rolled_back"]) == ("not_needed", False)
    assert "no new labels since" in same.text
    world.publish(against("champion"))
    last = world.run("verdict")
    assert last.outputs["outcome"] == "passed"
    assert last.outputs["labelled"]["candidate"] > first.outputs["labelled"]["candidate"]
    assert world.state() == (2, 2, 2, 2, 2)
    assert len(world.looks()) == 2


def test_a_shadow_that_was_released_is_rolled_back_by_its_pairs(installed) -> None:
    world = installed("shadow")
    world.expose(1.0)
    frame = world.logged()
    shadows = frame[frame.variant == "shadow"]
    assert len(shadows) > 0.9 * REQUESTS
    theirs = dict(zip(shadows.entity_key, shadows.score, strict=True))
    world.publish(lambda row: theirs.get(row.entity_key, 1.0) < row.score)
    found = world.run("verdict")
    assert found.outputs["answered"]["candidate"] == len(shadows)
    assert found.outputs["effect"] > 0
    assert found.outputs["rolled_back"] is True
    assert world.state()[:2] == (3, 1)
    assert len(world.ledger.notes("tiny", TRAFFIC)) == 2


def test_recorded_requests_are_drawn_one_by_one_beside_a_candidate(installed) -> None:
    world = installed("ab")
    assert world.score(0).outputs["sent"] == ROWS
    alone = world.logged(FIRST_DAY)
    assert (alone.request_id.nunique(), set(alone.variant)) == (2, {"champion"})
    world.exposed(0.5, lambda _: world.score(1))
    beside = world.logged(FIRST_DAY + timedelta(days=1))
    assert beside.request_id.nunique() == len(beside) == ROWS
    assert abs((beside.variant == "challenger").mean() - 0.5) < 0.1


def test_a_rollback_that_could_not_be_made_is_made_by_the_next_run(installed) -> None:
    world = installed("canary")
    world.expose(0.4)
    world.publish(against("canary"))
    world.deployer.stop()
    with pytest.raises(DependencyUnavailable):
        world.run("verdict")
    head = world.ledger.head("tiny")
    assert head is not None and head.epoch == 2
    world.deployer.start()
    assert world.run("verdict").outputs["rolled_back"] is True
    assert world.state() == (3, 1, 1, 3, 1)
    assert [look["outcome"] for look in world.looks()] == ["failed"]
