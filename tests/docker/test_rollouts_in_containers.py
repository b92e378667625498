"""Rollouts and drills where containers answer: shares, a shadow, a trial, by the real steps."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from drill_world import run_drill
from release_world import Release, Users, candidate, copy_world, fill
from rollback_world import alert_channel
from rollout_world import CANARY, SHADOW, SHIFTED, World

from ferryman.deployment.container.config import REPLICA_LABEL
from ferryman.deployment.deployers import deployer_of
from ferryman.errors import GateRefused, IntegrityBroken
from ferryman.ledger.records import STAGE, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.bundle import GOLDEN, MANIFEST, seal
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.files import read_json, write_json
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings

Open = Callable[[str], World]

# Models of a few rows answer much alike: a real one is allowed less.
DRILL = """\
rollout:
  strategy: direct
  limits: {errors: 0.2, latency: 30, shift: 0.3, min_requests: 300}
  drill: {weight: 0.5, within: 30s}
"""
HELD = CANARY.replace("hold: 1s", "hold: 10m")


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, image: str, make_bundle: Any, free_ports: Any
) -> Settings:
    """An installation whose server `main` is two containers; its first version was released."""
    root = tmp_path_factory.mktemp("template")
    port, admin_port = free_ports(2)
    home = {"home": root / "home", "zoo": root / "zoo"}
    settings = Settings(**home, serving_port=port, serving_admin_port=admin_port)
    main = {
        "place": "container",
        "replicas": 2,
        "container": {"image": image},
        "resources": {"cpu": 0.5, "memory": "256Mi"},
    }
    settings.zoo.mkdir(parents=True)
    declared = {"spec_version": 1, "servers": {"main": main}}
    (settings.zoo / "servers.yaml").write_text(json.dumps(declared))
    fill(settings, make_bundle)
    try:
        Release(settings, "first", candidate(settings, 1, make_bundle)).run_all()
    finally:
        deployer_of(settings).stop()
    return settings


@pytest.fixture
def open_world(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> Iterator[Open]:
    """open_world(declared): a world with more of a declaration, two containers at epoch 1."""
    opened: list[Settings] = []

    def open_it(declared: str) -> World:
        opened.append(copy_world(template, tmp_path / "home", free_ports(2), declared))
        assert deployer_of(opened[-1]).start().state == "ready"
        return World(opened[-1], make_bundle)

    yield open_it
    for settings in opened:
        deployer_of(settings).stop()


def logged(world: World) -> dict[str, list[dict[str, Any]]]:
    """The prediction log's rows by variant."""
    with ServingClient(main_endpoint(world.settings)) as client:
        client.flush()
    now, hour = datetime.now(UTC), timedelta(hours=1)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_predictions(
        world.settings.predictions_root, "tiny", now - hour, now + hour
    ).to_pylist():
        rows.setdefault(row["variant"], []).append(row)
    return rows


def head_of(world: World) -> tuple[int, int]:
    """Epoch and version, as the ledger decided and as both containers serve."""
    head = world.ledger.head("tiny")
    with ServingClient(main_endpoint(world.settings)) as client:
        served = client.status("tiny")
    assert head is not None and served is not None and served["loaded"]
    assert (served["epoch"], served["version"]) == (head.epoch, head.version)
    return head.epoch, head.version


def test_a_good_canary_is_committed_and_both_containers_tell_its_figures(open_world: Open) -> None:
    world = open_world(CANARY)
    release = world.release()
    seen: set[str] = set()
    with Users(world.settings, world.rows) as users:
        for step in ("gate", "stage"):
            release.run(step)
        op = world.ledger.ops("tiny")[-1]
        while world.look(release.model, op).outcome == "hold":
            page = httpx.get(f"{world.settings.serving_url}/metrics", trust_env=False).text
            told = re.findall(r"ferryman_traffic_weight\{([^}]*)\} 0\.3", page)
            seen |= {re.sub(r'.*replica="([^"]*)".*', r"\1", one) for one in told}
            with ServingClient(main_endpoint(world.settings)) as client:
                state = client.traffic("tiny")
            assert state is not None and state.everywhere
        assert len(seen) == 2
        for step in ("expose-1", "expose-2", "commit", "reconcile"):
            release.run(step)
    assert users.failed == 0 and set(users.variants) == {"champion", "canary"}
    share = users.variants["canary"] / sum(users.variants.values())
    assert 0.1 < share < 0.7
    passed = world.ledger.notes("tiny", STAGE)[-1].evidence
    assert passed["requests"]["candidate"] >= 20
    assert head_of(world) == (2, 2) and world.share_at_server() == 0
    rows = logged(world)
    assert len(rows["canary"]) == users.variants["canary"]
    assert {row["propensity"] for row in rows["canary"]} == {0.3, 0.6}
    assert world.ledger.verify() == []


def test_a_bad_canary_is_aborted_and_nobody_gets_an_error(open_world: Open) -> None:
    world = open_world(SHIFTED)
    release = world.release()
    with Users(world.settings, world.rows) as users:
        release.run("gate")
        release.run("stage")
        with pytest.raises(GateRefused, match="failed: predictions shifted by"):
            release.run("expose-1")
        assert world.share_at_server() == 0
    assert users.failed == 0 and users.variants["canary"] > 10
    assert world.states()[-2:] == ["EXPOSED", "ABORTED"]
    assert world.shares() == [0.3, 0.0] and head_of(world) == (1, 1)


def test_a_shadow_beside_containers_is_fed_and_released(open_world: Open) -> None:
    world = open_world(SHADOW)
    release = world.release()
    with Users(world.settings, world.rows) as users:
        for step in ("gate", "stage", "expose-1"):
            release.run(step)
    assert set(users.variants) == {"champion"} and users.failed == 0
    passed = world.ledger.notes("tiny", STAGE)[-1].evidence
    assert passed["copied"] >= passed["requests"]["candidate"] >= 20
    rows = logged(world)
    answered = {row["request_id"] for row in rows["champion"]}
    assert len(rows["shadow"]) >= 20
    assert {row["request_id"] for row in rows["shadow"]} <= answered
    assert {row["version"] for row in rows["shadow"]} == {2}
    for step in ("commit", "reconcile"):
        release.run(step)
    assert head_of(world) == (2, 2)


def test_a_trial_refuses_what_would_not_answer_in_a_container(open_world: Open) -> None:
    world = open_world(CANARY)
    given = wrong_golden_row(world)
    release = Release(world.settings, "wrong", given)
    release.run("gate")
    with pytest.raises(IntegrityBroken, match="golden row 3 scores"):
        release.run("stage")
    assert world.ledger.ops("tiny")[-1].state is State.GATED
    assert world.share_at_server() == 0 and head_of(world) == (1, 1)


def wrong_golden_row(world: World) -> dict[str, Any]:
    """A registered candidate whose bundle is sealed, and answers another thing than it says."""
    given = candidate(world.settings, 2, world.make_bundle)
    folder = world.settings.bundles_root / "tiny" / "wrong"
    shutil.copytree(given["bundle"], folder)
    (folder / MANIFEST).unlink()
    golden: Any = read_json(folder / GOLDEN)
    golden["outputs"][3] += 0.01
    write_json(folder / GOLDEN, golden)
    digest = seal(folder, model="tiny", task="binary", framework="sklearn").digest
    folder = folder.rename(folder.with_name(digest))
    tags = {f"ferryman.{name}": given[name] for name in ("train_dataset", "eval_dataset", "cutoff")}
    registry = MlflowRegistry(world.settings.mlflow_uri, world.settings.mlflow_artifacts)
    made = registry.register("tiny", "key-wrong", digest, str(folder), tags)
    own = {"version": made.version, "sequence": made.version, "run_key": "key-wrong"}
    return {**given, **own, "digest": digest, "bundle": str(folder)}


def test_a_container_that_is_killed_is_replaced_by_one_with_the_share(
    open_world: Open, client: Any
) -> None:
    world = open_world(HELD)
    release, op = world.staged()
    assert world.look(release.model, op).outcome == "hold"
    found = client.containers.list(filters={"label": REPLICA_LABEL})
    ours = {one.name for one in deployer_of(world.settings).status().replicas}
    killed = next(one for one in found if one.labels[REPLICA_LABEL] in ours)
    client.api.kill(killed.id)
    started = deployer_of(world.settings).start()
    assert [one.state for one in started.replicas] == ["ready", "ready"]
    with ServingClient(main_endpoint(world.settings)) as asking:
        state = asking.traffic("tiny")
    assert state is not None and state.everywhere
    assert world.look(release.model, op).outcome == "hold"
    with Users(world.settings, world.rows, pause=0) as users:
        time.sleep(1)
    assert users.failed == 0 and users.variants["canary"] > 0


def test_a_share_ends_soon_in_containers_whose_front_nobody_starts_again(open_world: Open) -> None:
    world = open_world(HELD)
    release, op = world.staged()
    assert world.look(release.model, op).outcome == "hold"
    front = int(deployer_of(world.settings).status().process)
    with Users(world.settings, world.rows) as users:
        os.kill(front, signal.SIGKILL)
        began = time.monotonic()
        answers, counted = sum(users.variants.values()), -1
        while users.variants["canary"] > counted:
            counted = users.variants["canary"]
            time.sleep(2)
        assert time.monotonic() - began < 30  # its lease would last for 45
        assert sum(users.variants.values()) > answers and users.variants["canary"] > 0
    assert deployer_of(world.settings).start().state == "ready"
    assert world.look(release.model, op).outcome == "hold"
    assert world.share_at_server() == 0.3  # whoever holds the lease gives it again


@pytest.mark.parametrize("kind", ["constant", "nan"])
def test_a_drill_in_containers_is_green(open_world: Open, kind: str) -> None:
    world = open_world(DRILL)
    with alert_channel() as (url, received), Users(world.settings, world.rows) as users:
        done = run_drill(world, url, kind=kind)
    assert done.verdict == "passed" and len(received) == 1
    lines: Any = done.outputs["lines"]
    assert [line["ok"] for line in lines] == [True] * 4
    assert users.failed == 0 and head_of(world) == (1, 1)
    assert world.share_at_server() == 0 and world.ledger.verify() == []
