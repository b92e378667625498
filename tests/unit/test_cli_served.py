"""`ferryman served` and `ferryman ledger`: who served, why, and every act that led there."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_world import MODEL, REASON, decide, finish, make_candidate, release, set_weight, staged
from test_cli import run_cli

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs `ferryman` and gives exit code, what it printed, and its errors."""
    monkeypatch.setenv("FERRYMAN_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("FERRYMAN_ACTOR", "dan")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_cli(monkeypatch, tmp_path, *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_any_moment_is_told_with_its_reasons(ledger: Ledger, ask: Ask) -> None:
    release(ledger, 1)
    code, said, _ = ask("served", "-m", MODEL, "--at", "2013-01-01")
    assert code == 0 and "nothing was released by then" in said
    candidate = make_candidate(2, 2, train_dataset="train-2", code_version="abc123")
    op = staged(ledger, candidate, 1, approval=True, exposure=True)
    decide(ledger, op, reason="shown to the board [1]")
    ledger.advance(op.op_id, State.EXPOSED, {})
    serial = ledger.take_lease(MODEL, op.op_id, "controller", 60).serial
    given = set_weight(ledger, op, serial, 0.05)
    ledger.advance(op.op_id, State.PROVEN, {})
    ledger.commit(op.op_id, 1)
    finish(ledger, op.op_id)

    code, said, _ = ask("served", "--model", MODEL)
    assert code == 0
    for text in (
        "version 2 (epoch 2)",
        f"{2:064x}",
        "by promote, row 16 of the ledger",
        "better by far",
        "approved   by bob",
        "shown to the board [1]",
        "trained on train-2, judged on eval, cut-off 2013-02-02T00:00:00Z",
        "abc123",
    ):
        assert text in said, said
    assert "candidate" not in said
    then = (given.at + timedelta(microseconds=1)).astimezone().isoformat()
    _, said, _ = ask("served", "--model", MODEL, "--at", then, "--json")
    told = json.loads(said)
    assert told["head"]["version"] == 1 and told["approved_by"] is None
    assert told["candidate"]["version"] == 2 and told["candidate"]["weight"] == 0.05


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--at", "2013-02-01T08:00:00"), "Write 2013-02-01T08:00:00Z for UTC"),
        (("--at", "noon"), "is no moment"),
        (("--at", "2999-01-01"), "has not come yet"),
        (("--model", "tinny"), "did you mean 'tiny'"),
    ],
)
def test_moments_and_models_that_are_none(
    ledger: Ledger, ask: Ask, arguments: tuple[str, ...], text: str
) -> None:
    given = arguments if "--model" in arguments else ("--model", MODEL, *arguments)
    code, _, error = ask("served", *given)
    assert code == 2 and text in error, error


def test_acts_of_people_are_shown_with_before_and_after(ledger: Ledger, ask: Ask) -> None:
    release(ledger, 1)
    asked = ("-m", MODEL, "--reason", REASON)
    assert ask("ledger", "freeze", *asked)[1].rstrip().endswith("frozen")
    assert "short" not in ask("ledger", "unfreeze", *asked)[2]
    assert "version 1 is protected: serving, legal hold" in ask(
        "ledger", "hold", *asked, "--version", "1"
    )[1].replace("\n", " ")
    assert ask("ledger", "unhold", *asked, "--version", "1")[0] == 0
    code, _, error = ask("ledger", "freeze", "-m", MODEL, "--reason", "short")
    assert code == 2 and "10 to 500" in error
    assert ask("ledger", "hold", *asked, "--version", "7")[0] == 2
    lines = [
        json.loads(line) for line in ask("ledger", "show", "-m", MODEL, "--json")[1].splitlines()
    ]
    assert [(line["kind"], line["before"], line["after"]) for line in lines[4:]] == [
        ("promote", "no head", "epoch 1, version 1"),
        ("promote", "COMMITTED", "PROJECTED"),
        ("promote", "PROJECTED", "DONE"),
        ("freeze", "false", "true"),
        ("unfreeze", "true", "false"),
        ("hold", "false", "true"),
        ("unhold", "true", "false"),
    ]
    assert {(line["actor"], line["reason"]) for line in lines[7:]} == {("dan", REASON)}
    shown = ask("ledger", "show", "-m", MODEL)[1]
    assert "unhold" in shown and REASON in shown
    assert ask("ledger", "verify")[0] == 0
