"""Marks that keep writers, readers and the removal of old versions out of one another's way.

<model>/used/<id>/<day>.json     somebody wrote, published or loaded the version on that day
<model>/removing/<id>.json       its removal has begun

Who uses a version notes it first and looks for a removal then; who removes one marks it first and
looks for notes then. Whatever the order of the four acts, one of the two sees the other and yields.
"""

import json
import os
import socket
from datetime import UTC, datetime, timedelta

from ferryman.errors import LostRace
from ferryman.runtime.files import json_bytes
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import format_time

_DAY_FORM = "%Y%m%d"
_AT_WORK = timedelta(hours=1)  # one that another machine began longer ago was killed


class Marks:
    """The marks of all models in one place; versions are snapshots and datasets, by id."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def use(self, model: str, version: str) -> None:
        """Note a use; LostRace (exit 8) where the version is being removed."""
        day = f"{datetime.now(UTC):{_DAY_FORM}}"
        self._objects.create(f"{model}/used/{version}/{day}.json", b"{}\n")
        if self._objects.size(_removal_key(model, version)) is not None:
            raise LostRace(
                f"version {version} of {model!r} is being removed at this moment",
                remedy="Run again; where it stays so, a removal was killed: "
                f"`ferryman maintenance --model {model} --apply` ends it.",
            )

    def last_uses(self, model: str) -> dict[str, datetime]:
        """The end of the last noted day of every version."""
        return _newest(self._objects.keys(f"{model}/used"))

    def last_use(self, model: str, version: str) -> datetime | None:
        """The end of the last day on which a version was used, or None."""
        return _newest(self._objects.keys(f"{model}/used/{version}")).get(version)

    def begin_removal(self, model: str, version: str, why: str) -> bool:
        """Mark a version as going; False where another removal of it is at work."""
        mark = {
            "why": why,
            "at": format_time(datetime.now(UTC)),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        created = self._objects.create(_removal_key(model, version), json_bytes(mark))
        return created or self.is_ours(model, version)

    def is_ours(self, model: str, version: str) -> bool:
        """Whether a removal that has begun is of this process, or of one that was killed."""
        key = _removal_key(model, version)
        content, began = self._objects.read(key), self._objects.modified(key)
        if content is None or began is None:
            return False
        mark = json.loads(content)
        if mark.get("host") == socket.gethostname():
            pid = int(mark.get("pid", 0))
            return pid == os.getpid() or not _runs(pid)
        return began < datetime.now(UTC) - _AT_WORK

    def end_removal(self, model: str, version: str) -> None:
        """Take the mark away, when the version is gone or was spared."""
        self._objects.delete(_removal_key(model, version))

    def forget_uses(self, model: str, version: str) -> None:
        """Remove the notes of a version that is gone."""
        for key in self._objects.keys(f"{model}/used/{version}"):
            self._objects.delete(key)

    def begun(self, model: str) -> list[str]:
        """The versions whose removal has begun and not ended."""
        keys = self._objects.keys(f"{model}/removing")
        return [key.rpartition("/")[2].removesuffix(".json") for key in keys]


def _newest(keys: list[str]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for key in keys:  # sorted, so that the last day of a version comes last
        _, _, version, day = key.split("/")
        start = datetime.strptime(day.removesuffix(".json"), _DAY_FORM).replace(tzinfo=UTC)
        found[version] = start + timedelta(days=1)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as somebody else
        return True
    return True


def _removal_key(model: str, version: str) -> str:
    return f"{model}/removing/{version}.json"
