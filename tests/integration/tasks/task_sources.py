"""Source rows of the models `cups` (of several classes) and `price` (a number)."""

import numpy as np
import pandas as pd

FIRST = "2024-01-01"


def brews(days: int, seed: int = 0) -> pd.DataFrame:
    """Four machines, every hour; the size goes by the grams, with noise; a few are never known."""
    random = np.random.default_rng(seed)
    frame = _hours(days, "brewed_at", "machine", ("ada", "bob", "cat", "dan"))
    rows = len(frame)
    frame["grams"] = random.gamma(9.0, 1.0, rows) + 3
    frame["heat"] = np.where(random.random(rows) < 0.05, np.nan, random.normal(92, 2, rows))
    felt = frame["grams"] + random.normal(0, 1, rows)
    places = np.digitize(felt, [10.0, 14.0])
    frame["size"] = np.array(["small", "medium", "large"], dtype=object)[places]
    frame.loc[random.random(rows) < 0.02, "size"] = None
    return frame


def homes(days: int, seed: int = 0) -> pd.DataFrame:
    """Four streets, every hour; the price goes by the metres and the street, with noise."""
    random = np.random.default_rng(seed)
    frame = _hours(days, "sold_at", "street", ("elm", "fir", "oak", "yew"))
    rows = len(frame)
    frame["metres"] = random.uniform(30, 200, rows)
    frame["rooms"] = (frame["metres"] // 25).where(random.random(rows) > 0.05)
    dear = frame["street"].map({"elm": 0, "fir": 20, "oak": 50, "yew": 90})
    frame["price"] = 3 * frame["metres"] + dear + random.normal(0, 15, rows)
    frame.loc[random.random(rows) < 0.02, "price"] = np.nan
    return frame


def _hours(days: int, time: str, name: str, names: tuple[str, ...]) -> pd.DataFrame:
    hours = pd.date_range(FIRST, periods=days * 24, freq="h", tz="UTC")
    return pd.DataFrame([(at, one) for at in hours for one in names], columns=[time, name])
