"""The `ferryman` command: what it prints, what it exits with, and what it does not import."""

from pathlib import Path

import pytest
from services import command

from ferryman.errors import (
    DataRejected,
    ExitCode,
    FerrymanError,
    exit_code_of,
)

TINY = Path(__file__).parents[1] / "zoo" / "tiny"


def run_cli(
    monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str, zoo: Path | None = None
) -> int:
    return command.run_cli(monkeypatch, home, zoo or TINY.parent, *arguments)


def test_a_typo_is_told_with_file_line_and_nearest_key(tmp_path, monkeypatch, capsys) -> None:
    file = tmp_path / "tiny" / "model.yaml"
    file.parent.mkdir()
    for name in ("features.sql", "labels.sql", "pipeline.py"):
        (file.parent / name).write_bytes((TINY / name).read_bytes())
    file.write_text((TINY / "model.yaml").read_text().replace("holdout", "holdot"))
    assert run_cli(monkeypatch, tmp_path, "validate", str(file)) == 2
    line = next(
        number for number, text in enumerate(file.read_text().splitlines(), 1) if "holdot" in text
    )
    assert f"{file}:{line}: unknown key 'train.holdot'; did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("validate", str(TINY / "model.yaml")), 0, "well declared"),
        (("validate", "nowhere.yaml"), 2, "no such file"),
        (("run", "trian", "--model", "tiny"), 2, "did you mean 'train'"),
        (("run", "train", "--model", "tinny"), 2, "did you mean 'tiny'"),
        (("run", "evaluate", "--model", "tiny"), 2, "Run 'train' first"),
        (("run", "release", "--model", "tiny"), 2, "no finished training run"),
        (("run", "train", "--model", "tiny", "-p", "cutoff"), 2, "NAME=VALUE"),
        (("run", "training", "--model", "tiny", "-p", "cut=1"), 2, "unknown parameter 'cut'"),
        (("run", "ingest", "--model", "tiny", "--window", "2013-13-01"), 2, "2013-02-01"),
        (("run", "ingest", "--model", "tiny"), 2, "needs a data window"),
        (("drill", "--model", "tiny"), 0, "not_needed: there is no release yet"),
        (("drill", "--model", "tiny", "--kind", "worse"), 2, "'constant', 'nan' or 'inverted'"),
        (("frobnicate",), 2, "No such command"),
        (("new", "../x"), 2, "not a model's name"),
        (("ledger", "verify"), 0, "whole"),
    ],
)
def test_exit_codes_and_texts(
    tmp_path, monkeypatch, capsys, arguments: tuple[str, ...], code: int, text: str
) -> None:
    assert run_cli(monkeypatch, tmp_path, *arguments) == code
    printed = capsys.readouterr()
    assert text in printed.out.replace("\n", " ") + printed.err
    assert "Traceback" not in printed.err


def test_a_new_model_is_well_declared(tmp_path, monkeypatch, capsys) -> None:
    assert run_cli(monkeypatch, tmp_path, "new", "churn", zoo=tmp_path / "zoo") == 0
    assert run_cli(monkeypatch, tmp_path, "validate", zoo=tmp_path / "zoo") == 0
    assert run_cli(monkeypatch, tmp_path, "new", "churn", zoo=tmp_path / "zoo") == 9
    assert "exists" in capsys.readouterr().err


def test_every_error_has_its_own_exit_code_and_a_remedy() -> None:
    import ferryman_airflow.stack.rest  # noqa: F401 - every error, wherever it is defined

    kinds = FerrymanError.__subclasses__()
    assert sorted(kind.exit_code for kind in kinds) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert all(kind("x").remedy for kind in kinds)
    assert exit_code_of(DataRejected("x")) == 3
    assert exit_code_of(ValueError("x")) == ExitCode.BUG
