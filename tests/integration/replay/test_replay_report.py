"""What a replay comes to: figures from joined windows, a picture, a page that hides nothing."""

import struct
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import JOINED_SCHEMA, joined_schema
from ferryman.replay.day_book import DayOutcome
from ferryman.replay.page import render_page
from ferryman.replay.picture import Line, draw
from ferryman.replay.track import SHOWN, Track, read_track
from ferryman.settings import Settings
from ferryman.spec.metrics import Task
from ferryman.spec.training import TrainSpec
from ferryman.spec.windows import day_window

START = datetime(2026, 3, 1, tzinfo=UTC)
TRAIN = TrainSpec.model_validate(
    {
        "framework": "sklearn",
        "task": "binary",
        "pipeline": "p.py:build",
        "window": "14d",
        "holdout": "3d",
    }
)


def test_a_track_counts_labelled_events_of_its_days_once(tmp_path) -> None:
    settings = Settings(home=tmp_path)
    store = JoinedWindows(settings.monitoring_root)
    days = [day_window(START + timedelta(days=offset)) for offset in range(3)]
    for offset in range(5):
        noon = START + timedelta(days=offset, hours=12)
        rows = [
            ("early", noon - timedelta(days=1), 1, 1, 0.2, False, noon),
            (f"k{offset}", noon, 1, 1, 0.7, True, noon),
            (f"n{offset}", noon, 1, 1, 0.9, None, None),
        ]
        columns = [
            pa.array([row[i] for row in rows], field.type) for i, field in enumerate(JOINED_SCHEMA)
        ]
        table = pa.Table.from_arrays(columns, schema=JOINED_SCHEMA)
        store.write("m", day_window(noon), table)
    track = read_track(settings, "m", TRAIN, days)
    # k0, k1, k2 and the row of `early` that became known last, which lies beyond the three days
    assert track.labels.tolist() == [True] * 3
    assert track.pooled()["rows"] == 3


def test_the_rolling_figure_is_that_of_28_days() -> None:
    random = np.random.default_rng(1)
    days = np.repeat(np.arange(20_000, 20_060), 50)
    scores = random.uniform(size=len(days))
    labels = random.uniform(size=len(days)) < scores
    track = Track(days, labels, scores, make_measures("binary"))
    asked = [date(1970, 1, 1) + timedelta(days=20_000 + offset) for offset in (5, 6, 40)]
    values = track.rolling(asked, "roc_auc")
    inside = (days > 20_040 - 28) & (days <= 20_040)
    assert values[0] is None  # six days are too few for a point
    assert values[1] is not None
    assert values[2] == make_measures("binary").score(labels[inside], scores[inside])["roc_auc"]


def line(policy: str) -> Line:
    days = [date(2026, 3, 1) + timedelta(days=offset) for offset in range(40)]
    values = [None] * 5 + [0.6 + offset / 1000 for offset in range(35)]
    return Line(policy, days, {"roc_auc": values, "log_loss": values}, days[::10])


@pytest.mark.parametrize("days", [40, 1])
def test_the_picture_is_a_png_of_its_size(days: int) -> None:
    lines = [line(policy) for policy in ("never", "nightly", "decided")]
    short = [
        Line(
            one.policy,
            one.days[:days],
            {metric: values[:days] for metric, values in one.curves.items()},
            one.changes,
        )
        for one in lines
    ]
    png = draw(short, "tiny")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1650, 1200)
    assert draw(short, "tiny") == png


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    day = DayOutcome("2026-03-01", True, False, 3, "<b>drift</b>", "not better & later", 10, 1.0)
    page = render_page("tiny", b"png", ["policy"], [["<i>"]], {"decided": [day]})
    assert "<b>drift" not in page
    assert "&lt;b&gt;drift&lt;/b&gt;" in page
    assert "not better &amp; later" in page
    assert "&lt;i&gt;" in page
    assert "http" not in page
    assert "data:image/png;base64,cG5n" in page


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_have_their_own_figures(tmp_path, task: Task) -> None:
    classes = ["a", "b"] if task == "multiclass" else []
    schema = joined_schema(task, classes)
    random = np.random.default_rng(2)
    rows = 8 * 30
    chance = random.uniform(size=rows)
    names = np.where(random.uniform(size=rows) < chance, "b", "a").tolist()
    values = {
        "entity_key": [f"k{row}" for row in range(rows)],
        "event_time": [START + timedelta(hours=row * 0.8) for row in range(rows)],
        "version": [1] * rows,
        "epoch": [1] * rows,
        "score": np.stack([1 - chance, chance], axis=1).tolist() if classes else chance.tolist(),
        "label": names if classes else (chance + random.normal(0, 0.1, rows)).tolist(),
        "known_at": [START + timedelta(days=8)] * rows,
    }
    table = pa.table([pa.array(values[field.name], field.type) for field in schema], schema=schema)
    days = [day_window(START + timedelta(days=offset)) for offset in range(8)]
    JoinedWindows(Settings(home=tmp_path).monitoring_root).write("m", days[0], table)
    train = TrainSpec.model_validate({**TRAIN.model_dump(), "task": task, "classes": classes})
    track = read_track(Settings(home=tmp_path), "m", train, days)
    pooled = track.pooled()
    first, second = SHOWN[task]
    assert pooled["rows"] == rows
    assert pooled[second] is not None
    rolled = track.rolling([day.start.date() for day in days], first)
    assert rolled[0] is None  # one day is no trend
    assert rolled[-1] == pooled[first]
    drawn = Line("never", [day.start.date() for day in days], {first: rolled, second: rolled}, [])
    assert draw([drawn], "m")[:4] == b"\x89PNG"
