"""A replay's plan: which days, from where, and that it never touches the real installation."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferryman.errors import SpecError
from ferryman.replay.day_book import FIRST, DayBook, DayOutcome
from ferryman.replay.plan import POLICIES, ReplayPlan, make_plan
from ferryman.settings import Settings
from ferryman.spec.loader import load_model

ROOT = Path(__file__).parents[3]
FLIGHTS = ROOT / "include" / "model_zoo" / "flights"
TINY = ROOT / "tests" / "zoo" / "tiny"


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def plan(tmp_path: Path, folder: Path, start: datetime, last: datetime) -> ReplayPlan:
    return make_plan(load_model(folder), Settings(home=tmp_path / "home"), start, last)


def test_the_past_of_a_recorded_year_begins_with_that_year(tmp_path) -> None:
    year = plan(tmp_path, FLIGHTS, day(2013, 1, 29), day(2013, 12, 31))
    assert year.history is not None
    assert year.history.start == day(2013, 1, 1)  # a day earlier would read 31 December 2013
    assert len(year.days) == 337
    assert len(list(year.all_days())) == 365


def test_the_past_is_as_long_as_training_looks_back(tmp_path) -> None:
    later = plan(tmp_path, TINY, day(2026, 3, 1), day(2026, 3, 3))
    assert later.history is not None
    # 14 days of training, 3 of hold-out, and one until the last label is known
    assert later.history.start == day(2026, 2, 11)


def test_the_first_day_of_the_recorded_year_has_no_past(tmp_path) -> None:
    assert plan(tmp_path, FLIGHTS, day(2013, 1, 1), day(2013, 1, 2)).history is None


def test_policies_share_data_and_nothing_else(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FERRYMAN_LEDGER_URL", "sqlite:////elsewhere/ledger.db")
    monkeypatch.setenv("FERRYMAN_MLFLOW_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("FERRYMAN_DATA_ROOT", "/elsewhere/data")
    lived = plan(tmp_path, TINY, day(2026, 3, 1), day(2026, 3, 3))
    all_settings = [lived.policy_settings(policy) for policy in POLICIES]
    assert {settings.data_root for settings in all_settings} == {lived.shared_settings.data_root}
    for name in ("home", "ledger_url", "mlflow_uri", "serving_root", "predictions_root"):
        values = {str(getattr(settings, name)) for settings in all_settings}
        assert len(values) == 3
        assert all(str(lived.folder) in value for value in values), name
    assert lived.folder.is_relative_to(tmp_path / "home")
    assert lived.shared_settings.data_root.is_relative_to(lived.folder)


def test_another_declaration_is_another_replay(tmp_path) -> None:
    one = plan(tmp_path, TINY, day(2026, 3, 1), day(2026, 3, 3))
    again = plan(tmp_path, TINY, day(2026, 3, 1), day(2026, 3, 3))
    changed = one.model.model_copy(update={"digest": "0" * 64})
    other = make_plan(changed, one.settings, one.start, one.last)
    assert one.folder == again.folder != other.folder


@pytest.mark.parametrize(
    ("start", "last", "text"),
    [
        (day(2026, 3, 2), day(2026, 3, 1), "before the first"),
        (datetime(2026, 3, 1, 5, tzinfo=UTC), day(2026, 3, 2), "not midnight"),
    ],
)
def test_days_that_make_no_replay(tmp_path, start, last, text) -> None:
    with pytest.raises(SpecError, match=text):
        plan(tmp_path, TINY, start, last)


def test_the_day_book_reads_back_in_order_of_time(tmp_path) -> None:
    book = DayBook(tmp_path)
    lived = plan(tmp_path, TINY, day(2026, 3, 1), day(2026, 3, 3)).days
    outcomes = [DayOutcome(f"{d.start:%Y-%m-%d}", False, False, 1, "", "", 10, 0.5) for d in lived]
    for window, outcome in reversed(list(zip(lived, outcomes, strict=True))):
        book.write(window.key, outcome)
    first = DayOutcome("2026-03-01", True, True, 1, "the first champion", "passed", 0, 2.0)
    book.write(FIRST, first)
    assert book.read() == [first, *outcomes]
    assert book.done(lived) == 3
    assert not book.has("20260304T0000Z")
