"""Blocks of raw rows that were read lately: neighbouring windows read the same few files."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ferryman.data.rows.cells import Misfits


@dataclass(frozen=True)
class Block:
    """Some raw rows (a pyarrow Table) and the position of the first one in the file."""

    raw: Any
    first: int
    misfits: Misfits = field(default_factory=dict)


class BlockCache:
    """Keeps blocks up to a number of bytes; what was put in first goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Hashable, tuple[list[Block], int]] = {}

    def through(self, key: Hashable, load: Callable[[], Iterator[Block]]) -> Iterator[Block]:
        """The blocks of a key: those kept, else those loaded, one at a time.

        Loaded ones are kept once all of them have come, if they fit.
        """
        if key in self._kept:
            yield from self._kept[key][0]
            return
        taken: list[Block] = []
        size = 0
        for block in load():
            size += block.raw.nbytes
            if size <= self._limit:
                taken.append(block)
            else:
                taken.clear()
            yield block
        if size <= self._limit:
            self._keep(key, taken, size)

    def _keep(self, key: Hashable, blocks: list[Block], size: int) -> None:
        while sum(used for _, used in self._kept.values()) > self._limit - size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (blocks, size)
