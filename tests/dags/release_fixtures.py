"""What tests of releases in Airflow share: users, a served first version, candidates, a run."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from one_process import OneProcessRun
from release_world import Release, Users, candidate, copy_world, declare, fill

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import Ledger
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings

USERS = {"rita": "op", "olga": "op", "ivan": "op", "guest": "viewer"}
_OF_TRAIN = ("cutoff", "train_dataset", "eval_dataset", "code_version", "mlflow_run_id", "reason")
_OF_REGISTER = ("version", "bundle", "digest", "run_key")


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    empty_mlflow: Path,
    make_bundle: Callable[..., Any],
    free_ports: Callable[[int], list[int]],
) -> Settings:
    """An installation of `tiny` whose first version serves, and which has two candidates more."""
    root, ports = tmp_path_factory.mktemp("releases"), free_ports(2)
    settings = Settings(
        home=root / "home", zoo=root / "zoo", serving_port=ports[0], serving_admin_port=ports[1]
    )
    shutil.copytree(empty_mlflow, settings.home / "mlflow")
    fill(settings, make_bundle)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        Release(settings, "first", candidate(settings, 1, make_bundle)).run_all()
    finally:
        deployer.stop()
    return settings


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, airflow_api: Callable[..., Any]
) -> Iterator[SimpleNamespace]:
    """Airflow's API as `client`, and the header of each user by name."""
    with airflow_api(tmp_path_factory.mktemp("auth"), USERS) as client:
        users = {}
        for name in USERS:
            body = {"username": name, "password": f"{name}-password"}
            token = client.post("/auth/token", json=body).json()["access_token"]
            users[name] = {"Authorization": f"Bearer {token}"}
        client.cookies.clear()
        yield SimpleNamespace(client=client, **users)


@pytest.fixture
def world(
    template: Settings,
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    settings_from: Callable[..., None],
) -> Iterator[Settings]:
    """A copy of the installation, with a zoo and a running server of its own."""
    copied = copy_world(template, tmp_path / "home", free_ports(2))
    settings = copied.model_copy(update={"zoo": tmp_path / "zoo"})
    shutil.copytree(template.zoo, settings.zoo)
    names = ("home", "zoo", "serving_port", "serving_admin_port")
    settings_from(actor="airflow", **{name: getattr(settings, name) for name in names})
    deployer = ProcessDeployer(settings)
    deployer.start()
    yield settings
    deployer.stop()


@pytest.fixture
def users(world: Settings, make_bundle: Callable[..., Any]) -> Iterator[Users]:
    """Ten requests a second during the test; all of them are answered."""
    with Users(world, make_bundle(world.bundles_root, 0.1).rows, pause=0.1) as found:
        assert found.answered.wait(20)
        yield found
    assert found.failed == 0


@pytest.fixture
def trained(world: Settings, make_bundle: Callable[..., Any]) -> Callable[..., str]:
    """Write the finished training run of a version; its folder's name."""

    def write(
        version: int, requested_by: str | None = None, asked: str = "person", **changed: Any
    ) -> str:
        given = {**candidate(world, version, make_bundle), **changed}
        folder = run_folder(world.runs_root, "tiny", "training", f"v{version}")
        outputs = {
            "train": {"asked": asked, **{name: given.get(name, "") for name in _OF_TRAIN}},
            "register": {name: given[name] for name in _OF_REGISTER},
        }
        for step, values in outputs.items():
            result = StepResult(model="tiny", step=step, request_digest="d", outputs=values)
            write_json(folder / step / "result.json", result.model_dump(mode="json"))
        if requested_by:
            write_json(folder / "requested_by.json", {"user": requested_by})
        return folder.name

    return write


@pytest.fixture
def roll_out(world: Settings) -> Callable[[str], None]:
    """Declare the rollout of `tiny`; "" takes it away."""

    def write(rollout: str) -> None:
        file = declare(world.zoo).file
        file.write_text(file.read_text().partition("rollout:")[0] + rollout)

    return write


@pytest.fixture
def dag_of(world: Settings, api: SimpleNamespace, load_dags: Callable[[], Any]) -> Any:
    """dag_of("release"): a DAG of `tiny` as it is declared now, known to Airflow's database."""

    def load(pipeline: str) -> Any:
        from airflow.dag_processing.dagbag import sync_bag_to_db

        bag = load_dags()
        assert bag.import_errors == {}
        sync_bag_to_db(bag, "dags-folder", None)
        return bag.dags[f"tiny.{pipeline}"]

    return load


@pytest.fixture
def begin(api: SimpleNamespace, dag_of: Any, trained: Callable[..., str]) -> Any:
    """Start a release by REST as a user, and go on to its end or until somebody is asked."""

    def run(user: str = "rita", version: int = 2, dag: Any = None, **changed: Any) -> OneProcessRun:
        conf = {"run": trained(version, **changed)}
        found = OneProcessRun(api.client, dag or dag_of("release"), getattr(api, user), conf)
        found.advance()
        return found

    return run


def head_of(settings: Settings) -> tuple[int, int]:
    """Epoch and version of `tiny`."""
    head = Ledger(settings.ledger_url).head("tiny")
    assert head is not None
    return head.epoch, head.version
