"""One event is one line, whatever is in it; no secret and no value of a client stands in a log."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferryman.runtime.json_logs import (
    BoundedHandler,
    JsonLines,
    TextLines,
    log_context,
    message_of,
)
from ferryman.runtime.log_masks import without_secrets, without_values

HOSTILE = 'two\nlines\r\x1b[31m\u2028 {"level": "ERROR"}'


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    found = logging.LogRecord("ferryman.x", logging.ERROR, "f.py", 1, message, arguments, None)
    vars(found).update(extra)
    return found


def test_an_event_says_what_it_belongs_to() -> None:
    with log_context(run_id="r 1", step="train", model="rain"), log_context(model="tiny"):
        line = json.loads(JsonLines("cli").format(record("x %d", 3, version=7, exit_code=0)))
    assert line.pop("time").endswith("+00:00")
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "ERROR", "logger": "ferryman.x", "message": "x 3", "program": "cli",
        "run_id": "r 1", "step": "train", "model": "tiny", "version": 7, "exit_code": 0,
    }  # fmt: skip
    assert "model" not in json.loads(JsonLines("cli").format(record("x")))


@pytest.mark.parametrize("lines", [JsonLines("r"), TextLines()])
def test_one_event_is_one_line(lines: logging.Formatter) -> None:
    text = lines.format(record("said %s", HOSTILE, run_id=HOSTILE))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_a_stack_is_part_of_its_event() -> None:
    try:
        int("no number of '{}@example.org'\nERROR forged".format("an" + "na"))
    except ValueError:
        found = record("it failed")
        found.exc_info = sys.exc_info()
    line = json.loads(JsonLines("r").format(found))
    assert line["error"] == "ValueError" and line["stack"].startswith("Traceback")
    assert "anna" in line["stack"]
    private = JsonLines("r", private=True).format(found)
    assert "anna" not in private and "invalid literal for int()" in private
    assert all(part.startswith("  ") for part in TextLines().format(found).splitlines()[1:])


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:geheim@host/x",
        "postgresql+psycopg://u:geheim@host/db",
        "GET /x?X-Amz-Signature=geheim&b=1",
        "Authorization: Bearer geheim.geheim",
        "Cookie: a=1; session=geheim",
        "{'password': 'a geheim b', 'user': 'x'}",
        'FERRYMAN_API_KEY="geheim"',
        "label_token=geheim",
        "-----BEGIN EC PRIVATE KEY-----\ngeheim\n-----END EC PRIVATE KEY-----",
    ],
)
def test_no_secret_stands_in_a_log(text: str) -> None:
    assert "geheim" not in without_secrets(f"before {text}")
    for lines in (JsonLines("r"), TextLines()):
        assert "geheim" not in lines.format(record("%s", text, remedy=text))


def test_values_are_masked_and_words_stay() -> None:
    told = "row 3: distance: 'geheim' of anna@example.org at /data/geheim/x, id 3fa9c1e2b4 is 1.5e3"
    assert without_values(told) == "row N: distance: '…' of MAIL at PATH, id ID is N"
    assert without_values("a model of 9 rows can't load") == "a model of N rows can't load"


def test_a_wrong_call_is_told_all_the_same() -> None:
    assert "%d rows" in JsonLines("r").format(record("%d rows", "three"))
    assert message_of(JsonLines("r").format(record("x %d", 3))) == "x 3"
    assert message_of("plain") == "plain"


WRITER = """
import logging, sys
from ferryman.runtime import json_logs
json_logs.MOST_BYTES = 20_000
json_logs.set_up_logs("w")
logging.getLogger().handlers[0]._most_bytes = 20_000
for number in range(1_000):
    logging.getLogger("x").info("line %d of %s", number, sys.argv[1])
"""


def test_writers_of_one_file_keep_it_small(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    with file.open("ab") as log:
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, name], stderr=log) for name in "ab"
        ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    kept = [tmp_path / "server.log.1", file]
    assert all(one.stat().st_size < 22_000 for one in kept)
    lines = [json.loads(line) for one in kept for line in one.read_text().splitlines()]
    assert len(lines) > 100
    assert any(line["message"].startswith("line 999 of") for line in lines)


def test_a_full_disk_hurts_nobody_and_is_told_later(tmp_path: Path) -> None:
    handler = BoundedHandler()
    handler.setFormatter(JsonLines("r"))
    file = tmp_path / "log"
    with Path("/dev/full").open("w") as full, file.open("a") as stream:
        handler.setStream(full)
        handler.emit(record("lost"))
        handler.emit(record("lost"))
        handler.setStream(stream)
        handler.emit(record("kept"))
        handler.emit(record("kept"))
        os.fsync(stream.fileno())
    told = [json.loads(line).get("suppressed") for line in file.read_text().splitlines()]
    assert told == [2, None]


def test_who_logs_by_structlog_is_told_what_an_event_belongs_to() -> None:
    import structlog

    with log_context(run_id="r", model="tiny"):
        assert structlog.contextvars.get_contextvars()["model"] == "tiny"
    assert "model" not in structlog.contextvars.get_contextvars()
