"""What is counted, and the page that tells of it."""

from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from ferryman.serving.answering.metrics import Distribution, ServingMetrics


def _samples(metrics: ServingMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


def test_every_sample_of_a_named_replica_carries_its_name() -> None:
    metrics = ServingMetrics("2")
    metrics.count("flights", "v1_predict", 200, 0.003)
    metrics.scored("flights", 3)
    metrics.ran("flights", 3)
    labels = [dict(pairs) for _, pairs in _samples(metrics)]
    assert labels and all(each.get("replica") == "2" for each in labels)
    assert not any("replica" in dict(pairs) for _, pairs in _samples(ServingMetrics()))


def test_requests_are_counted_by_model_route_and_class_of_code() -> None:
    metrics = ServingMetrics("0")
    for status, seconds in ((200, 0.0004), (200, 0.004), (400, 0.3), (404, 9.0)):
        metrics.count("flights", "v1_predict", status, seconds)
    found = _samples(metrics)
    here = (("model", "flights"), ("replica", "0"), ("route", "v1_predict"))
    assert found["ferryman_requests_total", (("code", "2xx"), *here)] == 2
    assert found["ferryman_requests_total", (("code", "4xx"), *here)] == 2
    assert found["ferryman_request_seconds_count", here] == 4
    assert abs(found["ferryman_request_seconds_sum", here] - 9.3044) < 1e-9
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "ferryman_request_seconds_bucket"
    }
    assert (buckets["0.0005"], buckets["0.005"], buckets["0.5"], buckets["2.5"]) == (1, 2, 3, 3)
    assert buckets["+Inf"] == 4


def test_what_others_know_is_asked_when_the_page_is_made() -> None:
    metrics = ServingMetrics("0")
    metrics.log_queue = lambda: 17
    metrics.in_flight, metrics.waiting_rows = 3, 40
    metrics.dropped(5)
    found = _samples(metrics)
    own = (("replica", "0"),)
    assert found["ferryman_prediction_log_queue", own] == 17
    assert found["ferryman_requests_in_flight", own] == 3
    assert found["ferryman_scoring_queue", own] == 40
    assert found["ferryman_prediction_log_dropped_total", own] == 5
    assert found["process_cpu_seconds_total", own] > 0
    assert found["process_resident_memory_bytes", own] > 1e7


def test_a_value_on_a_bound_counts_as_up_to_it() -> None:
    sizes = Distribution((1, 4))
    for value in (1, 2, 4, 5):
        sizes.observe(value)
    assert sizes.buckets() == ([("1.0", 1.0), ("4.0", 3.0), ("+Inf", 4.0)], 12.0)


def test_answers_and_errors_are_counted_by_version_and_old_versions_are_forgotten() -> None:
    metrics = ServingMetrics("0")
    for version in range(1, 7):
        for _ in range(version):
            metrics.versions.answered("flights", version, 0.002)
    metrics.versions.failed("flights", 6)
    metrics.versions.answered("rain", 1, 0.002)
    found = _samples(metrics)

    def own(model: str, version: int) -> tuple[tuple[str, str], ...]:
        return (("model", model), ("replica", "0"), ("version", str(version)))

    assert found["ferryman_version_seconds_count", own("flights", 6)] == 6
    assert found["ferryman_version_errors_total", own("flights", 6)] == 1
    assert found["ferryman_version_errors_total", own("flights", 5)] == 0
    assert found["ferryman_version_seconds_count", own("rain", 1)] == 1
    versions = {dict(labels).get("version") for name, labels in found if "version_sec" in name}
    assert versions == {"1", "3", "4", "5", "6"}


def test_bounds_of_a_version_are_near_one_another_and_its_text_is_prometheus_own() -> None:
    metrics = ServingMetrics("0")
    metrics.versions.answered('a"b\\c', 1, 0.064)
    metrics.versions.answered('a"b\\c', 1, 99.0)
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in _samples(metrics).items()
        if name == "ferryman_version_seconds_bucket" and dict(labels)["model"] == 'a"b\\c'
    }
    bounds = sorted(buckets)
    fine = [bound for bound in bounds if bound < 1.1]
    assert max(above / below for below, above in pairwise(fine)) < 1.05
    assert (fine[0], bounds[-1]) == (0.0000625, float("inf"))
    assert [min(b for b in bounds if buckets[b] == n) for n in (1, 2)] == [0.064, float("inf")]
