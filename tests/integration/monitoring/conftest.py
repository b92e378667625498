"""Small real bundles for tests of monitoring."""

from small_bundles import _small_bundles, make_bundle

__all__ = ["_small_bundles", "make_bundle"]
