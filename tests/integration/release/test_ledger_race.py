"""Many contenders, shuffled cut-offs, random kills: the newest cut-off wins, each decided once."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from ledger_world import make_candidate
from services.long_tests import seeds
from services.postgres import PostgresServer

from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import TRAFFIC, State

RACER = Path(__file__).with_name("racer.py")
DAYS = list(range(1, 13))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a ledger that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    server.run("DROP SCHEMA IF EXISTS races CASCADE", "CREATE SCHEMA races")
    address = server.engine().url.update_query_dict({"options": "-csearch_path=races"})
    return address.render_as_string(hide_password=False)


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_the_newest_cut_off_wins(url: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's order, not a secret
    days = chance.sample(DAYS, len(DAYS))
    shares = [days[number::6] for number in range(6)]
    shares[0].append(12)  # two contenders for the newest one: it is still decided once
    killed = chance.sample(range(6), 2)
    plan = {"url": url, "shares": shares, "killed": killed, "after": chance.uniform(0.02, 0.15)}
    done = subprocess.run(
        [sys.executable, str(RACER), json.dumps(plan)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=240,
    )
    endings, again = json.loads(done.stdout)
    assert all(code == 0 for number, code in enumerate(endings) if number not in killed)
    assert -signal.SIGKILL in endings  # not all had finished
    assert again == [0, 0]

    ledger = Ledger(url)
    assert ledger.verify() == []
    head = ledger.head("tiny")
    assert head is not None and head.version == 12
    history = ledger.history("tiny")
    commits = [op for op in history if op.state is State.COMMITTED]
    assert [op.evidence["after"]["epoch"] for op in commits] == list(range(1, head.epoch + 1))
    keys = [op.order_key for op in commits]
    assert keys == sorted(keys)
    assert max(Counter(op.op_id for op in commits).values()) == 1
    ends = {op.candidate.version: op.state for op in ledger.ops("tiny")}
    assert set(ends) == set(DAYS)
    assert set(ends.values()) <= {State.COMMITTED, State.SUPERSEDED}


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_a_lease_has_one_holder(url: str, seed: int) -> None:
    """Six controllers of six candidates, two of them killed with the lease in hand or without."""
    chance = random.Random(seed)  # noqa: S311 - a test's order, not a secret
    ledger = Ledger(url)
    expose_all(ledger)
    killed = chance.sample(range(6), 2)
    # Those that are killed would go on for long, however quick the machine is.
    shares = [
        [version] * (40 if place in killed else 2) for place, version in enumerate(range(2, 8))
    ]
    plan = {"url": url, "shares": shares, "killed": killed, "after": chance.uniform(0.05, 0.3)}
    done = subprocess.run(
        [sys.executable, str(RACER), json.dumps({**plan, "task": "hold"})],
        capture_output=True,
        check=True,
        timeout=240,
    )
    endings, again = json.loads(done.stdout)
    assert all(code == 0 for number, code in enumerate(endings) if number not in killed)
    assert -signal.SIGKILL in endings and again == [0, 0]

    held = sorted((json.loads(line) for line in done.stderr.splitlines()), key=by_serial)
    assert len(held) >= 12
    for one, other in pairwise(held):
        assert one["serial"] < other["serial"], "a serial is given once"
        assert one["ended"] <= other["began"], "two held the lease at once"
    assert ledger.verify() == []
    given = [note.evidence for note in ledger.notes("tiny", TRAFFIC) if note.evidence["weight"]]
    serials = [told["serial"] for told in given]
    assert serials == sorted(set(serials)), "an older holder gave a share after a newer one"
    assert {line["serial"] for line in held} <= set(serials)


def by_serial(line: dict[str, Any]) -> int:
    return int(line["serial"])


def expose_all(ledger: Ledger) -> None:
    """Version 1 as the champion, six exposed candidates beside it."""
    for version in range(1, 8):
        candidate = make_candidate(version, version)
        op = ledger.open_op(PROMOTE, "tiny", candidate, "racer", "race")
        base = 0 if version == 1 else 1
        ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
        ledger.advance(op.op_id, State.GATED, {}, base_epoch=base)
        ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)
        if version == 1:
            ledger.commit(op.op_id, 0)
        else:
            ledger.advance(op.op_id, State.EXPOSED, {}, base_epoch=base)


def test_twelve_open_a_ledger_that_is_not_there_yet(url: str) -> None:
    together = Barrier(12)

    def open_it(_: int) -> list[str]:
        together.wait()
        return Ledger(url).verify()

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(open_it, range(12))) == [[]] * 12
