"""Good rows that the served version has no answer to are its errors, and no client's mistakes."""

import re
from typing import Any

import httpx
import orjson
import pytest
from keyed_load import ask_all
from line_candidates import LINE, make_line, share_of

from ferryman.errors import DataRejected
from ferryman.serving.queueing.messages import Request
from ferryman.serving.queueing.scorer import QueueScorer

BAD = -1.0  # a number as any other, of which a "root" has no finite answer
WRONG = {"instances": [{"x": "far", "k": 1}]}


@pytest.fixture(scope="module")
def served(start_shared_server: Any) -> Any:
    """A server of `line` whose version 1 is a root, behind two replicas."""
    server = start_shared_server(replicas=2)
    bundle = make_line(server.settings.bundles_root, 3.0, "root")
    where = {"bundle": str(bundle.folder), "digest": bundle.digest}
    server.client.load(LINE, version=1, epoch=1, **where)
    return server


def counted(server: Any, name: str, labels: str) -> float:
    """A counter, summed over the replicas, which tell of themselves one after the other."""
    page = httpx.get(f"{server.endpoint.url}/metrics", trust_env=False).text
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    return sum(float(line.split()[-1]) for line in lines if re.search(labels, line))


def test_they_are_answered_with_500_and_counted_for_the_version(served: Any) -> None:
    bad, good = ask_all(served.endpoint.port, range(40), x=BAD), ask_all(served.endpoint.port, [1])
    assert ({one.status for one in bad}, [one.status for one in good]) == ({500}, [200])
    assert {one.version for one in bad} == {"1"}
    url = f"{served.endpoint.url}/v1/models/{LINE}:predict"
    with httpx.Client(trust_env=False) as client:
        told = client.post(url, json={"instances": [{"x": 4.0}, {"x": BAD}]})
        assert client.post(url, json=WRONG).status_code == 400
    assert told.status_code == 500
    assert told.json() == {"error": "the model gives no finite score for this row", "row": 1}
    assert counted(served, "ferryman_version_errors_total", 'version="1"') == 41
    assert counted(served, "ferryman_version_seconds_count", 'version="1"') == 1
    assert counted(served, "ferryman_requests_total", 'code="5xx"') == 41
    assert counted(served, "ferryman_requests_total", 'code="4xx"') == 1


def test_the_client_names_the_row_and_is_not_to_ask_again(served: Any) -> None:
    with pytest.raises(DataRejected, match="line: row 1: the model gives no finite score"):
        served.client.predict(LINE, [{"x": 4.0}, {"x": BAD}])


def test_a_message_of_a_queue_is_answered_as_an_error_and_keeps_no_other_one_back(
    served: Any,
) -> None:
    messages = [Request(f"{n}-0", str(n), [{"x": x, "k": n}]) for n, x in enumerate((4.0, BAD))]
    with QueueScorer(served.endpoint.url, LINE) as scorer:
        good, bad = [answer.fields for group in scorer.score(messages) for answer in group]
    assert orjson.loads(good["predictions"]) == [6.0]
    told = orjson.loads(bad["error"])
    assert (told["status"], told["row"]) == (500, 0)
    assert told["text"] == "the model gives no finite score for this row"


def test_what_both_have_no_answer_to_speaks_for_neither_and_counts_for_who_serves(
    served: Any,
) -> None:
    before = counted(served, "ferryman_version_errors_total", 'version="1"')
    candidate = make_line(served.settings.bundles_root, 5.0, "root")
    served.client.expose(LINE, share_of(candidate), str(candidate.folder))
    assert {one.status for one in ask_all(served.endpoint.port, range(100), x=BAD)} == {500}
    state = served.client.traffic(LINE)
    assert (state.candidate.errors, state.champion.errors) == (0, 0)
    assert counted(served, "ferryman_version_errors_total", 'version="1"') == before + 100
    assert counted(served, "ferryman_version_errors_total", 'version="7"') == 0
