"""Brings Keras into the process: quietly, on TensorFlow, bound to the declared cores."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ferryman.errors import SpecError
from ferryman.settings import quiet_tensorflow

logger = logging.getLogger(__name__)


def import_keras() -> Any:
    """The module keras, with TensorFlow loaded beneath it and nothing of it used yet.

    A process may fork afterwards, and its children may train. A process that has trained, or only
    asked a model, may not fork any more: its children would hang.
    """
    quiet_tensorflow()
    with _native_stderr_logged():
        import keras
        import tensorflow  # noqa: F401  - keras loads it late; here its greetings are caught
    if keras.backend.backend() != "tensorflow":
        raise SpecError(
            f"Keras is set to the backend {keras.backend.backend()!r}; only tensorflow is served",
            remedy="Unset KERAS_BACKEND, and take `backend` out of ~/.keras/keras.json.",
        )
    return keras


def prepare_keras(*, cores: int, seed: int | None = None) -> Any:
    """The module keras, ready to be used: its threads bounded, and its draws fixed by the seed.

    With a seed the names of layers begin anew and operations are deterministic: two fits of one
    plan give the same weights, in one process or in two. The number of threads is fixed by the
    first use of TensorFlow; a later call that wants another number changes nothing.
    """
    keras = import_keras()
    import tensorflow as tf

    threading = tf.config.threading
    wanted = max(1, cores)
    if threading.get_intra_op_parallelism_threads() != wanted:
        try:
            threading.set_intra_op_parallelism_threads(wanted)
            threading.set_inter_op_parallelism_threads(wanted)
        except RuntimeError as error:
            logger.debug("TensorFlow keeps the threads of its first use: %s", error)
    if seed is not None:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
    return keras


@contextmanager
def _native_stderr_logged() -> Iterator[None]:
    """Send what C++ code prints to stderr to the debug log: no setting silences it at import."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        saved = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught.read(100_000).decode(errors="replace").splitlines():
                logger.debug("tensorflow: %s", line)
