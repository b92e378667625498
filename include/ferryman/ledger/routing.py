"""Who answers a model's requests, and which versions must therefore stay."""

from datetime import UTC, datetime

from sqlalchemy import Connection

from ferryman.errors import SpecError
from ferryman.ledger.records import DRILL, Candidate, Op, Protected, Routing
from ferryman.ledger.replay import Replay, replay_of
from ferryman.ledger.transitions import EXPOSED

_NAMES = {"challenger": "ab"}  # a variant's name where it differs from its strategy's


def routing(connection: Connection, model: str, at: datetime | None) -> Routing:
    """Who was head and who had a share at a moment, by the rows that were written by then."""
    if at is not None and at.tzinfo is None:
        raise SpecError(
            f"{at.isoformat()} has no time zone", remedy="Write it as 2013-02-01T08:00:00Z."
        )
    replay = replay_of(connection, model, at)
    moment = at or datetime.now(UTC)
    share = replay.share
    if share is None:
        return Routing(model, moment, replay.head, since=replay.since)
    return Routing(
        model,
        moment,
        replay.head,
        op_id=share.op_id,
        variant=share.variant,
        version=share.version,
        digest=share.digest,
        weight=share.weight,
        since=replay.since,
        lease_until=share.lease_until,
    )


def protected(connection: Connection, model: str) -> list[Protected]:
    """Every version that must stay, with its reasons, by version."""
    replay = replay_of(connection, model)
    reasons: dict[tuple[int, str, str], list[str]] = {}

    def protect(version: int, digest: str, bundle: str, why: str) -> None:
        found = reasons.setdefault((version, digest, bundle), [])
        if why not in found:
            found.append(why)

    if replay.head is not None:
        protect(replay.head.version, replay.head.digest, replay.head.bundle, "serving")
    for candidate in replay.good[:1]:
        protect(candidate.version, candidate.digest, candidate.bundle, "rollback target")
    for candidate, why in _meeting_users(replay):
        protect(candidate.version, candidate.digest, candidate.bundle, why)
    for note in replay.held.values():
        told = note.evidence
        protect(int(told["version"]), str(told["digest"]), str(told["bundle"]), "legal hold")
    return [Protected(model, *key, tuple(why)) for key, why in sorted(reasons.items())]


def _meeting_users(replay: Replay) -> list[tuple[Candidate, str]]:
    """Candidates with a share, or on their way to one; a drill's is registered nowhere."""
    epoch = replay.head.epoch if replay.head else 0
    share = replay.share
    found = []
    for op in replay.newest.values():
        shared = share is not None and share.op_id == op.op_id
        if op.kind != DRILL and (shared or _is_exposed(op, epoch)):
            variant = share.variant if share is not None and shared else ""
            variant = variant or str(op.evidence.get("variant", "canary"))
            found.append((op.candidate, _NAMES.get(variant, variant)))
    return found


def _is_exposed(op: Op, epoch: int) -> bool:
    return op.state in EXPOSED and op.base_epoch == epoch
