"""HTTP sources against a real server that contradicts itself, or leads elsewhere."""

import gzip
import json
from typing import Any

import pytest
from places_api import DAY, RECORDS, Open
from services.json_api import Fault, JsonApi, Request, answer_with, lie, status

from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    PolicyRefused,
)


def items(*records: Any, **meta: Any) -> bytes:
    return json.dumps({"data": {"items": list(records)}, "meta": meta}).encode()


def raw(text: str) -> bytes:
    return b'{"data": {"items": [' + text.encode() + b']}, "meta": {"total": 1}}'


def bomb(request: Request) -> None:
    """64 MiB in 64 kB."""
    request.send(gzip.compress(b" " * (64 << 20)), content_encoding="gzip")


FIRST = RECORDS[24]
LIES: list[tuple[Fault, str]] = [
    (answer_with(b"<html>Please log in</html>", kind="text/html"),
     "page 1: answered 'text/html', not JSON"),
    (answer_with(b"<html>"), "not JSON: Expecting value at character 1"),
    (answer_with(b"\xff\xfe{}"), "not UTF-8 text at byte 1"),
    (answer_with(raw('{"n": NaN}')), "not JSON: NaN, which is no JSON number"),
    (answer_with(raw('{"n": -Infinity}')), "not JSON: -Infinity, which is no JSON number"),
    (answer_with(raw('{"n": 1, "n": 2}')), "not JSON: the key 'n' twice in one object"),
    (answer_with(raw("[" * 30_000)), "not JSON: lists in lists without end"),
    (answer_with(raw("1" * 5_000)), "not JSON: a number of more than 4300 digits"),
    (answer_with(raw(json.dumps({**FIRST, "heat": 7}).replace("7", "1e400")), ),
     "column 'heat', page 1, record 1: "),
    (answer_with(items({**FIRST, "n": 2**70}, total=1)), "is no whole number of 64 bits"),
    (answer_with(items({**FIRST, "n": "24"}, total=1)), "is no whole number of 64 bits"),
    (answer_with(items({**FIRST, "n": True}, total=1)), "is no whole number of 64 bits"),
    (answer_with(items({**FIRST, "seen": 1}, total=1)),
     "page 1, record 1: column 'seen' is not declared"),
    (answer_with(items({"at": FIRST["at"]}, total=1)), "column 'place' is missing"),
    (answer_with(items({**FIRST, "place": {"name": "x"}}, total=1)),
     "record 1 has a list or an object in column 'place'"),
    (answer_with(items("north", total=1)), "record 1 is no object: 'north'"),
    (answer_with(items({**FIRST, "at": "2013-01-02 10:00"}, total=1)), "is no time with a zone"),
    (answer_with(b'{"items": []}'), "no list of records at 'data.items': 'data' is not among"),
    (answer_with(b'{"data": {"items": 3}}'), "data.items is no list of records"),
    (answer_with(b"[]"), "'data' is not among its keys: there are none"),
    (answer_with(items(FIRST)), "no count at 'meta.total'"),
    (answer_with(items(FIRST, total="1")), "meta.total is no count: '1'"),
    (answer_with(items(FIRST, total=2)), "told of 2 records and gave 1"),
    (answer_with(items(FIRST, total=1, next=["x"])), "meta.next is no cursor"),
    (answer_with(items(FIRST, total=1, next="x" * 5_000)), "a cursor of 5000 characters"),
    (answer_with(items(RECORDS[0], RECORDS[1], total=2)), "and all of its 2 records lie outside"),
    (answer_with(b"x" * 70_000), "the answer is larger than 65536 bytes"),
    (bomb, "the answer is larger than 65536 bytes"),
    (answer_with(b"no gzip", content_encoding="gzip"), "damaged gzip"),
    (answer_with(b"x", content_encoding="br"), "packed with 'br', which was not asked for"),
    (status(204), "answered 204 No Content, not 200"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "text"), LIES, ids=range(len(LIES)))
def test_lies_are_refused(api: JsonApi, open_source: Open, fault: Fault, text: str) -> None:
    api.faults.append(fault)
    with pytest.raises(DataRejected) as caught:
        open_source(max_bytes=65_536).read(DAY, DAY)
    assert text in caught.value.text
    assert len(caught.value.text) < 600
    assert len(api.asked) == 1


def test_pages_that_repeat_or_go_in_a_ring(api: JsonApi, open_source: Open) -> None:
    api.always = answer_with(items(FIRST, total=2, next="a"))
    with pytest.raises(DataRejected, match="page 2 repeats page 1, record by record"):
        open_source().read(DAY, DAY)
    api.always = None
    api.faults += [
        answer_with(items(RECORDS[24], next="a")),
        answer_with(items(RECORDS[25], next="b")),
        answer_with(items(RECORDS[26], next="a")),
    ]
    with pytest.raises(DataRejected, match="page 3: its cursor was given before"):
        open_source(count=None).read(DAY, DAY)
    with pytest.raises(DataRejected, match="more than 2 pages"):
        open_source(paging={"cursor": "meta.next", "max_pages": 2}).read(DAY, DAY)


def test_data_that_changes_between_pages_is_asked_for_later(
    api: JsonApi, open_source: Open
) -> None:
    api.faults.append(lie(lambda answer: {**answer, "meta": {**answer["meta"], "total": 23}}))
    with pytest.raises(DependencyUnavailable, match="told of 24 records, page 1 of 23"):
        open_source().read(DAY, DAY)


def redirect(location: str) -> Fault:
    return status(307, location=location)


def test_redirects_stay_on_their_host(api: JsonApi, open_source: Open) -> None:
    api.faults.append(redirect("/v2/places"))
    assert open_source(query={}).read(DAY, DAY).table.num_rows == 24
    for elsewhere in ("https://127.0.0.1/v1", "//evil.example/?next=1", f"{api.url}1/"):
        api.faults.append(redirect(elsewhere))
        with pytest.raises((PolicyRefused, DataRejected), match="redirected to") as caught:
            open_source().read(DAY, DAY)
        assert "next=1" not in str(caught.value)
    api.always = redirect("/v1/round")
    with pytest.raises(DataRejected, match="redirected more than 5 times"):
        open_source().read(DAY, DAY)
