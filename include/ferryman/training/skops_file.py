"""Reads and writes fitted pipelines as skops files: no pickle, types from our list only."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from ferryman.errors import IntegrityBroken, PolicyRefused
from ferryman.runtime.files import write_atomic

# What skops itself does not trust by default, and we do: compiled containers of numbers inside
# scikit-learn's estimators. None of them runs code of the file when it is loaded.
TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save_skops(estimator: Any, path: Path) -> None:
    """Write a fitted estimator, atomically; PolicyRefused (exit 9) where it could not be loaded."""
    import skops.io

    data = _canonical(skops.io.dumps(estimator))
    found = skops.io.get_untrusted_types(data=data)
    if not TRUSTED_TYPES.issuperset(found):
        raise _refusal(found, path)
    write_atomic(path, data)


def load_skops(path: Path) -> Any:
    """Read a fitted estimator.

    Raises PolicyRefused (exit 9) that lists types outside our list, before anything of the file is
    built, and IntegrityBroken (exit 7) where the file is not a whole skops file.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    data = path.read_bytes()
    try:
        return skops.io.loads(data, trusted=sorted(TRUSTED_TYPES))
    except UntrustedTypesFoundException:
        found = skops.io.get_untrusted_types(data=data)
    except Exception as error:
        raise IntegrityBroken(f"{path}: not a readable skops file: {error}") from error
    raise _refusal(found, path)


def _refusal(found: list[str], path: Path) -> PolicyRefused:
    strange = sorted(set(found) - TRUSTED_TYPES)
    return PolicyRefused(
        f"{path}: holds types that are not trusted: {', '.join(strange[:10])}",
        remedy="Build the pipeline of scikit-learn's own classes, without own functions.",
    )


def _canonical(data: bytes) -> bytes:
    """The same file with memory addresses and times taken out: equal models, equal bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        names: dict[str, str] = {}
        schema = _renumber(json.loads(source.read(_SCHEMA)), {}, names)
        content = {new: source.read(old) for old, new in names.items()}
    content[_SCHEMA] = json.dumps(schema, sort_keys=True).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(content):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content[name], zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renumber(item, ids, names) for item in node]
    if not isinstance(node, dict):
        return node
    renamed: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            renamed[key] = ids.setdefault(value, len(ids))
        elif key == "file":
            renamed[key] = names.setdefault(value, f"{len(names)}{Path(value).suffix}")
        else:
            renamed[key] = _renumber(value, ids, names)
    return renamed
