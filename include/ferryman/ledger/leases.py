"""Who may give a candidate its share of the traffic: one holder a model, for seconds at a time.

A serial never falls and is never given twice, so that a server can tell an old holder from a new
one. Expiry is told by one clock: that of the database, or of the machine that SQLite's file is on.
"""

import math
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from ferryman.errors import LostRace, SpecError
from ferryman.ledger import tables
from ferryman.ledger.queries import require_op
from ferryman.ledger.records import Lease
from ferryman.ledger.words import check_actor

LONGEST = 3600.0  # seconds


def take(connection: Connection, model: str, op_id: str, holder: str, seconds: float) -> Lease:
    """A new lease; the same one, renewed, where this holder has it for this operation."""
    holder = check_actor(holder)
    op = require_op(connection, op_id)
    if op.model != model:
        raise SpecError(f"operation {op_id[:12]} is of {op.model}, not of {model}")
    now = _now(connection)
    found = newest(connection, model)
    if found is not None and found.expires_at > now:
        if found.op_id != op_id:
            raise LostRace(
                f"{found.holder} holds the traffic of {model} for operation {found.op_id[:12]}",
                remedy="One candidate a model meets users at a time: run again when it is through.",
            )
        if found.holder == holder:
            return _write(connection, found, now, seconds)
    serial = found.serial + 1 if found else 1
    return _write(connection, Lease(model, op_id, serial, holder, now), now, seconds)


def renew(connection: Connection, model: str, serial: int, seconds: float) -> Lease:
    """The lease of a serial, from now on; LostRace (exit 8) when it is not held any more."""
    now = _now(connection)
    found = newest(connection, model)
    if found is None or found.serial != serial or found.expires_at <= now:
        raise LostRace(
            f"the lease {serial} of {model} is not held any more",
            remedy="Give nothing more to the candidate; what was given ends by itself.",
        )
    return _write(connection, found, now, seconds)


def drop(connection: Connection, model: str, serial: int) -> None:
    """End a lease now; a repeat, and a lease that somebody else has by now, stay as they are."""
    found = newest(connection, model)
    now = _now(connection)
    if found is not None and found.serial == serial and found.expires_at > now:
        _store(connection, found._replace(expires_at=now))


def live(connection: Connection, model: str) -> Lease | None:
    """The lease that is held now."""
    found = newest(connection, model)
    return found if found is not None and found.expires_at > _now(connection) else None


def newest(connection: Connection, model: str) -> Lease | None:
    """The lease of the highest serial, held or not."""
    row = connection.execute(select(tables.lease).where(tables.lease.c.model == model)).first()
    if row is None:
        return None
    values = dict(row._mapping)
    return Lease(**{**values, "expires_at": datetime.fromisoformat(values["expires_at"])})


def _write(connection: Connection, lease: Lease, now: datetime, seconds: float) -> Lease:
    if not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise SpecError(f"a lease of {seconds} s: give more than 0 and at most {LONGEST:.0f} s")
    held = lease._replace(expires_at=now + timedelta(seconds=seconds))
    _store(connection, held)
    return held


def _store(connection: Connection, lease: Lease) -> None:
    values = lease._asdict()
    values["expires_at"] = lease.expires_at.isoformat(timespec="microseconds")
    if newest(connection, lease.model) is None:
        connection.execute(insert(tables.lease).values(values))
        return
    connection.execute(
        update(tables.lease).where(tables.lease.c.model == lease.model).values(values)
    )


def _now(connection: Connection) -> datetime:
    if connection.dialect.name == "postgresql":
        told: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return told.astimezone(UTC)
    return datetime.now(UTC)
