"""What monitoring found is told to Prometheus: nights that were lived, and a damaged report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lived_nights import Past
from prometheus_client.parser import text_string_to_metric_families

from ferryman.ledger.costs import CostTable, StepCost
from ferryman.runtime.files import read_json, write_json
from ferryman.steps.guard_figures import GuardFigures
from ferryman.steps.monitoring_figures import MonitoringFigures

Samples = dict[tuple[str, frozenset[str]], float]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, make_bundle: Any) -> Past:
    return Past(tmp_path_factory.mktemp("figures"), make_bundle, range(7, 9))


def _samples(past: Past) -> Samples:
    page = GuardFigures(past.settings).page().decode()
    return {
        (sample.name.removeprefix("ferryman_"), frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def _key(name: str, *labels: str) -> tuple[str, frozenset[str]]:
    return name, frozenset(labels)


def _newest(past: Past) -> Path:
    return sorted((past.settings.monitoring_root / "tiny" / "reports").glob("*.json"))[-1]


def test_each_figure_of_the_newest_report_is_told(past: Past) -> None:
    told, report = _samples(past), read_json(_newest(past))
    quality = report["quality"]
    assert quality["value"] is not None
    for bound in ("value", "low", "high"):
        key = _key("monitored_quality", "tiny", "all", "log_loss", bound)
        assert told[key] == pytest.approx(quality[bound])
    assert told[_key("monitored_label_coverage", "tiny", "champion")] == pytest.approx(
        report["champion_quality"]["coverage"]
    )
    assert told[_key("monitored_quality_of_gate", "tiny", "log_loss")] == 0.4
    assert report["inputs"]
    for one in report["inputs"]:
        assert told[_key("monitored_input_null_share", "tiny", one["column"])] == one["nulls"]
    assert told[_key("monitored_drift_alarm", "tiny")] == float(report["drift"]["alarm"])
    [one] = report["operations"]
    latency = _key("monitored_window_latency_seconds", "tiny", "2", "champion", "0.95")
    assert told[latency] == pytest.approx(one["p95"])
    assert told[_key("champion_version", "tiny")] == 2
    assert told[_key("champion_released_timestamp_seconds", "tiny")] > 1e9
    assert (
        told[_key("retrain_decisions", "tiny", "no")]
        + told[_key("retrain_decisions", "tiny", "yes")]
        == 2
    )
    assert told[_key("monitored_report_readable", "tiny")] == 1


def test_costs_are_told_by_step_and_outcome(past: Past) -> None:
    table, now = CostTable(past.settings.ledger_url), datetime.now(UTC)
    for outcome, cpu in (("done", 3.0), ("done", 4.0), ("OutOfMemory", 1.0)):
        table.add(StepCost("tiny", "r", "training", "train", outcome, now, 5.0, cpu, 1 << 20))
    told = _samples(past)
    assert told[_key("step_cpu_seconds", "tiny", "training", "train", "done")] == 7.0
    assert told[_key("step_cpu_seconds", "tiny", "training", "train", "failed")] == 1.0
    assert told[_key("step_tries", "tiny", "training", "train", "done")] == 2.0


def test_what_a_report_does_not_know_is_no_zero(past: Past) -> None:
    file = _newest(past)
    kept = read_json(file)
    try:
        none = {**kept["quality"], "value": None, "low": None, "high": None, "labelled": 3}
        write_json(file, {**kept, "quality": none})
        told = _samples(past)
        assert not [one for one in told if one[0] == "monitored_quality" and "all" in one[1]]
        assert told[_key("monitored_quality_labelled", "tiny", "all")] == 3
    finally:
        write_json(file, kept)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"window": {"end": "yesterday"}}'])
def test_a_damaged_report_takes_only_its_own_figures_away(past: Past, damage: bytes) -> None:
    file = _newest(past)
    kept = file.read_bytes()
    try:
        file.write_bytes(damage)
        told = _samples(past)
        assert told[_key("monitored_report_readable", "tiny")] == 0
        assert [key for key in told if key[0].startswith("monitored_quality")] == []
        assert told[_key("champion_version", "tiny")] == 2
        assert told[_key("ledger_problems")] == 0
    finally:
        file.write_bytes(kept)


def test_a_report_of_a_thousand_columns_stays_bounded(past: Past) -> None:
    file = _newest(past)
    kept = read_json(file)
    wide = [
        {**kept["columns"][0], "column": f"c{one}", "psi": 0.1, "effect": one / 1000}
        for one in range(1000)
    ]
    try:
        write_json(file, {**kept, "columns": [*wide, *wide]})
        families = {one.name: one for one in MonitoringFigures(past.settings).of_monitoring()}
        named = [one.labels["column"] for one in families["ferryman_monitored_drift_psi"].samples]
        assert len(named) == len(set(named)) == 200
        assert named[0] == "c999"  # those that moved most
    finally:
        write_json(file, kept)
