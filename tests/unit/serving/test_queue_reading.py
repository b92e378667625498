"""A message of a queue is read: a request, the answer to a wrong one, or a dead letter."""

import orjson
import pytest

from ferryman.serving.queueing.messages import Answer, Dead, Request, read_message


def test_rows_and_bodies_are_requests() -> None:
    rows = read_message(b"1-0", {b"id": b"a", b"rows": b'[{"x": 1}, 2]'})
    assert rows == Request("1-0", "a", [{"x": 1}, 2])
    body = read_message(b"1-0", {b"id": "ä".encode(), b"body": b"{}", b"trace": b"ignored"})
    assert body == Request("1-0", "ä", [], b"{}")


def test_what_is_not_json_is_for_the_server_to_refuse() -> None:
    read = read_message(b"1-0", {b"id": b"a", b"rows": b"[NaN]"})
    assert read == Request("1-0", "a", [], b'{"instances":[NaN]}')


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "either a field `rows` or a field `body`"),
        ({b"rows": b"[1]", b"body": b"{}"}, "either"),
        ({b"rows": b"{}"}, "a list of at least one row"),
        ({b"rows": b"[]"}, "a list of at least one row"),
    ],
)
def test_a_wrong_message_is_answered_by_its_id(fields: dict[bytes, bytes], text: str) -> None:
    answer = read_message(b"1-0", {b"id": b"a", **fields})
    assert isinstance(answer, Answer)
    assert answer.is_error
    told = answer.as_fields()
    assert told["id"] == "a"
    error = orjson.loads(told["error"])
    assert (error["status"], error["row"], error["field"]) == (400, None, None)
    assert text in error["text"]


@pytest.mark.parametrize("name", [None, b"", b"x" * 201, b"\xff", b"a\nb"])
def test_without_an_id_there_is_nobody_to_answer(name: bytes | None) -> None:
    fields = {b"rows": b"[1]", b"\xfe": b"\x00"} | ({} if name is None else {b"id": name})
    letter = read_message(b"1-0", fields)
    assert isinstance(letter, Dead)
    told = letter.as_fields()
    assert "id" in str(told["reason"])
    assert (told["entry"], told["field.rows"], told["field.\\xfe"]) == ("1-0", b"[1]", b"\x00")
