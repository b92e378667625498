"""Which version scores a batch: the champion, the one of another day, or one that is named."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ferryman.errors import PolicyRefused, SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import DRILL, Candidate, Head, State
from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.settings import Settings
from ferryman.spec.windows import format_time
from ferryman.steps.released_bundle import verified_bundle


@dataclass(frozen=True)
class ScoringVersion:
    """A version, and why it scores.

    epoch: of the commit that made it head, 0 where it never was; as_of: the moment that was asked
    about, "" where none was; barred: why it may never serve again, "" where it may.
    """

    version: int
    digest: str
    epoch: int
    why: str
    as_of: str = ""
    barred: str = ""


def choose_version(
    ledger: Ledger, model: str, *, as_of: str | None = None, version: int | None = None
) -> ScoringVersion:
    """The champion of now or of a moment, or a version of the ledger.

    Raises SpecError (exit 2) for both at once, a bad moment, or a version that the ledger does not
    know; PolicyRefused (exit 9) where nobody was champion.
    """
    if as_of is not None and version is not None:
        raise SpecError("as_of and version cannot both be given", remedy="Give one of them.")
    if version is not None:
        return _named(ledger, model, version)
    moment = parse_moment(as_of) if as_of is not None else None
    head = ledger.head(model) if moment is None else ledger.routing(model, moment).head
    told = format_time(moment) if moment else ""
    if head is None:
        raise PolicyRefused(
            f"nothing of {model!r} had been released by {told}"
            if told
            else f"nothing of {model!r} is released yet",
            remedy=f"Ask for a later moment: ferryman ledger show --model {model} shows them."
            if told
            else f"Release a version first: ferryman run training --model {model}, then release.",
        )
    barred = ledger.is_quarantined(model, head.digest) or ""
    return ScoringVersion(
        head.version,
        head.digest,
        head.epoch,
        "champion of then" if told else "champion",
        told,
        barred,
    )


def parse_moment(text: str) -> datetime:
    """A moment in UTC; SpecError (exit 2) unless it is a day, or a time with its zone, by now."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SpecError(
            f"as_of: {text[:40]!r} is no moment",
            remedy="Write it as 2013-02-01T08:00:00Z, or a day (its midnight UTC).",
        ) from None
    if moment.tzinfo is None and len(text) != len("2013-02-01"):
        raise SpecError(f"as_of: {text} has no time zone", remedy=f"Write {text}Z for UTC.")
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment > datetime.now(UTC):
        raise SpecError(f"as_of: {text} has not come yet", remedy="Leave it away for now.")
    return moment


def open_version(settings: Settings, model: str, chosen: ScoringVersion) -> OnnxModel:
    """Load a version as a server does: bytes and signature verified, golden rows replayed.

    A damaged or missing bundle is restored from the server's verified copy or from MLflow. Raises
    IntegrityBroken (exit 7), with what is wrong with each copy and which other versions there are,
    where none verifies; PolicyRefused (exit 9) where nobody signed it and a key is configured.
    """
    folder = verified_bundle(settings, model, chosen.version, chosen.digest)
    identity = Identity(model, chosen.version, chosen.epoch, chosen.digest)
    return open_verified(folder, identity, threads=settings.core_count)


def _named(ledger: Ledger, model: str, version: int) -> ScoringVersion:
    candidate: Candidate | None = None
    head: Head | None = None
    for op in ledger.history(model):
        if op.candidate.version == version and op.kind != DRILL:
            candidate = op.candidate
            if op.state is State.COMMITTED:
                head = ledger.committed_head(op.op_id) or head
    if candidate is None:
        known = sorted({op.candidate.version for op in ledger.ops(model) if op.kind != DRILL})
        shown = ", ".join(map(str, known[-20:])) or "none"
        raise SpecError(
            f"the ledger knows no version {version} of {model!r}",
            remedy=f"Versions of the ledger: {shown}.",
        )
    epoch = head.epoch if head is not None else 0
    barred = ledger.is_quarantined(model, candidate.digest) or ""
    return ScoringVersion(version, candidate.digest, epoch, "named", barred=barred)
