"""The `notify` part: who is told of what."""

from typing import get_args

import pytest
from pydantic import ValidationError

from ferryman.spec.notify import ChannelSpec, NotifySpec, Stage
from ferryman.spec.step_names import STEP_NAMES


def test_every_step_that_a_dag_runs_is_a_stage() -> None:
    assert set(get_args(Stage)) == {"all", *STEP_NAMES} - {"adopt"}  # adopt is a person's command


def test_by_default_failures_questions_and_alerts_go_to_one_channel() -> None:
    notify = NotifySpec()
    assert [notify.tells(event, "train") for event in ("success", "failure", "approval")] == [
        False,
        True,
        True,
    ]
    assert notify.channels_for("failure") == notify.channels_for("alert", "info") == ("alerts",)


def test_a_channel_takes_its_events_from_its_severity_on() -> None:
    pager = ChannelSpec(connection="pager", events=("alert", "failure"), severity="warning")
    notify = NotifySpec(success=("train",), channels=(pager,))
    assert notify.tells("success", "train")
    assert not notify.tells("success", "ingest")
    assert notify.channels_for("success") == notify.channels_for("alert", "info") == ()
    assert notify.channels_for("alert", "warning") == notify.channels_for("failure") == ("pager",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": [{"connection": "Pager!"}]},
        {"channels": [{"connection": "a"}, {"connection": "a"}]},
        {"channels": [{"connection": "a", "events": []}]},
        {"success": ["trian"]},
    ],
)
def test_what_is_no_channel_and_no_stage_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NotifySpec.model_validate(wrong)
