"""What Prometheus says of each version is what its clients measured and its log kept."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from client_load import read_answer
from keyed_load import ask_all, body_of
from line_candidates import LINE, make_line, share_of
from services import prometheus

from ferryman.serving.log.prediction_log import read_predictions

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not prometheus.is_installed(), reason=prometheus.MISSING),
]
CLOSE = 0.05
KEYS, EVERY, TURNS = 60, 1.0, 12  # each asks once in so many seconds, so many times
WINDOW = 8  # seconds of a rate
# Between which a request's last bytes follow its first ones: the time that an answer takes.
SLOW = {"1": (0.1, 0.25), "7": (0.25, 0.6)}


class Timed(NamedTuple):
    """An answer: whose, when it was there, after how many seconds, and how late its client was.

    A client that sleeps is woken late on a busy machine, and sees answers as late.
    """

    version: str
    at: float
    seconds: float
    late: float


async def _ask_slowly(port: int, key: int, begin: float, delays: Sequence[float]) -> list[Timed]:
    """Every EVERY seconds a request whose last bytes come late."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found, whole = [], body_of(key, 4.0)
    for turn, delay in enumerate(delays):
        await asyncio.sleep(begin + (turn + key / KEYS) * EVERY - time.monotonic())
        started = time.perf_counter()
        writer.write(whole[:-5])
        await asyncio.sleep(delay)
        late = time.perf_counter() - started - delay
        writer.write(whole[-5:])
        async with asyncio.timeout(20):
            status, headers, _ = await read_answer(reader)
        assert status == 200
        seconds = time.perf_counter() - started
        found.append(Timed(headers["x-model-version"], time.time(), seconds, late))
    writer.close()
    return found


async def _load(port: int, versions: dict[int, str]) -> list[Timed]:
    """A steady load of requests, those of each version as slow as SLOW says."""
    random, begin = np.random.default_rng(5), time.monotonic() + 0.2
    clients = (
        _ask_slowly(port, key, begin, random.uniform(*SLOW[version], TURNS))
        for key, version in versions.items()
    )
    return [one for found in await asyncio.gather(*clients) for one in found]


def _by_version(url: str, query: str, at: float | None = None) -> dict[str, float]:
    asked = {"query": query} | ({} if at is None else {"time": str(at)})
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        answer = client.get("/api/v1/query", params=asked).raise_for_status().json()
    return {one["metric"]["version"]: float(one["value"][1]) for one in answer["data"]["result"]}


def _logged(server: Any, began: datetime) -> dict[str, Any]:
    """Seconds of every answer by version, from the prediction log."""
    server.client.flush()
    root, ended = server.settings.predictions_root, datetime.now(UTC) + timedelta(seconds=1)
    table = read_predictions(root, LINE, began, ended, task="regression")
    versions, seconds = table["version"].to_numpy(), table["latency"].to_numpy()
    return {str(one): seconds[versions == one] for one in np.unique(versions)}


def _serve_two(server: Any) -> None:
    """Version 1 of `line`, and version 7 with half of the requests: it knows no roots below 0."""
    champion = make_line(server.settings.bundles_root)
    candidate = make_line(server.settings.bundles_root, 5.0, "root")
    where = {"bundle": str(champion.folder), "digest": champion.digest}
    server.client.load(LINE, version=1, epoch=1, **where)
    server.client.expose(LINE, share_of(candidate, lease=300.0), str(candidate.folder))


def test_requests_errors_and_quantiles_of_each_version_are_those_of_the_load(
    start_server: Callable[..., Any], tmp_path: Path, wait_for: Any
) -> None:
    server, began = start_server(replicas=2), datetime.now(UTC)
    _serve_two(server)
    port = server.endpoint.port
    with prometheus.Prometheus(tmp_path / "seen", {"main": f"127.0.0.1:{port}"}) as running:
        quick, bad = ask_all(port, range(KEYS), x=4.0), ask_all(port, range(200), x=-1.0)
        count = "sum by (version) (ferryman_version_seconds_count)"
        wait_for(lambda: sum(_by_version(running.url, count).values()) == KEYS + 200, 60)
        slow = asyncio.run(_load(port, {one.key: one.version for one in quick}))
        answered = Counter(one.version for one in (*quick, *bad, *slow))
        failed = sum(one.variant == "fallback" for one in bad)
        assert set(answered) == {"1", "7"} and failed > 50
        wait_for(lambda: _by_version(running.url, count) == answered, 60)
        errors = _by_version(running.url, "sum by (version) (ferryman_version_errors_total)")
        assert errors == {"1": 0, "7": failed}
        _compare_rates(running.url, slow)
        _compare_quantiles(running.url, slow, answered, _logged(server, began))


def _compare_rates(url: str, slow: Sequence[Timed]) -> None:
    """Answers a second, in windows that lie within the load."""
    ended = max(one.at for one in slow)
    query = f"sum by (version) (rate(ferryman_version_seconds_count[{WINDOW}s]))"
    for version in SLOW:
        rates = []
        for moment in (ended - 2, ended - 1.5, ended - 1):
            seen = [o for o in slow if o.version == version and 0 <= moment - o.at < WINDOW]
            told = _by_version(url, query, moment)[version]
            rates.append(told / (len(seen) / WINDOW))
        assert np.median(rates) == pytest.approx(1.0, abs=CLOSE), (version, rates)


def _compare_quantiles(
    url: str, slow: Sequence[Timed], answered: Counter[str], logged: dict[str, Any]
) -> None:
    """Of all answers: those to the few that were not slow are below every one of SLOW."""
    assert {version: len(seconds) for version, seconds in logged.items()} == answered
    for version, share in product(SLOW, (0.5, 0.95, 0.99)):
        buckets = f'sum by (version, le) (ferryman_version_seconds_bucket{{version="{version}"}})'
        told = _by_version(url, f"histogram_quantile({share}, {buckets})")[version]
        assert told == pytest.approx(_quantile(logged[version], share), rel=CLOSE)
        own = [one for one in slow if one.version == version]
        quick = [0.0] * (answered[version] - len(own))
        measured = _quantile([*quick, *(one.seconds for one in own)], share)
        late = _quantile([one.late for one in own], share)
        assert abs(told - measured) < CLOSE * measured + late, (version, share, late)


def _quantile(values: Any, share: float) -> float:
    """One of the values, as the bucket that Prometheus finds holds one of them."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def _infos(server: Any) -> Counter[tuple[str, str]]:
    """How often each version and variant of `line` is told of."""
    page = httpx.get(f"{server.endpoint.url}/metrics", trust_env=False).text
    lines = [line for line in page.splitlines() if line.startswith("ferryman_model_info{")]
    told = [dict(pair.split("=") for pair in line[20:-5].split(",")) for line in lines]
    return Counter((one["version"].strip('"'), one["variant"].strip('"')) for one in told)


def test_a_candidate_is_told_of_while_it_has_a_share(
    start_server: Callable[..., Any], wait_for: Any
) -> None:
    server = start_server(replicas=2)
    _serve_two(server)
    assert _infos(server) == {("1", "champion"): 2, ("7", "canary"): 2}
    server.client.withdraw(LINE, fence=1)
    assert _infos(server) == {("1", "champion"): 2}
    shadow = make_line(server.settings.bundles_root, 3.0)
    server.client.expose(LINE, share_of(shadow, "shadow", fence=2), str(shadow.folder))
    wait_for(lambda: _infos(server) == {("1", "champion"): 2, ("7", "shadow"): 1})
    server.client.withdraw(LINE, fence=2)
    wait_for(lambda: _infos(server) == {("1", "champion"): 2})
