"""How often a test of chance is repeated: once in `make test`, with every seed in `make test-long`.

@pytest.mark.parametrize("seed", seeds(1, 2, 3))

FERRYMAN_TEST_LONG=1 asks for all. A test that is written so must be able to fail in its first seed.
"""

import os


def is_long() -> bool:
    """Whether this run was asked for every seed."""
    return os.environ.get("FERRYMAN_TEST_LONG") == "1"


def seeds(first: int, *more: int) -> list[int]:
    """The seeds of this run."""
    return [first, *more] if is_long() else [first]
