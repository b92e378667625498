"""What trainings and probes cost is read from what every step leaves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ferryman.monitoring.decisions import Decisions
from ferryman.monitoring.retraining import Decision
from ferryman.replay.costs import Costs, policy_costs
from ferryman.runtime.files import write_json
from ferryman.runtime.timings import TIMING, Timing
from ferryman.settings import Settings
from ferryman.spec.windows import day_window, format_time

DAY0 = day_window(datetime(2026, 3, 1, tzinfo=UTC))


def test_trainings_and_probes_are_added_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert policy_costs(settings, "m", "renewal") == Costs(0.0, 0.0, 0, 0)
    for run, step, seconds in (("a", "train", 1.5), ("a", "package", 2.0), ("b", "train", 0.5)):
        timing = Timing(started=DAY0.start, seconds=9.0, cpu_seconds=seconds)
        file = settings.runs_root / "m" / "renewal" / run / step / TIMING
        write_json(file, timing.model_dump(mode="json"))
    store = Decisions(settings.monitoring_root)
    night = Decision(format_time(DAY0.start), format_time(DAY0.end), True, True, "r")
    probe = {"outcome": "helps", "cpu_seconds": 0.25}
    spared = replace(night, retrain=False, asked=False, probe={**probe, "outcome": "useless"})
    for offset, one in enumerate((replace(night, probe=probe), spared, night)):
        store.write("m", DAY0.shifted(timedelta(days=offset)), one)
    assert policy_costs(settings, "m", "renewal") == Costs(4.0, 0.5, 2, 1)
