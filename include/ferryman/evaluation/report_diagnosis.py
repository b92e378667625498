"""The sections of a report that tell where the error comes from: groups, risk, learning curve."""

from collections.abc import Sequence

from ferryman.evaluation.document import (
    Block,
    Cell,
    Picture,
    Section,
    Table,
    Text,
    shown,
    shown_interval,
)
from ferryman.evaluation.fairness import FairnessResult
from ferryman.evaluation.pictures import Bar, bars_png

NOT_ENOUGH = "not enough data"


def fairness_section(results: Sequence[FairnessResult], bounds: Sequence[float]) -> Section:
    """The figures of each column's groups, the largest gap, and the gap that is allowed."""
    blocks: list[Block] = []
    for result, most in zip(results, bounds, strict=True):
        bars = [Bar(one.group, one.figure, rows=one.rows) for one in result.groups]
        about = f"{result.metric} by {result.column}; in brackets the rows that it is a share of"
        blocks.append(Picture(bars_png(bars, unit=result.metric), about))
        blocks.append(Text(f"Largest gap of {result.metric} by {result.column}: {result.text}."))
        blocks.append(_gap_text(result, most))
        rows: list[Sequence[Cell]] = [
            (one.group, one.rows, one.figure, "" if one.enough else NOT_ENOUGH)
            for one in result.groups
        ]
        blocks.append(Table((result.column, "Rows", result.metric, "Remark"), rows))
    return Section("Groups", blocks)


def _gap_text(result: FairnessResult, most: float) -> Text:
    """What the interval says about the bound."""
    interval = result.interval
    if interval is None:
        return Text(f"Allowed are {most:g}; there is no interval to compare with.", "quiet")
    said = f"Allowed are {most:g}; the interval is {shown_interval(interval)}"
    if interval.low > most:
        return Text(f"{said}: a larger gap is shown.", "bad")
    if interval.high <= most:
        return Text(f"{said}: the gap is within.", "good")
    return Text(f"{said}: neither shown nor excluded to be larger than {shown(most)}.")
