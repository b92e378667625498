"""A candidate's share of the requests, as one replica holds it: under a lease that ends by itself.

Which requests: a hash of the operation and of whom a request is about, below the weight. So each is
answered by the same of the two for as long as the operation lasts, in every replica, and a larger
weight keeps those that a smaller one chose.
"""

import logging
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from ferryman.errors import Superseded
from ferryman.runtime.log_masks import without_values
from ferryman.runtime.traffic import LONGEST_LEASE, Traffic
from ferryman.serving.answering.mirror import Mirror
from ferryman.serving.answering.tally import Tally
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.models.served_models import ServedModels

_ALL = 2**64

logger = logging.getLogger(__name__)


class Share:
    """A share, and what both sides did since its stage began.

    `model` is None for a shadow: a process of its own has it. `until` is on the clock of
    `time.monotonic`, which all processes of a machine share.
    """

    def __init__(  # noqa: PLR0913  - who has what, and until when
        self,
        traffic: Traffic,
        until: float,
        champion: OnnxModel,
        model: OnnxModel | None = None,
        *,
        mirror: Mirror | None = None,
        seed: str = "",
    ) -> None:
        self.traffic, self.until = traffic, until
        self.model, self.mirror = model, mirror
        self.is_shadow = traffic.variant == "shadow"
        # Rows that the champion read and checked need not be read again.
        self.reads_alike = model is not None and model.schema.reads_as(champion.schema)
        self._salt = bytes.fromhex(traffic.op)[:16]
        self._below = round(traffic.weight * _ALL)
        seed = f"{seed} {traffic.op} {traffic.stage}"
        self.champion, self.candidate = Tally(f"{seed} champion"), Tally(f"{seed} candidate")
        self.copied = self.dropped = 0

    def takes(self, key: bytes) -> bool:
        """Whether requests about this one are the candidate's."""
        drawn = blake2b(key, digest_size=8, salt=self._salt).digest()
        return int.from_bytes(drawn) < self._below

    def carry_on(self, former: "Share") -> None:
        """Go on with the counts of a share of the same stage."""
        self.champion, self.candidate = former.champion, former.candidate
        self.copied, self.dropped = former.copied, former.dropped

    def tell_failure(self, error: Exception) -> None:
        """Log what the candidate failed at; rarer and rarer, lest the log fills."""
        times = self.candidate.errors + 1
        if times & (times - 1) == 0:
            known = None if self.model is None else self.model.identity
            said = f"{type(error).__name__}: {without_values(str(error)[:1000])}"
            told: dict[str, Any] = {"variant": self.traffic.variant}
            if known is not None:
                told |= {"model": known.name, "version": known.version, "epoch": known.epoch}
            name = "" if known is None else known.name
            logger.warning(
                "candidate of %s failed at %d requests: %s", name, times, said, extra=told
            )

    def figures(self) -> dict[str, Any]:
        """What both did, as TrafficState tells it, and in which stage."""
        return {
            "op": self.traffic.op,
            "stage": self.traffic.stage,
            "champion": self.champion.as_json(),
            "candidate": self.candidate.as_json(),
            "copied": self.copied,
            "dropped": self.dropped,
        }


class Shares:
    """The shares of one replica by model. Of the event loop, but for `prepare`.

    `mirror` makes what copies requests to the shadow of a model.
    """

    def __init__(
        self, served: ServedModels, mirror: Callable[[str], Mirror] | None = None, seed: str = ""
    ) -> None:
        self._served = served
        self._mirror = mirror
        self._seed = seed
        self._shares: dict[str, Share] = {}
        self._prepared: dict[str, tuple[OnnxModel, float]] = {}
        # Asked on the way of every request: a share that is there may have run out.
        self.get = self._shares.get

    def live(self, name: str) -> Share | None:
        """The share of a model's candidate now, if it has one."""
        share = self._shares.get(name)
        return None if share is None or share.until <= time.monotonic() else share

    @property
    def all_live(self) -> Iterator[tuple[str, Share]]:
        """Every share that has not run out, by model."""
        for name in list(self._shares):
            share = self.live(name)
            if share is not None:
                yield name, share

    def prepare(self, name: str, traffic: Traffic) -> None:
        """Load a candidate from its verified copy, as every version: nobody is answered by it yet.

        Raises IntegrityBroken (exit 7) for a wrong digest, a wrong model or a wrong answer.
        """
        if traffic.variant != "shadow" and self._candidate(name, traffic) is None:
            model = self._served.open_candidate(
                name, traffic.version, traffic.base_epoch, traffic.digest
            )
            self._prepared[name] = (model, time.monotonic() + LONGEST_LEASE)

    def expose(self, name: str, traffic: Traffic, until: float) -> bool:
        """Give a prepared candidate its share, or let it keep the one it has until then.

        False where the candidate is not loaded here. Raises Superseded (exit 5) beside another
        epoch.
        """
        champion = self._served.get(name)
        if champion is None or champion.identity.epoch != traffic.base_epoch:
            raise Superseded(f"{name} does not serve epoch {traffic.base_epoch} here")
        until = min(until, time.monotonic() + LONGEST_LEASE)
        former = self._shares.get(name)
        if former is not None and former.traffic.is_renewed_by(traffic):
            former.until = until
            former.traffic = traffic
            return True
        model = self._candidate(name, traffic)
        if model is None and traffic.variant != "shadow":
            return False
        mirror = self._mirror(name) if model is None and self._mirror is not None else None
        share = Share(traffic, until, champion, model, mirror=mirror, seed=self._seed)
        if former is not None:
            if former.traffic.figures_of == traffic.figures_of:
                share.carry_on(former)
            _close(former)
        self._shares[name] = share
        self._prepared.pop(name, None)
        logger.info("%s: %s has %g of the requests", name, traffic.variant, traffic.weight)
        return True

    def discard(self, name: str) -> None:
        """Let go of what was prepared and is not wanted."""
        self._prepared.pop(name, None)

    def end(self, name: str) -> None:
        """The champion answers all, from now on."""
        self._prepared.pop(name, None)
        share = self._shares.pop(name, None)
        if share is not None:
            _close(share)
            logger.info("%s: the share of the %s has ended", name, share.traffic.variant)

    def shorten(self, until: float) -> None:
        """Let every share end by then, if not sooner; giving it again prolongs it."""
        for share in self._shares.values():
            share.until = min(share.until, until)

    def end_expired(self) -> None:
        """Let go of candidates whose lease has run out: they take memory."""
        now = time.monotonic()
        for name in [name for name, share in self._shares.items() if share.until <= now]:
            self.end(name)
        for name in [name for name, (_, until) in self._prepared.items() if until <= now]:
            del self._prepared[name]

    def _candidate(self, name: str, traffic: Traffic) -> OnnxModel | None:
        """The candidate, if it is loaded already."""
        share = self._shares.get(name)
        prepared = self._prepared.get(name, (None, 0.0))[0]
        wanted = (traffic.version, traffic.base_epoch, traffic.digest)
        for model in (prepared, share.model if share is not None else None):
            if model is not None:
                found = model.identity
                if (found.version, found.epoch, found.digest) == wanted:
                    return model
        return None


def _close(share: Share) -> None:
    if share.mirror is not None:
        share.mirror.close()
