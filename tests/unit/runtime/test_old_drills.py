"""What a killed drill left goes, what one that runs needs stays."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ferryman.runtime.old_runs import drill_folder, old_drills


def test_only_old_ones_of_the_model_go(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    before = now - timedelta(hours=1)
    assert old_drills(tmp_path, "rain", before) == []
    old, new, other = (
        drill_folder(tmp_path, model, name)
        for model, name in (("rain", "old"), ("rain", "new"), ("wind", "old"))
    )
    unfinished = old.with_name(".half.written")
    for folder in (old, new, other, unfinished):
        folder.mkdir(parents=True)
    past = (now - timedelta(days=1)).timestamp()
    for folder in (old, other, unfinished):
        os.utime(folder, (past, past))
    assert old_drills(tmp_path, "rain", before) == [unfinished, old]
