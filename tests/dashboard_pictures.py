"""Draws a dashboard's panels from a Prometheus, where there is no Grafana to look at."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from dashboard_files import dashboard, filled

_COLUMNS = 24  # of Grafana's grid
_SCALE = {"percentunit": (100.0, " %"), "bytes": (2.0**-20, " MiB"), "s": (1.0, " s")}
_DAY = 86_400.0


def draw(url: str, name: str, values: Mapping[str, str], span: tuple[float, float]) -> Any:
    """A figure of all panels, each in its place; `span` is from and until in seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    board = dashboard(name)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    tall = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(13, tall * 0.42 + 0.4), dpi=72)
    figure.text(0.01, 0.995, board["title"], va="top", size=13, weight="bold")
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        for panel in panels:
            place = panel["gridPos"]
            left, width = place["x"] / _COLUMNS, place["w"] / _COLUMNS
            low, high = 1 - (place["y"] + place["h"]) / tall, place["h"] / tall
            area = (left + 0.035, low * 0.97 + 0.018, width - 0.05, high * 0.97 - 0.045)
            axes = figure.add_axes(area)
            axes.set_title(panel["title"], size=9, loc="left")
            axes.tick_params(labelsize=7)
            lines = [
                line for target in panel["targets"] for line in _lines(client, target, values, span)
            ]
            _panel(axes, panel, lines)
    return figure


def save(figure: Any, file: Path) -> None:
    """Write it as a small PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="png", pil_kwargs={"optimize": True})


def _lines(
    client: httpx.Client, target: Mapping[str, Any], values: Mapping[str, str], span: Any
) -> list[tuple[str, list[float], list[float]]]:
    expr, step = filled(target["expr"], values), max(1.0, (span[1] - span[0]) / 120)
    asked = {"query": expr, "start": span[0], "end": span[1], "step": step}
    answer = client.get("/api/v1/query_range", params=asked).raise_for_status().json()
    found = []
    for one in answer["data"]["result"]:
        name = target["legendFormat"]
        for label, value in one["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        times = [(float(at) - span[0]) for at, _ in one["values"]]
        found.append((name, times, [float(value) for _, value in one["values"]]))
    return found


def _panel(axes: Any, panel: Mapping[str, Any], lines: list[Any]) -> None:
    factor, unit = _SCALE.get(panel["fieldConfig"]["defaults"]["unit"], (1.0, ""))
    if panel["type"] == "stat":
        axes.set_axis_off()
        words = [f"{name}: {_told(numbers[-1] * factor, unit)}" for name, _, numbers in lines]
        axes.text(0, 0.55, "\n".join(words[:4]), size=9, va="center", transform=axes.transAxes)
    elif panel["type"] == "bargauge":
        last = {name: numbers[-1] * factor for name, _, numbers in lines}
        shown = sorted(last.items(), key=lambda one: one[1])[-10:]
        axes.set_ylim(-0.6, max(3.6, len(shown) - 0.4))
        values_of = [value for _, value in shown]
        axes.barh([name[-40:] for name, _ in shown], values_of, color="#a6cbe8")
        axes.set_xlim(0, max([*values_of, 1e-9]) * 1.05 if any(values_of) else 1)
        axes.tick_params(axis="y", labelsize=6, pad=-3)
        for label in axes.get_yticklabels():
            label.set_horizontalalignment("left")
        axes.set_xlabel(unit.strip(), size=6)
    else:
        if panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal":
            lines = _stacked(lines)
        for name, times, numbers in lines[:12]:
            axes.plot(times, [one * factor for one in numbers], label=name[:38], linewidth=1)
        axes.legend(fontsize=5.5, loc="upper left", frameon=False)
        axes.set_ylabel(unit.strip(), size=7)
        if panel["fieldConfig"]["defaults"].get("min") == 0:
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)


def _stacked(lines: list[Any]) -> list[Any]:
    """Each line on top of those before it."""
    below: dict[float, float] = {}
    found = []
    for name, times, numbers in lines:
        for at, value in zip(times, numbers, strict=True):
            below[at] = below.get(at, 0.0) + value
        found.append((name, times, [below[at] for at in times]))
    return found


def _told(value: float, unit: str) -> str:
    if unit == " s" and value >= _DAY:
        return f"{value / _DAY:,.0f} days"
    if math.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.0f}{unit}"
    return f"{value:.4g}{unit}"
