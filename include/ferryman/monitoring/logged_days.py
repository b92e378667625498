"""Days of the prediction log as they are remembered: <root>/<model>/logged_days/<day>.parquet.

A night compares days; a day that is over does not change unless rows are added to it. So each is
read once, and remembered by its profiles, version by version, and a sample of its rows. A day is
remembered with the names of the files that it was read from: where others hold its rows now, it is
read again, and what it says is always what its rows would say.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import (
    Profile,
    merge_profiles,
    profile_json,
    read_profile,
)
from ferryman.profiles.day_profiles import profile_days
from ferryman.runtime.files import write_atomic
from ferryman.spec.data import FeatureSpec

logger = logging.getLogger(__name__)

SCORE = "score"  # no feature may have that name
Names = Mapping[str, Collection[str]]
_NUMBER = FeatureSpec(type="number")
_HEAD = b"ferryman.logged_day"
_NO_ROWS = pa.table(
    {
        "event_time": pa.array([], pa.timestamp("us", tz="UTC")),
        "version": pa.array([], pa.int64()),
        SCORE: pa.array([], pa.float64()),
    }
)


@dataclass(frozen=True)
class LoggedDay:
    """One day of events: profiles of the columns and of `score` by version, and sampled rows.

    rows: a pyarrow Table of event_time, version, score and the columns, in random order; a day
    with no more rows than the sample has them all.
    """

    day: str
    versions: Mapping[int, Profile]
    rows: Any


@dataclass(frozen=True)
class LoggedDays:
    """Days, oldest first; those with no rows are not there."""

    days: Sequence[LoggedDay]
    columns: Collection[str]
    named: Names

    @property
    def versions(self) -> set[int]:
        """Whose answers there are."""
        return {version for day in self.days for version in day.versions}

    @property
    def names(self) -> list[str]:
        """The days' names."""
        return [day.day for day in self.days]

    @property
    def count(self) -> int:
        """How many rows all days have."""
        profiles = [profile for day in self.days for profile in day.versions.values()]
        return sum(profile[SCORE].rows for profile in profiles)

    def without(self, versions: Collection[int]) -> "LoggedDays":
        """The same but for the answers of some versions."""
        if not self.versions & set(versions):
            return self
        found = []
        for day in self.days:
            kept = {
                version: one for version, one in day.versions.items() if version not in versions
            }
            rows = day.rows.filter(pc.is_in(day.rows["version"], pa.array(kept, pa.int64())))
            found += [LoggedDay(day.day, kept, rows)] if kept else []
        return LoggedDays(found, self.columns, self.named)

    def profiles(self) -> dict[str, Profile]:
        """The profile of the columns of each day, of all versions together."""
        return {day.day: self._merged(day.versions.values(), self.columns) for day in self.days}

    def scores(self, version: int) -> dict[str, Profile]:
        """The profile of a version's scores, as `score`, of each day that it answered on."""
        return {
            day.day: {SCORE: day.versions[version][SCORE]}
            for day in self.days
            if version in day.versions
        }

    def rows(self, days: Collection[str]) -> Any:
        """The sampled rows of some days, as LoggedDay has them.

        A column that was text and is a number of late, or reverse, is null in the older days; where
        there are no rows, there are no columns of the model either.
        """
        tables = [day.rows for day in self.days if day.day in days]
        newest = {field.name: field.type for table in tables for field in table.schema}
        alike = [_of_kinds(table, newest) for table in tables]
        return pa.concat_tables([_NO_ROWS, *alike], promote_options="permissive")

    def _merged(self, profiles: Iterable[Profile], columns: Collection[str]) -> Profile:
        parts = [{name: profile[name] for name in columns} for profile in profiles]
        return parts[0] if len(parts) == 1 else merge_profiles(parts, self.named)


def summarise(
    day: str, table: Any, columns: Mapping[str, FeatureSpec], named: Names, most: int
) -> LoggedDay:
    """A day's rows, of event_time, version, score (one number) and columns, in a few figures.

    most: rows that the sample has; the same rows give the same sample.
    """
    everything = {**columns, SCORE: _NUMBER}
    versions = {}
    for version in sorted(pc.unique(table["version"]).to_pylist()):
        own = table.filter(pc.equal(table["version"], version))
        found = profile_days(own, everything, named)[day]
        # As it is when it is read again, rounded: a night and its restatement see the same.
        versions[int(version)] = read_profile(profile_json(found))
    seed = int.from_bytes(hashlib.sha256(day.encode()).digest()[:8])
    picked = np.random.default_rng(seed).permutation(table.num_rows)[:most]
    names = [name for name in table.schema.names if name in everything]
    rows = table.select(["event_time", "version", *names]).take(pa.array(picked))
    place = rows.schema.get_field_index("version")
    return LoggedDay(
        day, versions, rows.set_column(place, "version", pc.cast(rows["version"], pa.int64()))
    )


@dataclass(frozen=True)
class Sources:
    """The files that a day's rows were in, by name; `all`: and those that they replaced."""

    names: frozenset[str]
    all: frozenset[str]


@dataclass(frozen=True)
class KnownDay:
    """A remembered day, and the files that it was read from."""

    day: LoggedDay
    sources: Sources


class LoggedDayStore:
    """The remembered days of one model, for one declaration of its columns.

    `kind` tells declarations apart; a day of another one is as good as none.
    """

    def __init__(self, root: Path, model: str, kind: str) -> None:
        self._folder = root / model / "logged_days"
        self._kind = kind

    def write(self, day: LoggedDay, sources: Sources, named: Names) -> None:
        """Remember a day that was read from some files, in place of what was known."""
        head = {
            "kind": self._kind,
            "names": sorted(sources.names),
            "sources": sorted(sources.all),
            "named": {name: _digest(values) for name, values in named.items()},
            "versions": {str(one): profile_json(found) for one, found in day.versions.items()},
        }
        told = {_HEAD: orjson.dumps(head)}
        sink = pa.BufferOutputStream()
        pq.write_table(day.rows.replace_schema_metadata(told), sink, compression="zstd")
        write_atomic(self._file(day.day), sink.getvalue().to_pybytes())

    def read(self, day: str, named: Names) -> KnownDay | None:
        """A day as it was remembered; None where it must be read from its rows.

        That is where it is not known, or cannot tell how often a value that is `named` came.
        """
        file = self._file(day)
        try:
            rows = pq.ParquetFile(file).read()
            head = orjson.loads(rows.schema.metadata[_HEAD])
            if head["kind"] != self._kind:
                return None
            stored = head["versions"].items()
            versions = {int(one): read_profile(found) for one, found in stored}
            wanted = {name: _digest(values) for name, values in named.items()}
            vague = {name for name in wanted if wanted[name] != head["named"].get(name)}
            sources = Sources(frozenset(head["names"]), frozenset(head["sources"]))
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: not a remembered day, so its rows are read: %s", file, error)
            return None
        if any(_folds(profile.get(name)) for profile in versions.values() for name in vague):
            return None
        return KnownDay(LoggedDay(day, versions, rows.replace_schema_metadata(None)), sources)

    def forget(self, before: str) -> None:
        """Forget the days before one: samples of rows are kept no longer than they are needed."""
        for file in self._folder.glob("*.parquet"):
            if file.stem < before:
                file.unlink(missing_ok=True)

    def _file(self, day: str) -> Path:
        return self._folder / f"{day}.parquet"


def _of_kinds(table: Any, kinds: Mapping[str, Any]) -> Any:
    for place, (name, kind) in enumerate(zip(table.schema.names, table.schema.types, strict=True)):
        if pa.types.is_string(kind) != pa.types.is_string(kinds[name]):
            table = table.set_column(place, name, pa.nulls(table.num_rows, kinds[name]))
    return table


def _folds(column: Any) -> bool:
    """Whether a profile leaves values out that it was not asked for by name."""
    return isinstance(column, CategoryProfile) and column.other > 0


def _digest(values: Collection[str]) -> str:
    return hashlib.sha256(orjson.dumps(sorted(values))).hexdigest()[:16]
