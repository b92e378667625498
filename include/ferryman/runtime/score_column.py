"""The columns `label` and `score` of stored rows: their types by task, and of which classes.

A score is a number a row, or one a class.

The field's metadata says which task and which classes it was made for, so that rows of an earlier
declaration are neither read as something else nor an error.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ferryman.spec.metrics import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_TASK, _CLASSES = b"ferryman.task", b"ferryman.classes"


def label_type(task: Task) -> Any:
    """The pyarrow type of an outcome: a truth value, a class's name, or a number."""
    import pyarrow as pa

    if task == "binary":
        return pa.bool_()
    return pa.string() if task == "multiclass" else pa.float64()


def score_field(task: Task, classes: Sequence[str]) -> Any:
    """The pyarrow field `score`: float64, or for a multiclass task list<float64>, one a class."""
    import pyarrow as pa

    kind = pa.list_(pa.float64()) if task == "multiclass" else pa.float64()
    return pa.field("score", kind, metadata={_TASK: task, _CLASSES: json.dumps(list(classes))})


def scores_as(table: Any, task: Task, classes: Sequence[str]) -> Any:
    """A stored table whose `score` is of a task and in the order of its classes.

    Null where the rows were made for another task, or for other classes. Files without the
    metadata are older than it, and binary.
    """
    import pyarrow as pa

    wanted, place = score_field(task, classes), table.schema.get_field_index("score")
    told = table.schema.field(place).metadata or {}
    made_task = told.get(_TASK, b"binary").decode()
    made_classes = json.loads(told.get(_CLASSES, b"[]"))
    if made_task != task or sorted(made_classes) != sorted(classes):
        column = pa.nulls(table.num_rows, wanted.type)
    elif made_classes == list(classes):
        column = table.column(place)
    else:
        column = _reordered(table.column(place), [made_classes.index(name) for name in classes])
    return table.set_column(place, wanted, column)


def score_array(column: Any) -> "npt.NDArray[np.float64]":
    """A column of scores as an array: [rows], or [rows, classes] where a row has a list."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.types.is_list(column.type)
    flat = pc.list_flatten(column) if listed else column
    scores: npt.NDArray[np.float64] = flat.to_numpy(zero_copy_only=False).astype(np.float64)
    return scores.reshape(len(column), -1) if listed and len(column) else scores


def _reordered(column: Any, order: list[int]) -> Any:
    """Lists of one number a class, in another order of classes; null stays null."""
    import pyarrow as pa

    rows = column.to_pylist()
    moved = [None if row is None else [row[place] for place in order] for row in rows]
    return pa.array(moved, pa.list_(pa.float64()))
