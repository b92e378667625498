"""`python -m ferryman.serving.log.finish ROOT [--upload]`: makes Parquet files of journals.

A process of its own, which ends when it is done: what it needs of memory and time is not taken from
the replica that started it. It takes the journals that nobody writes any more, of its own replica
and of dead ones, and brings finished files to where they belong. One process at a time does so in a
folder. On standard output it says what came of it, as one `Result` in JSON.
"""

import argparse
import fcntl
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from ferryman.runtime.json_logs import set_up_logs
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.log.journal import LABELS, journals

_LOCK = ".finish.lock"
_DAYS = ("*/date=*", "*/labels/received=*")  # the folders of days: of predictions, of labels
_NICE = 10
_UNFINISHED_SECONDS = 3600.0
_GROUP_ROWS = 16_384
_SENSELESS = (ValueError, KeyError, IndexError, TypeError)
PARQUET: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "row_group_size": 131_072,
}

logger = logging.getLogger(__name__)


@dataclass
class Result:
    """Rows that were written; rows that were lost; and what has to be tried again."""

    rows: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)


def finish(root: Path, open_store: Callable[[], ObjectStore] | None = None) -> Result:
    """Turn every journal without an owner into Parquet files, and bring all files away.

    A journal that cannot be finished now (a full disk) stays for the next time, and is told of.
    """
    found = recover(root)
    if open_store is not None:
        from ferryman.serving.log.upload import upload_waiting

        try:
            upload_waiting(root, open_store(), wait=True)
        except Exception as error:  # noqa: BLE001 - told: the replica says it, and tries again
            found.problems.append(f"predictions wait in {root}: {error}")
    return found


def recover(root: Path) -> Result:
    """Turn every journal without an owner into Parquet files; also removes files begun in vain."""
    found = Result()
    if not root.is_dir():
        return found
    with _alone(root):
        for file in journals(root):
            try:
                _finish_one(root, file, found)
            except OSError as error:
                logger.error("journal %s cannot be finished yet: %s", file.name, error)
                found.problems.append(f"journal {file.name} cannot be finished yet: {error}")
        old = time.time() - _UNFINISHED_SECONDS
        for days in _DAYS:
            for left in root.glob(f"{days}/.*.tmp"):
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < old:
                        left.unlink()
    return found


def write_file(root: Path, name: str, place: Any, batches: Sequence[Any]) -> None:
    """Write a place's batches as one Parquet file that carries the journal's name.

    A file that is there already holds the same rows and stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / place.folder
    target = folder / f"{name}-{place.part}.parquet"
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_batches(batches)
    # In numbers a dictionary costs much and saves little.
    texts = [one.name for one in table.schema if pa.types.is_string(one.type)]
    scratch = target.with_name(f".{target.stem}.tmp")
    try:
        with scratch.open("wb") as stream:
            pq.write_table(table, stream, use_dictionary=texts, **PARQUET)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(target)
        _sync_folder(folder)  # the journal goes next
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no other process finishes journals in this folder."""
    handle = os.open(root / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _finish_one(root: Path, file: Path, found: Result) -> None:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "rb") as stream:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its owner lives
        if not os.fstat(handle).st_nlink:
            return
        rows, lost = 0, 0
        places: dict[Any, list[Any]] = {}
        read = _read_labels if file.suffix == LABELS else _read
        for count, batches in read(stream, file):
            rows += count
            lost += 0 if batches else count
            for place, batch in batches:
                places.setdefault(place, []).append(batch)
        for place, parts in places.items():
            write_file(root, file.stem, place, parts)
        file.unlink(missing_ok=True)
    found.rows += rows - lost
    found.lost += lost


def _read(stream: IO[bytes], file: Path) -> Iterator[tuple[int, list[tuple[Any, Any]]]]:
    """How many rows some frames hold, and these by place; none of a frame that makes no sense.

    What a kill tore at the end is left out, and said.
    """
    for group in _groups(stream, file):
        try:
            yield sum(frame.rows for frame in group), _batches(group)
        except _SENSELESS:
            # The frames that make sense are not lost for one that does not.
            for frame in group:
                try:
                    yield frame.rows, _batches([frame])
                except _SENSELESS:
                    logger.exception("journal %s: %d rows make no sense", file.name, frame.rows)
                    yield frame.rows, []


def _read_labels(stream: IO[bytes], file: Path) -> Iterator[tuple[int, list[tuple[Any, Any]]]]:
    """As `_read`, of a journal of posted labels: a frame is a request."""
    from ferryman.serving.labels.label_files import label_batches

    for frame in _whole_frames(stream, file):
        try:
            yield frame.rows, list(label_batches(frame))
        except _SENSELESS:
            logger.exception("journal %s: %d labels make no sense", file.name, frame.rows)
            yield frame.rows, []


def _whole_frames(stream: IO[bytes], file: Path) -> Iterator[Any]:
    from ferryman.serving.log.frames import frames

    for frame in frames(stream):
        if isinstance(frame, int):
            logger.warning("journal %s: %d torn bytes at its end left out", file.name, frame)
            return
        yield frame


def _groups(stream: IO[bytes], file: Path) -> Iterator[list[Any]]:
    """Frames of one model and variant, together: columns of few rows cost more than they hold."""
    groups: dict[tuple[str, int, int, str, float], list[Any]] = {}
    for frame in _whole_frames(stream, file):
        head = frame.head["model"]
        told = (frame.head["variant"], frame.propensity)
        kind = (head["name"], head["version"], head["epoch"], *told)
        group = groups.setdefault(kind, [])
        group.append(frame)
        if sum(one.rows for one in group) >= _GROUP_ROWS:
            yield groups.pop(kind)
    yield from groups.values()


def _batches(group: Sequence[Any]) -> list[tuple[Any, Any]]:
    from ferryman.serving.log.frames import joined
    from ferryman.serving.log.rows import batches_of

    return list(batches_of(joined(group) if len(group) > 1 else group[0]))


def main() -> int:
    """Finish the journals of a folder; 0, or 1 where something has to be tried again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--upload", action="store_true", help="bring files to where they belong")
    given = parser.parse_args()
    _give_way()
    set_up_logs("log writer", level=logging.WARNING, private=True)
    try:
        result = finish(given.root, _destination() if given.upload else None)
    except Exception as error:  # whatever it is, the replica is to say it
        logger.exception("journals in %s cannot be finished", given.root)
        result = Result(problems=[f"{type(error).__name__}: {error}"])
    sys.stdout.buffer.write(orjson.dumps(asdict(result)))
    return 1 if result.problems else 0


def _give_way() -> None:
    """Replicas come first: for the processor's time, and where memory runs out."""
    os.nice(_NICE)
    with suppress(OSError):  # a kernel without this file
        Path("/proc/self/oom_score_adj").write_text("1000")


def _destination() -> Callable[[], ObjectStore] | None:
    from ferryman.runtime.prediction_places import log_destination
    from ferryman.settings import load_settings

    return log_destination(load_settings())


if __name__ == "__main__":
    sys.exit(main())
