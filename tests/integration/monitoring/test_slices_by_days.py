"""Nights of a whole quiet life: slices that move by themselves are seldom called worse."""

from dataclasses import dataclass

import numpy as np
import pytest
from services.long_tests import seeds

from ferryman.monitoring.groups import Figure, SliceLook, SliceRule, figure, judge_slices
from ferryman.monitoring.recent_slices import DayLosses, DayRule, recent_worsening

SLICES, ROWS, WEEK = 20, 50, 7
RULE = SliceRule("log_loss", lower_is_better=True, tolerance=0.05, significance=0.01, least=50)
BY_DAY = DayRule(lambda _: 0.05, least=50)


@dataclass(frozen=True)
class Life:
    """Losses of answers, of which every day and every slice's day is unlike, as weather is."""

    code: np.ndarray
    day: np.ndarray
    losses: np.ndarray

    @classmethod
    def drawn(cls, seed: int, days: int, own: float) -> "Life":
        random = np.random.default_rng(seed)
        code = random.choice(SLICES, SLICES * ROWS * days, p=random.dirichlet(np.full(SLICES, 3)))
        day = np.repeat(np.arange(days), SLICES * ROWS)
        shared, apart = random.normal(0, 0.15, days), random.normal(0, own, (SLICES, days))
        for place in range(1, days):  # a day is like the one before it
            apart[:, place] = 0.3 * apart[:, place - 1] + 0.95 * apart[:, place]
        chance = np.clip(random.beta(2, 3, len(code)), 0.02, 0.98)
        true = np.clip(chance + 0.5 * (shared[day] + apart[code, day]), 0.01, 0.99)
        losses = -np.log(np.where(random.random(len(code)) < true, chance, 1 - chance))
        return cls(code, day, losses)

    def worse(self, end: int) -> list[str]:
        """What the night that ends a week says, of a champion that the first week evaluated."""
        sides = (self.day < WEEK), (self.day >= end - WEEK) & (self.day < end)
        before, now = (DayLosses(self.losses[side], self.day[side]) for side in sides)
        masks = [tuple(self.code[side] == one for side in sides) for one in range(SLICES)]
        looks = []
        for place, recent in enumerate(recent_worsening(before, now, masks, BY_DAY)):
            then, late = masks[place]
            count, figures = int(late.sum()), (_figure(now, late), _figure(before, then))
            looks.append(SliceLook("c", str(place), count, count, *figures, recent))
        return [one.value for one in judge_slices(looks, RULE) if one.outcome == "worse"]


def _figure(losses: DayLosses, own: np.ndarray) -> Figure | None:
    values = losses.values[own]
    random = np.random.default_rng(0)
    drawn = values[random.integers(0, len(values), (50, len(values)))].mean(axis=1)
    return figure(lambda w: w @ values / w.sum(axis=1), losses.days[own], drawn)


@pytest.mark.parametrize("seed", seeds(1, 2, 3, 4))
def test_sixty_quiet_nights_have_an_alarm_at_most(seed: int) -> None:
    life = Life.drawn(seed, 75, own=0.15)
    assert sum(bool(life.worse(end)) for end in range(15, 75)) <= 1


@pytest.mark.parametrize("bad", [(17, 18, 19), (13, 15, 17)])
def test_a_slice_that_is_bad_on_three_days_is_named(bad: tuple[int, ...]) -> None:
    named = []
    for seed in range(10):
        life = Life.drawn(seed, 20, 0.1)
        rows = (life.code == 4) & np.isin(life.day, bad)
        named.append(Life(life.code, life.day, life.losses + 0.8 * rows).worse(20))
    assert sum(one == ["4"] for one in named) >= 8
    assert not any(set(one) - {"4"} for one in named)
