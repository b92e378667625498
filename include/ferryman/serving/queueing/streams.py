"""Redis streams: requests are taken by a group of workers, each answered once in one atomic script.

A message that was taken stays pending until it is answered; what a dead worker leaves is claimed by
another. Source: redis.io, "Redis Streams" and "Scripting with Lua" (flags of scripts).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ferryman.errors import DependencyUnavailable, FerrymanError, PolicyRefused, SpecError
from ferryman.runtime.connections import Connection
from ferryman.serving.queueing.messages import Answer, Dead

Entries = list[tuple[bytes, Mapping[bytes, bytes]]]

# With the first line Redis refuses the whole script while it is out of memory or cannot write, and
# not one command in its middle. Nothing is changed before the answer is added, which may fail.
_ANSWER = """#!lua
local requests, target, mark = KEYS[1], KEYS[2], KEYS[3]
local group, entry, window, longest, keeps = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if #redis.call('XPENDING', requests, group, entry, entry, 1) == 0 then return 'other' end
local outcome = 'again'
if mark == '' or redis.call('EXISTS', mark) == 0 then
  redis.call('XADD', target, 'MAXLEN', '~', longest, '*', unpack(ARGV, 6))
  if mark ~= '' then redis.call('SET', mark, entry, 'EX', window) end
  outcome = 'answered'
end
redis.call('XACK', requests, group, entry)
if keeps == '0' then redis.call('XDEL', requests, entry) end
return outcome
"""
# Only a consumer with nothing pending may go: what is pending would go with it.
_FORGET = """#!lua flags=allow-oom
local gone = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local is_mine = consumer[2] == ARGV[2]
  if consumer[4] == 0 and (is_mine or consumer[6] > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer[2])
    gone = gone + 1
  end
end
return gone
"""
_FORGOTTEN_AFTER = 3_600_000  # milliseconds
_WRONG = ("WRONGTYPE", "unknown command", "compiling script")


@dataclass(frozen=True)
class Topics:
    """The streams of one model's workers, and how they are kept.

    `claim_after` is in milliseconds, `window` in seconds, `longest` in answers.
    """

    requests: str
    answers: str
    group: str
    claim_after: int = 30_000
    window: int = 86_400
    longest: int = 1_000_000
    keep_requests: bool = False

    @property
    def dead(self) -> str:
        """The stream of messages that nobody could be answered for."""
        return f"{self.requests}.dead"

    def mark(self, name: str) -> str:
        """The key that says that an id was answered."""
        return f"{self.answers}:answered:{self.group}:{name}"


class QueueStreams:
    """One worker's view of the streams. `consumer` must be its own name alone.

    Every method raises DependencyUnavailable (exit 6) where Redis is away, loads, or refuses to
    write; the same call may be made again. SpecError (exit 2) and PolicyRefused (exit 9) are final.
    """

    def __init__(self, connection: Connection, topics: Topics, consumer: str) -> None:
        self._connection = connection
        self._topics = topics
        self._consumer = consumer
        self._client = _connect(connection)
        self._claimed_from = b"0-0"

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def prepare(self) -> None:
        """Make the group of workers, from the first message on, where there is none."""
        topics = self._topics
        with self._told():
            # Asked first: making one is refused while Redis is out of memory, even if it is there.
            if topics.group in self._groups(topics.requests):
                return
            try:
                self._client.xgroup_create(topics.requests, topics.group, id="0", mkstream=True)
            except _response_error() as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def take(self, count: int, block: int) -> Entries:
        """Up to `count` messages that nobody took, waited for at most `block` milliseconds."""
        with self._told():
            return self._read(">", count, block)

    def mine(self, count: int) -> Entries:
        """Messages that this worker took, and did not answer."""
        with self._told():
            return self._read("0", count, None)

    def claim(self, count: int) -> Entries:
        """Messages that another took long ago: they are this worker's now."""
        topics = self._topics
        with self._told():
            self._claimed_from, entries, _ = self._client.xautoclaim(
                topics.requests,
                topics.group,
                self._consumer,
                topics.claim_after,
                start_id=self._claimed_from,
                count=count,
            )
        return [(entry, fields) for entry, fields in entries if fields is not None]

    def settle(self, results: Sequence[Answer | Dead]) -> list[str]:
        """Answer each, once: "answered"; "again" where its id was answered before, "other" where
        another worker settled it. Settling twice changes nothing.
        """
        topics = self._topics
        with self._told():
            pipe = self._client.pipeline(transaction=False)
            for result in results:
                keys = [topics.requests, topics.dead, ""]
                if isinstance(result, Answer):
                    keys = [topics.requests, topics.answers, topics.mark(result.id)]
                kept = [topics.window, topics.longest, int(topics.keep_requests)]
                fields = [part for pair in result.as_fields().items() for part in pair]
                # Redis runs our fixed script as one step; what clients sent are its arguments only.
                pipe.eval(_ANSWER, 3, *keys, topics.group, result.entry, *kept, *fields)
            return [outcome.decode() for outcome in pipe.execute()]

    def unread(self) -> int:
        """Answers that the slowest group of readers has not settled; 0 without such a group."""
        answers = self._topics.answers
        with self._told():
            groups = self._groups(answers).values()
            length = int(self._client.xlen(answers)) if groups else 0
        # Redis does not know the lag behind entries that were deleted.
        return max(
            (
                int(group["pending"]) + (length if group["lag"] is None else int(group["lag"]))
                for group in groups
            ),
            default=0,
        )

    def waiting(self) -> int:
        """Requests that nobody took yet."""
        topics = self._topics
        with self._told():
            group = self._groups(topics.requests).get(topics.group, {})
        return int(group.get("lag") or 0)

    def _groups(self, stream: str) -> dict[str, Any]:
        """What Redis knows of the groups that read a stream; none where there is no stream."""
        try:
            groups = self._client.xinfo_groups(stream)
        except _response_error() as error:
            if "no such key" in str(error):
                return {}
            raise
        return {group["name"].decode(): group for group in groups}

    def leave(self) -> None:
        """Forget this worker, and those that ended long ago, unless messages are pending for it."""
        topics = self._topics
        with self._told():
            arguments = [topics.group, self._consumer, _FORGOTTEN_AFTER]
            # Looking and forgetting are one step of Redis: our fixed script, arguments beside it.
            self._client.eval(_FORGET, 1, topics.requests, *arguments)

    def _read(self, start: str, count: int, block: int | None) -> Entries:
        topics = self._topics
        found = self._client.xreadgroup(
            topics.group, self._consumer, {topics.requests: start}, count=count, block=block
        )
        # A message that was deleted meanwhile has no fields.
        entries = [entry for _, stream in found or () for entry in stream]
        return [(entry, fields) for entry, fields in entries if fields]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Redis' errors in our words, without a secret."""
        import redis

        try:
            yield
        except redis.RedisError as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> FerrymanError:
        import redis

        text = self._connection.hide_secrets(f"{type(error).__name__}: {error}")
        place = self._connection.url.partition("?")[0]
        told = f"queue {self._connection.name!r} at {place}: {text}"
        if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
            return PolicyRefused(told, remedy="Give its user and password in the connection's URL.")
        if any(word in str(error) for word in _WRONG):
            return SpecError(told, remedy="Name other streams; Redis 7.0 or later is needed.")
        return DependencyUnavailable(told, remedy="Start Redis, or give it memory or disk.")


def _connect(connection: Connection) -> Any:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if connection.scheme not in ("redis", "rediss"):
        raise SpecError(
            f"connection {connection.name!r}: a queue is redis:// or rediss://, not "
            f"{connection.scheme[:20]}://",
            remedy=f"Set FERRYMAN_CONNECTION_{connection.name.upper()}=redis://host:6379/0.",
        )
    try:
        return redis.Redis.from_url(
            connection.url,
            username=connection.login,
            password=connection.password,
            socket_connect_timeout=5.0,
            socket_timeout=30.0,
            retry=Retry(NoBackoff(), 0),  # the worker itself knows what may be asked again
        )
    except ValueError as error:
        text = connection.hide_secrets(error)
        raise SpecError(f"connection {connection.name!r}: {text}") from None


def _response_error() -> type[Exception]:
    import redis

    return redis.ResponseError
