"""Pictures of an evaluation as PNG: equal figures give equal bytes.

Drawn on a Figure of its own, without pyplot: no global state, no display, safe in threads and
forks.
"""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BLUE, ORANGE, GREY = "#0b6175", "#c2571a", "#7a878c"
# Told apart by people who see no red and green, and in print (Okabe and Ito, 2008).
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#000000",
    "#6a3d9a",
    "#b2182b",
)
MOST_CLASSES = len(COLOURS)
MOST_BARS = 25
_NUMBERED_CELLS = 20
_WIDE, _HIGH = 5.6, 4.0
_LEAST_SHARE = 1e-9


@dataclass
class Canvas:
    """What is drawn on (matplotlib's Axes), and after the block the picture's bytes."""

    axes: Any
    png: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Bar:
    """A figure with its interval; no value where there is not enough data."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None


@contextmanager
def drawing(width: float = _WIDE, height: float = _HIGH) -> Iterator[Canvas]:
    """A canvas of so many hundred pixels; its bytes are there after the block."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    canvas = Canvas(FigureCanvasAgg(figure).figure.add_subplot())
    canvas.axes.spines[["top", "right"]].set_visible(False)
    yield canvas
    image = io.BytesIO()
    with warnings.catch_warnings():
        # A sign that the font does not have becomes a box; the tables have the true name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # No software name and version in the file: equal figures, equal bytes.
        figure.savefig(image, format="png", metadata={"Software": None})
    canvas.png = image.getvalue()


def plain(text: object, most: int = 32) -> str:
    """A text as it stands, on one line: matplotlib would set what is between dollars as maths."""
    line = " ".join(str(text).split())
    short = line if len(line) <= most else line[: most - 1] + "…"
    return short.replace("\\", "/").replace("$", r"\$")


def confusion_png(matrix: npt.ArrayLike, names: Sequence[str], *, label: str) -> bytes:
    """Counts of rows [was, answered] by class; cells are coloured by their share of a row."""
    counts = np.asarray(matrix, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, max(4.0, 1.8 + 0.55 * len(names)))
    with drawing(side + 0.8, side) as canvas:
        axes = canvas.axes
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        few = len(names) <= 4
        if len(names) <= _NUMBERED_CELLS:
            for row, column in np.ndindex(counts.shape):
                count, share = int(counts[row, column]), shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{count:,}\n{share:.1%}" if few else f"{count:,}" if count else "",
                    ha="center",
                    va="center",
                    color="white" if share > 0.6 else "black",
                    fontsize=10 if few else 8,
                )
        if len(names) <= 40:
            shown = [plain(name, 14) for name in names]
            places = range(len(names))
            axes.set_xticks(places, shown, rotation=0 if few else 45, ha="center")
            axes.set_yticks(places, shown)
        axes.set_xlabel(f"{plain(label)}, answered")
        axes.set_ylabel(f"{plain(label)}, true")
    return canvas.png


def bars_png(bars: Sequence[Bar], *, unit: str, whole: float | None = None) -> bytes:
    """Figures with their intervals, one below the other; `whole` is a line to compare with."""
    shown = list(bars)[:MOST_BARS]
    with drawing(_WIDE + 0.8, 1.2 + 0.28 * max(len(shown), 2)) as canvas:
        axes = canvas.axes
        for place, bar in enumerate(shown):
            if bar.value is None:
                continue
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [place, place], color=BLUE, linewidth=2)
            axes.plot([bar.value], [place], "o", color=BLUE, markersize=5)
        if whole is not None:
            axes.axvline(whole, color=GREY, linestyle="--", linewidth=1, label="all rows")
            axes.legend(frameon=False, fontsize=8)
        for place, bar in enumerate(shown):
            if bar.value is None:
                edge = axes.get_xlim()[0]
                axes.text(edge, place, "  not enough data", va="center", color=GREY, fontsize=8)
        axes.set_yticks(range(len(shown)), [_bar_name(bar) for bar in shown], fontsize=8)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(plain(unit))
    return canvas.png


def importance_png(importance: Mapping[str, float], *, unit: str) -> bytes:
    """The mean size of each feature's attribution, the largest above; the rest is one bar."""
    items = list(importance.items())
    shown = items[: MOST_BARS - 1]
    rest = items[MOST_BARS - 1 :]
    if rest:
        shown.append((f"{len(rest)} others together", sum(size for _, size in rest)))
    with drawing(_WIDE + 0.4, 1.2 + 0.25 * max(len(shown), 2)) as canvas:
        axes = canvas.axes
        axes.barh(range(len(shown)), [size for _, size in shown], color=BLUE)
        axes.set_yticks(range(len(shown)), [plain(name, 28) for name, _ in shown], fontsize=8)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(f"mean change of the {plain(unit)}")
    return canvas.png


def learning_curve_png(
    rows: Sequence[int], train: Sequence[float | None], evaluation: Sequence[Bar], *, metric: str
) -> bytes:
    """A score against the number of training rows, on the training and the evaluation rows."""
    with drawing() as canvas:
        axes = canvas.axes
        fitted = [np.nan if value is None else value for value in train]
        axes.plot(rows, fitted, "o--", color=ORANGE, label="training rows", markersize=4)
        values = [np.nan if bar.value is None else bar.value for bar in evaluation]
        axes.plot(rows, values, "o-", color=BLUE, label="evaluation rows", markersize=4)
        if all(bar.low is not None and bar.high is not None for bar in evaluation):
            lows = [float(bar.low or 0) for bar in evaluation]
            highs = [float(bar.high or 0) for bar in evaluation]
            axes.fill_between(rows, lows, highs, color=BLUE, alpha=0.15, linewidth=0)
        axes.set_xlabel("training rows")
        axes.set_ylabel(plain(metric))
        axes.legend(frameon=False)
    return canvas.png


def history_png(history: Sequence[Mapping[str, float | None]]) -> bytes:
    """The training's own figures by epoch, each as a share of its largest value."""
    names = list(history[0])[: len(COLOURS)]
    epochs = range(1, len(history) + 1)
    with drawing() as canvas:
        axes = canvas.axes
        for colour, name in zip(COLOURS, names, strict=False):
            # What was no number, or is not there, is None, which becomes NaN.
            values = np.array([epoch.get(name) for epoch in history], dtype=np.float64)
            finite = np.abs(values[np.isfinite(values)])
            top = float(finite.max()) if len(finite) else 0.0
            scaled = values / top if top > _LEAST_SHARE else values
            last = f"{values[-1]:.4g}"
            axes.plot(epochs, scaled, color=colour, label=f"{plain(name)}, at last {last}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("share of the largest value")
        axes.set_ylim(0, 1.05)
        axes.legend(frameon=False, fontsize=8)
    return canvas.png


def _bar_name(bar: Bar) -> str:
    return plain(bar.name) if bar.rows is None else f"{plain(bar.name)} ({bar.rows:,})"
