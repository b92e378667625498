"""Which failures Airflow tries again: the one place where error classes meet Airflow's states.

exit 6 (unavailable) and 8 (lost race) are tried again; everything else, bugs included, fails at
once, and so does a race that the same task can never win. Superseded (5) never comes here: the
operator turns it into a skip. A killed task raises nothing, so Airflow's own retries apply to it.
"""

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from ferryman.errors import DependencyUnavailable, LostRace, Overtaken

RETRIES = 5
RETRY_DELAY = timedelta(seconds=20)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=DependencyUnavailable,
            action=RetryAction.RETRY,
            reason="exit 6: a dependency is unavailable; it may be there next time",
        ),
        RetryRule(  # before the rule of its parent
            exception=Overtaken,
            action=RetryAction.FAIL,
            reason="exit 8: the champion changed for good; it is judged anew from `gate`",
        ),
        RetryRule(
            exception=LostRace,
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=2),
            reason="exit 8: somebody else decided first; the next attempt sees the new state",
        ),
    ],
    default=RetryAction.FAIL,
)
