"""Splits: which rows train and which rows judge, so that no row or group stands on both sides.

By time: training ends where evaluation begins. By group as well, where `train.group` is declared:
a group whose rows judge has none that train. It is the training side that gives way, because the
newest days are what a model is wanted for; evaluation rows stay as they are, so that a candidate
and the champion are still judged on all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.errors import DataRejected
from ferryman.spec.data import FeaturesSpec
from ferryman.spec.model import ModelSpec
from ferryman.spec.windows import Window

if TYPE_CHECKING:
    import pandas as pd

_NO_VALUE = "-"  # cannot be a length, so it cannot be a value's beginning
_WARN_SHARE = 0.05


@dataclass(frozen=True)
class LeftOut:
    """Training rows that are left out, and the number of groups that they belong to."""

    rows: int
    groups: int


@dataclass(frozen=True)
class SharedRows:
    """Rows that are equal in every feature and in the label.

    `shared` counts evaluation rows that stand among the training rows too, of `evaluation` in all;
    `repeated` counts training rows that repeat an earlier one, of `training`.
    """

    shared: int
    evaluation: int
    repeated: int
    training: int

    @property
    def warning(self) -> str:
        """What a person should know of it; "" where it is little.

        Few and coarse features give equal rows by themselves, and then training rows repeat each
        other as often: so both shares are told.
        """
        if self.shared <= _WARN_SHARE * self.evaluation:
            return ""
        return (
            f"{self.shared} of {self.evaluation} evaluation rows "
            f"({self.shared / self.evaluation:.1%}) equal a training row in every feature and in "
            f"the label; {self.repeated / max(self.training, 1):.1%} of the training rows repeat "
            "one another. Unless the features are few and coarse, rows were delivered twice."
        )


def event_windows(spec: ModelSpec, cutoff: datetime) -> tuple[Window, Window]:
    """The events to train on and, right after them, those to evaluate on, at a cut-off."""
    known = cutoff - spec.data.label.known_after
    held = known - spec.train.holdout
    return Window(start=held - spec.train.window, end=held), Window(start=held, end=known)


def group_keys(table: Any, group: Sequence[str]) -> Any:
    """One text a row that names its group; equal texts are equal values in every column.

    A value may hold any character, so each is written with its length before it. Null is a value
    like another: what has no name may be the same thing.
    """
    parts = []
    for name in group:
        texts = table.column(name).combine_chunks().cast(pa.string())
        sizes = pc.binary_length(texts).cast(pa.string())
        parts.append(pc.fill_null(pc.binary_join_element_wise(sizes, texts, ":"), _NO_VALUE))
    return pc.binary_join_element_wise(*parts, "|")


def without_groups(rows: Any, group: Sequence[str], held: Any) -> tuple[Any, LeftOut]:
    """The rows of a Table whose group is not among the held ones, and what was left out."""
    keys = group_keys(rows, group)
    crossing = pc.is_in(keys, value_set=pc.unique(held))
    left = LeftOut(
        rows=pc.sum(crossing).as_py() or 0, groups=pc.count_distinct(keys.filter(crossing)).as_py()
    )
    return rows.filter(pc.invert(crossing)), left


def refuse_nothing_left(rows: int, left: LeftOut, group: Sequence[str], window: Window) -> None:
    """Raise DataRejected (exit 3) where every training row belongs to a group that judges."""
    if rows == 0 and left.rows:
        raise DataRejected(
            f"no training row is left in {window}: all {left.rows} belong to the {left.groups} "
            f"groups of {', '.join(group)} that evaluation rows belong to as well",
            remedy="Group by something with more different values, shorten train.holdout, or take "
            "train.group out.",
        )


def shared_rows(train: "pd.DataFrame", evaluation: "pd.DataFrame", names: list[str]) -> SharedRows:
    """Count rows that are equal across the split, in the given feature columns and the label."""
    ours, theirs = _hashes(train, names), _hashes(evaluation, names)
    return SharedRows(
        shared=int(np.isin(theirs, ours).sum()),
        evaluation=len(theirs),
        repeated=len(ours) - len(np.unique(ours)),
        training=len(ours),
    )


def _hashes(frame: "pd.DataFrame", names: list[str]) -> Any:
    """A number for each row: equal rows have equal ones, others by chance of 2**-64 only."""
    from pandas.util import hash_pandas_object

    return hash_pandas_object(frame[[*names, "label"]], index=False).to_numpy()


def refuse_nulls(frame: "pd.DataFrame", features: FeaturesSpec) -> None:
    """DataRejected (exit 3) where a column that no row may lack is null: it was ingested before."""
    for name, feature in features.columns.items():
        if feature.nullable:
            continue
        lacking = frame[name] == "" if feature.type == "category" else frame[name].isna()
        if lacking.any():
            first = frame["event_time"][lacking].iloc[0]
            raise DataRejected(
                f"column {name!r} is null in {int(lacking.sum())} of {len(frame)} rows, the first "
                f"of {first:%Y-%m-%d}: they were ingested before it was declared nullable: false",
                remedy=f"Ingest these windows again, or allow null in features.columns.{name}.",
            )
