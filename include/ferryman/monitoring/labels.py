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
    dropped because another row of the same event counts. Of the label rows, as they became known,
    repeated: those that said what was known; corrected: those that said something else; retracted:
    those of them that took a label back.
    """

    labels: int
    unlabelled: int
    matched: int
    unmatched: int
    predicted: int
    duplicate_labels: int
    duplicate_predictions: int
    repeated: int = 0
    corrected: int = 0
    retracted: int = 0

    @property
    def duplicates(self) -> int:
        """All rows that were dropped as repetitions."""
        return self.duplicate_labels + self.duplicate_predictions

    def as_outputs(self) -> dict[str, int]:
        """The counts by name, for a step's result."""
        return {**asdict(self), "duplicates": self.duplicates}


def join(
    labels: Any,
    predictions: Any,
    due: Window,
    schema: Any = JOINED_SCHEMA,
    *,
    before: Any = None,
) -> tuple[Any, JoinCounts]:
    """Join label rows to logged predictions by entity_key; each event counts once.

    The joined table holds every prediction whose event lies in `due` (the events whose labels were
    to be known by now), labelled or not, and every prediction that a label came in for.

    `labels`: a table of entity_key, event_time, label (null where never known), known_at.
    `predictions`: entity_key, event_time, version, epoch, score, logged_at; those with no score
    were made for another declaration, and are left out. `schema`: that of the task.
    Of several predictions of one event the first logged one counts: it is the one that was acted
    upon. Of several label rows the one known last counts: it is the correction, and null takes a
    label back. Rows with no entity_key cannot be joined and are left out. The order of rows does
    not matter. `before`: what was known earlier (entity_key, label, known_at), to tell repetitions
    and corrections by.
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
        **_changes(named_labels, before),
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
    whose label became known last, as `join` does within one; a label that was taken back is null.
    """
    if not tables:
        return schema.empty_table()
    everything = pa.concat_tables([table.cast(schema) for table in tables])
    return _canonical(_one_a_key(everything, "known_at", descending=True), schema)


def _changes(labels: Any, before: Any) -> dict[str, int]:
    """How many label rows repeat, correct or take back what was known before them."""
    names = ["entity_key", "known_at", "label"]
    rows = labels.select(names).append_column("own", pa.array([True] * labels.num_rows, pa.bool_()))
    if before is not None and before.num_rows:
        earlier = before.select(names).filter(pc.is_valid(before["known_at"]))
        earlier = earlier.filter(pc.is_in(earlier["entity_key"], _flat(labels["entity_key"])))
        own = pa.array([False] * earlier.num_rows, pa.bool_())
        rows = pa.concat_tables(
            [rows, earlier.cast(labels.select(names).schema).append_column("own", own)]
        )
    if rows.num_rows < 2:
        return {"repeated": 0, "corrected": 0, "retracted": 0}
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in (*names, "own")])
    keys, label, own = (_flat(rows.take(order)[name]) for name in ("entity_key", "label", "own"))
    follows = pc.and_(pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)), own.slice(1))
    # What stands in an earlier window's inbox and in this one's snapshot is one label, said once.
    times = _flat(rows.take(order)["known_at"])
    at_once = pc.fill_null(pc.equal(times.slice(1), times.slice(0, len(times) - 1)), False)
    again = pc.and_(at_once, pc.invert(own.slice(0, len(own) - 1)))
    now, then = label.slice(1), label.slice(0, len(label) - 1)
    both_null = pc.and_(pc.is_null(now), pc.is_null(then))
    same = pc.or_(pc.fill_null(pc.equal(now, then), False), both_null)
    other = pc.and_(follows, pc.invert(same))
    return {
        "repeated": _count(pc.and_(pc.and_(follows, same), pc.invert(again))),
        "corrected": _count(other),
        "retracted": _count(pc.and_(other, pc.is_null(now))),
    }


def _count(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)


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
        for name in ("label", "request_id", "score", "version")
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
