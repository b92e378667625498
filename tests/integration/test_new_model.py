"""A new user's first hour: `ferryman new`, some data, and the whole life by commands alone."""

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from services.command import Command

from ferryman.runtime.ports import free_ports
from ferryman.settings import load_settings

DAYS, ROWS = 45, 160
SMALL_REPORT = "evaluation: {learning_curve: 2, risk_resamples: 0, explained_rows: 5}"
COLUMNS = ["happened_at", "customer", "amount", "measured_at", "outcome"]
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


class Shell:
    """Runs the installed command in an installation of its own; `quick` runs it in this process.

    Its first run of every kind is a process, as a user's is; what only looks again need not be.
    """

    def __init__(self, root: Path, command: Command) -> None:
        self._command = command
        self.port, admin = free_ports(2)
        self.root = root
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FERRYMAN_")},
            "FERRYMAN_HOME": str(root / "home"),
            "FERRYMAN_ZOO": str(root / "zoo"),
            "FERRYMAN_SOURCE_ROOT": str(root / "source"),
            "FERRYMAN_SERVING_PORT": str(self.port),
            "FERRYMAN_SERVING_ADMIN_PORT": str(admin),
        }

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ferryman.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def quick(self, *arguments: str, code: int = 0) -> str:
        """The same, without starting a process."""
        for name in [key for key in os.environ if key.startswith("FERRYMAN_")]:
            self._command.patch.delenv(name)
        for name, value in self.environment.items():
            if name.startswith("FERRYMAN_"):
                self._command.patch.setenv(name, value)
        said = self._command(*arguments, code=code)
        assert "Traceback" not in said
        return said


@pytest.fixture
def ferryman(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    shell = Shell(tmp_path, Command(capsys, monkeypatch))
    yield shell
    shell.quick("serve", "--stop")
    load_settings.cache_clear()


def declare(ferryman: Shell) -> None:
    """The template, with a time at which the amount became known."""
    ferryman.quick("new", "churn")
    folder = ferryman.root / "zoo" / "churn"
    changes = {
        "model.yaml": [
            ("        outcome:", "        measured_at: {type: timestamp}\n        outcome:"),
            ("    amount: {type: number}", "    amount: {type: number, known_at: measured_at}"),
            ("gates:\n", f"{SMALL_REPORT}\ngates:\n"),
        ],
        "features.sql": [("customer, amount FROM", "customer, amount, measured_at FROM")],
    }
    for name, pairs in changes.items():
        text = (folder / name).read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (folder / name).write_text(text)


def write_events(root: Path) -> None:
    """Customers whose amount says a good deal, not all, about the outcome."""
    dice = random.Random(1)  # noqa: S311 - no secret is made of it
    months: dict[str, list[list[str]]] = {}
    for number in range(DAYS * ROWS):
        at = FIRST + timedelta(days=number // ROWS, minutes=number % ROWS)
        amount = dice.gauss(0, 1)
        outcome = int(dice.gauss(amount, 0.7) > 0)
        moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        row = [moment, f"c{number % ROWS}", f"{amount:.4f}", moment, str(outcome)]
        months.setdefault(f"{at:%Y-%m}", []).append(row)
    folder = root / "source" / "churn"
    folder.mkdir(parents=True)
    for month, rows in months.items():
        with (folder / f"events_{month}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows)


def test_from_new_to_a_served_prediction(ferryman: Shell, tmp_path: Path) -> None:
    declare(ferryman)
    ferryman("validate")
    write_events(tmp_path)
    ferryman("run", "ingest", "--model", "churn", "--window", "2026-03-01..2026-04-14")
    assert "register done: version 1" in ferryman("run", "training", "--model", "churn")
    ferryman("run", "release", "--model", "churn", code=6)  # nothing serves yet: it says so
    ferryman("serve", "--detach")
    assert "epoch 1" in ferryman("run", "release", "--model", "churn")
    answer = httpx.post(
        f"http://127.0.0.1:{ferryman.port}/v1/models/churn:predict",
        json={"instances": [{"amount": 3.0}, {"amount": -3.0}, {"amount": None}]},
    )
    assert answer.status_code == 200
    high, low, middle = answer.json()["predictions"]
    assert high > 0.95
    assert 0.3 < middle < 0.7
    assert low < 0.05
    assert (answer.headers["x-model-version"], answer.headers["x-model-epoch"]) == ("1", "1")
    assert "epoch 1, version 1" in ferryman("ledger", "show", "--model", "churn")
    assert "whole" in ferryman.quick("ledger", "verify")
    assert "already done (epoch 1)" in ferryman.quick(
        "run", "release", "--model", "churn", "--run-id", "b"
    )
    rows = json.loads(ferryman.quick("run", "gate", "--model", "churn", "--run-id", "b", "--json"))
    assert rows["step"] == "gate"
    refuse_damaged_days(ferryman)


def refuse_damaged_days(ferryman: Shell) -> None:
    """Damage of the newest day exits 3 (a leak 4) with its place; champion and server stay."""
    file = ferryman.root / "source" / "churn" / "events_2026-04.csv"
    good = file.read_text()
    header, *rows = good.splitlines()
    day = [row.replace("2026-04-14T", "2026-04-15T") for row in rows if "2026-04-14T" in row]
    whole = [header, *rows, *day]
    line = len(whole)
    last = day[-1].split(",")
    damages = {
        "cut row": ("\n".join(whole)[:-25], [f"line {line}"]),
        "wrong type": (
            "\n".join([*whole[:-1], ",".join([*last[:2], "much", *last[3:]])]) + "\n",
            ["amount", str(line)],
        ),
        "missing column": (
            "\n".join(",".join(row.split(",")[:2] + row.split(",")[3:]) for row in whole) + "\n",
            ["amount"],
        ),
        "late-known feature": (
            "\n".join([*whole[:-1], ",".join([*last[:3], "2026-04-15T23:00:00Z", last[4]])]) + "\n",
            ["suspiciously good", "amount", "row 160", "2026-04-15T23:00:00Z"],
        ),
    }
    head = ferryman.quick("ledger", "show", "--model", "churn")
    windows = ferryman.quick("data", "list", "--model", "churn")
    for damage, (text, told) in damages.items():
        file.write_text(text)
        code = 4 if "late" in damage else 3
        said = ferryman.quick(
            "run", "ingest", "--model", "churn", "--window", "2026-04-15", code=code
        )
        missing = [words for words in told if words not in said]
        assert not missing, f"{damage}: {said} does not say {missing}"
    file.write_text(good)
    assert ferryman.quick("ledger", "show", "--model", "churn") == head
    assert ferryman.quick("data", "list", "--model", "churn") == windows
    answer = httpx.post(
        f"http://127.0.0.1:{ferryman.port}/v1/models/churn:predict",
        json={"instances": [{"amount": 3.0}]},
    )
    assert (answer.status_code, answer.headers["x-model-epoch"]) == (200, "1")


def test_a_killed_command_is_continued_by_the_same_command(ferryman: Shell, tmp_path: Path) -> None:
    declare(ferryman)
    write_events(tmp_path)
    ferryman.quick("run", "ingest", "--model", "churn", "--window", "2026-03-01..2026-04-14")
    started = subprocess.Popen(
        [sys.executable, "-m", "ferryman.cli", "run", "training", "--model", "churn"],
        env=ferryman.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    runs = tmp_path / "home" / "runs" / "churn" / "training"
    while not list(runs.glob("*/train")):
        assert started.poll() is None
    started.kill()
    started.wait()
    assert "register done: version 1" in ferryman("run", "training", "--model", "churn")
    assert len(list(runs.iterdir())) == 1
    again = ferryman.quick("run", "training", "--model", "churn")  # a new run of the same work
    assert "register done: version 1" in again
    assert len(list(runs.iterdir())) == 2
