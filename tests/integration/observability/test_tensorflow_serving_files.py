"""What is shipped for those who serve the SavedModel by TensorFlow Serving, judged by promtool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "tensorflow-serving"


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_asks_where_tensorflow_serving_is_told_to_answer() -> None:
    text = (FOLDER / "monitoring.config").read_text()
    [path] = re.findall(r'path: "([^"]+)"', text)
    assert re.search(r"^prometheus_config \{\n  enable: true\n", text, re.MULTILINE)
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    assert job["metrics_path"] == path
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:8501"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt install prometheus")
def test_promtool_takes_configuration_and_rules_and_every_alert_fires_and_resolves() -> None:
    rules, tests = FOLDER / "rules", FOLDER / "tests" / "tensorflow-serving.test.yml"
    _run("promtool", "check", "config", FOLDER / "prometheus.yml")
    _run("promtool", "check", "rules", *rules.iterdir())
    assert "SUCCESS" in _run("promtool", "test", "rules", tests)
    [file] = rules.iterdir()
    [group] = yaml.safe_load(file.read_text())["groups"]
    fires = {
        test["name"]: [bool(moment["exp_alerts"]) for moment in test["alert_rule_test"]]
        for test in yaml.safe_load(tests.read_text())["tests"]
    }
    assert fires == {rule["alert"]: [False, True, False] for rule in group["rules"]}
