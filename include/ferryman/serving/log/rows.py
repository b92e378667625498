"""From the frames of a journal to the rows of the prediction log, as Arrow batches."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ferryman.serving.log import columns
from ferryman.serving.log.frames import Frame
from ferryman.serving.log.prediction_log import GIVES_WAY, own_fields
from ferryman.spec.windows import format_time

_TOLD = (b"ferryman.model", b"ferryman.day", b"ferryman.part")
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_MICROSECONDS = 86_400_000_000


class Place(NamedTuple):
    """Where rows belong: the model, the day of their events, and the version that answered."""

    model: str
    day: str
    part: str

    @property
    def folder(self) -> str:
        """The folder of the day, below that of the log."""
        return f"{self.model}/date={self.day}"


def batches_of(frame: Frame) -> Iterator[tuple[Place, Any]]:
    """A frame's rows, a batch for each day of events; see prediction_log.

    ValueError, KeyError or pyarrow's errors (they are ValueErrors) for a frame that is not sound.
    """
    import pyarrow as pa

    head = frame.head["model"]
    asked = _Asked.of(frame)
    given = frame.given()
    moments = asked.moments
    if "event_time" in given:
        moments = moments.copy()
        for row, told in enumerate(given["event_time"]):
            if told is not None:
                moments[row] = _moment(told)
    cells = _feature_cells(frame)
    entity = [
        cells[name].to_pylist() if name in cells else given.get(name) for name in head["entity"]
    ]
    keys = _entity_keys(given, entity, moments, asked)
    own = _own_cells(frame, asked, keys, moments)
    cells = own | {name: cells[name] for name in head["features"]}
    schema = _schema(head)
    whole = pa.RecordBatch.from_arrays([cells[name] for name in schema.names], schema=schema)
    days = moments // _DAY_MICROSECONDS
    part = f"v{head['version']}-e{head['epoch']}"
    for day in np.unique(days).tolist():
        mask = days == day
        place = Place(head["name"], str(np.datetime64(day, "D")), part)
        batch = whole if mask.all() else whole.filter(columns.mask_column(mask))
        # Versions stay apart when files are merged, although their columns are the same.
        yield place, batch.replace_schema_metadata(dict(zip(_TOLD, place, strict=True)))


class _Asked(NamedTuple):
    """What is told of a request, once a row."""

    request_ids: Sequence[str]
    entities: Sequence[str]
    places: Sequence[int]
    moments: Any
    seconds: Any

    @classmethod
    def of(cls, frame: Frame) -> "_Asked":
        sizes = frame.lengths("sizes")
        ids = frame.told("ids", "id_lengths")
        # Whom a request is about does not tell its rows from one another.
        entities = [
            entity if size == 1 else ""
            for entity, size in zip(
                frame.told("entities", "entity_lengths"), sizes.tolist(), strict=True
            )
        ]
        rows = np.repeat(np.arange(len(sizes)), sizes)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        at = (frame.floats("at", 1)[rows, 0] * 1e6).astype(np.int64)
        return cls(
            [ids[row] for row in rows.tolist()],
            [entities[row] for row in rows.tolist()],
            (np.arange(len(rows)) - first).tolist(),
            at,
            frame.floats("seconds", 1)[rows, 0],
        )


def _schema(head: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    kinds = {"integer": pa.int64(), "number": pa.float64(), "category": pa.string()}
    features = {name: head["types"][name] for name in head["features"]}
    own = own_fields(head["task"], head["classes"])
    kept = [field for field in own if not (field.name in GIVES_WAY and field.name in features)]
    return pa.schema([*kept, *(pa.field(name, kinds[kind]) for name, kind in features.items())])


@lru_cache(maxsize=4096)
def _moment(given: str) -> int:
    return (datetime.fromisoformat(given) - _START) // _MICROSECOND


@lru_cache(maxsize=4096)
def _time_text(moment: int) -> str:
    return format_time(_START + moment * _MICROSECOND)


def _own_cells(frame: Frame, asked: _Asked, keys: Sequence[str], moments: Any) -> dict[str, Any]:
    count, head = frame.rows, frame.head["model"]
    if head["task"] == "multiclass":
        scores = columns.list_column(frame.floats("scores", len(head["classes"])))
    else:
        scores = columns.number_column(frame.floats("scores", 1)[:, 0])
    return {
        "request_id": columns.text_column(asked.request_ids),
        "entity_key": columns.text_column(keys),
        "event_time": columns.time_column(moments),
        "model": columns.constant_column(head["name"], count),
        "version": columns.constant_column(head["version"], count),
        "epoch": columns.constant_column(head["epoch"], count),
        "variant": columns.constant_column(frame.head["variant"], count),
        "propensity": columns.number_column([frame.propensity] * count),
        "score": scores,
        "latency": columns.number_column(asked.seconds),
        "logged_at": columns.time_column(asked.moments),
    }


def _feature_cells(frame: Frame) -> dict[str, Any]:
    """Clients may write a whole number as 5.0, or a fraction as 5; the log keeps the type."""
    head = frame.head["model"]
    found = {}
    for number, names in enumerate(head["numbers"]):
        block = frame.floats(f"numbers{number}", max(len(names), 1)).T if names else ()
        for name, cells in zip(names, block, strict=True):
            whole = head["types"][name] == "integer"
            found[name] = columns.number_column(cells, whole=whole)
    for number, name in enumerate(head["texts"]):
        lengths = frame.lengths(f"text_lengths{number}")
        found[name] = columns.encoded_column(lengths, frame.sections[f"texts{number}"])
    return found


def _entity_keys(
    given: Mapping[str, list[Any]],
    entity: Sequence[list[Any] | None],
    moments: Any,
    asked: _Asked,
) -> list[str]:
    """The given key; else entity columns and event time; else whom a request of one row is about;
    else the request and the row.
    """
    own = given.get("entity_key") or [None] * len(asked.places)
    composed = _composed_keys(given.get("event_time"), entity, moments) or [None] * len(own)
    keys: list[str] = []
    for key, made, about, request_id, place in zip(
        own, composed, asked.entities, asked.request_ids, asked.places, strict=True
    ):
        told = made if key is None else key
        keys.append(about or f"{request_id}#{place}" if told is None else told)
    return keys


def _composed_keys(
    times: Sequence[Any] | None, entity: Sequence[list[Any] | None], moments: Any
) -> list[str | None]:
    """Entity columns and event time of each row; None where one of them was not sent."""
    sent = [cells for cells in entity if cells is not None]
    if not times or not entity or len(sent) < len(entity):
        return []
    found: list[str | None] = []
    for moment, told, *cells in zip(moments.tolist(), times, *sent, strict=True):
        known = told is not None and None not in cells
        found.append("|".join([*map(str, cells), _time_text(moment)]) if known else None)
    return found
