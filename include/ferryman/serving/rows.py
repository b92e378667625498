"""From what a client sent to what the model takes: every value checked, the first bad one named."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ferryman.errors import SpecError
from ferryman.runtime.bundle import Signature

ENTITY_KEY = "entity_key"
EVENT_TIME = "event_time"
# Columns that the prediction log writes itself; a feature of that name would be overwritten there.
RESERVED = (
    "request_id",
    ENTITY_KEY,
    EVENT_TIME,
    "version",
    "epoch",
    "score",
    "logged_at",
)
MAX_ROWS = 10_000
MAX_TEXT = 1_000
_LARGEST_WHOLE = 2**53
_LARGEST = float(np.finfo(np.float32).max)
_NUMBERS = frozenset({int, float, type(None)})
_TEXTS = frozenset({str, type(None)})
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(string)": np.object_,
}


class RowError(Exception):
    """A row that cannot be scored: what is wrong, and where (row number from 0, column)."""

    def __init__(self, text: str, *, row: int | None = None, field: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.row = row
        self.field = field


class Rows(NamedTuple):
    """Checked rows, by column. `given` holds what is logged but is no feature."""

    size: int
    columns: Mapping[str, list[Any]]
    given: Mapping[str, list[Any]] = MappingProxyType({})


class RowSchema:
    """What a model's rows must hold, made once from its signature and its ONNX inputs.

    `input_types` maps each ONNX input to its type, such as "tensor(float)"; shapes are [rows, 1].
    """

    def __init__(self, signature: Signature, input_types: Mapping[str, str]) -> None:
        self.names = [column.name for column in signature.features]
        self.entity = list(signature.entity)
        self.types = {column.name: column.type for column in signature.features}
        clash = sorted(set(self.names) & set(RESERVED))
        if clash:
            raise SpecError(
                f"feature {clash[0]!r} has a name that the prediction log keeps for itself",
                remedy=f"Rename it; kept names: {', '.join(RESERVED)}.",
            )
        if set(self.names) != set(input_types) or not set(input_types.values()) <= _DTYPES.keys():
            raise SpecError(f"ONNX inputs {dict(input_types)} are not the features {self.names}")
        self._beside = {ENTITY_KEY, EVENT_TIME, *self.entity} - set(self.names)
        self._known = self._beside | set(self.names)
        required = {column.name for column in signature.features if not column.nullable}
        self._numbers: dict[type[Any], list[str]] = {}
        self._texts: list[str] = []
        for name in self.names:
            dtype: type[Any] = _DTYPES[input_types[name]]
            if (dtype is np.object_) != (self.types[name] == "category"):
                raise SpecError(
                    f"feature {name!r} is a {self.types[name]}, not {input_types[name]}"
                )
            if dtype is np.object_:
                self._texts.append(name)
            else:
                self._numbers.setdefault(dtype, []).append(name)
        self._required_texts = required.intersection(self._texts)
        # Which columns of each block of numbers may not be null, [columns, 1]; none: not looked at.
        self._required_numbers = {
            dtype: np.array([[name in required or dtype is np.int64] for name in names])
            for dtype, names in self._numbers.items()
            if dtype is np.int64 or not required.isdisjoint(names)
        }

    def read_rows(self, instances: object) -> Rows:
        """Rows as a list of {column: value}; RowError names the first bad row and column."""
        if not isinstance(instances, list) or not instances:
            raise RowError("rows must be a list of at least one object")
        if len(instances) > MAX_ROWS:
            raise RowError(f"{len(instances)} rows; at most {MAX_ROWS} in one request")
        width = len(self.names)
        surplus = False
        for index, row in enumerate(instances):
            if type(row) is not dict:
                raise RowError("a row must be an object of column: value", row=index)
            if len(row) != width:
                surplus = True
                self._check_keys(row, index)
        try:
            columns = {name: [row[name] for row in instances] for name in self.names}
        except KeyError:
            for index, row in enumerate(instances):
                self._check_keys(row, index)
            raise
        given = self._read_beside(instances) if surplus else {}
        return Rows(size=len(instances), columns=columns, given=given)

    def read_columns(self, inputs: object) -> Rows:
        """Rows as {column: [values]}, every list of one length."""
        if not isinstance(inputs, dict) or not inputs:
            raise RowError("columns must be an object of column: list of values")
        self._check_keys(inputs, None)
        lengths = {name: len(v) if isinstance(v, list) else -1 for name, v in inputs.items()}
        count = next(iter(lengths.values()))
        for name, length in lengths.items():
            if length < 1 or length != count:
                raise RowError("every column must be a list, all of one length", field=name)
        if count > MAX_ROWS:
            raise RowError(f"{count} rows; at most {MAX_ROWS} in one request")
        given = {name: inputs[name] for name in self._beside if name in inputs}
        columns = {name: inputs[name] for name in self.names}
        return Rows(size=count, columns=columns, given=self._checked_beside(given))

    def feed(self, rows: Rows) -> dict[str, Any]:
        """The ONNX inputs of checked rows, each of shape [rows, 1]; RowError for a bad value."""
        feed: dict[str, Any] = {}
        for dtype, names in self._numbers.items():
            values = [self._numbers_of(name, rows.columns[name]) for name in names]
            block = np.array(values, dtype=np.float64)  # null becomes NaN
            if dtype in self._required_numbers:
                lacking = np.isnan(block) & self._required_numbers[dtype]
                self._refuse(lacking, names, "must not be null")
            if dtype is np.float32:
                self._refuse(np.abs(block) > _LARGEST, names, "is too large")
            cast = block.astype(dtype).reshape(len(names), rows.size, 1)
            feed.update(zip(names, cast, strict=True))
        for name in self._texts:
            texts = self._texts_of(name, rows.columns[name])
            feed[name] = np.array(texts, dtype=np.object_).reshape(rows.size, 1)
        return feed

    def _check_keys(self, row: Mapping[str, Any], index: int | None) -> None:
        unknown = row.keys() - self._known
        if unknown:
            raise RowError("unknown column", row=index, field=min(unknown)[:100])
        for name in self.names:
            if name not in row:
                raise RowError("column is missing", row=index, field=name)

    def _read_beside(self, instances: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        present = {name for row in instances for name in row if name in self._beside}
        return self._checked_beside(
            {name: [row.get(name) for row in instances] for name in present}
        )

    def _checked_beside(self, given: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in given.items():
            if name == EVENT_TIME:
                given[name] = [_read_time(value, index) for index, value in enumerate(values)]
                continue
            for index, value in enumerate(values):
                kind = type(value)
                if (
                    kind is not str
                    and (name == ENTITY_KEY or kind is not int)
                    and value is not None
                ):
                    raise RowError("must be text", row=index, field=name)
                if kind is str and len(value) > MAX_TEXT:
                    raise RowError(f"longer than {MAX_TEXT} characters", row=index, field=name)
        return given

    def _numbers_of(self, name: str, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if not kinds <= _NUMBERS:
            index = next(i for i, value in enumerate(values) if type(value) not in _NUMBERS)
            raise RowError("must be a number or null", row=index, field=name)
        whole = self.types[name] == "integer"
        if whole or float in kinds:
            for index, value in enumerate(values):
                fault = None if value is None else _number_fault(value, whole)
                if fault is not None:
                    raise RowError(fault, row=index, field=name)
        return values

    def _texts_of(self, name: str, values: list[Any]) -> list[str]:
        if not set(map(type, values)) <= _TEXTS:
            index = next(i for i, value in enumerate(values) if type(value) not in _TEXTS)
            raise RowError("must be text or null", row=index, field=name)
        for index, value in enumerate(values):
            if value is not None and len(value) > MAX_TEXT:
                raise RowError(f"longer than {MAX_TEXT} characters", row=index, field=name)
        if name in self._required_texts and not all(values):
            index = next(i for i, value in enumerate(values) if not value)
            raise RowError("must not be null or empty", row=index, field=name)
        return ["" if value is None else value for value in values]

    def _refuse(self, bad: Any, names: list[str], text: str) -> None:
        if np.count_nonzero(bad):  # ten times faster than any() on so few values
            column, row = (int(place[0]) for place in np.nonzero(bad))
            raise RowError(text, row=row, field=names[column])


def _number_fault(value: float, whole: bool) -> str | None:
    if not math.isfinite(value):
        return "must be finite"
    if whole and int(value) != value:
        return "must be a whole number"
    # Above 2**53 a JSON reader, a float and the log would no longer mean the same number.
    return "is too large" if whole and abs(value) >= _LARGEST_WHOLE else None


def _read_time(value: object, index: int) -> datetime | None:
    """An ISO 8601 time with a zone as UTC; a naive one is refused, because nobody can order it."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 1970 < moment.year < 2200:
        raise RowError(
            "must be a time with a zone, such as 2013-01-01T10:15:00Z", row=index, field=EVENT_TIME
        )
    return moment.astimezone(UTC)
