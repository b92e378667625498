"""Lineage events that several processes tell while their file is begun anew: none is lost."""

import json
import subprocess
import sys
from pathlib import Path

from ferryman.runtime.lineage_events import begin_anew, events_file, older_parts

EVENTS, TELLERS = 1_000, 3
TELLER = """
import sys, uuid
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.transport.file import FileConfig, FileTransport
file, name, count = sys.argv[1:]
transport = FileTransport(FileConfig(log_file_path=file, append=True))
for number in range(int(count)):
    run = Run(runId=str(uuid.uuid4()))
    transport.emit(
        RunEvent(
            eventType=RunState.COMPLETE,
            eventTime="2026-01-01T00:00:00Z",
            run=run,
            job=Job("ferryman", f"{name}-{number}"),
            producer="https://example.org/tests",
        )
    )
"""


def test_no_event_is_lost_when_the_file_is_begun_anew(tmp_path: Path) -> None:
    file = events_file(tmp_path)
    assert begin_anew(file) is None
    file.parent.mkdir()
    given = [sys.executable, "-c", TELLER, str(file)]
    tellers = [
        subprocess.Popen([*given, f"teller{number}", str(EVENTS)]) for number in range(TELLERS)
    ]
    begun = 0
    while any(teller.poll() is None for teller in tellers):
        begun += begin_anew(file, largest=20_000) is not None
    assert [teller.returncode for teller in tellers] == [0] * TELLERS
    assert begun >= 5
    parts = older_parts(file, kept=0)
    assert len(parts) == begun
    assert all(part.stat().st_size >= 20_000 for part in parts)
    files = [part for part in [*parts, file] if part.is_file()]
    lines = [line for part in files for line in part.read_text().splitlines()]
    told = {json.loads(line)["job"]["name"] for line in lines}
    assert len(lines) == len(told) == EVENTS * TELLERS
    assert older_parts(file, kept=2) == parts[:-2]
