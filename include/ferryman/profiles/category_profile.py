"""A column of categories: rows, nulls, the most frequent values, how many others there are."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOP = 128
_KEPT = 20_000  # values that a stream holds in memory before rare ones are folded away
_HASHES = 64
_HASH_BITS = 48


@dataclass(frozen=True)
class CategoryProfile:
    """What is known of a column of categories.

    top: the most frequent values with their rows, most frequent first; other: rows of all values
    that are not in it; folded: no value outside of `top` has more rows than this, and a value of
    `top` may have up to this many more than counted (0 where no merge had to guess). Rarer values
    stand in `top` too where the profile was asked for them by name.
    distinct: how many values there are; exact where `other` is 0, else an estimate (standard error
    13 %) from the smallest `hashes` of all values.
    """

    count: int
    nulls: int
    top: Mapping[str, int]
    other: int = 0
    folded: int = 0
    distinct: int = 0
    hashes: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """All rows, with and without a value."""
        return self.count + self.nulls

    @property
    def stored(self) -> "CategoryProfile":
        """The same: a profile of categories has one size."""
        return self

    def as_json(self) -> dict[str, Any]:
        """{type, count, nulls, distinct, top, other, folded, hashes}."""
        return {
            "type": "category",
            "count": self.count,
            "nulls": self.nulls,
            "distinct": self.distinct,
            "top": dict(self.top),
            "other": self.other,
            "folded": self.folded,
            "hashes": list(self.hashes),
        }


@dataclass
class CategoryCounter:
    """Profiles a stream of categories in one pass; `named` values are kept, however rare."""

    named: Collection[str] = ()
    _nulls: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _other: int = 0
    _folded: int = 0
    _hashes: tuple[int, ...] = ()

    def add(self, values: Sequence[str], counts: Sequence[int], nulls: int = 0) -> None:
        """Take values with the rows that each has."""
        self._nulls += nulls
        held = self._counts
        for value, count in zip(values, counts, strict=True):
            if count:
                held[value] = held.get(value, 0) + count
        if len(held) > _KEPT:
            self._hashes = _smallest([*self._hashes, *_hashed(held)])
            kept, rest = _divided(held, self.named, _KEPT // 2)
            self._other += sum(rest)
            # A value may be folded away again and again: what each fold may have cost adds up.
            self._folded += max(rest, default=0)
            self._counts = dict(kept)

    def profile(self) -> CategoryProfile:
        """What was seen so far."""
        return _finished(
            self._counts,
            self._nulls,
            self._other,
            self._folded,
            self._hashes,
            named=self.named,
        )


def merge_categories(
    profiles: Sequence[CategoryProfile], named: Collection[str] = ()
) -> CategoryProfile:
    """The profile of the rows of all profiles (at least one) together.

    `named` values that each profile was asked for too keep exactly their rows.
    """
    counts: Counter[str] = Counter()
    for profile in profiles:
        counts.update(profile.top)
    hashes: tuple[int, ...] = ()
    if any(profile.other for profile in profiles):
        seen = [number for profile in profiles for number in profile.hashes]
        hashes = _smallest([*seen, *_hashed(counts)])
    return _finished(
        counts,
        sum(profile.nulls for profile in profiles),
        sum(profile.other for profile in profiles),
        sum(profile.folded for profile in profiles),
        hashes,
        named=named,
    )


def read_category(stored: Mapping[str, Any]) -> CategoryProfile:
    """A profile from its JSON form."""
    return CategoryProfile(
        count=int(stored["count"]),
        nulls=int(stored["nulls"]),
        top=dict(stored["top"]),
        other=int(stored["other"]),
        folded=int(stored["folded"]),
        distinct=int(stored["distinct"]),
        hashes=tuple(stored["hashes"]),
    )


def _finished(  # noqa: PLR0913  - what a counter holds
    counts: Mapping[str, int],
    nulls: int,
    other: int,
    folded: int,
    hashes: tuple[int, ...],
    *,
    named: Collection[str],
) -> CategoryProfile:
    top, rest = _divided(counts, named, TOP)
    if rest or other:
        hashes = _smallest([*hashes, *_hashed(counts)])
    seen = len(counts)
    return CategoryProfile(
        count=sum(counts.values()) + other,
        nulls=nulls,
        top=dict(top),
        other=other + sum(rest),
        folded=folded + max(rest, default=0),
        distinct=max(seen, _estimate(hashes)) if other else seen,
        hashes=hashes,
    )


def _divided(
    counts: Mapping[str, int], named: Collection[str], most: int
) -> tuple[list[tuple[str, int]], list[int]]:
    """The most frequent values, by rank, and those named; and the rows of each of the others."""
    if len(counts) <= most:
        return _ranked(counts.items()), []
    rows = np.fromiter(counts.values(), np.int64, len(counts))
    bound = int(np.partition(rows, len(rows) - most)[len(rows) - most])
    ranked = _ranked(pair for pair in counts.items() if pair[1] >= bound)
    wanted = set(named)
    left = ranked[most:] + [pair for pair in counts.items() if pair[1] < bound]
    kept = ranked[:most] + _ranked(pair for pair in left if pair[0] in wanted)
    return kept, [count for name, count in left if name not in wanted]


def _ranked(pairs: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The most frequent first, equals by name: the order does not depend on the rows' order."""
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _hashed(values: Iterable[str]) -> list[int]:
    """The smallest hashes of values; no more are ever kept."""
    size, digest = _HASH_BITS // 8, hashlib.blake2b
    found = {
        digest(value.encode("utf-8", "surrogatepass"), digest_size=size).digest()
        for value in values
    }
    return [int.from_bytes(one) for one in sorted(found)[:_HASHES]]


def _smallest(hashes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(hashes))[:_HASHES])


def _estimate(hashes: tuple[int, ...]) -> int:
    """How many values there are, by the place of the 64th smallest hash (Bar-Yossef, 2002)."""
    if len(hashes) < _HASHES:
        return len(hashes)
    return int((_HASHES - 1) * 2.0**_HASH_BITS / hashes[-1])
