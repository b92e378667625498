"""The ledger on PostgreSQL: the same decisions, also when six ask at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ferryman.errors import LostRace, Superseded
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State

if TYPE_CHECKING:
    from services.postgres import PostgresServer


def candidate(day: int) -> Candidate:
    return Candidate(
        version=day,
        digest=f"{day:064x}",
        bundle=f"bundles/{day}",
        cutoff=f"2024-01-{day:02d}T00:00:00+00:00",
        sequence=day,
        run_key=f"key-{day}",
        eval_dataset="eval",
    )


def promote(url: str, day: int) -> str:
    """Gate and commit until it is decided."""
    ledger = Ledger(url)
    op = ledger.open_op(PROMOTE, "rain", candidate(day), "test", "race")
    ledger.advance(op.op_id, State.REGISTERED, {})
    while True:
        head = ledger.head("rain")
        base = head.epoch if head else 0
        try:
            ledger.advance(op.op_id, State.GATED, {}, base_epoch=base)
            ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)
            ledger.commit(op.op_id, base)
        except LostRace:
            continue
        except Superseded:
            return "superseded"
        return "committed"


def test_six_promotions_at_once_end_with_the_newest_cut_off(postgres: "PostgresServer") -> None:
    url = (
        postgres.engine()
        .url.set(drivername="postgresql+psycopg")
        .render_as_string(hide_password=False)
    )
    Ledger(url)
    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(lambda day: promote(url, day), (3, 6, 1, 5, 2, 4)))
    ledger = Ledger(url)
    head = ledger.head("rain")
    assert head is not None and head.version == 6
    assert head.epoch == ends.count("committed")
    assert set(ends) <= {"committed", "superseded"}
    assert ledger.verify() == []
