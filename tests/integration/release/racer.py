"""Contenders of the race tests: each takes its candidates through the ledger until each has an end,
or takes the lease on a model's traffic as often as it is asked to.

A process forks them all, kills some, and starts those again; what it imports, it imports once, so
that they meet in the ledger and not in their imports.
"""

import json
import os
import signal
import sys
import time

from ferryman.errors import LostRace, Superseded
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State


def contend(url: str, days: list[int]) -> None:
    """Release the candidate of each day, in the given order, as often as races are lost."""
    for day in days:
        candidate = Candidate(
            version=day,
            digest=f"{day:064x}",
            bundle=f"bundles/{day}",
            cutoff=f"2013-01-{day:02d}T00:00:00Z",
            sequence=day,
            run_key=f"key-{day}",
            eval_dataset="eval",
        )
        while not _try(Ledger(url), candidate):
            continue


def _try(ledger: Ledger, candidate: Candidate) -> bool:
    op = ledger.open_op(PROMOTE, "tiny", candidate, "racer", "race")
    head = ledger.head("tiny")
    base = head.epoch if head else 0
    try:
        if ledger.committed_head(op.op_id) is None:
            ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
            if head is None or head.order_key < op.order_key:
                ledger.advance(op.op_id, State.GATED, {}, base_epoch=base)
                ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)
        ledger.commit(op.op_id, base)
    except LostRace:
        return False
    except Superseded:
        return True
    return True


def hold(url: str, days: list[int]) -> None:
    """Hold the lease once for the exposed candidate of each day; print when that was."""
    ledger = Ledger(url)
    ops = {op.candidate.version: op.op_id for op in ledger.ops("tiny")}
    for day in days:
        while (line := _hold(ledger, ops[day])) is None:
            time.sleep(0.002)
        os.write(sys.stderr.fileno(), (json.dumps(line) + "\n").encode())


def _hold(ledger: Ledger, op_id: str) -> dict[str, object] | None:
    try:
        lease = ledger.take_lease("tiny", op_id, str(os.getpid()), 1.0)
        began = time.time()
        _give(ledger, op_id, lease.serial, 0.05)
        until = ledger.renew_lease("tiny", lease.serial, 1.0).expires_at.timestamp()
        _give(ledger, op_id, lease.serial, 0)
    except LostRace:
        return None
    ended = min(time.time(), until)  # a holder that was slow to say so held it no longer
    line = {"serial": lease.serial, "op": op_id, "began": began, "ended": ended}
    ledger.drop_lease("tiny", lease.serial)
    return line


def _give(ledger: Ledger, op_id: str, serial: int, weight: float) -> None:
    ledger.set_traffic(
        op_id,
        serial=serial,
        stage=serial,
        variant="canary",
        weight=weight,
        reason="race",
        evidence={},
        lease_seconds=1.0,
    )


def start(url: str, days: list[int], task: str) -> int:
    """A contender as a process of its own; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (hold if task == "hold" else contend)(url, days)
            code = 0
        finally:
            os._exit(code)
    return child


def end(processes: list[int]) -> list[int]:
    """Wait for all: their exit codes."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def main() -> None:
    """Read what to do; print the exit codes of the first contenders, and of those again."""
    plan = json.loads(sys.argv[1])
    url, shares, killed = plan["url"], plan["shares"], plan["killed"]
    task = plan.get("task", "contend")
    processes = [start(url, share, task) for share in shares]
    time.sleep(plan["after"])
    for number in killed:
        os.kill(processes[number], signal.SIGKILL)
    first = end(processes)
    again = end([start(url, shares[number], task) for number in killed])
    json.dump([first, again], sys.stdout)


if __name__ == "__main__":
    main()
