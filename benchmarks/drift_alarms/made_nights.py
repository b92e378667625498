"""Nights of logged rows with a known truth: 20 columns of mixed kinds, scores and labels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from ferryman.spec.data import FeatureSpec

NUMBER, CATEGORY = FeatureSpec(type="number"), FeatureSpec(type="category")
NUMBERS, CATEGORIES = 12, 8
COLUMNS = {f"n{i}": NUMBER for i in range(NUMBERS)} | {f"c{i}": CATEGORY for i in range(CATEGORIES)}
START = datetime(2024, 1, 1, tzinfo=UTC)
_SIZES = (2, 3, 4, 6, 10, 25, 60, 120)
Rows = dict[str, Any]


@dataclass(frozen=True)
class Day:
    """One day's logged rows: a table of event_time and columns; scores, and labels for them."""

    table: Any
    scores: np.ndarray
    labels: np.ndarray


@dataclass
class World:
    """Draws days; clustered: every column of every day lies somewhat elsewhere, by `spread` sd.

    changed: what spoils the rows of a day: it is given normal variates [rows, 12], categories
    by name, and what labels follow from, and changes them.
    """

    random: np.random.Generator
    rows: int
    spread: float = 0.0
    numbers: int = NUMBERS
    seen: int = field(default=0, init=False)

    def day(self, change: Callable[[Rows], None] | None = None) -> Day:
        """The next day."""
        made = self._draw()
        if change is not None:
            change(made)
        columns: Rows = {f"n{i}": self._number(i, made["normal"][:, i]) for i in range(NUMBERS)}
        columns |= {f"c{i}": pa.array(made[f"c{i}"], pa.string()) for i in range(CATEGORIES)}
        for name, share in made.get("nulls", {}).items():
            lost = self.random.random(self.rows) < share
            values = columns[name]
            columns[name] = pa.array(np.where(lost, None, np.asarray(values, dtype=object)))
        moment = START + timedelta(days=self.seen, hours=12)
        self.seen += 1
        times = pa.array([moment] * self.rows, pa.timestamp("us", tz="UTC"))
        labels = self.random.random(self.rows) < made["truth"]
        return Day(pa.table({**columns, "event_time": times}), made["scores"], labels)

    def _draw(self) -> Rows:
        normal = self.random.normal(size=(self.rows, NUMBERS))
        normal[:, 1] = 0.6 * normal[:, 0] + 0.8 * normal[:, 1]
        normal += self.random.normal(0, self.spread, NUMBERS) if self.spread else 0.0
        made: Rows = {"normal": normal}
        for i, size in enumerate(_SIZES):
            weights = np.arange(1, size + 1) ** -1.0
            if self.spread:
                weights *= np.exp(self.random.normal(0, self.spread, size))
            drawn = self.random.choice(size, self.rows, p=weights / weights.sum())
            made[f"c{i}"] = np.asarray([f"v{value}" for value in range(size)], dtype=object)[drawn]
        tilt = self.random.normal(0, self.spread / 2) if self.spread else 0.0
        logit = 0.8 * normal[:, 0] + 0.5 * normal[:, 2] - 0.5
        made["scores"] = 1 / (1 + np.exp(-logit))
        made["truth"] = 1 / (1 + np.exp(-logit - tilt))
        return made

    def _number(self, place: int, normal: np.ndarray) -> np.ndarray:
        """Of every third column the logarithm is normal; of another it is whole, or often 0."""
        if place % 6 == 3:
            return np.exp(normal)
        if place % 6 == 4:
            return np.round(normal * 2)
        if place % 6 == 5:
            return np.maximum(0.0, normal - 0.8)
        return normal


def shifted(by: float, column: int = 2) -> Callable[[Rows], None]:
    """A column's normal variate moves by so many standard deviations."""

    def change(made: Rows) -> None:
        made["normal"][:, column] += by

    return change


def turned(made: Rows) -> None:
    """The correlation of the first two columns turns from 0.6 to -0.6; their margins stay."""
    first, second = made["normal"][:, 0], made["normal"][:, 1]
    made["normal"][:, 1] = second - 1.2 * first


def new_value(made: Rows) -> None:
    """2 % of a category are a value that never was."""
    values = made["c2"]
    values[: len(values) // 50] = "new"


def lost(made: Rows) -> None:
    """3 % of a column are null."""
    made["nulls"] = {"n6": 0.03}


def flipped(made: Rows) -> None:
    """Labels come where scores say they do not."""
    made["truth"] = 1 - made["truth"]
