"""Pictures of an evaluation."""

import io

from ferryman.evaluation.metrics import Confusion


def confusion_png(counts: Confusion, *, label: str) -> bytes:
    """The confusion matrix as a PNG of about 480 x 400 pixels."""
    # Figure, not pyplot: no global state, no display, safe in threads and forks.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = [
        [counts.true_negative, counts.false_positive],
        [counts.false_negative, counts.true_positive],
    ]
    figure = Figure(figsize=(4.8, 4.0), dpi=100, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    axes.imshow(cells, cmap="Blues", vmin=0)
    highest = max(max(row) for row in cells) or 1
    for row, values in enumerate(cells):
        total = sum(values) or 1
        for column, value in enumerate(values):
            colour = "white" if value > 0.6 * highest else "black"
            text = f"{value:,}\n{value / total:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    axes.set_xlabel(f"answered {label!r} (score at least {counts.threshold:g})")
    axes.set_ylabel(f"was {label!r}")
    image = io.BytesIO()
    # No software name and version in the file: equal figures, equal bytes.
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
