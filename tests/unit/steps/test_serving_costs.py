"""A replica's CPU is shared out by the time of each model's requests."""

from ferryman.steps.serving_costs import serving_costs

PAGE = """\
# TYPE process_cpu_seconds counter
process_cpu_seconds_total{replica="r1"} 10
process_cpu_seconds_total{replica="r2"} 6
process_cpu_seconds_total{replica="front"} 3
# TYPE ferryman_request_seconds histogram
ferryman_request_seconds_sum{replica="r1",model="a",route="predict"} 3
ferryman_request_seconds_sum{replica="r1",model="b",route="predict"} 1
ferryman_request_seconds_sum{replica="r1",model="unknown",route="none"} 9
ferryman_request_seconds_sum{replica="r2",model="b",route="predict"} 2
# TYPE ferryman_predictions counter
ferryman_predictions_total{replica="r1",model="a"} 40
ferryman_predictions_total{replica="r1",model="b"} 5
ferryman_predictions_total{replica="r2",model="b"} 7
"""


def test_each_model_has_its_part_of_each_replica() -> None:
    found = serving_costs(PAGE)
    assert found["a"].cpu_seconds == 7.5
    assert found["b"].cpu_seconds == 2.5 + 6
    assert (found["a"].rows, found["b"].rows) == (40, 12)
    assert found["a"].share + found["b"].share == 1
    assert serving_costs("") == {}
