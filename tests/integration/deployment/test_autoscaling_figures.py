"""What an autoscaler reads of a server's page of metrics, and of a Prometheus that misbehaves."""

import json
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from services.json_api import JsonApi, answer_with, status

from ferryman.deployment.autoscaling.figures import NO_PREDICTIONS, PrometheusFigures
from ferryman.deployment.autoscaling.scrape import ScrapedFigures, quantile
from ferryman.errors import DependencyUnavailable
from ferryman.serving.answering.metrics import UNKNOWN, ServingMetrics
from ferryman.serving.front.merged_metrics import merge_pages
from ferryman.serving.protocols.routes import Kind

FRONT = '# TYPE ferryman_replicas gauge\nferryman_replicas{state="ready"} 2.0\n'


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with JsonApi() as running:
        yield running


class Fleet:
    """Two replicas' true counters behind one page, and a clock that waiting turns."""

    def __init__(self, api: JsonApi, work: Callable[["Fleet"], None]) -> None:
        self.api, self.work, self.now = api, work, 100.0
        self.replicas = {name: ServingMetrics(name) for name in ("r1", "r2")}
        api.always = lambda request: request.send(self.page().encode(), kind="text/plain")

    def page(self) -> str:
        pages = [one.page().decode() for one in self.replicas.values()]
        return merge_pages([*pages, FRONT])

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.work(self)

    def source(self) -> ScrapedFigures:
        return ScrapedFigures(self.api.url, cores=2.0, clock=lambda: self.now, sleep=self.sleep)


def test_two_readings_make_rates_latency_and_replicas(api: JsonApi) -> None:
    def work(fleet: Fleet) -> None:
        for _ in range(100):
            fleet.replicas["r1"].count("tiny", "v1_predict", 200, 0.03)
        for _ in range(50):
            fleet.replicas["r2"].count("tiny", "v2_infer", 200, 0.03)
            fleet.replicas["r2"].count(UNKNOWN, "live", 200, 2.0)
        fleet.replicas["r2"].in_flight = 3

    fleet = Fleet(api, work)
    fleet.replicas["r1"].count("tiny", "v1_predict", 200, 2.0)  # before: does not count
    figures = fleet.source().read()
    assert {name: one.requests for name, one in figures.replicas.items()} == {"r1": 20, "r2": 10}
    assert figures.p95_ms is not None and 20 < figures.p95_ms < 50
    assert (figures.ready, figures.in_flight, figures.window) == (2, 3, 5.0)
    assert all(one.cpu is not None and one.cpu >= 0 for one in figures.replicas.values())


def test_a_new_replica_has_requests_and_no_share_of_its_cores_yet(api: JsonApi) -> None:
    def work(fleet: Fleet) -> None:
        fleet.replicas["r3"] = ServingMetrics("r3")
        fleet.replicas["r3"].count("tiny", "v1_predict", 200, 0.03)

    figures = Fleet(api, work).source().read()
    assert (figures.replicas["r3"].cpu, figures.replicas["r3"].requests) == (None, 0.2)


def test_a_replica_that_went_had_its_part_of_the_load(api: JsonApi) -> None:
    def work(fleet: Fleet) -> None:
        for metrics in fleet.replicas.values():
            for _ in range(50):
                metrics.count("tiny", "v1_predict", 200, 0.03)

    fleet = Fleet(api, work)
    source = fleet.source()
    assert source.read().load == 20.0
    del fleet.replicas["r2"]
    fleet.sleep(5)
    gone = source.read()
    assert gone.load == 15.0 and gone.p95_ms is not None  # 150 requests in ten seconds
    fleet.sleep(31)
    assert source.read().replicas.keys() == {"r1"}


def test_a_counter_that_began_anew_is_not_negative(api: JsonApi) -> None:
    def work(fleet: Fleet) -> None:
        fleet.replicas["r1"] = ServingMetrics("r1")
        for _ in range(10):
            fleet.replicas["r1"].count("tiny", "v1_predict", 200, 0.03)

    fleet = Fleet(api, work)
    for _ in range(50):
        fleet.replicas["r1"].count("tiny", "v1_predict", 200, 0.03)
    assert fleet.source().read().replicas["r1"].requests == 2.0


def test_later_readings_look_back_half_a_minute_and_do_not_wait(api: JsonApi) -> None:
    waits: list[float] = []
    fleet = Fleet(api, lambda _fleet: waits.append(1))
    source = fleet.source()
    source.read()
    windows = []
    for _ in range(5):
        fleet.now += 10
        windows.append(source.read().window)
    assert windows == [15.0, 25.0, 30.0, 30.0, 30.0]
    assert len(waits) == 1


def test_every_route_that_asks_no_prediction_is_left_out() -> None:
    assert set(NO_PREDICTIONS) == set(get_args(Kind)) - {"predict"}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(503), "answered 503"),
        (answer_with(b"ferryman_requests_total{ 1\n", kind="text/plain"), "cannot be read"),
    ],
)
def test_a_page_that_cannot_be_read_is_unavailable(api: JsonApi, fault, told) -> None:
    api.always = fault
    with pytest.raises(DependencyUnavailable, match=told):
        ScrapedFigures(api.url, cores=1, sleep=lambda _seconds: None).read()


def vector(*samples: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in samples]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


def test_a_prometheus_that_has_no_such_server_is_unavailable(api: JsonApi) -> None:
    api.always = answer_with(vector())
    with pytest.raises(DependencyUnavailable, match="no replica of a server 'main'") as caught:
        PrometheusFigures(api.url, "main", cores=1, window=60).read()
    assert 'label server: "main"' in caught.value.remedy


def test_no_number_is_no_figure(api: JsonApi) -> None:
    api.always = answer_with(vector(({"replica": "r1"}, "2"), ({}, "NaN")))
    found = PrometheusFigures(api.url, "main", cores=4, window=60).read()
    assert found.p95_ms is None and found.ready is None
    assert found.replicas["r1"].cpu == 0.5


@pytest.mark.parametrize(
    "answer",
    [
        status(500),
        answer_with(b""),
        answer_with(b'{"status": "error", "errorType": "bad_data"}'),
        answer_with(b'{"status": "success", "data": {"resultType": "scalar", "result": []}}'),
        answer_with(vector(({"replica": "r1"}, "many"))),
        answer_with(vector(({"replica": "r1"}, "1e-.-"))),
        answer_with(vector(({"replica": "r1"}, "-7"))),
    ],
)
def test_what_no_prometheus_answers_is_unavailable(api: JsonApi, answer) -> None:
    api.always = answer
    with pytest.raises(DependencyUnavailable):
        PrometheusFigures(api.url, "main", cores=1, window=60).read()


def test_no_prometheus_is_unavailable_and_its_password_is_not_told(free_ports) -> None:
    url = f"http://ann:hush-hush@127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(DependencyUnavailable, match="not reachable") as caught:
        PrometheusFigures(url, "main", cores=1, window=60).read()
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({}, None),
        ({0.1: 0, float("inf"): 0}, None),
        ({0.1: 100, float("inf"): 100}, 0.095),
        ({0.1: 90, 0.2: 100, float("inf"): 100}, 0.15),
        ({0.1: 10, 0.2: 10, float("inf"): 100}, 0.2),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(buckets, expected) -> None:
    found = quantile(0.95, buckets)
    assert found == (expected if expected is None else pytest.approx(expected))
