"""One contender of the race test: takes its candidates through the ledger until each has an end."""

import sys

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


if __name__ == "__main__":
    contend(sys.argv[1], [int(day) for day in sys.argv[2].split(",")])
