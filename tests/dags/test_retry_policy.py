"""Exit 6 and 8 are tried again where that can help, everything else fails at once."""

import pytest

from ferryman import errors


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (errors.DependencyUnavailable("x"), "retry", None),
        (errors.LostRace("x"), "retry", 2),
        (errors.Overtaken("x"), "fail", None),
        (errors.SpecError("x"), "fail", None),
        (errors.DataRejected("x"), "fail", None),
        (errors.GateRefused("x"), "fail", None),
        (errors.IntegrityBroken("x"), "fail", None),
        (errors.PolicyRefused("x"), "fail", None),
        (ZeroDivisionError("a bug"), "fail", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_action(error, action, delay):
    from ferryman_airflow.retry_policy import RETRY_POLICY

    decision = RETRY_POLICY.evaluate(error, try_number=1, max_tries=5)
    assert decision.action.value == action
    assert (decision.retry_delay.total_seconds() if decision.retry_delay else None) == delay


def test_the_policy_survives_serialisation():
    from airflow.sdk import ExceptionRetryPolicy

    from ferryman_airflow.retry_policy import RETRY_POLICY

    restored = ExceptionRetryPolicy.deserialize(RETRY_POLICY.serialize())
    assert restored.evaluate(errors.LostRace("x"), 1, 5).action.value == "retry"
    assert restored.evaluate(errors.Overtaken("x"), 1, 5).action.value == "fail"
    assert restored.evaluate(errors.GateRefused("x"), 1, 5).action.value == "fail"
