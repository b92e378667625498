"""The model of the digits example: a small convolutional network.

It takes the 64 pixels in their declared order, float32 from 0 to 16. Scaling them and laying them
out as a picture are layers of the model, so that training, batch and online scoring share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(params: Mapping[str, float | int | str | bool], seed: int) -> keras.Model:
    """Make the compiled, unfitted network; `seed` has been given to Keras already."""
    import keras
    from keras import layers

    filters = int(params["filters"])
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Rescaling(1 / 16),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(float(params["dropout"]), seed=seed),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(float(params["learning_rate"])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
