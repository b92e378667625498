"""A candidate's share of requests that come from a queue."""

from typing import Any

import orjson
from line_candidates import LINE, make_line, share_of

from ferryman.serving.queueing.messages import Request
from ferryman.serving.queueing.scorer import QueueScorer


def test_messages_of_a_queue_are_drawn_for_one_by_one(start_server: Any) -> None:
    server = start_server(replicas=1)
    champion, candidate = (make_line(server.settings.bundles_root, slope) for slope in (2.0, 3.0))
    where = {"bundle": str(champion.folder), "digest": champion.digest}
    server.client.load(LINE, version=1, epoch=1, **where)
    messages = [
        Request(f"{number}-0", str(number), [{"x": 1.0, "k": number % 40}]) for number in range(120)
    ]

    def asked() -> tuple[int, dict[int, set[float]]]:
        """How many requests were made of the messages, and what was answered by key."""
        answers = [answer for group in scorer.score(messages) for answer in group]
        told: dict[int, set[float]] = {}
        for answer in answers:
            scores = orjson.loads(answer.fields["predictions"])
            told.setdefault(int(answer.id) % 40, set()).update(scores)
        return len({answer.fields["request_id"] for answer in answers}), told

    with QueueScorer(server.endpoint.url, LINE) as scorer:
        assert asked() == (1, {key: {2.0} for key in range(40)})
        server.client.expose(LINE, share_of(candidate), str(candidate.folder))
        asked()  # which learns of the share
        requests, told = asked()
        state = server.client.traffic(LINE)
        server.client.withdraw(LINE, 1)
        assert requests == len(messages)
        assert {len(scores) for scores in told.values()} == {1}
        keys = [key for key, scores in told.items() if scores == {3.0}]
        assert 8 <= len(keys) <= 32
        seen = state.candidate.requests + state.champion.requests
        assert seen == 1 + len(messages)
        asked()
        assert asked()[0] == 1
