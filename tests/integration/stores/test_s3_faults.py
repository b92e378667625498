"""A bucket that is busy, cuts, lies, hangs, refuses or loses its reply."""

import multiprocessing
import time
from collections.abc import Iterator

import pytest
from services import s3_server
from services.s3_server import S3Server

from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.runtime.connections import Connection
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.s3_object_store import S3ObjectStore


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as started:
        yield started


@pytest.fixture
def store(server: S3Server) -> S3ObjectStore:
    made = S3ObjectStore(server.connection("lake/data"), patience=20)
    assert made.create("m/known", b"known bytes")
    server.asked.clear()
    return made


def test_three_times_busy_then_fine(server: S3Server, store: S3ObjectStore) -> None:
    server.faults += [s3_server.busy] * 3
    assert store.read("m/known") == b"known bytes"
    server.faults += [s3_server.busy] * 3
    assert store.create("m/new", b"x")
    server.faults += [s3_server.busy] * 3
    assert store.keys("m") == ["m/known", "m/new"]
    assert len(server.asked) == 12


@pytest.mark.parametrize("fault", [s3_server.short_body, s3_server.spoilt_body])
def test_a_damaged_answer_is_asked_for_again(
    server: S3Server, store: S3ObjectStore, fault: s3_server.Fault
) -> None:
    server.faults += [fault] * 2
    assert store.read("m/known") == b"known bytes"
    assert len(server.asked) == 3
    server.faults += [fault]
    stream = store.open("m/known")
    assert stream is not None
    with stream:
        assert stream.read() == b"known bytes"


def test_damage_without_end_is_never_returned(server: S3Server) -> None:
    hurried = S3ObjectStore(server.connection("lake"), patience=1)
    assert hurried.create("m/known", b"known bytes")
    server.faults += [s3_server.spoilt_body] * 50
    with pytest.raises(DependencyUnavailable, match="FlexibleChecksumError"):
        hurried.read("m/known")


def test_a_refusal_is_told_at_once(server: S3Server, store: S3ObjectStore) -> None:
    server.faults += [s3_server.refused]
    with pytest.raises(PolicyRefused, match="S3 refuses s3://lake/data/m/new: 403") as caught:
        store.create("m/new", b"x")
    assert len(server.asked) == 1
    assert s3_server.SECRET not in str(caught.value)
    assert s3_server.KEY not in str(caught.value)


def test_a_hang_ends_within_the_bound(server: S3Server) -> None:
    hurried = S3ObjectStore(server.connection("lake"), patience=1.5)
    server.faults += [s3_server.silent] * 20
    started = time.monotonic()
    with pytest.raises(DependencyUnavailable, match=r"s3://lake/m/known in .* ReadTimeout"):
        hurried.read("m/known")
    assert time.monotonic() - started < 5


def test_nobody_listens() -> None:
    there = {"endpoint": "http://127.0.0.1:1", "region": "us-east-1"}
    away = Connection("lake", "s3://lake", login="k", password="s", options=there)
    with pytest.raises(DependencyUnavailable, match="EndpointConnectionError"):
        S3ObjectStore(away, patience=0.5).size("m/x")


def test_no_such_bucket(server: S3Server) -> None:
    absent = S3ObjectStore(server.connection("nowhere", bucket=False), patience=5)
    with pytest.raises(SpecError, match="there is no bucket 'nowhere'"):
        absent.size("m/x")
    with pytest.raises(SpecError, match="there is no bucket 'nowhere'"):
        absent.create("m/x", b"x")
    with pytest.raises(SpecError, match="there is no bucket 'nowhere'"):
        absent.read("m/x")


def test_a_lost_reply_to_a_create_is_not_told_as_a_lost_race(
    server: S3Server, store: S3ObjectStore
) -> None:
    server.faults += [s3_server.lost_reply]
    assert store.create("m/new", b"mine")
    assert [line.split()[0] for line in server.asked] == ["PUT", "PUT", "HEAD"]
    assert store.read("m/new") == b"mine"


def test_a_lost_reply_to_a_create_that_lost_is_told_as_such(
    server: S3Server, store: S3ObjectStore
) -> None:
    assert store.create("m/new", b"of another")
    server.faults += [s3_server.lost_reply]
    assert not store.create("m/new", b"mine")
    assert store.read("m/new") == b"of another"


def test_an_unusable_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="leads to no bucket"):
        open_object_store(Connection("lake", "s3://"))
    odd = Connection("lake", "s3://a_b c", login="k", password="hidden", options={"region": "x"})
    with pytest.raises(SpecError, match="cannot be used") as caught:
        S3ObjectStore(odd, patience=1).read("m/x")
    assert "hidden" not in str(caught.value)


def test_a_client_does_not_cross_a_fork(server: S3Server, store: S3ObjectStore) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=lambda: results.put(store.read("m/known")))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert results.get() == b"known bytes"
    assert store.read("m/known") == b"known bytes"
