"""Releases of the model `line` that race in processes of their own, some of them canaries.

Called in a new process, which imports once and forks: `race` runs, kills and repeats many, `one`
is a single release that stops itself (SIGSTOP) at a named point.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A program of its own: pytest is not here to say where the tests' modules are.
sys.path.insert(0, str(Path(__file__).parents[2]))

from crash_driver import WARM
from ledger_world import REASON
from line_candidates import LINE
from line_world import LineWorld

from ferryman.errors import LostRace, PolicyRefused, Superseded
from ferryman.ledger.ledger import PROMOTE
from ferryman.ledger.records import Candidate, Op, State
from ferryman.settings import Settings
from ferryman.steps import expose, rollout_share
from ferryman.steps.commit import _commit
from ferryman.steps.gate import _refuse_older
from ferryman.steps.reconcile import finish_last_release, reconcile_model
from ferryman.steps.roll_back import Asked, roll_back

_PAUSE = 0.05  # seconds between two looks
# A byte for each race that was lost: no lock that a killed one could keep.
_lost = os.pipe2(os.O_NONBLOCK)


class TurnedDown(Exception):
    """Nothing is left to do for a candidate: it failed, or somebody forbade it."""


def promote(world: LineWorld, candidate: Candidate, *, exposure: bool) -> None:
    """Release a candidate, as often as races are lost, until it is released or turned down."""
    while True:
        try:
            op = _gated(world, candidate, exposure=exposure)
            if op is not None:
                if exposure:
                    _expose(world, op)
                _commit(world.ledger, op, op.base_epoch)
            reconcile_model(world.ledger, world.settings, LINE)
            return
        except LostRace:
            os.write(_lost[1], b".")
            time.sleep(_PAUSE)
        except (Superseded, TurnedDown):
            return


def _gated(world: LineWorld, candidate: Candidate, *, exposure: bool) -> Op | None:
    """What gate and stage do; None for what was released before."""
    ledger = world.ledger
    if ledger.is_quarantined(LINE, candidate.digest):
        raise TurnedDown
    if ledger.released(LINE, candidate.digest):
        return None
    finish_last_release(ledger, world.settings, LINE)
    op = ledger.open_op(PROMOTE, LINE, candidate, "ann", "trained anew")
    head = ledger.head(LINE)
    _refuse_older(ledger, op, head)
    base = head.epoch if head else 0
    ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
    told = {"text": "better", "requires": {"approval": False, "exposure": exposure}}
    ledger.advance(op.op_id, State.GATED, told, base_epoch=base)
    return ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)


def _expose(world: LineWorld, op: Op) -> None:
    for stage in range(len(world.model.spec.rollout.planned)):
        while True:
            try:
                seen = expose.look(world.settings, world.model, op.op_id, op.base_epoch, stage)
            except PolicyRefused as error:
                raise TurnedDown from error
            if seen.outcome == "passed":
                break
            if seen.outcome == "lost":
                raise Superseded(seen.text) if seen.superseded else LostRace(seen.text)
            if seen.outcome != "hold":
                raise TurnedDown
            time.sleep(_PAUSE)


def go_back(world: LineWorld) -> None:
    """One rollback, whatever the head is by then."""
    while True:
        try:
            roll_back(world.settings, LINE, Asked("ann", REASON))
            return
        except (LostRace, Superseded):
            os.write(_lost[1], b".")
            time.sleep(_PAUSE)


def contend(plan: dict[str, Any], number: int) -> None:
    """What a contender does: the last one rolls back, the others release."""
    rollout_share.LEASE = plan["lease"]
    # On a busy machine a keeper comes too late again and again: no verdict is wanted of that here.
    expose.MOST_LOSSES = 1_000_000
    world = LineWorld(Settings(**plan["settings"]), plan["hold"])
    if number == len(plan["candidates"]):
        time.sleep(plan["rollback_after"])
        go_back(world)
        return
    candidate, exposure = plan["candidates"][number]
    promote(world, Candidate.model_validate(candidate), exposure=exposure)


def start(plan: dict[str, Any], number: int) -> int:
    """A contender as a process of its own; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            contend(plan, number)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
    return child


def race(plan: dict[str, Any]) -> list[Any]:
    """Exit codes of all, of those that were killed when they ran again, and how many races were
    lost.
    """
    chance = random.Random(plan["seed"])  # noqa: S311 - moments of a test
    processes = [start(plan, number) for number in range(len(plan["candidates"]) + 1)]
    again = {}
    for number in plan["killed"]:
        time.sleep(chance.uniform(0.05, 0.6))
        os.kill(processes[number], signal.SIGKILL)
        again[number] = start(plan, number)
    return [
        [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in processes],
        [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in again.values()],
        _count_lost(),
    ]


def _count_lost() -> int:
    os.close(_lost[1])
    with os.fdopen(_lost[0], "rb") as told:
        return len(told.read())


def stop_at(point: str) -> None:
    """Let this process stop itself before the N-th call of a function."""
    module, name, wanted = point.split(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, last)
    calls = 0

    def stopping(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(wanted):
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(*given, **named)

    setattr(owner, last, stopping)


def main() -> None:
    """Do the plan of the first argument."""
    plan = json.loads(sys.argv[1])
    if "stop" in plan:
        stop_at(plan["stop"])
        contend(plan, 0)
        return
    for name in WARM:
        importlib.import_module(name)
    json.dump(race(plan), sys.stdout)


if __name__ == "__main__":
    main()
