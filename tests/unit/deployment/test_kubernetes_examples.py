"""The example manifests are those that the command makes of the example's declaration."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from services.command import Command

EXAMPLES = Path(__file__).parents[3] / "deploy" / "kubernetes"
BUNDLES = "s3://models/released?region=eu-central-1"


@pytest.fixture
def ferryman(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    monkeypatch.setenv("FERRYMAN_ZOO", str(EXAMPLES))
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path))
    monkeypatch.setenv("FERRYMAN_CONNECTION_BUNDLES", BUNDLES)
    return Command(capsys, monkeypatch)


@pytest.mark.parametrize("server", ["scores", "scores-kserve"])
def test_an_example_is_current(ferryman: Command, server: str) -> None:
    assert (
        ferryman("deploy", "manifests", "--server", server)
        == (EXAMPLES / f"{server}.yaml").read_text()
    )


def test_printing_makes_no_ledger(ferryman: Command, tmp_path: Path) -> None:
    file = tmp_path / "scores.yaml"
    assert "wrote" in ferryman("deploy", "manifests", "--server", "scores", "-o", str(file))
    assert [found.name for found in tmp_path.iterdir()] == ["scores.yaml"]


def test_the_role_is_valid_and_covers_every_kind_of_the_examples() -> None:
    role = yaml.safe_load((EXAMPLES / "role.yaml").read_text())
    kubernetes_validate.validate(role, "1.37.0", strict=True)
    may = {
        (group, one)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for one in rule["resources"]
    }
    for name in ("scores", "scores-kserve"):
        for manifest in yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text()):
            group = manifest["apiVersion"].rpartition("/")[0]
            plural = manifest["kind"].lower().replace("policy", "policie") + "s"
            assert (group, plural) in may, manifest["kind"]


def test_a_server_of_this_machine_has_no_manifests(ferryman: Command) -> None:
    said = ferryman("deploy", "manifests", "--server", "main", code=2)
    assert "its place is process" in said
    assert "did you mean 'scores'" in ferryman("deploy", "status", "--server", "score", code=2)


def test_stop_and_replicas_exclude_each_other(ferryman: Command) -> None:
    said = ferryman("deploy", "apply", "--server", "scores", "--stop", "--replicas", "2", code=2)
    assert "exclude each other" in said
