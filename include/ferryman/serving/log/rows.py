"""From answered requests to the rows of the prediction log, as Arrow batches."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson

from ferryman.serving.log.prediction_log import GIVES_WAY, own_fields
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import ENTITY_KEY, EVENT_TIME
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.requests import Request
from ferryman.spec.windows import format_time

CHAMPION = "champion"
MODEL, DAY, PART = b"ferryman.model", b"ferryman.day", b"ferryman.part"
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_MICROSECONDS = 86_400_000_000
_OBJECTS = {dict}
_BREATH_ROWS = 64
_BREATH_SECONDS = 1e-4


class Entry(NamedTuple):
    """One answered request as it came in.

    `at`: when, seconds since 1970; `seconds`: how long the answer took; `variant`: who answered.
    The body is read again when it is written: a queue of bytes costs a tenth of the memory of a
    queue of rows, and the garbage collector nothing.
    """

    request_id: bytes
    model: OnnxModel
    request: Request
    scores: Scores
    at: float
    seconds: float = 0.0
    variant: str = CHAMPION


class Place(NamedTuple):
    """Where rows belong: the model, the day of their events, and the version that answered."""

    model: str
    day: str
    part: str


def place_of(batch: Any) -> Place:
    """The place that a batch tells of itself."""
    told = batch.schema.metadata
    return Place(*(told[key].decode() for key in (MODEL, DAY, PART)))


def batches_of(model: OnnxModel, entries: Sequence[Entry]) -> Iterator[Any]:
    """The rows of entries of one model, a batch for each day of events; see prediction_log."""
    import pyarrow as pa

    found = _read(entries)
    rows = list(chain.from_iterable(found))
    _breathe()
    asked = _Asked.of(entries, found)
    moments = [
        at if (given := row.get(EVENT_TIME)) is None else _moment(given)
        for row, at in zip(rows, asked.moments, strict=True)
    ]
    keys = _entity_keys(model, rows, moments, asked)
    _breathe()
    cells = _own_cells(model, entries, asked, keys, moments)
    _breathe()
    cells |= _feature_cells(model, rows)
    _breathe()
    schema = _schema(model)
    whole = pa.RecordBatch.from_arrays([cells[name] for name in schema.names], schema=schema)
    days = np.array(moments, dtype=np.int64) // _DAY_MICROSECONDS
    for day in np.unique(days).tolist():
        mask = days == day
        yield _of_day(model, whole if mask.all() else _filtered(whole, mask), day)


def logged_features(model: OnnxModel) -> dict[str, str]:
    """The features that are kept, and what they are."""
    kept, types = model.signature.logged, model.schema.types
    return {name: kind for name, kind in types.items() if kept is None or name in kept}


def _schema(model: OnnxModel) -> Any:
    import pyarrow as pa

    kinds = {"integer": pa.int64(), "number": pa.float64(), "category": pa.string()}
    features = logged_features(model)
    own = own_fields(model.signature.task, model.signature.classes)
    kept = [field for field in own if not (field.name in GIVES_WAY and field.name in features)]
    return pa.schema([*kept, *(pa.field(name, kinds[kind]) for name, kind in features.items())])


def _of_day(model: OnnxModel, batch: Any, day: int) -> Any:
    date = np.datetime64(day, "D").astype(str)
    identity = model.identity
    part = f"v{identity.version}-e{identity.epoch}"
    told = {MODEL: identity.name, DAY: str(date), PART: part}
    return batch.replace_schema_metadata(told)


def _filtered(batch: Any, mask: Any) -> Any:
    from ferryman.serving.log.columns import mask_column

    return batch.filter(mask_column(mask))


class _Asked(NamedTuple):
    """What is told of a request, once a row."""

    request_ids: Sequence[str]
    places: Sequence[int]
    moments: Sequence[int]
    seconds: Sequence[float]
    variants: Sequence[str]

    @classmethod
    def of(cls, entries: Sequence[Entry], found: Sequence[list[Any]]) -> "_Asked":
        told = [(e.request_id.decode(), 0, int(e.at * 1e6), e.seconds, e.variant) for e in entries]
        sizes = [len(rows) for rows in found]
        if max(sizes) > 1:
            told = [
                (one[0], place, *one[2:])
                for one, size in zip(told, sizes, strict=True)
                for place in range(size)
            ]
        return cls(*zip(*told, strict=True))


def _read(entries: Sequence[Entry]) -> list[list[dict[str, Any]]]:
    """The rows of each entry, as {column: value}."""
    found = []
    since = 0
    for entry in entries:
        rows = _instances(entry) or _asked_rows(entry)
        found.append(rows)
        since += len(rows)
        if since >= _BREATH_ROWS:
            since = 0
            _breathe()
    return found


def _instances(entry: Entry) -> list[dict[str, Any]] | None:
    """The commonest form, which holds the rows as they are; None for any other."""
    if entry.request.json_length is not None:
        return None
    content = orjson.loads(entry.request.body)
    rows = content.get("instances") if type(content) is dict else None
    return rows if type(rows) is list and set(map(type, rows)) == _OBJECTS else None


def _asked_rows(entry: Entry) -> list[dict[str, Any]]:
    rows = dialects.read(entry.request, entry.model.schema).rows
    columns = {**rows.given, **rows.columns}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _breathe() -> None:
    """Let go of the interpreter, which the answers need: else they wait milliseconds for it."""
    time.sleep(_BREATH_SECONDS)


@lru_cache(maxsize=4096)
def _moment(given: str | datetime) -> int:
    moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    return (moment - _START) // _MICROSECOND


@lru_cache(maxsize=4096)
def _time_text(moment: int) -> str:
    return format_time(_START + moment * _MICROSECOND)


def _own_cells(
    model: OnnxModel,
    entries: Sequence[Entry],
    asked: _Asked,
    keys: Sequence[str],
    moments: Sequence[int],
) -> dict[str, Any]:
    from ferryman.serving.log import columns

    count, identity = len(moments), model.identity
    scores: list[Any] = list(chain.from_iterable(entry.scores for entry in entries))
    score_column = columns.list_column if model.classes else columns.number_column
    return {
        "request_id": columns.text_column(asked.request_ids),
        ENTITY_KEY: columns.text_column(keys),
        EVENT_TIME: columns.time_column(moments),
        "model": columns.constant_column(identity.name, count),
        "version": columns.constant_column(identity.version, count),
        "epoch": columns.constant_column(identity.epoch, count),
        "variant": columns.text_column(asked.variants),
        "score": score_column(scores),
        "latency": columns.number_column(asked.seconds),
        "logged_at": columns.time_column(asked.moments),
    }


def _feature_cells(model: OnnxModel, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Clients may write a whole number as 5.0, or a fraction as 5; the log keeps the type."""
    from ferryman.serving.log import columns

    found = {}
    for name, kind in logged_features(model).items():
        cells = list(map(itemgetter(name), rows))
        if kind == "category":
            found[name] = columns.text_column(cells)
        else:
            found[name] = columns.number_column(cells, whole=kind == "integer")
    return found


def _entity_keys(
    model: OnnxModel,
    rows: Sequence[dict[str, Any]],
    moments: Sequence[int],
    asked: _Asked,
) -> list[str]:
    """The given key; else the entity columns and the event time; else the request and the row."""
    entity = model.signature.entity
    keys: list[str] = []
    for row, moment, request_id, place in zip(
        rows, moments, asked.request_ids, asked.places, strict=True
    ):
        key = row.get(ENTITY_KEY)
        if key is None and entity and row.get(EVENT_TIME) is not None:
            cells = [*map(row.get, entity)]
            if None not in cells:
                key = "|".join([*map(str, cells), _time_text(moment)])
        keys.append(f"{request_id}#{place}" if key is None else key)
    return keys
