"""Draws a replay: two rolling figures of each policy, with every champion change."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ferryman.spec.metrics import LOWER_IS_BETTER

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
COLOURS = {"never": "#8a8a8a", "nightly": "#0072b2", "decided": "#d55e00"}
NAMES = {"never": "never retrained", "nightly": "retrained nightly", "decided": "as decided"}
TITLES = {
    "roc_auc": "AUC",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "r2": "R2",
    "rmse": "RMSE",
}
_INK, _FAINT = "#2b2b2b", "#d9d9d9"


@dataclass(frozen=True)
class Line:
    """One policy's curves by metric, a value a day (None: a gap); the days its champion changed."""

    policy: str
    days: Sequence[date]
    curves: Mapping[str, Sequence[float | None]]
    changes: Sequence[date]


def draw(lines: Sequence[Line], title: str) -> bytes:
    """The picture as PNG, about 1650 x 1200 pixels; every line has the same two curves."""
    # Figure, not pyplot: no global state and no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    heights = [5, 5, 0.5 + 0.45 * len(lines)]
    upper, lower, changes = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    for axes, metric in zip((upper, lower), lines[0].curves, strict=True):
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        _draw_metric(axes, lines, metric, f"{TITLES[metric]}, last 28 days\n({better} is better)")
    _draw_changes(changes, lines)
    upper.set_title(f"Three ways to keep a model: {title}", loc="left", color=_INK, pad=34)
    upper.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(lines), frameon=False, borderpad=0.2
    )
    _label_days(changes, lines)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _draw_metric(axes: Any, lines: Sequence[Line], metric: str, label: str) -> None:
    for line in lines:
        values = [float("nan") if value is None else value for value in line.curves[metric]]
        colour = COLOURS.get(line.policy, _INK)
        axes.plot(
            line.days,
            values,
            color=colour,
            linewidth=2,
            label=NAMES.get(line.policy, line.policy),
            solid_capstyle="round",
        )
        if line.policy == "decided":
            at = dict(zip(line.days, values, strict=True))
            days = [day for day in line.changes if day in at]
            axes.plot(days, [at[day] for day in days], "o", color=colour, markersize=5, mec="white")
    axes.set_ylabel(label, color=_INK)
    _quiet(axes)


def _draw_changes(axes: Any, lines: Sequence[Line]) -> None:
    """One lane a policy, one tick a champion change."""
    for place, line in enumerate(reversed(lines)):
        axes.vlines(
            list(line.changes),
            place - 0.32,
            place + 0.32,
            color=COLOURS.get(line.policy, _INK),
            linewidth=1.6,
        )
    axes.set_yticks(
        range(len(lines)), [f"{line.policy} ({len(line.changes)})" for line in reversed(lines)]
    )
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_ylabel("champion\nchanges", color=_INK)
    _quiet(axes)
    axes.grid(visible=False)


def _label_days(axes: Any, lines: Sequence[Line]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=5, maxticks=13)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    )
    days = lines[0].days
    axes.set_xlim(days[0], days[-1] if len(days) > 1 else None)


def _quiet(axes: Any) -> None:
    """Take away what carries no figure."""
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
