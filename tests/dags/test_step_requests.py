"""Which window a run stands for."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ferryman.errors import SpecError
from ferryman.spec.windows import Window


def _context(params=None, start=None, end=None):
    run = SimpleNamespace(run_after=datetime(2013, 3, 5, 13, 30, tzinfo=UTC))
    context = {"params": params or {}, "dag_run": run}
    if start is not None:
        context |= {"data_interval_start": start, "data_interval_end": end}
    return context


def _day(number):
    return datetime(2013, 2, number, tzinfo=UTC)


def _window(context):
    from ferryman_airflow.step_requests import window_of

    return window_of(context)


def test_a_scheduled_run_has_its_data_interval():
    assert _window(_context(start=_day(1), end=_day(2))) == Window(start=_day(1), end=_day(2))


def test_params_name_a_half_open_span_of_days():
    context = _context({"window_start": "2013-02-01", "window_end": "2013-02-08"})
    assert len(list(_window(context).days())) == 7


def test_the_start_alone_is_one_day():
    assert _window(_context({"window_start": "2013-02-03"})) == Window(start=_day(3), end=_day(4))


def test_params_win_over_the_interval():
    context = _context({"window_start": "2013-02-03"}, _day(10), _day(11))
    assert _window(context).start == _day(3)


@pytest.mark.parametrize("interval", [{}, {"start": _day(9), "end": _day(9)}])
def test_without_an_interval_it_is_the_last_whole_day(interval):
    expected = Window(start=datetime(2013, 3, 4, tzinfo=UTC), end=datetime(2013, 3, 5, tzinfo=UTC))
    assert _window(_context(**interval)) == expected


@pytest.mark.parametrize(
    "params",
    [
        {"window_end": "2013-02-08"},
        {"window_start": "2013-02-08", "window_end": "2013-02-08"},
        {"window_start": "2013-02-30"},
    ],
)
def test_impossible_windows_are_refused(params):
    with pytest.raises(SpecError):
        _window(_context(params))
