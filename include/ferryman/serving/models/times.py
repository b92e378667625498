"""Times as clients send them."""

from datetime import datetime

from ferryman.serving.models.blocks import RowError

WANTED = "must be a time with a zone, such as 2013-01-01T10:15:00Z"


def read_time(value: object, field: str, index: int) -> datetime | None:
    """An ISO 8601 time with a zone, None for null; a naive one is refused: nobody can order it.

    Raises RowError, which names the row and the field.
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RowError(WANTED, row=index, field=field)
    return moment
