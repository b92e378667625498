"""The small real bundles and free ports, for this folder's tests."""

from small_bundles import (
    _small_bundles,
    _task_bundles,
    free_ports,
    make_bundle,
    make_task_bundle,
)

__all__ = ["_small_bundles", "_task_bundles", "free_ports", "make_bundle", "make_task_bundle"]
