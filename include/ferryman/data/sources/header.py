"""Names of columns against the declaration: the same set, in any order, each once."""

from collections.abc import Collection, Sequence

from ferryman.data.rows.column_types import shorten
from ferryman.errors import DataRejected
from ferryman.spec.mistakes import nearest

_SHOWN_NAMES = 5


def check_names(found: Sequence[str], declared: Collection[str], shown: str) -> None:
    """Raise DataRejected (exit 3) that names every missing, extra or repeated column.

    `shown` is the file (and line) that the message begins with.
    """
    twice = sorted({name for name in found if found.count(name) > 1})
    missing = [name for name in declared if name not in set(found)]
    extra = [name for name in found if name not in declared]
    mistakes = [f"column {shorten(name)} stands twice" for name in twice]
    for name in missing:
        meant = nearest(name, [other[:100] for other in extra])
        hint = f" (renamed to {meant!r}?)" if meant else ""
        mistakes.append(f"column {name!r} is missing{hint}")
    for name in extra:
        meant = nearest(name[:100], missing)
        hint = f"; did you mean {meant!r}?" if meant else ""
        mistakes.append(f"column {shorten(name)} is not declared{hint}")
    if not mistakes:
        return
    more = len(mistakes) - _SHOWN_NAMES
    listed = "; ".join(mistakes[:_SHOWN_NAMES]) + (f"; and {more} more" if more > 0 else "")
    raise DataRejected(
        f"{shown}: {listed}",
        remedy="Deliver the declared columns, or declare the new ones in model.yaml.",
    )
