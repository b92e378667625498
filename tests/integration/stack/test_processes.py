"""Processes are ended to the last child, by pid and start time; a taken port names its holder."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from rich.console import Console

from ferryman.errors import DependencyUnavailable
from ferryman.settings import Settings
from ferryman_airflow.stack.launcher import Launcher, end_launcher
from ferryman_airflow.stack.ports import require_free, require_space
from ferryman_airflow.stack.processes import ProcessGroup, Running, session_members
from ferryman_airflow.stack.settings import StackSettings

# A parent that ignores TERM, with a child that does too.
_STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def group(tmp_path):
    made = ProcessGroup(tmp_path / "stack.json", tmp_path / "logs")
    yield made
    made.stop(grace=0.2)


def _wait_for(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _start_stubborn(group, tmp_path):
    script = tmp_path / "stubborn.py"
    script.write_text(_STUBBORN)
    started = group.start("stubborn", [sys.executable, str(script)], dict(os.environ))
    log = group.logs / "stubborn.log"
    _wait_for(lambda: log.read_text().count("ready") == 2)
    return started


def test_stop_ends_even_what_ignores_term_and_its_children(group, tmp_path):
    started = _start_stubborn(group, tmp_path)
    members = session_members([started])
    assert len(members) == 2
    group.stop(grace=0.3)
    assert not any(process.is_running() for process in members)
    assert not group.state_file.exists()


def test_a_later_command_ends_what_a_dead_starter_left(group, tmp_path):
    started = _start_stubborn(group, tmp_path)
    os.kill(started.pid, signal.SIGKILL)  # the child lives on, and is in the session still
    group._children["stubborn"].wait()
    later = ProcessGroup(group.state_file, group.logs)
    assert [one.name for one in later.adopt()] == ["stubborn"]
    members = session_members(later.running.values())
    assert len(members) == 1
    later.stop(grace=0.2)
    assert not any(process.is_running() for process in members)


def test_a_pid_that_was_given_away_is_never_ended(tmp_path):
    state = tmp_path / "stack.json"
    group = ProcessGroup(state, tmp_path / "logs")
    started = group.start("sleep", [sys.executable, "-c", "import time; time.sleep(60)"], {})
    bystander = psutil.Process(started.pid)
    later = ProcessGroup(state, tmp_path / "logs")
    later.running["old"] = Running("old", started.pid, started.started + 3600)
    assert later.running["old"].process() is None
    later.stop(grace=0.1)
    assert bystander.is_running()
    group.stop(grace=5)


def test_an_ended_process_is_noticed_and_started_again(group):
    first = group.start("short", [sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
    _wait_for(lambda: group.ended() == {"short": 3})
    assert group.restart("short").pid != first.pid


def test_a_taken_port_is_told_with_its_holder():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DependencyUnavailable) as caught:
            require_free(port, "Airflow", "FERRYMAN_AIRFLOW_PORT")
    assert f"port {port}" in caught.value.text
    assert f"pid {os.getpid()}" in caught.value.text
    assert "FERRYMAN_AIRFLOW_PORT" in caught.value.remedy
    require_free(port, "Airflow", "FERRYMAN_AIRFLOW_PORT")


def test_too_little_space_is_told(tmp_path):
    require_space(tmp_path / "not" / "there", at_least=1)
    with pytest.raises(DependencyUnavailable, match="are free in"):
        require_space(tmp_path, at_least=10**18)


def test_a_launcher_that_does_not_end_is_ended():
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stubborn:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "ready\n"
        end_launcher(psutil.Process(stubborn.pid), patience=0.5)
        assert not psutil.pid_exists(stubborn.pid)


def test_staying_waits_on_no_lock(tmp_path):
    """A signal that raised inside Event.wait once left its lock taken, and the end hung on it."""

    class NotWaitedOn(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError(f"the main thread waits on the event for {timeout} s")

    stack, settings = StackSettings(airflow_home=tmp_path), Settings(home=tmp_path)
    launcher = Launcher(stack, settings, Console())
    launcher._stopping = NotWaitedOn()
    launcher._restarts = {"scheduler": 6}
    threading.Timer(0.3, launcher._stopping.set).start()
    with pytest.raises(DependencyUnavailable, match="scheduler ended 6 times"):
        launcher.stay()
