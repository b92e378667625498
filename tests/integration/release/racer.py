"""Contenders of the race test: each takes its candidates through the ledger until each has an end.

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


def start(url: str, days: list[int]) -> int:
    """A contender as a process of its own; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            contend(url, days)
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
    processes = [start(url, share) for share in shares]
    time.sleep(plan["after"])
    for number in killed:
        os.kill(processes[number], signal.SIGKILL)
    first = end(processes)
    again = end([start(url, shares[number]) for number in killed])
    json.dump([first, again], sys.stdout)


if __name__ == "__main__":
    main()
