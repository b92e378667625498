"""A frame of the prediction log's journal: the rows of requests that one model answered.

Magic, length of the head, length of all, CRC-32 of all; a head in JSON that names the sections; the
sections, each at a multiple of 8 bytes: arrays as they lie in memory, little-endian. Texts are
their lengths in bytes (-1: null) and one run of UTF-8.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np
import orjson

from ferryman.serving.log.entries import Entry
from ferryman.serving.models.onnx_model import OnnxModel

_PREFIX = struct.Struct("<4sIII")
_MAGIC = b"FPL2"
_ALIGN = 8
_OPTIONAL = frozenset({"given", "entities", "entity_lengths"})
_FLOATS, _LENGTHS = "<f8", "<i4"


class Frame(NamedTuple):
    """What a frame holds: `head` as `Layout` tells it, arrays and texts by section."""

    head: Mapping[str, Any]
    sections: Mapping[str, memoryview]

    @property
    def propensity(self) -> float:
        """How probable it was that this variant was drawn; journals that say nothing drew none."""
        return float(self.head.get("propensity", 1.0))

    @property
    def rows(self) -> int:
        """How many rows."""
        return int(self.head["rows"])

    def floats(self, name: str, width: int) -> Any:
        """Numbers as float64 [rows, width]."""
        return np.frombuffer(self.sections[name], _FLOATS).reshape(-1, width)

    def lengths(self, name: str) -> Any:
        """Whole numbers as int32."""
        return np.frombuffer(self.sections[name], _LENGTHS)

    def told(self, section: str, lengths: str) -> list[str]:
        """A text a request; empty ones where a frame has no such section."""
        if section not in self.sections:
            return [""] * len(self.lengths("sizes"))
        ends = np.cumsum(self.lengths(lengths)).tolist()
        content, starts = bytes(self.sections[section]), [0, *ends[:-1]]
        return [
            content[start:end].decode(errors="replace")
            for start, end in zip(starts, ends, strict=True)
        ]

    def given(self) -> dict[str, list[Any]]:
        """What came with the rows and is no feature, by column."""
        found: dict[str, list[Any]] = orjson.loads(self.sections.get("given", b"{}"))
        return found


class Layout:
    """What of a model's cells is logged, and where it lies; made once a model."""

    def __init__(self, model: OnnxModel) -> None:
        signature, identity = model.signature, model.identity
        kept = signature.logged
        types = model.schema.types
        features = [name for name in types if kept is None or name in kept]
        # The entity key is made of them, whether or not they are logged.
        wanted = {*features, *signature.entity}
        # The places of the kept columns of each block; None: all of them.
        self.blocks: list[tuple[bool, int, list[int] | None]] = []
        numbers: list[list[str]] = []
        texts: list[str] = []
        for block in model.schema.blocks:
            places = [place for place, name in enumerate(block.names) if name in wanted]
            names = [block.names[place] for place in places]
            if block.kind == "text":
                texts += names
            else:
                numbers.append(names)
            whole = len(places) == block.width
            self.blocks.append((block.kind == "text", block.width, None if whole else places))
        self.head = orjson.Fragment(
            orjson.dumps(
                {
                    "name": identity.name,
                    "version": identity.version,
                    "epoch": identity.epoch,
                    "task": signature.task,
                    "classes": list(signature.classes),
                    "entity": list(signature.entity),
                    "features": features,
                    "types": {name: kind for name, kind in types.items() if name in wanted},
                    "numbers": numbers,
                    "texts": texts,
                }
            )
        )


def pack(layout: Layout, entries: Sequence[Entry]) -> bytes:
    """One frame of entries, at least one, of one model, variant and propensity."""
    sizes = [len(entry.scores) for entry in entries]
    ids = [entry.request_id for entry in entries]
    scores = np.array(list(chain.from_iterable(entry.scores for entry in entries)), _FLOATS)
    sections: dict[str, Any] = {
        "sizes": np.array(sizes, _LENGTHS),
        "ids": b"".join(ids),
        "id_lengths": np.array([*map(len, ids)], _LENGTHS),
        "at": np.array([entry.at for entry in entries], _FLOATS),
        "seconds": np.array([entry.seconds for entry in entries], _FLOATS),
        "scores": scores,
    }
    entities = [entry.entity for entry in entries]
    if any(entities):
        sections["entities"] = b"".join(entities)
        sections["entity_lengths"] = np.array([*map(len, entities)], _LENGTHS)
    given = _joined_given(entries, sizes)
    if given:
        sections["given"] = orjson.dumps(given)
    rows, numbers, texts = sum(sizes), 0, 0
    for place, (is_text, width, kept) in enumerate(layout.blocks):
        blocks = [entry.checked[place] for entry in entries]
        if is_text:
            for cells in _text_columns(blocks, rows, width, kept):
                sections[f"text_lengths{texts}"], sections[f"texts{texts}"] = _joined_texts(cells)
                texts += 1
        else:
            sections[f"numbers{numbers}"] = _joined_numbers(blocks, rows, width, kept)
            numbers += 1
    told = {"variant": entries[0].variant, "propensity": entries[0].propensity}
    return _frame(layout, {"rows": rows, **told}, sections)


def pack_head(told: Mapping[str, Any]) -> bytes:
    """A frame that is a head alone; `told` names how many `rows` are in it."""
    head = orjson.dumps({**told, "sections": {}})
    return _sealed(len(head), head)


def frames(stream: IO[bytes]) -> Iterator[Frame | int]:
    """The whole frames of a stream; last, where what follows is torn, how many bytes that are."""
    while prefix := stream.read(_PREFIX.size):
        content = b""
        if len(prefix) == _PREFIX.size:
            magic, head_length, length, checksum = _PREFIX.unpack(prefix)
            content = stream.read(length) if magic == _MAGIC else b""
        if not content or len(content) < length or zlib.crc32(content) != checksum:
            yield len(prefix) + len(content) + len(stream.read())
            return
        yield _unpack(memoryview(content), head_length)


def joined(found: Sequence[Frame]) -> Frame:
    """Frames of one model, variant and propensity as one."""
    rows = [frame.rows for frame in found]
    sections = {
        name: memoryview(b"".join(frame.sections[name] for frame in found))
        for name in found[0].sections
        if name not in _OPTIONAL
    }
    if any("entities" in frame.sections for frame in found):
        for name in ("entities", "entity_lengths"):
            sections[name] = memoryview(b"".join(_entities(frame, name) for frame in found))
    given = [frame.given() for frame in found]
    names = {name for columns in given for name in columns}
    if names:
        together = {
            name: [
                *chain.from_iterable(
                    columns.get(name) or [None] * count
                    for columns, count in zip(given, rows, strict=True)
                )
            ]
            for name in names
        }
        sections["given"] = memoryview(orjson.dumps(together))
    return Frame({**found[0].head, "rows": sum(rows)}, sections)


def _entities(frame: Frame, name: str) -> bytes | memoryview:
    """A section of whom clients named, or what it is where they named nobody."""
    nobody = b"" if name == "entities" else bytes(len(frame.sections["sizes"]))
    return frame.sections.get(name, nobody)


def _frame(layout: Layout, told: Mapping[str, Any], sections: Mapping[str, Any]) -> bytes:
    parts: list[Any] = [b""]
    lengths = {}
    for name, section in sections.items():
        length = len(section) if type(section) is bytes else section.nbytes
        lengths[name] = length
        parts += (section, bytes(-length % _ALIGN))
    head = orjson.dumps({"model": layout.head, **told, "sections": lengths})
    parts[0] = head + b" " * (-len(head) % _ALIGN)
    return _sealed(len(parts[0]), b"".join(parts))


def _sealed(head_length: int, content: bytes) -> bytes:
    prefix = _PREFIX.pack(_MAGIC, head_length, len(content), zlib.crc32(content))
    return prefix + content


def _unpack(content: memoryview, head_length: int) -> Frame:
    head = orjson.loads(content[:head_length])
    sections, start = {}, head_length
    for name, length in head["sections"].items():
        sections[name] = content[start : start + length]
        start += length + -length % _ALIGN
    return Frame(head, sections)


def _joined_given(entries: Sequence[Entry], sizes: Sequence[int]) -> dict[str, list[Any]]:
    names = {name for entry in entries if entry.given for name in entry.given}
    return {
        name: [
            value
            for entry, size in zip(entries, sizes, strict=True)
            for value in (entry.given.get(name) or [None] * size)
        ]
        for name in names
    }


def _joined_numbers(blocks: Sequence[Any], rows: int, width: int, kept: list[int] | None) -> Any:
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if joined.shape != (rows, width):
        raise ValueError(f"numbers of shape {joined.shape}, not {(rows, width)}")
    wanted = joined if kept is None else joined[:, kept]
    return np.ascontiguousarray(wanted, _FLOATS)


def _text_columns(
    blocks: Sequence[list[str | None]], rows: int, width: int, kept: list[int] | None
) -> Iterator[list[str | None]]:
    """The cells of each column that is kept."""
    cells = blocks[0] if len(blocks) == 1 else list(chain.from_iterable(blocks))
    if len(cells) != rows * width:
        raise ValueError(f"{len(cells)} texts, not {rows} x {width}")
    for place in range(width) if kept is None else kept:
        yield cells[place::width]


def _joined_texts(cells: list[str | None]) -> tuple[Any, bytes]:
    """The length of each text in bytes, and all of them in UTF-8."""
    known: list[Any] = ["" if cell is None else cell for cell in cells] if None in cells else cells
    joined = "".join(known)
    content = joined.encode(errors="replace")
    if len(content) != len(joined):  # not ASCII: a character is several bytes
        known = [text.encode(errors="replace") for text in known]
    lengths = np.fromiter(map(len, known), _LENGTHS, len(known))
    if None in cells:
        lengths[[place for place, cell in enumerate(cells) if cell is None]] = -1
    return lengths, content
