"""One suite for every place that keeps objects: a disk, a bucket, memory."""

import datetime as dt
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from services.s3_server import S3Server

from ferryman.errors import PolicyRefused
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.s3_object_store import S3ObjectStore


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(params=["local", "memory", "s3", "s3 below a prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "data")
    if request.param == "memory":
        return MemoryObjectStore()
    server: S3Server = request.getfixturevalue("s3")
    bucket = f"test-{abs(hash(request.node.name)):x}"
    path = f"{bucket}/a prefix" if "prefix" in request.param else bucket
    return S3ObjectStore(server.connection(path), patience=20)


def test_an_object_is_read_as_it_was_written(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 10_000)
    assert store.create("m/a/large", file)
    assert store.create("m/a/small.json", b"{}")
    assert store.create("m/a/empty", b"")
    assert store.read("m/a/large") == file.read_bytes()
    assert store.read("m/a/empty") == b""
    assert (store.size("m/a/large"), store.size("m/a/empty")) == (2_560_000, 0)
    stream = store.open("m/a/large")
    assert stream is not None
    with stream:
        assert stream.seek(-4, io.SEEK_END) == 2_559_996
        assert stream.read() == b"\xfc\xfd\xfe\xff"
        stream.seek(0)
        assert stream.read(3) == b"\x00\x01\x02"


def test_nothing_is_ever_overwritten(store: ObjectStore) -> None:
    assert store.create("m/one", b"first")
    assert not store.create("m/one", b"second")
    assert not store.create("m/one", b"first")
    assert store.read("m/one") == b"first"


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.create("m/folder/object", b"x")
    for key in ("m/none", "m/folder", "m/folder/object/below"):
        assert store.read(key) is None
        assert store.open(key) is None
        assert store.size(key) is None
        assert store.modified(key) is None
    store.delete("m/none")
    assert store.keys("other") == []


def test_keys_below_a_prefix_are_sorted_and_whole_names(store: ObjectStore) -> None:
    for key in ("m/b/2.json", "m/b/1.json", "m/bb/3.json", "n/4.json"):
        assert store.create(key, b"x")
    assert store.keys("m/b") == ["m/b/1.json", "m/b/2.json"]
    assert store.keys("m") == ["m/b/1.json", "m/b/2.json", "m/bb/3.json"]
    assert store.keys("") == ["m/b/1.json", "m/b/2.json", "m/bb/3.json", "n/4.json"]


def test_a_deleted_key_is_free_again(store: ObjectStore) -> None:
    assert store.create("m/x/one", b"first")
    store.delete("m/x/one")
    store.delete("m/x/one")
    assert store.read("m/x/one") is None
    assert store.keys("m") == []
    assert store.create("m/x/one", b"second")
    assert store.read("m/x/one") == b"second"


def test_an_object_has_a_time(store: ObjectStore) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    store.create("m/one", b"x")
    moment = store.modified("m/one")
    assert moment is not None
    assert before <= moment <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)


def test_of_many_writers_one_wins(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.create("m/race", f"writer {n}".encode()), range(24)))
    assert won.count(True) == 1
    assert store.read("m/race") == f"writer {won.index(True)}".encode()


@pytest.mark.parametrize(
    "key", ["../x", "a/../b", "/x", "a//b", ".", "a/..", "ä", "a b", "a\n", ""]
)
def test_a_key_leads_nowhere_else(store: ObjectStore, key: str) -> None:
    with pytest.raises(PolicyRefused, match="is not a key"):
        store.create(key, b"x")
    with pytest.raises(PolicyRefused, match="is not a key"):
        store.delete(key)


def test_an_address_names_the_object(store: ObjectStore) -> None:
    assert store.uri("m/one").endswith("/m/one")
    assert store.uri("m/one").partition("://")[0] in {"file", "s3", "memory"}


def test_whole_objects_are_not_swept(store: ObjectStore) -> None:
    store.create("m/one.json", b"x")
    assert store.sweep(dt.datetime.now(dt.UTC) + dt.timedelta(days=1), remove=True) == []
    assert store.keys("m") == ["m/one.json"]
