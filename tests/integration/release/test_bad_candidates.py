"""What is bad in production alone: a canary finds it, few users meet it, nobody gets an error."""

import re
from collections.abc import Callable

import pytest
from bad_bundles import FAR, Fault, make_bad, stage_bad
from release_world import Users, candidate, declare
from rollback_world import World as Served
from rollout_world import World

from ferryman.ledger.records import ALERT
from ferryman.steps.expose import Look

WEIGHT = {"constant": 0.2, "slow": 0.2, "failing": 0.5}
# The limits that a model has without declaring any, but for how many requests are enough.
CANARY = """\
rollout:
  strategy: canary
  stages: [{{weight: {weight}, hold: 1s, patience: 3m}}]
  limits: {{min_requests: 50}}
"""


@pytest.mark.parametrize(
    ("fault", "rules", "text"),
    [
        ("constant", {"constant", "shift"}, "different predictions"),
        ("slow", {"latency"}, "95th percentile"),
        ("failing", {"errors"}, r"errors .* against 0.00%"),
    ],
)
def test_a_bad_candidate_is_withdrawn(
    open_world: Callable[[str], World], fault: Fault, rules: set[str], text: str
) -> None:
    weight = WEIGHT[fault]
    world = open_world(CANARY.format(weight=weight))
    settings, served = world.settings, Served(world.settings, world.make_bundle)
    bad = make_bad(world.make_bundle, settings.bundles_root, fault)
    op = stage_bad(settings, bad, candidate(settings, 2, world.make_bundle))
    model, before = declare(settings.zoo), served.state()
    assert before == (1, 1, 1, 1, 1)
    asked = [*world.rows, *world.rows, *world.rows[:9], {**world.rows[0], "distance": FAR}]
    assert len(asked) == 50  # one in fifty is what the failing one fails at: two per cent
    with Users(settings, asked, pause=0) as users:
        seen = Look("hold", "")
        while seen.outcome == "hold":
            seen = world.look(model, op)
        assert world.share_at_server() == 0
    assert seen.outcome == "failed", seen.text
    assert len(world.ledger.notes("tiny", ALERT)) == 1
    ended = world.ledger.ops("tiny")[-1]
    assert ended.evidence["rule"] in rules and re.search(text, seen.text)
    assert served.state() == before
    assert world.shares() == [weight, 0.0]
    assert world.states(op.candidate.version)[-2:] == ["EXPOSED", "ABORTED"]
    answered = sum(users.variants.values())
    assert users.failed == 0
    assert 0 < users.variants["canary"] <= (weight + 0.1) * answered
    assert world.ledger.verify() == []
