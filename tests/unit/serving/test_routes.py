"""Every path that a protocol names is known, and nothing that only looks like one."""

import pytest

from ferryman.serving.protocols.routes import NOWHERE, Route, find_route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models/m:predict", Route("predict", "v1", "predict", "m")),
        ("/v1/models/m:classify", Route("predict", "v1", "classify", "m")),
        ("/v1/models/m/versions/12:regress", Route("predict", "v1", "regress", "m", 12)),
        (
            "/v1/models/m/labels/previous:predict",
            Route("predict", "v1", "predict", "m", None, "previous"),
        ),
        ("/v1/models/m", Route("status", "v1", "", "m")),
        ("/v1/models/m/versions/3", Route("status", "v1", "", "m", 3)),
        ("/v1/models/m/labels/champion", Route("status", "v1", "", "m", None, "champion")),
        ("/v1/models/m/metadata", Route("metadata", "v1", "", "m")),
        ("/v1/models/m/versions/3/metadata", Route("metadata", "v1", "", "m", 3)),
        ("/api/v1/models/m/predict", Route("predict", "api", "predict", "m")),
        ("/api/v1/models/m/versions/3/predict", Route("predict", "api", "predict", "m", 3)),
        ("/v2", Route("server", "v2")),
        ("/v2/health/live", Route("live", "v2")),
        ("/v2/health/ready", Route("ready", "v2")),
        ("/healthz", Route("ready", "v2")),
        ("/v2/models/m", Route("metadata", "v2", "", "m")),
        ("/v2/models/m/versions/3", Route("metadata", "v2", "", "m", 3)),
        ("/v2/models/m/ready", Route("model_ready", "v2", "", "m")),
        ("/v2/models/m/versions/3/ready", Route("model_ready", "v2", "", "m", 3)),
        ("/v2/models/m/infer", Route("predict", "v2", "infer", "m")),
        ("/v2/models/m/versions/3/infer", Route("predict", "v2", "infer", "m", 3)),
        ("/metrics", Route("metrics")),
    ],
)
def test_paths(path: str, route: Route) -> None:
    assert find_route(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/models",
        "/v1/models/",
        "/v1/models/m/",
        "/v1/models/m:predict\n",
        "/v1/models/m:predict/",
        "/v1/models/m:explain",
        "/v1/models/m:Predict",
        "/v1/models/m/n:predict",
        "/v1/models/m/versions/:predict",
        "/v1/models/m/versions/-1:predict",
        "/v1/models/m/versions/1.5:predict",
        "/v1/models/m/versions/\u0663:predict",
        f"/v1/models/m/versions/{10**18}:predict",
        "/v1/models/m/versions/1/labels/champion:predict",
        "/v1/models/m/labels/:predict",
        "/v2/",
        "/v2/models/m/labels/champion/infer",
        "/v2/models/m/versions/x/infer",
        "/v2/models/m/infer/ready",
        "/api/v1/models/m:predict",
        "/admin/models",
        "/v1/models/" + "m" * 101,
        "/v1/models/" + "m" * 1000,
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert find_route(path) == NOWHERE
