"""How the declared number of cores reaches libraries that start threads of their own."""

from collections.abc import Mapping

# Each library reads its own one when it starts its threads.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def thread_environment(cores: int) -> Mapping[str, str]:
    """What is put into the environment of a process that may use so many cores.

    OMP_NUM_THREADS and its kin count when the process starts, so this is for processes that are
    still to be started; see training.core_limit for what runs in this one.
    """
    return dict.fromkeys(_VARIABLES, str(max(1, cores)))
