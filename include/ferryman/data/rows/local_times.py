"""Times without a zone, placed on the clock that they were read from."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_UTC = pa.timestamp("us", "UTC")


def place_times(naive: Any, zone: str) -> tuple[Any, Any, Any]:
    """Wall-clock times (timestamp[us] without zone) of a zone, as UTC.

    Returns the times and two masks: those that stand twice on that clock, because it was put back,
    and those that do not exist, because it was put forward. Both are null among the times.
    """
    earliest = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="earliest")
    latest = pc.assume_timezone(naive, zone, ambiguous="latest", nonexistent="latest")
    missing = pc.not_equal(pc.local_timestamp(latest), naive)
    ambiguous = pc.and_(pc.not_equal(earliest, latest), pc.invert(missing))
    placed = pc.if_else(
        pc.or_(missing, ambiguous), pa.scalar(None, _UTC), latest.cast(_UTC, safe=False)
    )
    return placed, ambiguous, missing
