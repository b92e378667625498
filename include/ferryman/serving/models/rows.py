"""From what a client sent to what the model takes: every value checked, the first bad one named."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from ferryman.errors import SpecError
from ferryman.runtime.bundle import Block, Signature
from ferryman.serving.models.blocks import MAX_TEXT, CellBlock, NoScore, RowError, cell_block
from ferryman.serving.models.times import WANTED, read_time

__all__ = [
    "ENTITY_KEY",
    "EVENT_TIME",
    "MAX_ROWS",
    "MAX_TEXT",
    "NoScore",
    "RowError",
    "RowSchema",
    "Rows",
]

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
_KINDS: Mapping[str, Block] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(string)": "text",
}
_OBJECTS, _LISTS = {dict}, {list}
_NOTHING: Mapping[str, list[Any]] = MappingProxyType({})
_A_ROW = "a row must be an object of column: value, or a list of values in the model's order"


class Rows:
    """Rows as they were read. `given` holds, by column, what is logged but is no feature.

    `checked` is set by `RowSchema.feed`: the good cells, a block at a time, in the schema's order:
    float64 [rows, columns] with NaN for null, or a list of texts and None, row by row.
    """

    def __init__(
        self,
        size: int,
        cells: Sequence[list[Any]],
        blocks: Sequence[CellBlock],
        given: Mapping[str, list[Any]] = _NOTHING,
    ) -> None:
        self.size = size
        self.cells = cells  # a list a block, row by row
        self.given = given
        self.checked: Sequence[Any] = ()
        self._blocks = blocks

    @cached_property
    def columns(self) -> Mapping[str, list[Any]]:
        """The features' values by column, as they were sent."""
        if self.size == 1:
            pairs = chain.from_iterable(
                zip(block.names, cells, strict=True)
                for block, cells in zip(self._blocks, self.cells, strict=True)
            )
            return {name: [cell] for name, cell in pairs}
        return {
            name: cells[place :: block.width]
            for block, cells in zip(self._blocks, self.cells, strict=True)
            for place, name in enumerate(block.names)
        }


class RowSchema:
    """What a model's rows must hold, made once from its signature and its ONNX inputs.

    `input_types` maps each ONNX input to its type, such as "tensor(float)". The inputs are the
    signature's blocks, of shape [rows, columns], or one a feature, of shape [rows, 1].
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
        self._beside = {ENTITY_KEY, EVENT_TIME, *self.entity} - set(self.names)
        self._known = self._beside | set(self.names)
        self.takes_blocks = bool(signature.blocks) and signature.blocks.keys() == set(input_types)
        layout = (
            _block_layout(signature, input_types)
            if self.takes_blocks
            else _column_layout(signature, input_types)
        )
        # What decides how a request is read and checked.
        self._told = (signature.features, self.entity, self.takes_blocks, [*layout.items()])
        columns = {column.name: column for column in signature.features}
        self.blocks = [
            cell_block(kind, [columns[name] for name in names]) for kind, names in layout.items()
        ]
        places = {
            name: (number, place)
            for number, block in enumerate(self.blocks)
            for place, name in enumerate(block.names)
        }
        # Block and place of each entity column; no block: it is sent beside the features.
        self._entity_places = [(*places.get(name, (None, 0)), name) for name in self.entity]
        # How the cells of a block are taken out of an object, and out of a list.
        self._by_name = [_picker(block.names) for block in self.blocks]
        self._by_place = [
            None if block.names == self.names else _picker([*map(self.names.index, block.names)])
            for block in self.blocks
        ]

    def reads_as(self, other: "RowSchema") -> bool:
        """Whether rows that the other has read and checked are this one's, too."""
        return self._told == other._told

    def entity_of(self, rows: Rows) -> str | None:
        """Whom the first row is about: its entity columns, else its `entity_key`.

        None where it says neither.
        """
        cells: list[Any] = []
        for block, place, name in self._entity_places:
            if block is None:
                values = rows.given.get(name)
                cells.append(values[0] if values else None)
            else:
                cells.append(rows.cells[block][place])
        if cells and None not in cells:
            return "|".join([_cell_text(cell) for cell in cells])
        keys = rows.given.get(ENTITY_KEY)
        return keys[0] if keys else None

    def read_rows(self, instances: object) -> Rows:
        """Rows as a list of objects {column: value}, or of lists of values in the features' order.

        Rows of a model of one feature may be bare values. RowError names the first bad row and
        column. Cells are checked later, by `feed`.
        """
        if type(instances) is not list or not instances:
            raise RowError("rows must be a list of at least one object")
        if len(instances) > MAX_ROWS:
            raise RowError(f"{len(instances)} rows; at most {MAX_ROWS} in one request")
        kinds = set(map(type, instances))
        if kinds == _OBJECTS:
            return self._read_objects(instances)
        if kinds == _LISTS:
            return self._read_lists(instances)
        if len(self.names) == 1 and kinds.isdisjoint((dict, list)):
            return Rows(len(instances), [instances], self.blocks)
        wanted = dict if type(instances[0]) is dict else list
        index = next((i for i, row in enumerate(instances) if type(row) is not wanted), 0)
        raise RowError(_A_ROW, row=index)

    def read_columns(self, inputs: object) -> Rows:
        """Rows as {column: [values]}, every list of one length; of one feature also as a list."""
        if isinstance(inputs, list) and len(self.names) == 1:
            return self.read_rows(inputs)
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
        cells = [
            list(chain.from_iterable(zip(*(inputs[name] for name in block.names), strict=True)))
            for block in self.blocks
        ]
        return Rows(count, cells, self.blocks, self._checked_beside(given))

    def feed(self, rows: Rows) -> dict[str, Any]:
        """The ONNX inputs of rows: [rows, columns] a block or [rows, 1] a column.

        RowError names the first bad value.
        """
        size, pairs = rows.size, zip(self.blocks, rows.cells, strict=True)
        rows.checked = checked = [block.check(cells, size) for block, cells in pairs]
        if self.takes_blocks:
            return {
                block.kind: block.tensor(cells, size)
                for block, cells in zip(self.blocks, checked, strict=True)
            }
        feed: dict[str, Any] = {}
        for block, cells in zip(self.blocks, checked, strict=True):
            columns = block.tensor(cells, size).T.reshape(block.width, size, 1)
            feed.update(zip(block.names, columns, strict=True))
        return feed

    def _read_objects(self, instances: list[dict[str, Any]]) -> Rows:
        size, width = len(instances), len(self.names)
        surplus = set(map(len, instances)) != {width}
        if surplus:
            for index, row in enumerate(instances):
                if len(row) != width:
                    self._check_keys(row, index)
        try:
            if size == 1:
                cells = [list(pick(instances[0])) for pick in self._by_name]
            else:
                cells = [list(chain.from_iterable(map(p, instances))) for p in self._by_name]
        except KeyError:
            for index, row in enumerate(instances):
                self._check_keys(row, index)
            raise
        given = self._read_beside(instances) if surplus else _NOTHING
        return Rows(size, cells, self.blocks, given)

    def _read_lists(self, instances: list[list[Any]]) -> Rows:
        size, width = len(instances), len(self.names)
        for index, row in enumerate(instances):
            if len(row) != width:
                text = f"a row of {len(row)} values; the model takes {width}"
                raise RowError(text, row=index)
        cells = [
            (instances[0] if size == 1 else list(chain.from_iterable(instances)))
            if pick is None
            else list(chain.from_iterable(map(pick, instances)))
            for pick in self._by_place
        ]
        return Rows(size, cells, self.blocks)

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
                given[name] = [_event_time(value, index) for index, value in enumerate(values)]
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


def _block_layout(
    signature: Signature, input_types: Mapping[str, str]
) -> Mapping[Block, list[str]]:
    """Kind -> columns, as the signature says; SpecError where the graph takes something else."""
    listed = sorted(chain.from_iterable(signature.blocks.values()))
    kinds = {kind: _KINDS.get(input_types[kind]) for kind in signature.blocks}
    if listed != sorted(column.name for column in signature.features) or any(
        kind != found for kind, found in kinds.items()
    ):
        raise SpecError(f"blocks {signature.blocks} are not the features, as {dict(input_types)}")
    for kind, names in signature.blocks.items():
        for name in names:
            _check_kind(signature, name, kind, input_types[kind])
    return signature.blocks


def _column_layout(
    signature: Signature, input_types: Mapping[str, str]
) -> Mapping[Block, list[str]]:
    """Kind -> columns, where each column is an input; SpecError for one that is no feature."""
    names = [column.name for column in signature.features]
    if set(names) != set(input_types) or not set(input_types.values()) <= _KINDS.keys():
        raise SpecError(f"ONNX inputs {dict(input_types)} are not the features {names}")
    layout: dict[Block, list[str]] = {}
    for name in names:
        kind = _KINDS[input_types[name]]
        _check_kind(signature, name, kind, input_types[name])
        layout.setdefault(kind, []).append(name)
    return layout


def _check_kind(signature: Signature, name: str, kind: Block, found: str) -> None:
    declared = next(column.type for column in signature.features if column.name == name)
    if (kind == "text") != (declared == "category"):
        raise SpecError(f"feature {name!r} is a {declared}, not {found}")


def _picker(keys: Sequence[Any]) -> Any:
    """What takes the cells of some keys out of a row, always as a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row, key=keys[0]: (row[key],)


def _cell_text(cell: object) -> str:
    """Clients write a whole number as 5 or 5.0: the same entity."""
    return str(int(cell)) if type(cell) is float and cell.is_integer() else str(cell)


def _event_time(value: object, index: int) -> datetime | None:
    """The time of a row's event as UTC; None for null."""
    moment = read_time(value, EVENT_TIME, index)
    if moment is None:
        return None
    if not 1970 < moment.year < 2200:
        raise RowError(WANTED, row=index, field=EVENT_TIME)
    return moment.astimezone(UTC)
