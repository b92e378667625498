"""The shipped dashboards, and their queries as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

GRAFANA = Path(__file__).resolve().parents[1] / "deploy" / "grafana"
NAMES = ("model-metrics", "pipeline-runs", "serving")


class PanelQuery(NamedTuple):
    """One query of one panel; `expr` has Grafana's variables in it."""

    panel: str
    expr: str
    legend: str
    panel_id: int
    unit: str


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard's JSON."""
    found: dict[str, Any] = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())
    return found


def queries(board: Mapping[str, Any]) -> Iterator[PanelQuery]:
    """Every query of every panel."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield PanelQuery(
                panel["title"], target["expr"], target["legendFormat"], panel["id"], unit
            )


def filled(expr: str, values: Mapping[str, str]) -> str:
    """A query with its variables filled in; KeyError names one that has no value."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expr)


def metrics_in(expr: str) -> set[str]:
    """The metrics that a query names."""
    without = re.sub(r"\{[^}]*\}|\"[^\"]*\"", "", expr)
    return set(re.findall(r"\b(?:ferryman|process)_\w+", without))
