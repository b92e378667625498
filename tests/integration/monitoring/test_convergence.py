"""However labels come, through all steps: a day's last figure is that of all of them at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitoring_world import Station, day

from ferryman.evaluation.measures import make_measures
from ferryman.runtime.files import read_json
from ferryman.settings import Settings
from ferryman.spec.loader import load_model

ZOO = Path(__file__).parents[2] / "zoo"
NIGHTS, PREDICTED, UNKNOWN = 3, 100, 20
# Of a night: rows whose label is flipped against the usual one, rows that come at all, taken back.
NIGHT = st.tuples(
    st.integers(0, 2**31), st.sampled_from([0.2, 0.6, 1.0]), st.sampled_from([0.0, 0.1, 0.5])
)


def scored(row: int) -> float:
    return float(np.random.default_rng(row).uniform(0.05, 0.95))


@given(nights=st.lists(NIGHT, min_size=NIGHTS, max_size=NIGHTS), again=st.integers(1, NIGHTS))
@settings(max_examples=4, deadline=None)
def test_every_days_last_figure_is_that_of_all_labels_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    nights: list[tuple[int, float, float]],
    again: int,
) -> None:
    station = Station(Settings(home=tmp_path_factory.mktemp("station")), load_model(ZOO / "rain"))
    station.log(day(0), scored)
    known: dict[int, bool | None] = {}
    seen = {}
    for night, (seed, coming, taken_back) in enumerate(nights, start=1):
        random = np.random.default_rng(seed)
        # Those beyond the hundredth were never predicted; those of earlier nights are restated.
        rows = np.flatnonzero(random.random(PREDICTED + UNKNOWN) < coming)
        labels: dict[int, bool | None] = {
            int(row): None if random.random() < taken_back else bool(random.random() < 0.5)
            for row in rows
        }
        known.update(labels)
        station.publish(
            day(night), labels.__getitem__, of=day(0), rows=random.permutation(rows).tolist()
        )
        seen = _seen(station, night)
    if again < NIGHTS:
        # A night that is run again restates nothing that later ones found.
        _seen(station, again)
        seen = _seen(station, NIGHTS)
    told = {row: label for row, label in known.items() if row < PREDICTED and label is not None}
    assert (seen["predicted"], seen["labelled"]) == (PREDICTED, len(told))
    assert seen["coverage"] == len(told) / PREDICTED
    rows = sorted(told)
    if len(rows) < 50:
        assert (seen["value"], seen["low"], seen["high"]) == (None, None, None)
        return
    truth = make_measures("binary").score(
        np.array([told[row] for row in rows]), np.array([scored(row) for row in rows])
    )
    assert seen["value"] == truth["log_loss"]


def _seen(station: Station, night: int) -> dict[str, object]:
    found = station.run(day(night), "join_labels", "monitor")["monitor"]
    report = read_json(Path(str(found.outputs["report"])))
    return {one["day"]: one for one in report["events"]}["2024-01-10"]
