"""One DAG ingests from a database, a folder of logs and an API, into a bucket: all of them real."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from services.json_api import TOKEN, JsonApi
from services.row_places import fill_postgres
from services.s3_server import KEY, SECRET, S3Server

from ferryman.spec.windows import day_window

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

SHOP = Path(__file__).parents[1] / "zoo" / "shop"
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
DAY = FIRST + timedelta(days=1)
CUSTOMERS = ("ann", "bob", "çem")


def hours(count: int) -> list[datetime]:
    return [FIRST + timedelta(hours=number) for number in range(count)]


@pytest.fixture
def bank() -> Iterator[JsonApi]:
    """Rates of three currencies, every six hours; six a page."""
    records = [
        {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "currency": currency, "rate": 1 + 0.1 * number}
        for at in hours(48)[::6]
        for number, currency in enumerate(("EUR", "USD", "CHF"))
    ]
    with JsonApi(records, page_size=6) as opened:
        yield opened


@pytest.fixture
def log_folder(tmp_path: Path) -> Path:
    """Two log files a day, the second of the first day delivered twice under another name."""
    for day in (FIRST, DAY):
        folder = tmp_path / "raw" / "visits" / f"{day:%Y-%m-%d}"
        folder.mkdir(parents=True)
        for half in (0, 1):
            lines = [
                {
                    "at": f"{day + timedelta(hours=12 * half, minutes=10 * number):%FT%TZ}",
                    "customer": CUSTOMERS[number % 3],
                    "page": "{{ 7 * 7 }}; rm -rf /",
                }
                for number in range(60)
            ]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / f"web-{half}.jsonl").write_text(text)
    again = tmp_path / "raw" / "visits" / f"{FIRST:%Y-%m-%d}"
    shutil.copy(again / "web-1.jsonl", again / "web-1-again.jsonl")
    return tmp_path / "raw"


@pytest.fixture
def orders(postgres: Any) -> Any:
    """A table of orders in PostgreSQL, one every twenty minutes over two days."""
    generator = np.random.default_rng(0)
    rows = 144
    table = {
        "order_id": range(rows),
        "ordered_at": [FIRST + timedelta(minutes=20 * number) for number in range(rows)],
        "customer": [CUSTOMERS[number % 3] for number in range(rows)],
        "currency": [("EUR", "USD", "CHF")[number % 3] for number in range(rows)],
        "amount": generator.gamma(2, 30, rows).round(2),
        "returned": generator.random(rows) < 0.3,
    }
    fill_postgres(postgres, "orders", pa.table(table))
    return postgres


@pytest.fixture
def shop(
    orders: Any,
    bank: JsonApi,
    log_folder: Path,
    settings_from: Any,
    load_dags: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Any, S3Server]]:
    """The model's ingest DAG; snapshots go to a bucket because one connection says so."""
    from airflow.utils.db import initdb

    initdb()
    shutil.copytree(SHOP, tmp_path / "zoo" / "shop")
    with S3Server() as server:
        server.client().create_bucket(Bucket="lake")
        user, password = orders.login, quote(orders.password, safe="")
        database = f"postgres://{user}:{password}@127.0.0.1:{orders.port}/fleet"
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", database)
        token = quote(TOKEN, safe="")
        monkeypatch.setenv(
            "FERRYMAN_CONNECTION_BANK", bank.url.replace("//", f"//:{token}@") + "/v1"
        )
        monkeypatch.setenv(
            "FERRYMAN_CONNECTION_LAKE",
            f"s3://{KEY}:{SECRET}@lake/kept?endpoint={quote(server.url, safe='')}&region=us-east-1",
        )
        settings_from(
            zoo=tmp_path / "zoo",
            home=tmp_path / "home",
            source_root=log_folder,
            data_connection="lake",
        )
        yield load_dags().dags["shop.ingest"], server


def states(run: Any) -> dict[str, str]:
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def kept(server: S3Server) -> dict[str, str]:
    """Key and checksum of every object in the bucket."""
    listed = server.client().list_objects_v2(Bucket="lake").get("Contents", [])
    return {entry["Key"]: entry["ETag"] for entry in listed}


def test_a_run_reads_all_three_and_a_second_one_changes_nothing(
    shop: tuple[Any, S3Server], tmp_path: Path
) -> None:
    from ferryman.data.versions.snapshots import SnapshotStore
    from ferryman.runtime.data_store import open_data_store
    from ferryman.runtime.declared_connections import DeclaredConnections
    from ferryman.settings import load_settings

    ingest, server = shop
    conf = {"window_start": f"{DAY:%Y-%m-%d}"}
    run = ingest.test(run_conf=conf)
    assert states(run) == {"ingest": "success", "validate": "success"}

    settings = load_settings()
    store = SnapshotStore(open_data_store(settings, DeclaredConnections(settings)))
    [snapshot] = store.published("shop")
    assert snapshot.window == day_window(DAY)
    features = store.read_features(snapshot)
    assert (features.num_rows, snapshot.entry.labels) == (72, 72)
    counted = features.column("visits_last_day").to_pylist()
    assert counted[0] == 40, "the file that was delivered twice counts once"
    used = snapshot.entry.sources
    assert used["orders"].described == "sql shop_db:orders"
    assert used["rates"].described == "http bank:/rates"
    assert len({part["sha256"] for part in used["visits"].parts}) == 4
    assert len(used["visits"].parts) == 5, "and is named"
    assert not (tmp_path / "home" / "data").exists()

    before = kept(server)
    again = ingest.test(run_conf=conf)
    assert states(again) == {"ingest": "success", "validate": "success"}
    [same] = store.published("shop")
    assert same.id == snapshot.id
    after = kept(server)
    assert {key: after[key] for key in before} == before
    added = [key for key in set(after) - set(before) if "/uses/" not in key]
    assert added == []
