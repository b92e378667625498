"""A search of `rain`: opened once, drawn by workers, its best trial trained again from scratch."""

from collections.abc import Callable
from pathlib import Path

import pytest
from search_line import SEARCH, run, searching
from training_line import Line

from ferryman.errors import DataRejected, GateRefused, SpecError
from ferryman.steps.journey import Journey


def test_the_best_trial_is_trained_again_on_all_rows_and_named(line: Line):
    from ferryman.registry.mlflow_connection import connect

    line = searching(line)
    done = run(line, "open_search", "tune", "train")
    opened, tuned, trained = (done[step].outputs for step in ("open_search", "tune", "train"))
    assert tuned["reason"] == "all 6 trials are drawn"
    assert trained["train_dataset"] == opened["train_dataset"]
    trial = trained["trial"]
    assert trial["of"] == 6
    client = connect(line.settings.mlflow_uri)
    run_of_model = client.get_run(trained["mlflow_run_id"])
    for name, value in trial["params"].items():
        assert run_of_model.data.params[name] == str(value)
    children = client.search_runs(
        [run_of_model.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{opened['mlflow_run_id']}'",
    )
    assert sorted(int(child.data.tags["ferryman.trial"]) for child in children) == list(range(6))
    scores = {int(c.data.tags["ferryman.trial"]): c.data.metrics["log_loss"] for c in children}
    assert min(scores, key=scores.__getitem__) == trial["number"]
    assert trial["value"] == scores[trial["number"]]
    assert {child.info.status for child in children} == {"FINISHED"}
    parent = client.get_run(opened["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_log_loss"] == trial["value"]
    assert done["train"].metrics["train_rows"] == sum(
        done["open_search"].metrics[side] for side in ("fit_rows", "validation_rows")
    )


def test_a_second_look_at_a_finished_search_does_nothing_twice(line: Line):
    line = searching(line)
    first = run(line, "open_search", "tune", "train")
    again = run(line, "open_search", "tune", "train")
    assert again == first


def test_a_training_of_a_searched_model_wants_its_search(line: Line):
    with pytest.raises(SpecError, match="needs the result of 'open_search'"):
        run(searching(line), "train")


def test_too_many_failed_trials_fail_the_training_and_are_explained(line: Line):
    line = searching(line, SEARCH.replace("min: 3,", "min: -20,"))  # most max_iter are illegal
    with pytest.raises(GateRefused, match="trials failed") as refused:
        run(line, "open_search", "tune", "train")
    assert "InvalidParameterError" in refused.value.text or "max_iter" in refused.value.text


def test_two_workers_share_the_budget(line: Line):
    line = searching(line, SEARCH.replace("workers: 1", "workers: 2"))
    done = run(line, "open_search", "tune", "train")
    assert done["train"].outputs["trial"]["of"] == 6
    folder = Path(str(done["open_search"].outputs["study"])).parent.parent / "tune"
    assert {entry.name for entry in folder.iterdir()} == {"worker-0", "worker-1"}


def test_any_number_of_workers_draws_the_same_random_points(
    line: Line, make_line: Callable[..., Line]
):
    from ferryman.training.search_study import SearchStudy

    points = []
    for workers in (1, 2):
        here = searching(line, SEARCH.replace("workers: 1", f"workers: {workers}"))
        opened = run(here, "open_search", "tune", run_id=f"w{workers}")["open_search"]
        study = SearchStudy(Path(str(opened.outputs["study"])), here.model.spec.search, 7)
        points.append({trial.place: trial.params for trial in study.trials()})
        text = line.model.file.read_text()
        line.model.file.write_text(text[: text.index("search:")])
    assert points[0] == points[1]


def test_an_unfinished_search_is_continued_and_a_refused_one_is_not(line: Line):
    line = searching(line)
    journey = Journey(line.settings, line.model)
    runs = line.settings.runs_root / "rain" / "training"
    next(journey.run("training"))  # the process ends here, after open_search
    [first] = runs.glob("cli-*")
    steps = journey.run("training")
    assert [next(steps).step for _ in range(3)] == ["open_search", "tune", "train"]
    assert list(runs.glob("cli-*")) == [first]

    next(journey.run("training"))
    assert len(list(runs.glob("cli-*"))) == 2  # the search before was judged: this one is new


def test_a_search_wants_rows_on_both_sides(line: Line):
    with pytest.raises(DataRejected, match="0 training rows before"):
        run(searching(line, SEARCH.replace("3d", "30d")), "open_search")
