"""Where diagnoses are kept: a module of its own, since pages that show them import no numbers."""

from pathlib import Path

from ferryman.spec.windows import Window

DIAGNOSES = "diagnoses"  # the folder of a model's diagnoses, below monitoring's


def diagnosis_file(root: Path, model: str, window: Window) -> Path:
    """Where what was told of a window is kept."""
    return root / model / DIAGNOSES / f"{window.key}.json"
