"""Keeps what runs inside this process to the cores that a model declares.

Three kinds of threads are started behind an estimator's back: those of OpenMP and BLAS, which
threadpoolctl limits; joblib's, which follow an estimator's own `n_jobs` (-1 is the whole machine);
and OpenMP's again inside each thread of joblib's, where a limit of the main thread does not hold.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def core_limit(cores: int, *, threads: int | None = None) -> Iterator[None]:
    """Within the block scikit-learn uses at most `cores` cores, whatever `n_jobs` an estimator has.

    `threads` limits OpenMP and BLAS further, where the work is too small for more. What joblib
    would do in processes is done in threads: they are as many as allowed, and share the memory.
    """
    from joblib import parallel_config
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    with (
        controller.limit(limits=min(cores, threads or cores)),
        parallel_config(backend=_backend(cores, controller)),
    ):
        yield


def _backend(cores: int, controller: Any) -> Any:
    """A joblib backend of threads, never more than `cores`; what is nested in them is in turn."""
    from joblib.parallel import SequentialBackend, ThreadingBackend

    class LimitedThreads(ThreadingBackend):  # type: ignore[misc] # joblib is untyped
        def effective_n_jobs(self, n_jobs: int | None) -> int:
            return max(1, min(int(super().effective_n_jobs(n_jobs)), cores))

        def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
            def alone() -> Any:
                with controller.limit(limits=1, user_api="openmp"):
                    return func()

            return super().submit(alone, callback)

        def get_nested_backend(self) -> tuple[Any, None]:
            return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    return LimitedThreads()
