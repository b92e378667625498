"""One form of log for every program: a line of JSON an event, or a line of text for people.

FERRYMAN_LOG_FORMAT (json or text) decides; without it servers and workers write JSON, the command
line writes text. What an event belongs to (run, step, model, version, request) comes from
`log_context` around it, or from `extra` of the call. Secrets are masked in both forms.
"""

import fcntl
import json
import logging
import os
import stat
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

from ferryman.runtime.log_masks import without_secrets, without_values

Format = Literal["json", "text"]

FORMAT_VARIABLE = "FERRYMAN_LOG_FORMAT"
# What an event may belong to; in this order in its line.
FIELDS = (
    "request_id",
    "run_id",
    "step",
    "model",
    "version",
    "epoch",
    "variant",
    "status",
    "exit_code",
    "remedy",
    "suppressed",
)
MOST_BYTES = 32 << 20  # a file; there are two
_MOST_MESSAGE = 4_000  # characters
_MOST_STACK = 12_000
_MOST_FIELD = 500
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85)} | {
    9: " ", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029",
}  # fmt: skip

_NOTHING: Mapping[str, object] = MappingProxyType({})
_context: ContextVar[Mapping[str, object]] = ContextVar("ferryman_log", default=_NOTHING)


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Within the block every event belongs to these, beside what it belonged to before.

    Where the program that runs us logs by structlog, as an Airflow task does, it is told as well.
    """
    token = _context.set({**_context.get(), **fields})
    structured = sys.modules.get("structlog.contextvars")
    bound = nullcontext() if structured is None else structured.bound_contextvars(**fields)
    try:
        with bound:
            yield
    finally:
        _context.reset(token)


def set_up_logs(
    program: str, *, usual: Format = "json", level: int = logging.INFO, private: bool = False
) -> None:
    """Write this process's events to its standard error, from now on and in one form.

    `program` names who writes. With `private` the words of exceptions are masked too: they may
    hold what a client sent. A file that standard error is appended to begins anew at MOST_BYTES,
    and the one before it is kept.
    """
    wanted = os.environ.get(FORMAT_VARIABLE, "").strip().lower()
    form = wanted if wanted in ("json", "text") else usual
    handler = BoundedHandler()
    handler.setFormatter(
        JsonLines(program, private=private) if form == "json" else TextLines(private=private)
    )
    root = logging.getLogger()
    if any(not isinstance(one, BoundedHandler) for one in root.handlers):
        return  # whoever runs us has a log of its own
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))  # it logs addresses
    if form == "json":
        sys.excepthook = _tell_uncaught
    if wanted and wanted != form:
        logging.getLogger(__name__).warning("%s is json or text: %s is used", FORMAT_VARIABLE, form)


def writes_json() -> bool:
    """Whether this process writes its events as JSON."""
    return any(isinstance(one.formatter, JsonLines) for one in logging.getLogger().handlers)


class JsonLines(logging.Formatter):
    """An event as one line of ASCII JSON: what comes in a message cannot end its line."""

    def __init__(self, program: str, *, private: bool = False) -> None:
        super().__init__()
        self._program, self._private = program, private

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "program": self._program,
            "pid": record.process,
            **fields_of(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            line["error"] = kind.__name__
            line["where"] = _where(trace)
            line["stack"] = _stack(kind, error, trace, private=self._private)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """An event as a line for people; a stack follows it, and no line of it looks like an event."""

    def __init__(self, *, private: bool = False) -> None:
        super().__init__()
        self._private = private

    def format(self, record: logging.LogRecord) -> str:
        """The lines, without the last one's end."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        told = " ".join(
            f"{name}={_one_line(str(value))}" for name, value in fields_of(record).items()
        )
        text = f"{moment} {record.levelname} {record.name}: {_one_line(_message(record))}"
        text += f" [{told}]" if told else ""
        if record.exc_info and record.exc_info[0] is not None:
            stack = _stack(*record.exc_info, private=self._private)
            text += "".join(f"\n  {_one_line(line)}" for line in stack.splitlines())
        return text


class BoundedHandler(logging.StreamHandler[Any]):
    """Standard error, whose file begins anew before it fills a disk; never in an answer's way.

    What cannot be written is counted, and the count is told by the next line that can. Several
    processes may append to the same file: one of them moves it aside, under a lock.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(sys.stderr)
        self._most_bytes = most_bytes
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event with one call, so that lines of two processes do not mix."""
        try:
            descriptor = self.stream.fileno()
            _keep_small(descriptor, self._most_bytes)
            if self._lost:
                record.suppressed = getattr(record, "suppressed", 0) + self._lost
            line = (self.format(record) + self.terminator).encode(errors="backslashreplace")
            if os.write(descriptor, line) == len(line):
                self._lost = 0
        except Exception:  # noqa: BLE001 - a log must not fail what it tells of
            self._lost += 1


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What an event belongs to, in the order of FIELDS; what is not known is left out."""
    context, found = _context.get(), {}
    for name in FIELDS:
        value = getattr(record, name, context.get(name))
        if value is None or value == "":
            continue
        plain = isinstance(value, int | float)
        found[name] = value if plain else without_secrets(str(value)[:_MOST_FIELD])
    return found


def message_of(line: str) -> str:
    """What a line of a log says: the message of a JSON event, any other line as it is."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(line)["message"])
    return line


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - a call with the wrong arguments is told all the same
        text = f"{record.msg} {record.args}"
    return without_secrets(text[:_MOST_MESSAGE])


def _stack(
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
    *,
    private: bool,
) -> str:
    if kind is None:
        return ""
    if not private:
        text = "".join(traceback.format_exception(kind, error, trace)).rstrip()
        return without_secrets(text[-_MOST_STACK:])
    # The chain's other exceptions have words of their own: of them, and of this one's, no value.
    frames = "".join(traceback.format_tb(trace))[-_MOST_STACK:]
    words = without_values(str(error)[:_MOST_MESSAGE])
    return f"Traceback (most recent call last):\n{frames}{kind.__name__}: {words}"


def _where(trace: TracebackType | None) -> str:
    """The innermost frame of our own code; of others', where there is none of ours."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if "/ferryman" in frame.filename]
    frame = (own or frames)[-1] if frames else None
    if frame is None:
        return ""
    *_, folder, name = ("", *Path(frame.filename).parts)
    return f"{folder}/{name}:{frame.name}"


def _one_line(text: str) -> str:
    return text.translate(_CONTROL)


def _keep_small(descriptor: int, most_bytes: int) -> None:
    """Move the file aside by copying: others hold it open, and go on at its new beginning."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size <= most_bytes:
        return
    if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
        return  # who does not append would go on at the old place
    with suppress(OSError):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if os.fstat(descriptor).st_size > most_bytes:
                _copy_aside(Path(f"/proc/self/fd/{descriptor}").readlink())
                os.ftruncate(descriptor, 0)
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _copy_aside(file: Path) -> None:
    """On a full disk the older half is given up instead: the lines that come matter more."""
    import shutil

    scratch = file.with_name(f"{file.name}.1.part")
    try:
        shutil.copyfile(file, scratch)
        scratch.replace(file.with_name(f"{file.name}.1"))
    except OSError:
        scratch.unlink(missing_ok=True)


def _tell_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    told = f"ended by {kind.__name__}: {without_values(str(error)[:_MOST_MESSAGE])}"
    logging.getLogger("ferryman").critical("%s", told, exc_info=(kind, error, trace))
