"""Where the error comes from, as the report tells it: groups, risk, learning curve."""

from dataclasses import replace

import pytest

from ferryman.evaluation.document import Document, Picture, Section, Table, Text
from ferryman.evaluation.fairness import FairnessResult, GroupFigure
from ferryman.evaluation.fit_diagnosis import Diagnosis, Finding
from ferryman.evaluation.intervals import Interval
from ferryman.evaluation.learning_curve import CurvePoint, LearningCurve
from ferryman.evaluation.report_diagnosis import (
    fairness_section,
    learning_section,
    risk_section,
)
from ferryman.evaluation.report_page import render_html
from ferryman.evaluation.risk import RiskResult

GROUPS = (
    GroupFigure("<a>", 900, enough=True, figure=0.5),
    GroupFigure("b", 800, enough=True, figure=0.2),
    GroupFigure("c", 3, enough=False),
)
RISK = RiskResult(
    loss="Brier score",
    expected=0.2,
    bias_and_noise=0.15,
    variance=0.05,
    bias=None,
    noise=None,
    repeated=0.0,
    rows=100,
    refits=10,
    fitted_rows=500,
    training_rows=5000,
    intervals={"expected": Interval(0.18, 0.22), "variance": None},
)


def _told(section: Section) -> str:
    return render_html(Document("t", "a", [section])).decode()


@pytest.mark.parametrize(
    ("low", "high", "said", "tone"),
    [
        (0.25, 0.35, "a larger gap is shown", "bad"),
        (0.01, 0.09, "the gap is within", "good"),
        (0.01, 0.35, "neither shown nor excluded", ""),
        (None, None, "no interval", "quiet"),
    ],
)
def test_gaps_are_judged_by_their_interval(
    low: float | None, high: float | None, said: str, tone: str
) -> None:
    interval = None if low is None or high is None else Interval(low, high)
    found = FairnessResult("city", "selection_rate", GROUPS, 0.95, 0.3, interval, "<a>", "b")
    section = fairness_section([found], [0.1])
    [judged] = [b for b in section.blocks if isinstance(b, Text) and "Allowed" in b.text]
    assert said in judged.text
    assert judged.tone == tone
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    assert table.rows[2] == ("c", 3, None, "not enough data")
    assert "<a>" not in _told(section).replace('<a href="', "")


def test_bias_and_noise_are_told_together_where_they_cannot_be_told_apart() -> None:
    section = risk_section(RISK)
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[1] for row in table.rows] == [0.2, 0.05, 0.15]
    apart = risk_section(replace(RISK, bias=0.1, noise=0.05))
    [table] = [block for block in apart.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows][2:] == ["squared bias", "noise"]
    assert sum(float(row[1]) for row in table.rows[1:]) == pytest.approx(0.2)  # type: ignore[arg-type]
    assert "10 refits" in _told(apart)


def test_a_learning_curve_with_its_verdict() -> None:
    points = (
        CurvePoint(100, 0.9, Interval(0.85, 0.95), 0.5, Interval(0.4, 0.6)),
        CurvePoint(200, 0.9, None, None, None),
    )
    gap = Finding(0.3, 0.2, 0.4)
    found = LearningCurve("r2", points, Diagnosis("over-fitting", "the gap", 0.1, 0.4, gap))
    section = learning_section(found)
    [verdict] = [block for block in section.blocks if isinstance(block, Text)]
    assert verdict.text == "Verdict: over-fitting: the gap."
    assert verdict.tone == "bad"
    assert [block for block in section.blocks if isinstance(block, Picture)]
    assert gap.text in _told(section)
    none = LearningCurve("r2", (), Diagnosis("not enough data", "3 rows"))
    assert learning_section(none).blocks[0] == Text("Verdict: not enough data: 3 rows.", "quiet")
    _told(learning_section(none))
