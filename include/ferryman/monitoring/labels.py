"""Joins labels that became known to the predictions that were logged, each event once.

A joined table has one row for each predicted event: entity_key, event_time, version, epoch, score
(see runtime.score_column), label (null: not known, or never to be known), known_at (null where
there is no label row).
"""

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.runtime.score_column import label_type, score_field
from ferryman.spec.metrics import Task
from ferryman.spec.windows import Window


def joined_schema(task: Task, classes: Sequence[str] = ()) -> Any:
    """The columns of a joined table of a task; see the module."""
    return pa.schema(
        [
            ("entity_key", pa.string()),
            ("event_time", pa.timestamp("us", tz="UTC")),
            ("version", pa.int64()),
            ("epoch", pa.int64()),
            score_field(task, classes),
            ("label", label_type(task)),
            ("known_at", pa.timestamp("us", tz="UTC")),
        ]
    )


JOINED_SCHEMA = joined_schema("binary")
SHADOW = "shadow"  # the variant of a prediction that answered nobody


@dataclass(frozen=True)
class JoinCounts:
    """What a join found.

    labels: distinct events whose label row came in; unlabelled: those of them whose label is null;
    matched: labelled events with a prediction; unmatched: labelled events without one;
    predicted: distinct predicted events; duplicate_labels, duplicate_predictions: rows that were
    dropped because another row of the same event counts.
    """

    labels: int
    unlabelled: int
    matched: int
    unmatched: int
    predicted: int
    duplicate_labels: int
    duplicate_predictions: int

    @property
    def duplicates(self) -> int:
        """All rows that were dropped as repetitions."""
        return self.duplicate_labels + self.duplicate_predictions

    def as_outputs(self) -> dict[str, int]:
        """The counts by name, for a step's result."""
        return {**asdict(self), "duplicates": self.duplicates}


def join(
    labels: Any, predictions: Any, due: Window, schema: Any = JOINED_SCHEMA
) -> tuple[Any, JoinCounts]:
    """Join label rows to logged predictions by entity_key; each event counts once.

    The joined table holds every prediction whose event lies in `due` (the events whose labels were
    to be known by now), labelled or not, and every prediction that a label came in for.

    `labels`: a table of entity_key, event_time, label (null where never known), known_at.
    `predictions`: entity_key, event_time, version, epoch, score, logged_at; those with no score
    were made for another declaration, and are left out. `schema`: that of the task.
    Of several predictions of one event the first logged one counts: it is the one that was acted
    upon. Of several label rows the one known last counts: it is the correction. Rows with no
    entity_key cannot be joined and are left out. The order of rows does not matter.
    """
    named_labels = _with_key(labels)
    named_predictions = _with_key(predictions.filter(pc.is_valid(predictions["score"])))
    known, first = last_labels(named_labels), first_predictions(named_predictions)
    everything = with_labels(
        first.select(["entity_key", "event_time", "version", "epoch", "score"]), known
    )
    joined = _canonical(everything.filter(_wanted(everything, known, due)), schema)
    unlabelled = known["label"].null_count
    matched = joined.num_rows - joined["label"].null_count
    counts = JoinCounts(
        labels=known.num_rows,
        unlabelled=unlabelled,
        matched=matched,
        unmatched=known.num_rows - unlabelled - matched,
        predicted=joined.num_rows,
        duplicate_labels=named_labels.num_rows - known.num_rows,
        duplicate_predictions=named_predictions.num_rows - first.num_rows,
    )
    return joined, counts


def last_labels(labels: Any) -> Any:
    """One label row for each entity_key: that which became known last, the correction."""
    return _one_a_key(_with_key(labels), "known_at", descending=True)


def first_predictions(predictions: Any) -> Any:
    """One prediction for each entity_key: the first that was logged, of those with a score."""
    scored = _with_key(predictions.filter(pc.is_valid(predictions["score"])))
    return _one_a_key(scored, "logged_at", descending=False)


def with_labels(predictions: Any, labels: Any) -> Any:
    """Predictions with the columns label and known_at, null where a key has no label row.

    `labels` holds each entity_key once.
    """
    # A join of tables does not take columns of lists.
    places = pc.index_in(predictions["entity_key"], value_set=_flat(labels["entity_key"]))
    for name in ("label", "known_at"):
        predictions = predictions.append_column(name, labels[name].take(places))
    return predictions


def answers_only(predictions: Any, features: Container[str] = ()) -> Any:
    """The predictions that somebody was answered with: a shadow's went to nobody.

    All of them where the model has a feature named variant: it stands in the log in the place of
    the column that tells who answered, and such a model has no shadows.
    """
    if "variant" in features:
        return predictions
    # A variant that is not told is null in old files, and an answer.
    shadow = pc.fill_null(pc.equal(predictions["variant"], SHADOW), False)
    return predictions.filter(pc.invert(shadow))


def merge(tables: list[Any], schema: Any = JOINED_SCHEMA) -> Any:
    """Several windows' joined tables as one, each event once.

    An event that stands in several windows (its label came late, or was corrected) keeps the row
    with the label that became known last; a row with a label beats a row without one.
    """
    if not tables:
        return schema.empty_table()
    everything = pa.concat_tables([table.cast(schema) for table in tables])
    ranked = everything.append_column("labelled", pc.is_valid(everything["label"]).cast(pa.int8()))
    order = pc.sort_indices(
        ranked,
        sort_keys=[
            ("entity_key", "ascending"),
            ("labelled", "descending"),
            ("known_at", "descending"),
        ],  # nulls go last
    )
    return _canonical(_first_of_each_key(ranked.take(order)).select(schema.names), schema)


def _wanted(predictions: Any, labels: Any, due: Window) -> Any:
    in_time = pc.and_(
        pc.greater_equal(predictions["event_time"], _moment(due.start)),
        pc.less(predictions["event_time"], _moment(due.end)),
    )
    return pc.or_(in_time, pc.is_in(predictions["entity_key"], labels["entity_key"]))


def _moment(moment: datetime) -> Any:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))


def _with_key(table: Any) -> Any:
    return table.filter(pc.is_valid(table["entity_key"]))


def _one_a_key(table: Any, column: str, *, descending: bool) -> Any:
    """One row for each entity_key: the first by a column; ties go by the rest, never by order."""
    rest = [
        (name, "ascending")
        for name in ("label", "request_id", "score")
        if name in table.schema.names and not pa.types.is_list(table.schema.field(name).type)
    ]
    order = pc.sort_indices(
        table,
        sort_keys=[
            ("entity_key", "ascending"),
            (column, "descending" if descending else "ascending"),
            *rest,
        ],  # nulls go last
    )
    return _first_of_each_key(table.take(order))


def _first_of_each_key(table: Any) -> Any:
    """The first row of each run of equal keys; the table is sorted by entity_key."""
    if table.num_rows < 2:
        return table
    keys = table["entity_key"].combine_chunks()
    new = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    return table.filter(pa.concat_arrays([pa.array([True]), _flat(new)]))


def _flat(values: Any) -> Any:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _canonical(table: Any, schema: Any) -> Any:
    """The joined table's columns and types, ordered by event."""
    columns = [table[field.name].cast(field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema).sort_by(
        [("event_time", "ascending"), ("entity_key", "ascending")]
    )
