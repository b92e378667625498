"""Where the report stands: after a whole training, and in nobody's way."""

from ferryman.replay.life import RENEWAL
from ferryman.spec.model import DeclaredModel
from ferryman.steps.pipelines import PIPELINES, pipeline_of


def test_a_report_is_the_last_step_of_a_training_and_no_release_waits_for_it(
    rain: DeclaredModel,
) -> None:
    training = PIPELINES["training"]
    assert training.steps_of(rain.spec)[-2:] == ("register", "report")
    assert training.steps[-1] == "register"  # its result makes a training one to build on
    assert pipeline_of("report") is training


def test_a_replay_trains_often_and_reports_never() -> None:
    assert "register" in RENEWAL.steps
    assert "report" not in (*RENEWAL.steps, *RENEWAL.afterwards)
