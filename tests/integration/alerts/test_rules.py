"""The rules, their unit tests and the configurations, judged by Prometheus' own tools."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS, ALERTMANAGER = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "alertmanager"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt install prometheus"
)
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None,
    reason="amtool is not installed: apt install prometheus-alertmanager",
)


def _alerts() -> dict[str, dict[str, Any]]:
    rules = [
        rule
        for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names)) >= 20
    return {rule["alert"]: rule for rule in rules}


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_alert_says_how_grave_it_is_what_to_do_and_where_to_read() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    headings = {line.strip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    for name, rule in _alerts().items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        remedy = rule["labels"]["remedy"]
        assert remedy in ("none", "monitoring", "rollback", "reconcile", "retraining"), name
        told = rule["annotations"]
        assert set(told) == {"summary", "description", "runbook_url"}, name
        anchor = told["runbook_url"].removeprefix("docs/alerts.md#")
        assert anchor == name.lower(), name
        assert anchor in headings, f"docs/alerts.md has no heading {name}"


def test_every_metric_of_a_rule_is_one_that_is_told() -> None:
    """A rule about a metric that was renamed would never fire, whatever its own test says."""
    sources = [*(ROOT / "include" / "ferryman").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    words = {word for file in sources for word in re.findall(r"[a-z_]+", file.read_text())}
    for name, rule in _alerts().items():
        for metric in re.findall(r"\bferryman_[a-z_]+", rule["expr"]):
            base = re.sub(r"_(total|bucket|count|sum)$", "", metric)
            # What reports say is named by a prefix and the figure.
            figure = base.removeprefix("ferryman_monitored_")
            assert {metric, base, figure} & words, f"{name} asks for {metric}"


def test_every_alert_has_a_test_in_which_it_is_quiet_fires_and_resolves() -> None:
    seen: dict[str, list[bool]] = {}
    for file in sorted((PROMETHEUS / "tests").glob("*.test.yml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for moment in test["alert_rule_test"]:
                seen.setdefault(moment["alertname"], []).append(bool(moment["exp_alerts"]))
    assert set(seen) == set(_alerts())
    for name, fires in seen.items():
        assert fires[0] is fires[-1] is False, name
        assert any(fires), name


@needs_promtool
def test_promtool_finds_the_rules_right_and_their_tests_pass() -> None:
    _run("promtool", "check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))
    _run("promtool", "check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    tests = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
    told = _run("promtool", "test", "rules", *tests)
    assert told.count("SUCCESS") == len(tests) == 2


@needs_promtool
def test_a_rule_that_never_fires_fails_its_test(tmp_path: Path) -> None:
    for folder in ("rules", "tests"):
        shutil.copytree(PROMETHEUS / folder, tmp_path / folder)
    file = tmp_path / "rules" / "server.rules.yml"
    text = file.read_text()
    assert text.count('up{job="ferryman-servers"} == 0') == 1
    file.write_text(text.replace('up{job="ferryman-servers"} == 0', 'up{job="other"} == 0'))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "tests" / "alerts.test.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "FerrymanServerDown" in done.stdout + done.stderr


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=FerrymanServerDown", "severity=critical", "server=main"), "ferryman"),
        (("alertname=FerrymanInstallationDown", "severity=critical"), "people"),
        (("alertname=SomebodyElses",), "ferryman"),
    ],
)
def test_alertmanager_takes_its_configuration(labels: tuple[str, ...], receiver: str) -> None:
    file = ALERTMANAGER / "alertmanager.yml"
    assert "SUCCESS" in _run("amtool", "check-config", file)
    told = _run("amtool", "config", "routes", "test", f"--config.file={file}", *labels)
    assert told.split()[0] == receiver
