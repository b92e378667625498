"""What a server in a cluster goes through; the same for a played cluster and a real control plane.

A fixture `world` gives the cluster, `make_bundle` small real bundles.
"""

import threading

import pytest
from services.cluster_world import ClusterWorld

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    PolicyRefused,
    Superseded,
)


def release(world: ClusterWorld, bundle, epoch: int, name: str = "main", **spec):
    """Release a bundle as version `epoch`."""
    return world.models(name, **spec).load(
        "tiny",
        version=epoch,
        epoch=epoch,
        bundle=f"tiny/{bundle.digest}",
        digest=bundle.digest,
    )


def life_of_a_deployment(world: ClusterWorld) -> None:
    """Stopped, started, scaled, stopped, and started with what was remembered."""
    deployer = world.deployer(replicas=2)
    assert deployer.status().state == "stopped"
    assert deployer.stop().state == "stopped"
    first = deployer.start()
    assert (first.state, first.wanted, len(first.replicas)) == ("ready", 2, 2)
    assert {replica.state for replica in first.replicas} == {"ready"}
    assert first.url == f"http://main.{world.cluster.namespace}.svc:8600"
    assert deployer.start() == first == deployer.status()
    assert len(deployer.scale(3).replicas) == 3
    assert len(deployer.scale(1).replicas) == 1
    assert deployer.stop().state == "stopped" == deployer.status().state
    assert deployer.start().wanted == 1  # the number is remembered


def releases_follow_one_another(world: ClusterWorld, make_bundle) -> None:
    """Versions by epoch; every pod is told the newest one; the past is refused."""
    old, new = (make_bundle(world.settings.bundles_root, strength) for strength in (1.0, 10.0))
    server = world.models(replicas=2)
    assert server.status("tiny") is None
    status = release(world, old, 1, replicas=2)
    assert status["loaded"] and (status["epoch"], status["digest"]) == (1, old.digest)
    assert release(world, old, 1, replicas=2) == status
    assert release(world, new, 2, replicas=2)["digest"] == new.digest
    assert len(world.notes()) == 2
    assert all(new.digest in note and old.digest not in note for note in world.notes())
    with pytest.raises(Superseded, match="epoch 1 is refused"):
        release(world, old, 1, replicas=2)
    again = world.deployer(replicas=2)
    again.stop()
    assert not server.status("tiny")["loaded"]
    again.start()
    assert server.status("tiny") == {**status, "version": 2, "epoch": 2, "digest": new.digest}


def a_bad_bundle_is_taken_back(world: ClusterWorld, make_bundle) -> None:
    """New pods that find other bytes end the release; the old ones stay."""
    old, new = (make_bundle(world.settings.bundles_root, strength) for strength in (1.0, 10.0))
    release(world, old, 1)
    served = world.notes()

    def fate(pod) -> str:
        bad = new.digest in pod["metadata"]["annotations"]["ferryman/release"]
        return "7:digest mismatch: model.onnx" if bad else "ready"

    world.set_fate(fate)
    with pytest.raises(IntegrityBroken, match=r"fetch.*integrity.*digest mismatch"):
        release(world, new, 2)
    assert world.notes() == served
    status = world.models().status("tiny")
    assert status["loaded"] and status["epoch"] == 1


def troubles_are_told(world: ClusterWorld) -> None:
    """Why a rollout does not get on, in words."""
    expected = {
        "image": "ImagePullBackOff",
        "oom": "more memory than its limit: OOMKilled",
        "6:S3 gave no answer": r"ended with 6 \(unavailable\): S3 gave no answer",
    }
    for number, (fate, text) in enumerate(expected.items()):
        world.set_fate(lambda _, fate=fate: fate)
        deployer = world.deployer(f"trouble-{number}")
        with pytest.raises(DependencyUnavailable, match=text):
            deployer.start()
        found = deployer.status()
        assert found.state == "silent" and found.replicas[0].state == "silent"


def what_scales_by_rule_is_not_scaled_by_hand(world: ClusterWorld) -> None:
    """A count that an HPA set stays over releases, and is refused by hand."""
    autoscaling = {"max": 4, "rules": [{"kind": "cpu"}]}
    deployer = world.deployer(autoscaling=autoscaling)
    deployer.start()
    with pytest.raises(PolicyRefused, match="by its declared rules"):
        deployer.scale(3)
    assert world.cluster.get("HorizontalPodAutoscaler", "main") is not None
    live = world.cluster.get("Deployment", "main")
    assert live is not None
    live["spec"]["replicas"] = 3  # as the HPA does
    world.cluster.replace({key: live[key] for key in live if key != "status"})
    assert deployer.start().wanted == 3
    world.deployer().start()
    assert world.cluster.get("HorizontalPodAutoscaler", "main") is None  # declared no more


def two_models_released_at_once(world: ClusterWorld, make_bundle) -> None:
    """Neither release is lost, and the pods serve both."""
    bundle = make_bundle(world.settings.bundles_root, 1.0)
    release(world, bundle, 1)
    errors: list[FerrymanError] = []

    def work(epoch: int) -> None:
        try:
            release(world, bundle, epoch)
        except Superseded:
            return
        except FerrymanError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(epoch,)) for epoch in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    status = world.models().status("tiny")
    assert (status["epoch"], status["loaded"]) == (4, True)
    assert all('"epoch":4' in note for note in world.notes())


OF_A_SERVER = (
    life_of_a_deployment,
    troubles_are_told,
    what_scales_by_rule_is_not_scaled_by_hand,
)
OF_RELEASES = (
    releases_follow_one_another,
    a_bad_bundle_is_taken_back,
    two_models_released_at_once,
)
