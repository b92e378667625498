"""An autoscaler acts by its deployer, keeps every decision, and is alone with its server."""

import multiprocessing
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from autoscaling_world import REQUESTS, autoscaling, measured

from ferryman.deployment.autoscaling.autoscaler import Autoscaler, autoscaled, autoscaler_of
from ferryman.deployment.autoscaling.decision import Decision, Figures, Memory
from ferryman.deployment.autoscaling.log import LOG, AutoscalingFiles
from ferryman.deployment.deployer import Deployment, DeploymentState
from ferryman.errors import DependencyUnavailable, LostRace, PolicyRefused, SpecError
from ferryman.settings import Settings

IMAGE = "registry.example/ferryman@sha256:" + "a" * 64


class Place:
    """A deployer of a place that has room for so many replicas."""

    def __init__(self, wanted: int = 1, room: int = 100, state: DeploymentState = "ready") -> None:
        self.wanted, self.room, self.state = wanted, room, state

    def start(self) -> Deployment:
        return self.status()

    def status(self) -> Deployment:
        return Deployment(self.state, "http://127.0.0.1:1", wanted=self.wanted)

    def scale(self, replicas: int) -> Deployment:
        if replicas > self.room:
            raise DependencyUnavailable(f"no room for {replicas} replicas")
        self.wanted = replicas
        return self.status()

    def stop(self) -> Deployment:
        return self.status()


class Load:
    """A source of figures: a load on whatever replicas there are; None is no Prometheus."""

    def __init__(self, place: Place, load: float | None) -> None:
        self.place, self.load = place, load

    def read(self) -> Figures:
        if self.load is None:
            raise DependencyUnavailable("Prometheus not reachable at http://127.0.0.1:9")
        return measured(self.load, self.place.wanted)


def make(root: Path, place: Place, load: float | None) -> tuple[Autoscaler, AutoscalingFiles]:
    files = AutoscalingFiles(root)
    return Autoscaler("main", autoscaling(REQUESTS), place, Load(place, load), files), files


def test_a_decision_is_carried_out_and_kept(tmp_path: Path) -> None:
    place = Place()
    autoscaler, files = make(tmp_path, place, 100)
    decision = autoscaler.decide()
    assert (decision.current, decision.wanted, decision.error, place.wanted) == (1, 2, "", 2)
    assert files.decisions(10) == [decision]
    assert autoscaler.decide().change == "hold"
    assert [one.change for one in files.decisions(10)] == ["up", "hold"]


def test_the_next_process_remembers(tmp_path: Path) -> None:
    place = Place(wanted=4)
    make(tmp_path, place, 230)[0].decide()
    old = AutoscalingFiles(tmp_path)
    before = old.memory()
    assert before.recommended[-1].count == 4
    assert make(tmp_path, place, 10)[0].decide().change == "hold"  # a minute has not passed


def test_a_place_without_room_is_told_and_tried_again(tmp_path: Path) -> None:
    place = Place(room=1)
    autoscaler, files = make(tmp_path, place, 100)
    for _ in range(2):
        decision = autoscaler.decide()
        assert (decision.wanted, decision.error) == (2, "no room for 2 replicas")
    assert place.wanted == 1
    place.room = 2
    assert autoscaler.decide().error == "" and place.wanted == 2
    assert [one.error != "" for one in files.decisions(9)] == [True, True, False]


def test_without_figures_it_holds_and_says_so(tmp_path: Path) -> None:
    place = Place(wanted=3)
    decision = make(tmp_path, place, None)[0].decide()
    assert (decision.change, decision.rule, place.wanted) == ("hold", "none", 3)
    assert "not reachable" in decision.reason and "not reachable" in decision.error


@pytest.mark.parametrize("state", ["stopped", "silent"])
def test_a_server_that_is_not_there_is_not_scaled(tmp_path: Path, state: DeploymentState) -> None:
    place = Place(wanted=20, state=state)
    decision = make(tmp_path, place, 500)[0].decide()
    assert (decision.change, place.wanted) == ("hold", 20)
    assert f"is {state}" in decision.error


def test_a_loop_ends_when_told_to_and_when_its_time_is_over(tmp_path: Path) -> None:
    autoscaler, files = make(tmp_path, Place(), 100)
    assert len(autoscaler.run(0.3, every=0.1)) == 3
    ended = threading.Event()
    seen: list[Decision] = []

    def tell(decision: Decision) -> None:
        seen.append(decision)
        if len(seen) == 2:
            ended.set()

    autoscaler.run(every=0.01, ended=ended, told=tell)
    assert len(seen) == 2 and len(files.decisions(10)) == 5


def _decision(number: int) -> Decision:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    return Decision(
        at=at, server="main", current=1, wanted=1, rule="cpu", reason=f"decision {number}"
    )


def test_the_log_stays_within_its_bound_and_keeps_the_newest(tmp_path: Path) -> None:
    files = AutoscalingFiles(tmp_path, most_bytes=2000)
    for number in range(200):
        files.append(_decision(number))
    sizes = [file.stat().st_size for file in tmp_path.glob(f"{LOG}*")]
    assert len(sizes) == 2 and max(sizes) <= 2000
    assert files.decisions(5) == [_decision(number) for number in range(195, 200)]


def test_half_a_line_costs_no_whole_one(tmp_path: Path) -> None:
    files = AutoscalingFiles(tmp_path)
    files.append(_decision(1))
    with (tmp_path / LOG).open("ab") as stream:
        stream.write(b'{"at": "2026')
    files.append(_decision(2))
    assert files.decisions(10) == [_decision(1), _decision(2)]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"above": -1}', '{"recommended": 7}'])
def test_a_damaged_memory_begins_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "autoscaling.json").write_text(content)
    assert AutoscalingFiles(tmp_path).memory() == Memory()
    place = Place(wanted=5)
    assert make(tmp_path, place, 1)[0].decide().change == "hold"


def test_a_server_has_one_autoscaler_at_a_time(tmp_path: Path) -> None:
    files = AutoscalingFiles(tmp_path)
    with files.turn("main"), pytest.raises(LostRace, match="already"), files.turn("main"):
        pass
    with files.turn("main"):
        pass


def _hold_turn_and_die(root: Path, held) -> None:
    with AutoscalingFiles(root).turn("main"):
        held.set()
        threading.Event().wait()


def test_a_killed_autoscaler_leaves_its_turn(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=_hold_turn_and_die, args=(tmp_path, held))
    process.start()
    assert held.wait(20)
    files = AutoscalingFiles(tmp_path)
    with pytest.raises(LostRace, match=str(process.pid)), files.turn("main"):
        pass
    process.kill()
    process.join()
    with files.turn("main"):
        pass


def test_only_a_server_that_declares_it_is_scaled_and_none_in_kubernetes(tmp_path: Path) -> None:
    rules = "rules: [{kind: cpu}], max: 3"
    (tmp_path / "servers.yaml").write_text(
        "spec_version: 1\nservers:\n"
        "  main: {}\n"
        f"  cluster: {{place: kubernetes, autoscaling: {{{rules}}}, "
        f"kubernetes: {{image: '{IMAGE}', bundles: store}}}}\n"
        f"  busy: {{port: 7000, admin_port: 7001, autoscaling: {{{rules}}}}}\n"
    )
    settings = Settings(home=tmp_path, zoo=tmp_path)
    with pytest.raises(SpecError, match="declares no autoscaling"):
        autoscaled(settings, "main")
    with pytest.raises(SpecError, match="did you mean 'busy'"):
        autoscaled(settings, "bussy")
    with pytest.raises(PolicyRefused, match="Kubernetes") as caught:
        autoscaler_of(settings, "cluster")
    assert "HorizontalPodAutoscaler" in caught.value.remedy and "KEDA" in caught.value.remedy
    assert autoscaled(settings, "busy")[1].max == 3
