"""One shared study: what its workers draw, in every method, and what becomes of a dead one's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ferryman.errors import DependencyUnavailable, LostRace
from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.training.search_journal import JOURNAL
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_trials import Trial, best_trial
from ferryman.training.search_worker import work

SPACE = {"a": {"min": 0, "max": 1}, "b": {"min": 0.001, "max": 1, "log": True}}
RESOURCE = {"param": "n", "min": 1, "max": 9}
GRID = {"a": {"min": 0, "max": 1, "step": 0.25}, "b": {"choices": [0.01, 0.1, 1.0]}}


def declare(method: str, **more: Any) -> SearchSpec:
    if method in ("halving", "hyperband"):
        more = {"resource": RESOURCE, **more}
    space = GRID if method == "grid" else SPACE
    return SearchSpec.model_validate({"method": method, "space": space, "trials": 20, **more})


def bowl(params: Mapping[str, ParamValue]) -> float:
    """Least at a = 0.3 and b = 0.1; a larger n is closer to it."""
    a, b = float(params["a"]), float(params["b"])
    return (a - 0.3) ** 2 + (b - 0.1) ** 2 + 0.1 / float(params.get("n", 9))


def searched(folder: Path, search: SearchSpec, seed: int = 7) -> list[Trial]:
    study = SearchStudy(folder, search, seed)
    work(study, search, 0, bowl, lambda _: None)
    return study.trials()


@pytest.mark.parametrize("method", ["grid", "random", "tpe", "cma_es", "halving", "hyperband"])
def test_one_worker_draws_the_same_trials_again(tmp_path: Path, method: str):
    search = declare(method)
    first, second = (searched(tmp_path / name, search) for name in ("one", "two"))
    assert len(first) == (15 if method == "grid" else 20)
    facts = [[(one.params, one.value, one.state) for one in run] for run in (first, second)]
    assert facts[0] == facts[1]
    best = best_trial(first, "log_loss")
    assert best is not None
    assert best.value == bowl(best.params)
    if search.resource is not None:
        assert best.params["n"] == 9
        assert any(one.state == "pruned" and one.params["n"] in (1, 3) for one in first)
    if method == "grid":
        assert len({tuple(one.params.items()) for one in first}) == 15
    elif method != "halving":
        other = searched(tmp_path / "three", search, seed=8)
        assert [one.params for one in other] != [one.params for one in first]


@pytest.mark.parametrize("method", ["tpe", "cma_es"])
def test_methods_that_learn_come_closer_than_chance(tmp_path: Path, method: str):
    gaps = []
    for name in (method, "random"):
        late = searched(tmp_path / name, declare(name, trials=40))[20:]
        gaps.append(sum(one.value or 0.0 for one in late) / len(late))
    assert gaps[0] < 0.6 * gaps[1]


def test_two_workers_in_turn_draw_a_grid_once(tmp_path: Path):
    search = declare("grid")
    studies = [SearchStudy(tmp_path, search, 7) for _ in range(2)]
    with studies[0].worker(0), studies[1].worker(1):
        for place in range(15):
            study = studies[place % 2]
            drawn = study.draw(place % 2)
            assert not isinstance(drawn, str)
            study.tell(drawn, bowl(drawn.params))
        assert studies[0].draw(0) == studies[1].draw(1) == "all 15 trials are drawn"
    trials = studies[0].trials()
    assert len({tuple(one.params.items()) for one in trials}) == 15
    assert {one.worker for one in trials} == {0, 1}


def test_a_point_whose_worker_died_is_drawn_again(tmp_path: Path):
    search = declare("random", trials=4)
    undisturbed = {one.place: one.params for one in searched(tmp_path / "calm", search)}
    study = SearchStudy(tmp_path / "died", search, 7)
    with study.worker(0):
        study.draw(0)  # and nobody tells its end: the lock is free below, as after a kill
    trials = searched(tmp_path / "died", search)
    assert [one.state for one in trials] == ["lost", *["complete"] * 4]
    assert {one.place: one.params for one in trials[1:]} == undisturbed


def test_a_living_workers_trial_is_not_lost(tmp_path: Path):
    search = declare("random", trials=2)
    first, second = (SearchStudy(tmp_path, search, 7) for _ in range(2))
    with first.worker(0), second.worker(1):
        drawn = first.draw(0)
        second.draw(1)
        second.lose_dead()
        assert [one.state for one in second.trials()] == ["running", "running"]
        assert not isinstance(drawn, str)
        assert first.tell(drawn, 1.0).state == "complete"


def test_the_same_worker_twice_is_a_lost_race(tmp_path: Path):
    search = declare("random")
    first, second = (SearchStudy(tmp_path, search, 7) for _ in range(2))
    with first.worker(3), pytest.raises(LostRace, match="worker 3"), second.worker(3):
        pass


def test_a_failing_trial_is_told_and_the_search_goes_on(tmp_path: Path):
    def sometimes(params: Mapping[str, ParamValue]) -> float | None:
        if float(params["a"]) > 0.7:
            raise ValueError("too wide\nand more")
        return None if float(params["a"]) > 0.6 else bowl(params)

    search, told = declare("random", max_failed=0.9), []
    study = SearchStudy(tmp_path, search, 7)
    work(study, search, 0, sometimes, told.append)
    failed = [one for one in told if one.state == "failed"]
    assert len(told) == 20
    assert 0 < len(failed) < 20
    assert {one.error for one in failed} == {
        "ValueError: too wide",
        "ValueError: log_loss cannot be had on the validation rows (None)",
    }


def test_what_is_not_the_trials_fault_ends_the_worker(tmp_path: Path):
    def away(params: Mapping[str, ParamValue]) -> float:
        raise DependencyUnavailable("the data is away")

    search = declare("random")
    study = SearchStudy(tmp_path, search, 7)
    with pytest.raises(DependencyUnavailable):
        work(study, search, 0, away, lambda _: None)
    study.lose_dead()
    assert [one.state for one in study.trials()] == ["lost"]


def test_half_a_line_of_a_killed_writer_is_removed(tmp_path: Path):
    search = declare("random", trials=3)
    searched(tmp_path, search)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker')
    longer = search.model_copy(update={"trials": 5})
    assert [one.state for one in searched(tmp_path, longer)] == ["complete"] * 5
    assert journal.read_bytes().startswith(whole + b"{")
