"""What Grafana would refuse or show wrongly is found in the files."""

import re
from typing import Any

import pytest
import yaml
from dashboard_files import GRAFANA, NAMES, dashboard, filled, metrics_in, queries

# Of Grafana's units (packages/grafana-data, value formats), those that are used.
UNITS = {"short", "s", "percentunit", "bytes", "reqps", "rowsps"}
KINDS = {"timeseries", "stat", "bargauge", "row"}
BUILT_IN = {"__rate_interval", "__field", "__all"}


@pytest.fixture(params=NAMES)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dashboard(request.param)


def _names(board: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in board["templating"]["list"]}


def test_no_dashboard_is_forgotten() -> None:
    assert sorted(file.stem for file in (GRAFANA / "dashboards").iterdir()) == list(NAMES)
    uids = {dashboard(name)["uid"] for name in NAMES}
    assert len(uids) == len(NAMES) and all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)


def test_panels_have_ids_and_places_of_their_own(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in KINDS
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_shows_with_a_unit_and_the_board_s_source(
    board: dict[str, Any],
) -> None:
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".") and panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        levels = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert levels[0]["value"] is None  # Grafana's base
        bounds = [step["value"] for step in levels[1:]]
        assert bounds == sorted(bounds)
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references)
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_variable_that_is_used_is_defined(board: dict[str, Any]) -> None:
    known = _names(board) | BUILT_IN
    used = set(re.findall(r"\$\{?(\w+)", yaml.safe_dump(board)))
    assert used <= known, used - known
    assert {"datasource", "airflow", "mlflow"} <= known
    for query in queries(board):
        assert metrics_in(query.expr), query
        assert "$" not in filled(query.expr, dict.fromkeys(known, "1m"))


def test_what_is_provisioned_is_what_is_there() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    [prometheus] = source["datasources"]
    assert (source["apiVersion"], prometheus["type"]) == (1, "prometheus")
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/ferryman.yml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file" and provider["options"]["path"].startswith("/")
    for name in NAMES:
        [variable] = [
            one for one in dashboard(name)["templating"]["list"] if one["name"] == "datasource"
        ]
        assert variable["current"]["value"] == prometheus["uid"]
