"""Any order of acts on a living installation: server, registry and users follow the ledger.

After each act the server gives what the ledger's replay says, to whom it says, and every answer of
a client in the background was by a version that might give it at that moment.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from line_world import LineWorld, WorldMaker
from living_release import LEASE
from release_faults import ReleaseFaults
from services.long_tests import is_long

from ferryman.steps import rollout_share

PICKS = strategies.sampled_from([0, 0, 0, 1, 2, 3])
# Each as often as it stands here.
ACTS = strategies.sampled_from(
    [
        *["go_on"] * 12,
        *["gate", "go_back", "freeze", "hold", "lease_runs_out"] * 3,
        *["look", "judge_anew", "commit_alone", "quarantine", "unfreeze", "start_front"] * 2,
        *["answer", "reconcile", "adopt", "move_alias", "delete"],
        *["kill_front", "kill_replica", "restart_all"],
    ]
)
EXAMPLES, STEPS = 5, 100
# How often each must have happened in so many acts: what the ledger holds, and what broke.
LEAST = {
    "promote COMMITTED": 10 + 24,  # ten of them before the first act
    "rollback COMMITTED": 12,
    "promote ABORTED": 5,
    "look: hold": 10,
    "look: passed": 10,
    "freeze": 9,
    "hold": 10,
    "quarantine": 16,
    "a lease ran out": 5,
    "front killed": 1,
    "replica killed": 1,
    "restarted": 1,
    "routed as replayed": EXAMPLES * STEPS // 2,
}
happened: Counter[str] = Counter()


class ReleaseMachine(RuleBasedStateMachine):
    """One rule draws every act, so that the usual ones come more often than the odd ones."""

    make_world: WorldMaker

    def __init__(self) -> None:
        super().__init__()
        self.release = ReleaseFaults(type(self).make_world(), happened)
        self.release.begin()

    def teardown(self) -> None:
        self.release.close()

    @rule(name=ACTS, pick=PICKS, yes=strategies.booleans())
    def act(self, name: str, pick: int, yes: bool) -> None:
        happened["acts"] += 1
        self.release.pick, self.release.yes = pick, yes
        getattr(self.release, name)()

    @invariant()
    def all_agree(self) -> None:
        self.release.agree()


@pytest.mark.timeout(900)  # a busy machine takes five minutes
def test_any_order_of_acts(
    tmp_path: Path, empty_mlflow: Path, free_ports: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_share, "LEASE", LEASE)

    def make_world() -> LineWorld:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return LineWorld.started(folder / "home", free_ports(2), empty_mlflow)

    happened.clear()
    monkeypatch.setattr(ReleaseMachine, "make_world", make_world, raising=False)
    machine: Any = ReleaseMachine.TestCase
    machine.settings = settings(
        max_examples=8 * EXAMPLES if is_long() else EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        phases=(Phase.generate,),  # a living server: what failed is not made smaller
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
    sys.stdout.write(f"{dict(happened)}\n")
    assert happened["acts"] >= EXAMPLES * STEPS
    assert {name: happened[name] for name in LEAST if happened[name] < LEAST[name]} == {}
