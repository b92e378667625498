"""Objects in a bucket of S3 or of what speaks its language."""

import base64
import hashlib
import io
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ferryman.errors import SpecError
from ferryman.runtime.connections import Connection
from ferryman.runtime.files import space_errors
from ferryman.runtime.object_store import check_key, check_name
from ferryman.runtime.s3_requests import PATIENCE, Exists, Missing, S3Requests

_CHUNK = 1 << 20
_LARGEST = 5 << 30  # bytes of one put; a put in parts would have to hold its condition at the end


class S3ObjectStore:
    """Keeps each object by one put on the condition that the key is free.

    The put carries the content's sha256, which the server checks and keeps; what is read is held
    against its length and that checksum. `patience`: seconds within which an attempt may begin.
    """

    def __init__(self, connection: Connection, *, patience: float = PATIENCE) -> None:
        parts = urlsplit(connection.url)
        if connection.scheme != "s3" or not parts.netloc:
            raise SpecError(
                f"connection {connection.name!r} leads to no bucket",
                remedy="Give s3://BUCKET/PATH.",
            )
        self._bucket = parts.netloc
        self._prefix = unquote(parts.path).strip("/")
        self._requests = S3Requests(connection, self._bucket, patience)

    def create(self, key: str, content: bytes | Path) -> bool:
        """See ObjectStore.create."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > _LARGEST:
            raise SpecError(
                f"{self.uri(key)}: {size} bytes are more than one put takes ({_LARGEST})",
                remedy="Write it in smaller parts: fewer rows a window, or a shorter dataset.",
            )
        checksum = _checksum(content)
        place = self._place(check_key(key))

        def put(s3: Any) -> bool:
            with _opened(content) as body:
                s3.put_object(
                    **place,
                    Body=body,
                    ContentLength=size,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                    IfNoneMatch="*",
                )
            return True

        try:
            return self._requests.ask(self.uri(key), put)
        except Exists as answer:
            # The reply to an earlier attempt may be what was lost. The same content under the key
            # is then our own: what must be told apart (a publication) carries a number used once.
            return answer.unsure and self._is_kept(key, size, checksum)

    def read(self, key: str) -> bytes | None:
        """See ObjectStore.read."""

        def get(s3: Any) -> bytes:
            return b"".join(self._pieces(s3, key))

        try:
            return self._requests.ask(self.uri(key), get)
        except Missing:
            return None

    def open(self, key: str) -> BinaryIO | None:
        """See ObjectStore.open; the object is in a temporary file without a name."""

        def get(s3: Any) -> BinaryIO:
            target = tempfile.TemporaryFile(prefix="ferryman-")  # noqa: SIM115 - the caller closes
            try:
                with space_errors(Path(tempfile.gettempdir())):
                    for piece in self._pieces(s3, key):
                        target.write(piece)
                    target.seek(0)
            except BaseException:
                target.close()
                raise
            return target

        try:
            return self._requests.ask(self.uri(key), get)
        except Missing:
            return None

    def size(self, key: str) -> int | None:
        """See ObjectStore.size."""
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def modified(self, key: str) -> datetime | None:
        """See ObjectStore.modified."""
        found = self._head(key)
        moment: datetime | None = None if found is None else found["LastModified"]
        return moment

    def keys(self, prefix: str) -> list[str]:
        """See ObjectStore.keys."""
        below = "/".join(part for part in (self._prefix, prefix) if part)
        below = f"{below}/" if below else ""
        skipped = len(self._prefix) + 1 if self._prefix else 0
        found: list[str] = []
        token: str | None = None
        while True:
            page = self._page(below, token)
            found += [entry["Key"][skipped:] for entry in page.get("Contents", [])]
            token = page.get("NextContinuationToken")
            if token is None:
                # A folder that a console made is an object with a name that ends in a slash.
                return sorted(key for key in found if not key.endswith("/"))

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        place = self._place(check_key(key))
        try:
            self._requests.ask(self.uri(key), lambda s3: s3.delete_object(**place))
        except Missing:
            return

    def sweep(self, before: datetime, *, remove: bool) -> list[str]:  # noqa: ARG002 - the port's
        """See ObjectStore.sweep: one put is whole or nothing, so nothing is ever left over."""
        return []

    def uri(self, key: str) -> str:
        """See ObjectStore.uri."""
        return f"s3://{self._bucket}/{self._full(key)}"

    def _pieces(self, s3: Any, key: str) -> Iterator[bytes]:
        """The object's bytes; at their end botocore has checked length and checksum."""
        place = self._place(check_name(key))
        body = s3.get_object(**place, ChecksumMode="ENABLED")["Body"]
        with body:
            while piece := body.read(_CHUNK):
                yield piece

    def _head(self, key: str) -> Any:
        place = self._place(check_name(key))
        try:
            return self._requests.ask(
                self.uri(key), lambda s3: s3.head_object(**place, ChecksumMode="ENABLED")
            )
        except Missing:
            self._requests.check_bucket()
            return None

    def _page(self, below: str, token: str | None) -> Any:
        more = {"ContinuationToken": token} if token else {}
        return self._requests.ask(
            f"s3://{self._bucket}/{below}",
            lambda s3: s3.list_objects_v2(Bucket=self._bucket, Prefix=below, **more),
        )

    def _is_kept(self, key: str, size: int, checksum: str) -> bool:
        found = self._head(key)
        if found is None or int(found["ContentLength"]) != size:
            return False
        kept = found.get("ChecksumSHA256")
        if kept is None:  # a server that does not keep checksums
            content = self.read(key)
            kept = _checksum(content) if content is not None else None
        return bool(kept == checksum)

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._full(key)}

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key


def _checksum(content: bytes | Path) -> str:
    total = hashlib.sha256()
    with _opened(content) as stream:
        while piece := stream.read(_CHUNK):
            total.update(piece)
    return base64.b64encode(total.digest()).decode()


def _opened(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
