"""Whether a drill went as it must: the four things that a bad release has to set off, in time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError
from ferryman.ledger.records import ALERT, TRAFFIC, Head, Note, Op, State
from ferryman.runtime.alerts import CHANNEL
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.serving.models.labels import CHAMPION
from ferryman.steps.drill_requests import OwnRequests, Row
from ferryman.steps.model_servers import endpoint_for, model_server_of
from ferryman.steps.rollout_share import Exposure

ANSWERS = 100  # of the champion, once the share is back
_MOST_ASKED, _MOST_FAILED = 2 * ANSWERS, 5
_WAY = (State.REQUESTED, State.STAGED, State.EXPOSED, State.ABORTED)


@dataclass(frozen=True)
class Line:
    """One of the four: whether it happened in time, after how many seconds, and what it was."""

    name: str
    ok: bool
    seconds: float | None
    text: str

    @property
    def as_json(self) -> dict[str, JsonValue]:
        """All of it."""
        return {"name": self.name, "ok": self.ok, "seconds": self.seconds, "text": self.text}


@dataclass(frozen=True)
class Shown:
    """What a drill left in the ledger: its rows, its shares, its alerts.

    Seconds are counted from the first share; without one, from the drill's beginning.
    """

    rows: list[Op]
    shares: list[Note]
    alerts: list[Note]

    @property
    def began(self) -> datetime:
        """When the bad model met its first request, or could have."""
        given = [note.at for note in self.shares if note.evidence["weight"] > 0]
        return min([*given, *([] if given else [row.at for row in self.rows])])

    def after(self, moment: datetime) -> float:
        """Seconds from the beginning to a moment."""
        return round((moment - self.began).total_seconds(), 3)


def shown_in_ledger(exposure: Exposure) -> Shown:
    """Read what the ledger holds of a drill."""
    ledger, op = exposure.ledger, exposure.op

    def notes(kind: str) -> list[Note]:
        return [note for note in ledger.notes(op.model, kind) if note.evidence["op"] == op.op_id]

    rows = [row for row in ledger.history(op.model) if row.op_id == op.op_id]
    return Shown(rows, notes(TRAFFIC), notes(ALERT))


def check(exposure: Exposure, head: Head, rows: list[Row]) -> list[Line]:
    """Look at all four, each of them whatever the others say."""
    drill, shown = exposure.model.spec.rollout.drill, shown_in_ledger(exposure)
    within = drill.within.total_seconds()
    lines = [
        _detected(shown),
        _returned(exposure, shown, head, rows),
        _told(exposure, shown),
        _recorded(shown),
    ]
    return [_in_time(line, within) for line in lines]


def _in_time(line: Line, within: float) -> Line:
    if not line.ok or line.seconds is None or line.seconds <= within:
        return line
    text = f"{line.text}; after {line.seconds:.1f} s, allowed are {within:g} s"
    return Line(line.name, False, line.seconds, text)


def _detected(shown: Shown) -> Line:
    for note in shown.shares:
        ending: Any = note.evidence.get("ending") or {}
        if ending.get("outcome") != "failed":
            continue
        asked = ending.get("requests", {}).get("candidate", 0)
        seconds = shown.after(note.at)
        text = f"by {ending.get('rule')} after {seconds:.1f} s and {asked} requests of the model"
        return Line("detection", True, seconds, text)
    return Line("detection", False, None, "no rule found the bad model")


def _returned(exposure: Exposure, shown: Shown, head: Head, rows: list[Row]) -> Line:
    name, spec = "return", exposure.model.spec
    try:
        with model_server_of(exposure.settings, spec, exposure.connections) as server:
            standing = server.traffic(exposure.op.model)
        seconds = shown.after(datetime.now(UTC))
        url = endpoint_for(exposure.settings, spec).url
    except FerrymanError as error:
        return Line(name, False, None, f"the server cannot be asked: {error.text}")
    if standing is not None:
        weight = standing.traffic.weight
        return Line(name, False, None, f"the server still gives away {weight:.0%}")
    own = OwnRequests(url, exposure.op.model, exposure.op.op_id, rows)
    try:
        while own.answers[CHAMPION] < ANSWERS and own.sent < _MOST_ASKED:
            own.ask()
            if own.answers["failed"] >= _MOST_FAILED:
                break
    finally:
        own.close()
    others = {
        one: number for one, number in own.answers.items() if one not in (CHAMPION, "refused")
    }
    others |= {f"version {one}": n for one, n in own.versions.items() if one != str(head.version)}
    count = own.answers[CHAMPION]
    if others or count < ANSWERS:
        told = ", ".join(f"{number} by {one}" for one, number in others.items())
        text = f"{count} of {ANSWERS} answers by the champion" + (f"; {told}" if told else "")
        return Line(name, False, seconds, text)
    text = f"share 0 after {seconds:.1f} s; {count} answers by version {head.version}, the champion"
    return Line(name, True, seconds, text)


def _told(exposure: Exposure, shown: Shown) -> Line:
    sent = next((note for note in shown.alerts if note.evidence.get("sent") is True), None)
    if sent is not None:
        seconds = shown.after(sent.at)
        return Line("alert", True, seconds, f"delivered after {seconds:.1f} s")
    try:
        (exposure.connections or DeclaredConnections(exposure.settings)).get(CHANNEL)
    except FerrymanError as error:
        return Line("alert", False, None, f"nobody was told: {error.text}")
    why = "did not take the alert" if shown.alerts else "was sent no alert"
    return Line("alert", False, None, f"nobody was told: connection {CHANNEL!r} {why}")


def _recorded(shown: Shown) -> Line:
    states = [row.state for row in shown.rows]
    weights = [float(note.evidence["weight"]) for note in shown.shares]
    missing = [f"no {state}" for state in _WAY if state not in states]
    missing += [] if any(weights) else ["no share"]
    missing += [] if weights and not weights[-1] else ["no end of the share"]
    missing += [] if shown.alerts else ["no alert"]
    if missing:
        return Line("ledger", False, None, f"the ledger has {', '.join(missing)}")
    seconds = shown.after(shown.rows[-1].at)
    way = " > ".join(states)
    shares = ", ".join(f"{weight:g}" for weight in weights)
    return Line("ledger", True, seconds, f"{way}; shares {shares}; {len(shown.alerts)} alert(s)")
