"""The step `report`: pages from a real training, remembered in a real MLflow."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd
import pytest
from training_line import DAYS, Line

from ferryman.cli.explain import explain
from ferryman.errors import SpecError
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.files import file_digest
from ferryman.runtime.messages import StepResult
from ferryman.spec.model import DeclaredModel

STEPS = ("train", "evaluate", "package", "register", "report")
NASTY = "<script>alert(1)</script> & 'rain' | **$x$**"
ON = """evaluation:
  slices: [{column: station}, {column: sky}, {column: humidity, bins: 3}]
  learning_curve: 3
  risk_resamples: 3
  refit_rows: 400
  explained_rows: 20
"""
GATES = """gates:
  fairness: [{column: station, metric: selection_rate, max_gap: 0.2}]
  behaviour:
    - {kind: direction, name: more humid, column: humidity, by: 40, expect: higher, share: 0.5}
    - {kind: example, name: a black sky, row: {sky: black, humidity: 95}, min: 0.999}
"""
OFF = "evaluation: {learning_curve: 0, risk_resamples: 0, explained_rows: 0}\n"

MakeLine = Callable[..., Line]


@pytest.fixture
def declare(rain: DeclaredModel) -> Callable[..., None]:
    """A function (evaluation, gates) that changes the declaration, and a nasty description."""

    def change(evaluation: str, gates: str = "gates:\n") -> None:
        text = rain.file.read_text()
        assert OFF in text
        text = text.replace("gates:\n", gates, 1).replace(OFF, evaluation)
        described = json.dumps(NASTY)
        text = re.sub("description: .*", lambda _: f"description: {described}", text, count=1)
        rain.file.write_text(text)

    return change


class _Page(HTMLParser):
    """Every element closed in order; what could load or run anything."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.words += data


def _harmless(page: _Page) -> None:
    for tag, attributes in page.seen:
        assert tag not in ("script", "iframe", "object", "embed", "link", "form", "base")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:image/png;base64,", "#part-")) or not value


def test_a_report_tells_everything(
    make_line: MakeLine,
    rain_hours: Callable[..., pd.DataFrame],
    declare: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    declare(ON, GATES)
    line = make_line(rain_hours(DAYS))
    results = line.run(*STEPS)
    _check_pages(results)
    _check_evidence(results)
    _check_tracked(line, results)
    page = Path(results["report"].artifacts["report.html"])
    before = page.stat().st_mtime_ns
    assert line.run(*STEPS)["report"] == results["report"]
    assert page.stat().st_mtime_ns == before  # a finished report is not made again

    monkeypatch.setattr("ferryman.cli.explain.load_settings", lambda: line.settings)
    file = tmp_path / "row.json"
    row = {"station": "north", "sky": None, "humidity": 90, "clouds": 8.0}
    file.write_text(json.dumps(row))
    with pytest.raises(SpecError, match="serves no version yet"):
        explain(model="rain", row=file)
    _release(line, results)
    capsys.readouterr()
    explain(model="rain", row=file, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["epoch"]) == (1, 1)
    assert told["base"] + sum(told["attributions"][0]) == pytest.approx(told["answers"][0])
    assert told["answers"][0] > told["base"]  # much humidity, many clouds
    explain(model="rain", row=file)
    assert "version 1, epoch 1" in capsys.readouterr().out
    for wrong, text in (
        ({**row, "humidity": "wet"}, "not a number"),
        ({"skye": "grey"}, "no 'station'"),
        ([row], "a row is an object"),
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(SpecError, match=text):
            explain(model="rain", row=file)


def test_parts_that_are_off_are_told(
    make_line: MakeLine, rain_hours: Callable[..., pd.DataFrame], declare: Callable[..., None]
) -> None:
    declare(OFF)
    result = make_line(rain_hours(DAYS)).run(*STEPS)["report"]
    assert result.outputs["parts"] == ["figures", "answers"]
    limits = " ".join(str(limit) for limit in result.outputs["limits"])  # type: ignore[union-attr]
    for name in ("explained_rows", "gates.behaviour", "gates.fairness", "evaluation.slices"):
        assert name in limits
    assert "explanation.json" not in result.artifacts
    page = _Page(Path(result.artifacts["report.html"]).read_text())
    assert "explained_rows is 0" in page.words


def _check_pages(results: dict[str, StepResult]) -> None:
    artifacts = results["report"].artifacts
    report = _Page(Path(artifacts["report.html"]).read_text())
    card = _Page(Path(artifacts["card.html"]).read_text())
    for page in (report, card):
        _harmless(page)
        assert NASTY in page.words
    pictures = [attributes for tag, attributes in report.seen if tag == "img"]
    assert len(pictures) >= 10
    assert all(attributes.get("alt") for attributes in pictures)
    assert not [tag for tag, _ in card.seen if tag == "img"]
    train, register = results["train"].outputs, results["register"].outputs
    for words in (
        f"{results['evaluate'].metrics['roc_auc']:.4f}",
        str(train["train_dataset"]),
        str(register["digest"]),
        "max_iter",
        "not enough data",
        "a black sky",
        "north",
    ):
        assert words in report.words, words
    assert "Intended use" in card.words
    assert "tests@example.org" in card.words
    text = Path(artifacts["card.md"]).read_text()
    assert "<script" not in text
    assert text.startswith("# Model card: rain, version 1")


def _check_evidence(results: dict[str, StepResult]) -> None:
    artifacts = results["report"].artifacts
    evidence = json.loads(Path(artifacts["report.json"]).read_bytes())
    assert evidence["figures"]["metrics"] == results["evaluate"].metrics
    constant = evidence["figures"]["constant"]
    assert constant["log_loss"] > evidence["figures"]["metrics"]["log_loss"]
    slices = evidence["slices"]
    stations = [one for one in slices if one["column"] == "station"]
    assert sum(one["rows"] for one in stations) == 7 * 96
    assert [one["outcome"] for one in evidence["behaviour"]] == ["passed", "failed"]
    explanation = json.loads(Path(artifacts["explanation.json"]).read_bytes())
    assert len(explanation["answers"]) == 20
    for values, answer in zip(explanation["attributions"], explanation["answers"], strict=True):
        assert explanation["base"] + sum(values) == pytest.approx(answer, abs=1e-6)
    assert explanation["importance"][0]["feature"] in ("humidity", "sky")


def _check_tracked(line: Line, results: dict[str, StepResult]) -> None:
    client = connect(line.settings.mlflow_uri)
    run = client.get_run(str(results["train"].outputs["mlflow_run_id"]))
    assert run.info.status == "FINISHED"
    assert run.data.tags["ferryman.report"] == "report/report.html"
    folder = Path(unquote(urlparse(run.info.artifact_uri).path)) / "report"
    for name, place in results["report"].artifacts.items():
        assert file_digest(folder / name) == file_digest(Path(place))


def _release(line: Line, results: dict[str, StepResult]) -> None:
    """Commit the version in the ledger, as the release's steps do when all is well."""
    outputs = {**results["train"].outputs, **results["register"].outputs}
    names = ("version", "digest", "bundle", "cutoff", "run_key", "train_dataset", "eval_dataset")
    given = {name: outputs[name] for name in names}
    ledger = Ledger(line.settings.ledger_url)
    candidate = Candidate.model_validate({**given, "sequence": 1})
    op = ledger.open_op(PROMOTE, "rain", candidate, "ann", "a test of explanations")
    ledger.advance(op.op_id, State.REGISTERED, {})
    for state in (State.GATED, State.STAGED):
        ledger.advance(op.op_id, state, {}, base_epoch=0)
    ledger.commit(op.op_id, 0)
