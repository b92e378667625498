"""The administration port: nothing without the token, one route each, refusals told apart."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from served_here import ServedHere

from ferryman.errors import Superseded
from ferryman.runtime.traffic import Traffic, TrafficState, VariantFigures
from ferryman.serving.front.admin_app import AdminApp
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.models.served_pointers import Pointer

TOKEN = "t" * 40
KEY = {"authorization": f"Bearer {TOKEN}"}


class OneProcess:
    """A front without processes: what it is asked, the served models of this process do."""

    def __init__(self, served: ServedModels) -> None:
        self.served = served
        self.count, self.left, self.flushed = 1, list[str](), 0
        self.shares: dict[str, TrafficState] = {}

    def models(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"model": name, **pointer.model_dump(), "loaded": True}
            for name, pointer in self.served.remembered.items()
        }

    async def check(self, name: str, bundle: str, digest: str) -> None:
        self.served.check(name, bundle, digest)

    async def load(self, name: str, pointer: Pointer, bundle: str) -> bool:
        return self.served.load(name, pointer, bundle)

    async def expose(self, name: str, traffic: Traffic, bundle: str) -> TrafficState:
        assert bundle
        figures = VariantFigures()
        state = TrafficState(
            traffic=traffic, remaining=1.0, everywhere=True, champion=figures, candidate=figures
        )
        self.shares[name] = state
        return state

    async def withdraw(self, name: str, fence: int) -> None:
        if fence < self.shares[name].traffic.fence:
            raise Superseded(f"fence {fence} is below")
        del self.shares[name]

    async def traffic(self, name: str) -> TrafficState | None:
        return self.shares.get(name)

    async def flush(self) -> None:
        self.flushed += 1

    def replicas(self) -> dict[str, Any]:
        return {"wanted": self.count, "replicas": []}

    async def scale(self, count: int, leave: list[str]) -> None:
        self.count, self.left = count, leave


class Admin:
    """The application without a network."""

    def __init__(self, root: Path) -> None:
        self.front = OneProcess(ServedHere(root / "serving", root / "bundles"))
        self.app: Any = AdminApp(self.front, TOKEN)

    def ask(self, method: str, path: str, headers: Any = KEY, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(send())


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    return Admin(tmp_path)


@pytest.fixture
def body_of(tmp_path: Path, make_bundle: Any) -> Callable[..., dict[str, Any]]:
    """body_of(strength, epoch): what loads that bundle."""

    def make(strength: float, epoch: int) -> dict[str, Any]:
        bundle = make_bundle(tmp_path / "bundles", strength)
        where = {"bundle": str(bundle.folder), "digest": bundle.digest}
        return {**where, "version": epoch, "epoch": epoch}

    return make


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/models"),
        ("GET", "/admin/models/tiny"),
        ("POST", "/admin/models/tiny/check"),
        ("POST", "/admin/models/tiny/load"),
        ("POST", "/admin/prediction-log/flush"),
        ("GET", "/admin/replicas"),
        ("POST", "/admin/replicas"),
        ("GET", "/docs"),
        ("GET", "/anything"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": TOKEN},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {TOKEN}"},
    ],
)
def test_nothing_without_the_token(
    admin: Admin, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = admin.ask(method, path, headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert (admin.front.count, admin.front.flushed) == (1, 0)


def test_load_swaps_and_refuses(admin: Admin, body_of: Any) -> None:
    assert admin.ask("GET", "/admin/models").json() == {"models": {}}
    path = "/admin/models/tiny/load"
    assert admin.ask("POST", path, json=body_of(1.0, 7)).json()["changed"] is True
    assert admin.ask("POST", path, json=body_of(1.0, 7)).json()["changed"] is False
    assert admin.ask("GET", "/admin/models/tiny").json()["epoch"] == 7
    older = admin.ask("POST", path, json=body_of(10.0, 6))
    assert older.status_code == 409 and "epoch 7" in older.json()["error"]
    wrong = {**body_of(10.0, 8), "digest": "f" * 64}
    assert admin.ask("POST", path, json=wrong).status_code == 422
    assert admin.front.served.remembered["tiny"].epoch == 7


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/admin/models/tiny/load", {}, 400, "bundle: Field required"),
        ("/admin/models/tiny/load", {"digest": "x"}, 400, "digest"),
        ("/admin/models/tiny/check", {"bundle": "b", "digest": "0" * 64, "x": 1}, 400, "x: Extra"),
        ("/admin/models/..%2Fx/check", {"bundle": "b", "digest": "0" * 64}, 404, "no such path"),
        ("/admin/models/Tiny/check", {"bundle": "b", "digest": "0" * 64}, 400, "no model name"),
        ("/admin/models/tiny/check", {"bundle": "/etc", "digest": "0" * 64}, 400, "not below"),
        ("/admin/replicas", {"count": 0}, 400, "count"),
        ("/admin/replicas", {"count": "2"}, 400, "count"),
        ("/admin/replicas", {"count": 101}, 400, "count"),
        ("/admin/nothing", {}, 404, "no such path"),
    ],
)
def test_bad_bodies_and_paths(admin: Admin, path: str, body: Any, status: int, text: str) -> None:
    answer = admin.ask("POST", path, json=body)
    assert answer.status_code == status, answer.text
    assert text in answer.json()["error"]


def test_a_body_without_end_is_refused(admin: Admin) -> None:
    answer = admin.ask("POST", "/admin/replicas", content=b" " * 70_000)
    assert answer.status_code == 400 and "larger than" in answer.json()["error"]


def test_replicas_and_flush(admin: Admin) -> None:
    body = {"count": 3, "leave": ["r2"]}
    assert admin.ask("POST", "/admin/replicas", json=body).json()["wanted"] == 3
    assert admin.front.left == ["r2"]
    assert admin.ask("POST", "/admin/prediction-log/flush").json() == {"flushed": True}
    assert admin.ask("GET", "/admin/models/none").status_code == 404
    assert admin.ask("DELETE", "/admin/replicas").status_code == 404


SHARE = {
    **{"op": "ab" * 32, "variant": "canary", "version": 2, "digest": "cd" * 32, "weight": 0.05},
    **{"base_epoch": 3, "fence": 7, "stage": 1, "lease": 45.0},
}
WHERE = "/admin/models/tiny/traffic"


def test_a_share_is_given_told_of_and_taken_back(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    assert admin.ask("GET", WHERE).status_code == 404
    given = admin.ask("POST", WHERE, json={"traffic": SHARE, "bundle": "tiny/x"})
    told = TrafficState.model_validate_json(given.content)
    assert told.traffic == Traffic.model_validate(SHARE)
    assert admin.ask("GET", WHERE).json() == given.json()
    back = "/admin/models/tiny/withdraw"
    assert admin.ask("POST", back, json={"fence": 6}).status_code == 409
    assert admin.ask("POST", back, json={"fence": 7}).json() == {"withdrawn": "tiny"}
    assert admin.ask("GET", WHERE).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"op": "ab" * 31 + "\n"},
        {"variant": "champion"},
        {"weight": 0},
        {"weight": 1.01},
        {"weight": float("nan")},
        {"weight": "0.5"},
        {"digest": "CD" * 32},
        {"digest": "cd" * 32 + "\n"},
        {"base_epoch": 0},
        {"fence": 2**63},
        {"lease": 301},
        {"lease": float("inf")},
        {"more": 1},
    ],
)
def test_a_senseless_share_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    admin = Admin(tmp_path)
    body = json.dumps({"traffic": {**SHARE, **change}, "bundle": "tiny/x"})
    assert admin.ask("POST", WHERE, content=body).status_code == 400
    assert admin.front.shares == {}


@pytest.mark.parametrize("name", ["Tiny", "t/../x", "tiny\n", "ti\u0131y", "x" * 64])
def test_a_share_is_of_a_model_s_name(tmp_path: Path, name: str) -> None:
    body = {"traffic": SHARE, "bundle": "tiny/x"}
    path = f"/admin/models/{quote(name, safe='')}/traffic"
    answer = Admin(tmp_path).ask("POST", path, json=body)
    assert answer.status_code in (400, 404)
    huge = {**body, "bundle": "x" * 2**20}
    assert Admin(tmp_path).ask("POST", WHERE, json=huge).status_code == 400
