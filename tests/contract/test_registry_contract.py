"""One suite for every registry adapter: MLflow on SQLite, and memory."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.registry.memory_registry import MemoryRegistry
from ferryman.registry.registry import DIGEST_TAG, RUN_KEY_TAG, RegisteredVersion, Registry


class Bench(Protocol):
    """A registry, and what a lost reply does to it."""

    registry: Registry
    artifacts: Path

    def make_behind_its_back(self, model: str, run_key: str, digest: str) -> int: ...


class MemoryBench:
    def __init__(self, folder: Path) -> None:
        self._memory = MemoryRegistry()
        self.registry: Registry = self._memory
        self.artifacts = folder

    def make_behind_its_back(self, model: str, run_key: str, digest: str) -> int:
        return self._memory.add(model, run_key, digest, self.artifacts.as_uri(), {}).version


class MlflowBench:
    def __init__(self, uri: str, folder: Path) -> None:
        from ferryman.registry.mlflow_registry import MlflowRegistry

        self._uri = uri
        self.registry: Registry = MlflowRegistry(uri, folder)
        self.artifacts = folder

    def make_behind_its_back(self, model: str, run_key: str, digest: str) -> int:
        from ferryman.registry.mlflow_connection import connect

        tags = {RUN_KEY_TAG: run_key, DIGEST_TAG: digest}
        made: Any = connect(self._uri).create_model_version(
            model, self.artifacts.as_uri(), tags=tags
        )
        return int(made.version)


@pytest.fixture(params=["memory", "mlflow"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    if request.param == "memory":
        yield MemoryBench(folder)
        return
    shutil.copytree(request.getfixturevalue("empty_mlflow"), tmp_path / "mlflow")
    yield MlflowBench(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}", folder)


def register(
    bench: Bench, run_key: str = "key", digest: str = "d1", tags: Mapping[str, str] | None = None
) -> RegisteredVersion:
    source = bench.artifacts.as_uri()
    return bench.registry.register("rain", run_key, digest, source, tags or {"note": "x"})


def test_a_new_run_key_is_a_new_version(bench: Bench) -> None:
    first, second = register(bench, "one", "d1"), register(bench, "two", "d2")
    assert (first.version, second.version) == (1, 2)
    assert (first.run_key, first.digest) == ("one", "d1")
    assert first.source == bench.artifacts.as_uri()
    assert first.tags["note"] == "x"
    assert first.canonical
    assert [entry.version for entry in bench.registry.versions("rain")] == [1, 2]


def test_registering_again_gives_the_same_version(bench: Bench) -> None:
    first = register(bench)
    assert register(bench) == first
    assert register(bench, digest="other bytes").digest == "d1"
    assert len(bench.registry.versions("rain")) == 1


def test_lost_replies_leave_one_canonical_version(bench: Bench) -> None:
    register(bench, "other")
    second = bench.make_behind_its_back("rain", "key", "d2")
    third = bench.make_behind_its_back("rain", "key", "d3")
    fourth = bench.make_behind_its_back("rain", "key", "d4")
    canonical = register(bench, "key", "d5")
    assert (canonical.version, canonical.digest) == (second, "d2")
    versions = {entry.version: entry for entry in bench.registry.versions("rain")}
    assert len(versions) == 4
    assert versions[second].canonical
    for duplicate in (third, fourth):
        assert not versions[duplicate].canonical
        assert versions[duplicate].tags["ferryman.duplicate_of"] == str(second)
    assert versions[1].canonical


def test_models_do_not_mix(bench: Bench) -> None:
    register(bench)
    other = bench.registry.register("snow", "key", "d1", bench.artifacts.as_uri(), {})
    assert (other.model, other.version) == ("snow", 1)
    assert len(bench.registry.versions("rain")) == len(bench.registry.versions("snow")) == 1


def test_unknown_models_and_versions_are_absent(bench: Bench) -> None:
    assert bench.registry.versions("rain") == []
    assert bench.registry.get_version("rain", 1) is None
    assert bench.registry.get_alias("rain", "champion") is None
    made = register(bench)
    assert bench.registry.get_version("rain", 1) == made
    assert bench.registry.get_version("rain", 2) is None
    assert bench.registry.get_alias("rain", "champion") is None


def test_tags_can_be_put_right(bench: Bench) -> None:
    register(bench)
    bench.registry.set_tags("rain", 1, {DIGEST_TAG: "d9", "note": "y"})
    found = bench.registry.get_version("rain", 1)
    assert found is not None
    assert (found.digest, found.run_key, found.tags["note"]) == ("d9", "key", "y")
    with pytest.raises(SpecError, match="no version 7"):
        bench.registry.set_tags("rain", 7, {"note": "z"})


def test_aliases_move(bench: Bench) -> None:
    register(bench, "one"), register(bench, "two")
    bench.registry.set_alias("rain", "champion", 1)
    bench.registry.set_alias("rain", "champion", 1)
    found = bench.registry.get_alias("rain", "champion")
    assert found is not None
    assert found.version == 1
    bench.registry.set_alias("rain", "champion", 2)
    found = bench.registry.get_alias("rain", "champion")
    assert found is not None
    assert found.version == 2
    with pytest.raises(SpecError, match="no version 9"):
        bench.registry.set_alias("rain", "champion", 9)


def test_download_brings_every_file(bench: Bench, tmp_path: Path) -> None:
    (bench.artifacts / "manifest.json").write_text("{}")
    target = tmp_path / "copy"
    target.mkdir()
    version = register(bench)
    bench.registry.download(version, target)
    assert [file.name for file in target.rglob("*") if file.is_file()] == ["manifest.json"]


def test_a_vanished_source_is_unavailable(bench: Bench, tmp_path: Path) -> None:
    version = register(bench)
    bench.artifacts.rmdir()
    target = tmp_path / "copy"
    target.mkdir()
    with pytest.raises(DependencyUnavailable):
        bench.registry.download(version, target)


def test_a_local_source_outside_the_artifacts_is_refused(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    version = bench.registry.register("rain", "key", "d1", secret.as_uri(), {})
    if isinstance(bench, MemoryBench):
        return  # nobody else can write to it
    with pytest.raises(PolicyRefused, match="leads outside"):
        bench.registry.download(version, tmp_path / "copy")
