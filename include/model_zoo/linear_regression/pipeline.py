"""The model of the linear regression example: one Dense unit, a slope and an intercept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(params: Mapping[str, float | int | str | bool], seed: int) -> keras.Model:
    """Make the compiled, unfitted line; Keras draws its first slope from `seed`."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed)),
        ]
    )
    rate = float(params["learning_rate"])
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse", metrics=["mae"])
    return model
