"""Requests to S3: one client a process, attempts bounded in total time, answers told apart."""

import logging
import os
import random
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from ferryman.errors import DependencyUnavailable, FerrymanError, PolicyRefused, SpecError
from ferryman.runtime.connections import Connection

PATIENCE = 60.0  # seconds within which a new attempt may begin
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_CONNECT, _SILENCE = 5.0, 20.0  # seconds until a server that says nothing counts as away
_MISSING = {"404", "NoSuchKey", "NotFound"}
_BUSY = {"RequestTimeout", "SlowDown", "Throttling", "RequestTimeTooSkewed", "BadDigest"}
_TRANSIENT = (HTTPClientError, IncompleteReadError, FlexibleChecksumError, OSError)
_UNUSABLE = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ParamValidationError,
    ValueError,
)

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Missing(Exception):
    """There is no such object."""


class Exists(Exception):
    """The condition of a put did not hold. `unsure`: an attempt before may have come through."""

    def __init__(self, unsure: bool) -> None:
        super().__init__()
        self.unsure = unsure


class _Again(Exception):
    """The attempt may be repeated; the text says what happened to it."""


class S3Requests:
    """Asks one bucket, again and again within bounds.

    The client is made when it is first needed and belongs to one process: a fork makes its own.
    """

    def __init__(self, connection: Connection, bucket: str, patience: float = PATIENCE) -> None:
        self._connection = connection
        self._bucket = bucket
        self._patience = patience
        self._made: tuple[int, Any] | None = None
        self._lock = Lock()
        self._bucket_was_seen = False

    def ask(self, what: str, attempt: Callable[[Any], _T]) -> _T:
        """Make attempts with the client until one gives an answer.

        Raises Missing and Exists, which are answers; PolicyRefused (exit 9) at once where entry is
        denied; SpecError (exit 2) where the connection is wrong; DependencyUnavailable (exit 6)
        when patience has run out. `what` names the object, for the text.
        """
        end = time.monotonic() + self._patience
        wait, tries = _FIRST_WAIT, 0
        while True:
            tries += 1
            try:
                return self._once(what, attempt, unsure=tries > 1)
            except _Again as problem:
                pause = wait * (0.5 + random.random() / 2)  # noqa: S311 - spreads attempts, no secret
                if time.monotonic() + pause >= end:
                    raise DependencyUnavailable(
                        f"S3 gave no answer for {what} in {tries} attempts: {problem}",
                        remedy="Look at the service and the connection "
                        f"{self._connection.name!r}, then run again.",
                    ) from problem.__cause__
                logger.info("%s: %s; again in %.1f s", what, problem, pause)
            time.sleep(pause)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _once(self, what: str, attempt: Callable[[Any], _T], *, unsure: bool) -> _T:
        try:
            return attempt(self._client())
        except ClientError as error:
            raise self._answer(error, what, unsure) from error
        except _TRANSIENT as error:
            raise _Again(f"{type(error).__name__}: {str(error)[:200]}") from error
        except _UNUSABLE as error:
            raise self._unusable(error) from error
        except BotoCoreError as error:
            raise _Again(f"{type(error).__name__}: {str(error)[:200]}") from error

    def _answer(self, error: ClientError, what: str, unsure: bool) -> Exception:
        """What an answer that is no success stands for."""
        code = str(error.response.get("Error", {}).get("Code", ""))[:60]
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code in _MISSING or status == 404:
            return Missing()
        if status == 412:
            return Exists(unsure)
        if status == 403:
            return PolicyRefused(
                f"S3 refuses {what}: {status} {code}",
                remedy=f"Let the keys of connection {self._connection.name!r} get, put, delete and "
                "list there; without the right to list, S3 refuses a key that is not there, too.",
            )
        if status >= 500 or status in (408, 409, 429) or code in _BUSY:
            return _Again(f"{status} {code}")
        return SpecError(
            f"S3 does not accept the request for {what}: {status} {code}",
            remedy=f"Check endpoint, region and bucket of connection {self._connection.name!r}.",
        )

    def check_bucket(self) -> None:
        """SpecError (exit 2) where the bucket is not there; a HEAD cannot tell it from the key."""
        if self._bucket_was_seen:
            return
        try:
            self.ask(f"s3://{self._bucket}", lambda s3: s3.head_bucket(Bucket=self._bucket))
        except Missing:
            raise self._no_bucket() from None
        except PolicyRefused:
            # It may be there for those who may not ask about it; the key itself was answered.
            logger.debug("s3://%s: not allowed to ask for the bucket", self._bucket)
        self._bucket_was_seen = True

    def _no_bucket(self) -> FerrymanError:
        return SpecError(
            f"connection {self._connection.name!r}: there is no bucket {self._bucket!r}",
            remedy="Create the bucket, or correct the connection's URL.",
        )

    def _unusable(self, error: Exception) -> FerrymanError:
        return SpecError(
            f"connection {self._connection.name!r} to s3://{self._bucket} cannot be used: "
            f"{type(error).__name__}: {str(error)[:200]}",
            remedy="Give access key and secret in the connection, or by boto3's default chain.",
        )

    def _client(self) -> Any:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._make_client())
            return self._made[1]

    def _make_client(self) -> Any:
        given, options = self._connection, self._connection.options
        silence = min(_SILENCE, max(self._patience / 3, 0.1))
        session = boto3.session.Session(
            aws_access_key_id=given.login,
            aws_secret_access_key=given.password,
            region_name=options.get("region"),
        )
        return session.client(
            "s3",
            endpoint_url=options.get("endpoint"),
            config=Config(
                connect_timeout=min(_CONNECT, silence),
                read_timeout=silence,
                retries={"total_max_attempts": 1},  # attempts are ours: bounded in time
                s3={"addressing_style": "path" if "endpoint" in options else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
