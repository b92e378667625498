"""The sections of a report that tell where the error comes from: groups, risk, learning curve."""

from collections.abc import Sequence
from typing import Literal

from ferryman.evaluation.document import (
    Block,
    Cell,
    Facts,
    Picture,
    Section,
    Table,
    Text,
    shown,
    shown_interval,
)
from ferryman.evaluation.fairness import FairnessResult
from ferryman.evaluation.learning_curve import CurvePoint, LearningCurve
from ferryman.evaluation.pictures import Bar, bars_png, learning_curve_png
from ferryman.evaluation.risk import RiskResult

NOT_ENOUGH = "not enough data"
_SAYS = {
    "variance": "what another sample of training rows would change: more rows lower it",
    "bias": "what this kind of model cannot say: another kind, or other features, lower it",
    "noise": "what differs among rows of equal features: only other features lower it",
}


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


def risk_section(found: RiskResult) -> Section:
    """What the expected squared loss is made of: bias, variance and noise."""
    rows: list[Sequence[Cell]] = [
        (f"expected {found.loss}", found.expected, _interval(found, "expected"), ""),
        ("variance", found.variance, _interval(found, "variance"), _SAYS["variance"]),
    ]
    if found.bias is None or found.noise is None:
        both = found.bias_and_noise
        says = "what this kind of model cannot say, and what nobody could know from the features"
        rows.append(("squared bias and noise", both, _interval(found, "bias_and_noise"), says))
    else:
        rows.append(("squared bias", found.bias, None, _SAYS["bias"]))
        rows.append(("noise", found.noise, None, _SAYS["noise"]))
    about = (
        f"{found.refits} refits, each on {shown(found.fitted_rows)} rows drawn from the "
        f"{shown(found.training_rows)} that trained, judged on {shown(found.rows)} rows. The parts "
        f"sum to the whole. In words: {found.text}."
    )
    head = ("Part", "Value", "Interval", "What it says")
    return Section("Bias, variance and noise", [Text(about), Table(head, rows)])


def learning_section(found: LearningCurve) -> Section:
    """How the score grows with the training rows, and the verdict on the fit."""
    said = found.diagnosis
    bars = [_curve_bar(point) for point in found.points]
    rows = [point.rows for point in found.points]
    train = [point.train for point in found.points]
    about = f"{found.metric} against the rows that were fitted; the band is the interval"
    tone: Literal["good", "bad", "quiet"] = "bad"
    if said.verdict in ("good fit", "not enough data"):
        tone = "good" if said.verdict == "good fit" else "quiet"
    facts: list[tuple[str, Cell]] = [
        ("Loss on the rows fitted, as a share of a constant's", said.train_level),
        ("Loss on the evaluation rows, as a share of a constant's", said.evaluation_level),
        ("Gap between the two", said.gap.text if said.gap else None),
        (
            "Share of the loss that twice the rows took away",
            said.gain.text if said.gain else None,
        ),
        ("Share of the errors that trees can tell", said.left.text if said.left else None),
    ]
    table: list[Sequence[Cell]] = [
        (
            point.rows,
            point.train,
            shown_interval(point.train_interval),
            point.evaluation,
            shown_interval(point.evaluation_interval),
        )
        for point in found.points
    ]
    head = ("Rows", "Fitted rows", "Interval", "Evaluation rows", "Interval")
    blocks: list[Block] = [Text(f"Verdict: {found.text}.", tone), Facts(facts)]
    if rows:
        blocks.insert(1, Picture(learning_curve_png(rows, train, bars, metric=found.metric), about))
        blocks.append(Table(head, table))
    return Section("Learning curve", blocks)


def _curve_bar(point: CurvePoint) -> Bar:
    interval = point.evaluation_interval
    if interval is None:
        return Bar("", point.evaluation)
    return Bar("", point.evaluation, interval.low, interval.high)


def _interval(found: RiskResult, name: str) -> str:
    return shown_interval(found.intervals.get(name))


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
