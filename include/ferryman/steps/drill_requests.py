"""The requests that a fire drill sends itself, and how they are told from those of users."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from ferryman.ledger.ledger_reader import LedgerReader
from ferryman.ledger.records import DRILL
from ferryman.runtime.bundle import Scalar
from ferryman.serving.models.labels import CHAMPION

MOST = 100.0  # a second
_ANSWER_SECONDS = 10.0
_OP = 32  # characters of the operation's id: a server takes ids of up to 64

Row = Mapping[str, Scalar]


@dataclass(frozen=True)
class Pace:
    """How many requests of the bad model a drill needs, how wide its share is, and by when."""

    needed: int
    weight: float
    seconds: float

    def lacking(self, passed: float, met: int, own: int) -> float:
        """Requests a second that live traffic lacks after `passed` seconds; MOST at the most.

        `met` were drawn for the bad model until now, `own` of them the drill's. Those are counted,
        and not all requests: users may be few, and whom the share does not take it never takes.
        """
        left = max(self.seconds - passed, self.seconds / 10)
        wanted = max(self.needed / self.seconds, (self.needed - met) / left)
        live = max(met - own, 0) / max(passed, 1.0)
        return min(MOST, max(0.0, (wanted - live) / self.weight))

    def shortfall(self, met: int) -> str:
        """What to say where the bad model met too few, "" where they were enough."""
        if met >= self.needed:
            return ""
        return (
            f"; the bad model met {met} of the {self.needed} requests that rules need: raise "
            "rollout.drill.weight or rollout.drill.within"
        )


def request_prefix(op_id: str) -> str:
    """How the id of every request of a drill begins."""
    return f"drill-{op_id[:_OP]}-"


def without_drills(table: Any, ledger: LedgerReader, model: str) -> Any:
    """Logged predictions without those that drills asked for; a pyarrow Table with `request_id`.

    An id counts as a drill's only where the ledger knows that drill.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    known = [request_prefix(op.op_id) for op in ledger.ops(model) if op.kind == DRILL]
    if not known or not table.num_rows:
        return table
    length = len(known[0])
    begins = pc.utf8_slice_codeunits(table["request_id"], 0, length)
    drilled = pc.fill_null(pc.is_in(begins, value_set=pa.array(known)), False)
    return table.filter(pc.invert(drilled))


class OwnRequests:
    """Asks for predictions as a client does, one row and one entity at a time.

    As a context manager it asks from a thread of its own, `per_second` times at most: 0 until it is
    set. `answers` counts what came back: by variant, and by "refused" or "failed" where nothing
    did; `versions` by version. `met` is how many requests the server says the bad model had, with
    those of users. A row that the server refuses is not asked again.
    """

    def __init__(self, url: str, model: str, op_id: str, rows: Sequence[Row]) -> None:
        self.answers: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.per_second = 0.0
        self.met = 0
        self._url = f"{url}/v1/models/{model}:predict"
        self._prefix = request_prefix(op_id)
        self._rows = list(rows)
        self._numbers = count()
        self._http = httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, name="ferryman-drill")

    def __enter__(self) -> "OwnRequests":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Let go of the connections; for those who asked without a thread."""
        self._http.close()

    @property
    def sent(self) -> int:
        """How many were sent."""
        return self.answers.total()

    @property
    def of_candidate(self) -> int:
        """How many of them were drawn for the candidate, whoever answered in the end."""
        others = (CHAMPION, "refused", "failed")
        return self.sent - sum(self.answers[name] for name in others)

    def ask(self) -> str:
        """Ask once; the variant that answered, "refused" (a bad request) or "failed"."""
        if not self._rows:  # each one was refused
            return self._count("refused")
        number = next(self._numbers)
        row = self._rows[number % len(self._rows)]
        headers = {
            "x-request-id": f"{self._prefix}{number}",
            "x-entity-key": f"drill-{number}",
        }
        try:
            answer = self._http.post(self._url, json={"instances": [dict(row)]}, headers=headers)
        except httpx.TransportError:
            return self._count("failed")
        # A 500 that names its row: the champion has no answer to it.
        if answer.status_code == 400 or (answer.status_code == 500 and '"row"' in answer.text):
            self._rows.remove(row)
            return self._count("refused")
        if answer.status_code != 200:
            return self._count("failed")
        self.versions[answer.headers.get("x-model-version", "")] += 1
        return self._count(answer.headers.get("x-model-variant", CHAMPION))

    def _count(self, name: str) -> str:
        self.answers[name] += 1
        return name

    def _keep_asking(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            pace = min(self.per_second, MOST)
            if not pace:
                self._stop.wait(0.1)
                due = time.monotonic()
                continue
            self.ask()
            # A server that is slow is not asked all that was missed at once.
            due = max(due + 1 / pace, time.monotonic() - 1)
            self._stop.wait(max(0.0, due - time.monotonic()))
