"""The small real bundles and free ports, for this folder's tests."""

from small_bundles import _small_bundles, free_ports, make_bundle

__all__ = ["_small_bundles", "free_ports", "make_bundle"]
