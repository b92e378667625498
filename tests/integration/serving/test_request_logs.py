"""The server's log: JSON lines that name request, model and version, and nobody's values."""

import json
from collections.abc import Callable
from typing import Any

import httpx


def events(server: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log().splitlines()]


def test_refused_requests_have_a_line_each_and_the_rest_a_count(
    start_server: Any, make_bundle: Any, wait_for: Callable[..., None]
) -> None:
    server = start_server()
    server.load(make_bundle(server.settings.bundles_root), 1)
    base = server.endpoint.url
    url = f"{base}/v1/models/tiny:predict"
    asked = {"instances": [{"distance": "geheim-anna", "geheim_column": 4711}]}
    with httpx.Client(trust_env=False) as client:
        for number in range(60):
            answer = client.post(url, json=asked, headers={"x-request-id": f"mine-{number}"})
            assert answer.status_code == 400
        assert client.get(f"{base}/v1/models/nobody").status_code == 404

    def refused() -> list[dict[str, Any]]:
        return [one for one in events(server) if one["logger"].endswith("request_errors")]

    wait_for(lambda: any("suppressed" in one for one in refused()), seconds=30)
    first, *_, last = refused()
    assert (first["request_id"], first["status"], first["level"]) == ("mine-0", 400, "WARNING")
    assert (first["model"], first["version"], first["variant"]) == ("tiny", 1, "champion")
    assert first["program"].startswith("replica r")
    told = [one for one in refused() if "request_id" in one]
    assert len(told) == 20 and last["suppressed"] == 41
    assert "geheim" not in server.log() and "4711" not in server.log()
