"""Drills where bundles must be signed, and where users are few or are one and the same."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from drill_world import report, run_drill
from release_world import copy_world
from rollback_world import alert_channel
from rollout_world import World

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import GateRefused, PolicyRefused
from ferryman.ledger.records import DRILL
from ferryman.runtime.bundle_signing import sign_bundle
from ferryman.settings import Settings

LIMITS = "limits: {errors: 0.2, latency: 30, shift: 0.3, min_requests: 100}"
DECLARED = f"rollout: {{strategy: direct, {LIMITS}, drill: {{weight: 0.2, within: 25s}}}}\n"
SHORT = DECLARED.replace("weight: 0.2, within: 25s", "weight: 0.01, within: 5s")


@pytest.fixture
def signed_world(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> Iterator[World]:
    """A world whose server takes signed bundles only; what it serves is signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "house.pem", tmp_path / "house.pub"
    form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    kind = PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, kind))
    copied = copy_world(template, tmp_path / "home", free_ports(2), DECLARED)
    keys = {"signing_key": private, "signing_public_key": public}
    settings = copied.model_copy(update=keys)
    for place in (settings.bundles_root, settings.home / "serving" / "models"):
        for manifest in place.glob("tiny/*/manifest.json"):
            sign_bundle(manifest.parent, private)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        yield World(settings, make_bundle)
    finally:
        deployer.stop()


def test_where_bundles_are_signed_the_bad_one_is_or_meets_nobody(signed_world: World) -> None:
    world = signed_world
    with alert_channel() as (url, _):
        assert run_drill(world, url).verdict == "passed"
        drills = [op for op in world.ledger.ops("tiny") if op.kind == DRILL]
        assert len(drills) == 1
        world.settings = world.settings.model_copy(update={"signing_key": None})
        with pytest.raises(PolicyRefused, match="no key to sign the drill's") as refused:
            run_drill(world, url, "keyless")
    assert "FERRYMAN_SIGNING_KEY" in refused.value.remedy
    assert [op for op in world.ledger.ops("tiny") if op.kind == DRILL] == drills
    assert list((world.settings.bundles_root / ".drills" / "tiny").glob("*")) == []


@contextmanager
def one_user(world: World) -> Iterator[None]:
    """Many requests about one entity, while the block lasts."""
    stop = threading.Event()
    url = f"{world.settings.serving_url}/v1/models/tiny:predict"

    def ask() -> None:
        asked: Any = {"json": {"instances": [world.rows[0]]}, "headers": {"x-entity-key": "one"}}
        with httpx.Client(trust_env=False) as http:
            while not stop.wait(0.005):
                assert http.post(url, **asked).status_code == 200

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_users_whom_the_share_never_takes_do_not_stand_for_those_that_lack(
    open_world: Any,
) -> None:
    world = open_world(DECLARED)
    with alert_channel() as (url, _), one_user(world):
        done = run_drill(world, url, kind="nan")
    assert done.verdict == "passed"


def test_a_drill_that_met_too_few_says_what_to_declare(open_world: Any) -> None:
    world = open_world(SHORT)
    with (
        alert_channel() as (url, _),
        pytest.raises(GateRefused, match=r"met \d+ of the 100 requests .* raise rollout\.drill"),
    ):
        run_drill(world, url)
    assert report(world)["detection"]["ok"] is False
    assert world.share_at_server() == 0
