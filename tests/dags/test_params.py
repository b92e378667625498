"""What a run may be given: unknown keys and illegal values are refused in code, exit 2."""

import pytest

from ferryman.errors import SpecError


def test_an_unknown_conf_key_is_refused_with_the_nearest_name():
    from ferryman_airflow.params import check_conf

    with pytest.raises(SpecError, match=r"unknown key 'cutof'.*did you mean 'cutoff'\?") as caught:
        check_conf({"cutof": "2013-03-01"}, ("cutoff", "reason", "pin"))
    assert caught.value.exit_code == 2


def test_known_and_empty_conf_pass():
    from ferryman_airflow.params import check_conf

    check_conf(None, ())
    check_conf({"cutoff": None}, ("cutoff",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_start", "2013-02-01"),
        ("cutoff", "2013-02-01T00:00:00Z"),
        ("cutoff", "2013-02-01T00:00:00+00:00"),
        ("reason", "log_loss 0.61 (was 0.52), 1200 labels"),
        ("pin", "a" * 64),
        ("pin", "0a1b2c3d"),
        ("pin", "before-the-storm_2013.02"),
        ("run", "manual__2013-02-01T00_00_00-0123456789"),
    ],
)
def test_good_values_pass(name, value):
    from ferryman_airflow.params import check_params

    assert check_params({name: value}, (name,)) == {name: value}


def test_a_cutoff_that_is_a_day_is_its_midnight():
    from ferryman_airflow.params import check_params

    assert check_params({"cutoff": "2013-02-01"}, ("cutoff",)) == {"cutoff": "2013-02-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_start", "2013-02-01\n"),
        ("window_start", "２０１３-02-01"),
        ("window_start", "2013-2-1"),
        ("window_start", 20130201),
        ("cutoff", "2013-02-01T00:00:00+05:00"),
        ("cutoff", "{{ ds }}"),
        ("reason", "$(reboot)"),
        ("reason", "x" * 1_000_000),
        ("pin", "../x"),
        ("pin", "a/b"),
        ("pin", "-x"),
        ("pin", "x" * 101),
        ("pin", "x\n"),
        ("run", "..\n"),
        ("run", ["x"]),
        ("version", 0),
        ("version", -1),
        ("version", True),
        ("version", 1.5),
        ("version", "1\n"),
        ("version", 10**9),
        ("epoch", "x"),
    ],
)
def test_illegal_values_are_refused(name, value):
    from ferryman_airflow.params import check_params

    with pytest.raises(SpecError) as caught:
        check_params({name: value}, (name,))
    assert name in caught.value.text
    assert len(caught.value.text) < 300


def test_the_form_of_a_param_matches_its_check(load_dags):
    from ferryman_airflow.params import RUN_PARAMS, declare

    for name, param in declare(*RUN_PARAMS).items():
        assert param.resolve() is None, name
        if RUN_PARAMS[name].whole:
            assert (param.schema["type"], param.schema["minimum"]) == (["null", "integer"], 1)
            continue
        assert param.schema["pattern"] == f"^(?:{RUN_PARAMS[name].pattern})$"


def test_a_whole_number_is_given_to_a_step_as_it_was_written():
    from ferryman_airflow.params import check_params

    assert check_params({"version": 12, "epoch": None}, ("version", "epoch")) == {"version": "12"}
