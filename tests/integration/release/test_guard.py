"""What somebody breaks in MLflow or on the disk is told once, and put right where it can be."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from release_world import DECLARATION, declare
from rollback_world import REASON, World, alert_channel, serve_three
from served_three import served, world

from ferryman.errors import GateRefused, IntegrityBroken, PolicyRefused
from ferryman.ledger.records import ADOPT, GUARD, State
from ferryman.registry.memory_registry import MemoryRegistry
from ferryman.registry.registry import CHAMPION, DIGEST_TAG, RUN_KEY_TAG
from ferryman.runtime.bundle import verify
from ferryman.settings import Settings
from ferryman.steps.approve import open_question, record_answer
from ferryman.steps.guard import guard, guard_model
from ferryman.steps.kept_bundles import KeptBundles
from ferryman.steps.reconcile import reconcile_all

__all__ = ["served", "world"]


def notes(world: World) -> list[tuple[str, str]]:
    return [
        (note.evidence["key"].partition(" ")[0], note.evidence["state"])
        for note in world.ledger.notes("tiny", GUARD)
    ]


def test_nothing_is_found_where_all_is_as_it_was_left(world: World) -> None:
    assert guard(world.settings, "tiny") == []
    assert notes(world) == []
    assert guard(world.settings, "unknown") == []


def test_a_moved_alias_is_told_and_set_back(world: World) -> None:
    with alert_channel() as (address, received):
        channel = {"connection_urls": {"alerts": SecretStr(address)}}
        settings = world.settings.model_copy(update=channel)
        world.registry.set_alias("tiny", CHAMPION, 1)
        (told,) = reconcile_all(settings)["tiny"]["found"]
        assert "named version 1, the ledger says version 2 (epoch 3)" in told
        assert "ferryman adopt" in told
        assert world.state() == (3, 2, 2, 3, 2)
        assert "found" not in reconcile_all(settings)["tiny"]
        world.registry.set_alias("tiny", CHAMPION, 3)
        assert len(guard(settings, "tiny")) == 1
        assert world.state() == (3, 2, 2, 3, 2)
    assert notes(world) == [("alias", "put right")] * 2
    assert [(message["found"], message["expected"]) for message in received] == [(1, 2), (3, 2)]


def test_an_alias_that_a_release_is_about_to_move_is_no_finding(world: World) -> None:
    good = world.ledger.good_versions("tiny")[0]
    op = world.ledger.open_rollback("tiny", good, actor="tests", reason=REASON)
    world.ledger.advance(op.op_id, State.STAGED, {}, base_epoch=op.base_epoch)
    world.ledger.commit(op.op_id, op.base_epoch)
    assert guard(world.settings, "tiny") == []


def test_a_deleted_version_is_told_once(world: World) -> None:
    world.delete_version(3)  # what a rollback would go back to
    (told,) = guard(world.settings, "tiny")
    assert "version 3 (rollback target) is gone in MLflow; serving goes on" in told
    assert guard(world.settings, "tiny") == [told]
    assert notes(world) == [("gone", "lasts")]
    world.delete_version(2)  # what is served
    assert len(guard(world.settings, "tiny")) == 2
    assert notes(world) == [("gone", "lasts")] * 2
    with pytest.raises(PolicyRefused, match="version 2 is what is served"):
        world.ledger.open_rollback(
            "tiny", world.staged_candidate(2), actor="tests", reason="to what is served"
        )


def test_changed_tags_are_restored(world: World) -> None:
    digest = world.digest(2)
    world.registry.set_tags("tiny", 2, {DIGEST_TAG: "0" * 64, RUN_KEY_TAG: "another"})
    world.registry.set_tags("tiny", 3, {"ferryman.cutoff": "2030-01-01T00:00:00Z"})
    found = guard(world.settings, "tiny")
    assert [text.partition("restored: ")[2] for text in found] == [
        f"{DIGEST_TAG}, {RUN_KEY_TAG}",
        "ferryman.cutoff",
    ]
    version = world.registry.get_version("tiny", 2)
    assert version is not None and (version.digest, version.run_key) == (digest, "key-2")
    assert guard(world.settings, "tiny") == []


def test_a_damaged_or_missing_bundle_is_restored(world: World) -> None:
    serving, target = (world.settings.bundles_root / "tiny" / world.digest(v) for v in (2, 3))
    world.damage(2, copies=False)
    shutil.rmtree(target)
    found = guard(world.settings, "tiny")
    assert len(found) == 2
    assert all("restored from the verified copy of server 'main'" in text for text in found)
    verify(serving, digest=world.digest(2))
    verify(target, digest=world.digest(3))
    assert [path for path in serving.parent.iterdir() if path.name.startswith(".")] == []
    assert guard(world.settings, "tiny") == []


def test_what_cannot_be_restored_is_told_once_until_it_is_over(world: World) -> None:
    place = world.settings.bundles_root / "tiny" / world.digest(3)
    aside = world.settings.home / "aside"
    shutil.copytree(place, aside)
    world.damage(3, copies=True)
    for _ in range(3):
        (told,) = guard(world.settings, "tiny")
        assert "digest mismatch" in told and "cannot be restored" in told
    assert notes(world) == [("bundle", "lasts")]
    shutil.rmtree(place)
    aside.rename(place)
    assert guard(world.settings, "tiny") == []
    assert notes(world) == [("bundle", "lasts"), ("bundle", "over")]
    world.damage(3, copies=False)
    assert len(guard(world.settings, "tiny")) == 1
    assert notes(world)[2:] == [("bundle", "lasts")]
    assert world.state() == (3, 2, 2, 3, 2)


def test_a_bundle_comes_back_from_mlflow(tmp_path: Path, make_bundle) -> None:
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    kept, artifact = make_bundle(settings.bundles_root), make_bundle(tmp_path / "artifacts")
    registry = MemoryRegistry()
    version = registry.register("tiny", "key", kept.digest, artifact.folder.as_uri(), {})
    bundles = KeptBundles(settings, "tiny", registry)
    assert bundles.ensure(kept.digest, version) == ""
    (kept.folder / "model.onnx").write_bytes(b"")
    (kept.folder / "left over").write_text("of nobody")
    assert bundles.ensure(kept.digest, version) == "MLflow's version 1"
    assert sorted(path.name for path in kept.folder.iterdir()) == sorted(
        path.name for path in artifact.folder.iterdir()
    )
    (artifact.folder / "model.onnx").write_bytes(b"")
    shutil.rmtree(kept.folder)
    with pytest.raises(IntegrityBroken, match=r"MLflow's version 1: digest mismatch"):
        bundles.ensure(kept.digest, version)
    assert not kept.folder.exists()


def test_a_damaged_head_is_served_from_the_bundle_that_mlflow_keeps(
    template: Settings, tmp_path: Path, free_ports, make_bundle
) -> None:
    settings = serve_three(template, tmp_path / "home", free_ports(2), make_bundle)
    world = World(settings, make_bundle)
    place = settings.bundles_root / "tiny" / world.digest(2)
    artifact = settings.mlflow_artifacts / "kept"
    shutil.copytree(place, artifact)
    shutil.rmtree(settings.serving_root)  # a new machine: the server has no copy
    world.damage(2, copies=False)
    world.deployer.start()
    try:
        with pytest.raises(IntegrityBroken, match="digest mismatch"):
            reconcile_all(settings)  # the version's source is none of MLflow's artifacts yet
        file = settings.mlflow_uri.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file)) as database, database:
            told = [artifact.as_uri()]
            database.execute("UPDATE model_versions SET source = ? WHERE version = 2", told)
        assert reconcile_all(settings)["tiny"]["version"] == 2
        assert world.state() == (3, 2, 2, 3, 2)
        verify(place, digest=world.digest(2))
    finally:
        world.deployer.stop()


def test_a_registry_that_is_away_is_not_asked(world: World, free_ports) -> None:
    from ferryman.registry.mlflow_registry import MlflowRegistry

    head = world.ledger.head("tiny")
    assert head is not None
    away = MlflowRegistry(f"http://127.0.0.1:{free_ports(1)[0]}", world.settings.mlflow_artifacts)
    world.damage(3, copies=False)
    found = guard_model(world.ledger, away, world.settings, head)
    assert ["restored from the verified copy" in text for text in found] == [True]


def test_a_version_that_never_served_is_adopted(world: World) -> None:
    with pytest.raises(PolicyRefused, match="there is nothing to adopt"):
        world.run("adopt", reason=REASON)
    world.registry.set_alias("tiny", CHAMPION, 3)
    reconcile_all(world.settings)
    before = world.ledger.head("tiny")
    done = world.run("adopt", reason=REASON)  # no version: that of the alias
    assert done.outputs["version"] == 3
    assert world.state() == (4, 3, 3, 4, 3)
    head = world.ledger.head("tiny")
    assert before is not None and head is not None and head.order_key == before.order_key
    assert world.ledger.is_quarantined("tiny", before.digest) is None
    assert world.run("adopt", reason=REASON).verdict == "not_needed"
    made = world.ledger.made_by("tiny")
    assert made is not None and (made.kind, made.reason) == (ADOPT, REASON)
    assert world.ledger.verify() == []


def test_what_is_not_adopted(world: World, tmp_path: Path) -> None:
    def refused(kind: type[Exception], match: str, version: int = 3) -> None:
        with pytest.raises(kind, match=match):
            world.run("adopt", world.settings.model_copy(update={"zoo": zoo}), reason=REASON,
                      version=version)  # fmt: skip
        assert world.state() == (3, 2, 2, 3, 2)

    zoo = tmp_path / "zoo"
    declare(zoo)
    file = zoo / "tiny" / "model.yaml"
    refused(PolicyRefused, "no registered version 9", 9)
    file.write_text(DECLARATION.replace("max: 0.69", "max: 0.3"))
    refused(GateRefused, "may not serve, whoever asks: log_loss in .* is above 0.3")
    asks = "rollout: {approval: {approvers: [ada, grace]}}\n"
    file.write_text(DECLARATION + asks)
    refused(PolicyRefused, "waits for the answer of an approver")
    file.write_text(DECLARATION)
    world.registry.set_tags("tiny", 3, {"ferryman.cutoff": "2030-01-01T00:00:00Z"})
    refused(PolicyRefused, "known to the ledger with another cutoff")
    made = world.registry.register(
        "tiny", "stranger", world.make_bundle(world.settings.bundles_root, 0.1).digest, "x", {}
    )
    refused(PolicyRefused, "not registered by Ferryman: .* cutoff", made.version)
    world.ledger.quarantine("tiny", world.digest(1), why="it was bad", actor="tests")
    refused(PolicyRefused, "quarantined: it was bad", 1)


def test_serving_goes_on_where_the_champion_is_gone_in_mlflow(world: World) -> None:
    world.delete_version(2)
    for _ in range(3):
        (told,) = reconcile_all(world.settings)["tiny"]["found"]
        assert "version 2 (serving) is gone in MLflow; serving goes on" in told
    assert notes(world) == [("gone", "lasts")]
    world.run("roll_back", reason=REASON)
    assert world.state() == (4, 3, 3, 4, 3)
    assert world.ledger.verify() == []


def test_an_adoption_that_another_person_approves(world: World, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    model = declare(zoo)
    model.file.write_text(DECLARATION + "rollout: {approval: {approvers: [ada, grace]}}\n")
    model = declare(zoo)
    settings = world.settings.model_copy(update={"zoo": zoo})
    with pytest.raises(PolicyRefused, match="waits for the answer of an approver"):
        world.run("adopt", settings, reason=REASON, version=3)
    op = open_question(world.ledger, "tiny", 3)
    assert op is not None and op.kind == ADOPT
    with pytest.raises(PolicyRefused, match="APPROVED"):
        world.ledger.commit(op.op_id, op.base_epoch)
    record_answer(
        settings,
        model,
        op.op_id,
        op.base_epoch,
        op.candidate.digest,
        approved=True,
        approver="ada",
        requester=op.actor,
        reason="looks right to me",
    )
    world.run("adopt", settings, reason=REASON, version=3)
    assert world.state() == (4, 3, 3, 4, 3)
    assert world.ledger.verify() == []
