"""`ferryman rollback`, `adopt` and `guard` as a person types them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rollback_world import REASON, World, started
from services.command import Command

from ferryman.registry.registry import CHAMPION
from ferryman.settings import Settings, load_settings


@pytest.fixture
def world(
    template: Settings,
    tmp_path: Path,
    free_ports,
    make_bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """Versions 1 and 3 served; version 3 serves at epoch 2. The commands find it all."""
    with started(template, tmp_path / "home", free_ports(2), make_bundle) as world:
        world.serve(3)
        settings = world.settings
        for name in ("home", "zoo", "serving_port", "serving_admin_port"):
            monkeypatch.setenv(f"FERRYMAN_{name.upper()}", str(getattr(settings, name)))
        yield world
    load_settings.cache_clear()


def test_commands(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ferryman = Command(capsys, monkeypatch)
    model = ("--model", "tiny")
    assert "all that is protected is as it was left" in ferryman("guard", *model)
    said = ferryman("rollback", *model, "--reason", "bad", code=2)
    assert "at least 10 characters" in said
    said = ferryman("rollback", *model, "--reason", REASON, "--epoch", "1", code=8)
    assert "somebody was faster" in said and "remedy: " in said
    said = ferryman("rollback", *model, "--reason", REASON, "--version", "2", code=9)
    assert "Versions that can be gone back to: 1." in said
    # A rollback that was refused leaves a run that is not finished; the next is asked anew.
    said = ferryman("rollback", *model, "--reason", REASON)
    assert said.startswith("done: version 1 is served again (epoch 3), 3 is quarantined")
    said = ferryman("rollback", *model, "--reason", REASON, "--json")
    result = json.loads(said)
    assert (result["verdict"], result["outputs"]["epoch"]) == ("not_needed", 3)
    assert world.state() == (3, 1, 1, 3, 1)

    world.registry.set_alias("tiny", CHAMPION, 2)
    assert "To release the version that it named: ferryman adopt" in ferryman("guard", *model)
    said = ferryman("adopt", *model, "--reason", REASON)
    assert said == "done: version 2 is adopted (epoch 4)\n"
    assert world.state() == (4, 2, 2, 4, 2)
    said = ferryman("adopt", *model, "--version", "3", "--reason", REASON, code=9)
    assert "quarantined" in said
    said = ferryman("ledger", "verify")
    assert world.ledger.verify() == [], said
