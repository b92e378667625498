"""What is installed where a training runs."""

import json
import platform
import re
import sys
from pathlib import Path

_FOLDER = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[^-]+)\.dist-info")


def environment_files() -> dict[str, bytes]:
    """Two small files: the interpreter and platform (JSON), and every package as name==version.

    Read from folder names, which takes milliseconds; reading every package's metadata takes most
    of a second.
    """
    about = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
    return {
        "python.json": json.dumps(about, indent=2, sort_keys=True).encode() + b"\n",
        "requirements.txt": "".join(f"{line}\n" for line in installed_packages()).encode(),
    }


def installed_packages() -> list[str]:
    """Every installed package as name==version, sorted; the first on the path counts."""
    found: dict[str, str] = {}
    for entry in sys.path:
        folder = Path(entry)
        for info in folder.glob("*.dist-info") if folder.is_dir() else []:
            match = _FOLDER.fullmatch(info.name)
            if match:
                name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                found.setdefault(name, match["version"])
    return sorted(f"{name}=={version}" for name, version in found.items())
