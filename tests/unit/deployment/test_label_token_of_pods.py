"""A pod knows the token of those who post labels by its digest, where one was made."""

from dataclasses import replace
from pathlib import Path

import pytest

from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.pod import pod_spec
from ferryman.runtime.label_token import make_label_token
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

IMAGE = f"registry.example.org/ferryman@sha256:{'a' * 64}"


def server() -> ServerSpec:
    return ServerSpec.model_validate(
        {"place": "kubernetes", "kubernetes": {"image": IMAGE, "bundles": "lake"}}
    )


def test_the_digest_is_an_argument_and_the_token_is_nowhere(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, connection_urls={"lake": "s3://bucket"}, predictions_connection="lake"
    )
    without = declared_workload(settings, "main", server())
    assert without.label_digest == ""
    assert "--label-digest" not in str(pod_spec(without))
    digest = make_label_token(settings.server_root("main"))
    workload = declared_workload(settings, "main", server())
    arguments = pod_spec(workload)["containers"][0]["args"]
    assert arguments[arguments.index("--label-digest") + 1] == digest
    token = (settings.server_root("main") / "labels.token").read_text()
    assert token not in str(pod_spec(workload))
    assert pod_spec(replace(workload, label_digest="")) == pod_spec(without)


def test_pods_that_keep_their_log_to_themselves_take_no_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(home=tmp_path, connection_urls={"lake": "s3://bucket"})
    assert declared_workload(settings, "main", server()).label_digest == ""
    assert not caplog.messages
    make_label_token(settings.server_root("main"))
    assert declared_workload(settings, "main", server()).label_digest == ""
    told = "pods of main take no labels: FERRYMAN_PREDICTIONS_CONNECTION is unset"
    assert caplog.messages == [told]
