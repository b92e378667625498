"""Takes posted labels: the token, the rows, then the disk; only then an answer."""

import errno
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ferryman.runtime.label_token import is_token, read_label_digest
from ferryman.serving.labels.label_files import pack_labels
from ferryman.serving.labels.label_journal import LabelJournal, TooBusyError
from ferryman.serving.labels.posted_rows import read_body, read_rows
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.protocols.answers import Refusal

_FULL = {errno.ENOSPC, errno.EDQUOT}
_RETRY = (b"retry-after", b"10")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_SAY_SECONDS = 10.0

logger = logging.getLogger(__name__)

FindModel = Callable[[str], OnnxModel]
Beside = Callable[..., Awaitable[Any]]


class LabelIntake:
    """What answers POST /v1/labels of a replica; of the event loop.

    `root` is the server's own state, where the digest of the token lies unless it is given.
    """

    def __init__(self, journal: LabelJournal, root: Path, digest: str = "") -> None:
        self._journal, self._root, self._digest = journal, root, digest
        self._said = -_SAY_SECONDS

    def check_token(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Refusal 401 without the right bearer token, 503 where the server has none."""
        digest = self._digest or read_label_digest(self._root)
        if not digest:
            raise Refusal(503, "this server takes no labels: it has no token for them")
        given = [value for key, value in headers if key == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not is_token(token.strip(), digest):
            challenge = (b"www-authenticate", b"Bearer")
            raise Refusal(401, "the token for labels is needed", [challenge])

    async def take(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        find: FindModel,
        beside: Beside,
    ) -> tuple[str, dict[str, Any]]:
        """Whose labels a body held, and the answer; they are on the disk by then.

        `find` gives the served model of a name, or a Refusal; `beside` runs what takes long.
        RowError or Refusal where anything is wrong with it: nothing of it is kept then. Refusal 507
        where the disk is full, 503 where it cannot be written.
        """
        name, rows = await beside(read_body, body)
        signature = find(name).signature
        received = time.time_ns() // 1000
        checked = await beside(read_rows, rows, signature, received)
        post = _post(headers, body)
        frame = await beside(pack_labels, name, signature.task, checked, received, post)
        try:
            await self._journal.keep(frame, len(checked))
        except TooBusyError:
            raise Refusal(503, "too many labels wait for the disk", [_RETRY]) from None
        except OSError as error:
            raise self._told(error) from error
        return name, {"accepted": len(checked), "received_at": _text(received)}

    def _told(self, error: OSError) -> Refusal:
        now = time.monotonic()
        if now - self._said >= _SAY_SECONDS:
            logger.error("labels cannot be kept: %s", error)
            self._said = now
        if error.errno in _FULL:
            return Refusal(507, "no space left for labels; none of these was kept", [_RETRY])
        return Refusal(503, "labels cannot be written now; send these again", [_RETRY])


def _post(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> str | None:
    """The name of a request that its client can repeat: its own id, and what it says."""
    own = [value for key, value in headers if key == b"x-request-id"]
    if not own or not _REQUEST_ID.fullmatch(own[-1]):
        return None
    return hashlib.sha256(own[-1] + b"\n" + body).hexdigest()[:32]


def _text(moment: int) -> str:
    seconds, micros = divmod(moment, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z"
