"""What a run needs: a trained model, the bodies of the requests, KServe's own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WINDOW = "2024-01-01..2024-01-18"
_HERE = Path(__file__).resolve().parent


def train(home: Path) -> Path:
    """The bundle of `digits`, trained as README says; one that is there is taken."""
    bundles = home / "bundles" / "digits"
    if not bundles.is_dir():
        for pipeline in ("ingest", "training"):
            subprocess.run(
                [
                    *(sys.executable, "-m", "ferryman.cli", "run", pipeline),
                    *("--model", "digits", "--window", WINDOW),
                ],
                env={**os.environ, "FERRYMAN_HOME": str(home)},
                check=True,
            )
    return max(bundles.iterdir(), key=lambda folder: folder.stat().st_mtime)


def write_bodies(bundle: Path, folder: Path) -> dict[tuple[str, int], Path]:
    """(form, rows) -> file of a request body. The rows are the bundle's golden ones, repeated."""
    golden = json.loads((bundle / "golden.json").read_text())["rows"]
    names = [c["name"] for c in json.loads((bundle / "signature.json").read_text())["features"]]
    files = {}
    for count in (1, 64):
        rows = [golden[place % len(golden)] for place in range(count)]
        forms: dict[str, list[Any]] = {
            "records": [{name: row[name] for name in names} for row in rows],
            "lists": [[row[name] for name in names] for row in rows],
        }
        for form, instances in forms.items():
            file = folder / f"{form}-{count}.json"
            file.write_text(json.dumps({"instances": instances}))
            files[form, count] = file
    return files


def kserve_python(cache: Path) -> Path:
    """The interpreter of KServe's environment, made once in a cache folder."""
    python = cache / "bin" / "python"
    if not (cache / "finished").is_file():
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--python", sys.executable, str(cache)], check=True)
        listed = str(_HERE / "requirements-kserve.txt")
        subprocess.run([uv, "pip", "install", "--python", str(python), "-r", listed], check=True)
        (cache / "finished").touch()
    return python
