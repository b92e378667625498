"""Which rows and columns of a reading are judged."""

from dataclasses import dataclass

from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window


@dataclass(frozen=True)
class Judgement:
    """What is counted, held against max_rejected and kept in quarantine.

    `span` bounds the rows by event time; None is all rows. With `outcomes` only the columns that
    are known after the event are judged, now that they are: rows with other faults are gone, and
    were counted with their own window. An outcome that was bad already then is counted again, since
    it now costs a label.
    """

    span: Window | None = None
    outcomes: bool = False


def later_columns(spec: SourceSpec) -> list[str]:
    """The columns that are known only after the event."""
    return [name for name, column in spec.columns.items() if column.known == "later"]
