"""The difference of two models' losses, with an interval that may be looked at any time.

An asymptotic confidence sequence: the interval covers the true difference at all numbers of labels
together with the stated probability, so stopping at the first verdict errs no more often. Source:
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic
confidence sequences (Annals of Statistics 2024; arXiv 2103.06476), theorem 2.2 for the boundary and
section 3 for the randomised experiment.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# The boundary is tightest here: verdicts are wanted at some hundred to some thousand labels.
_TIGHTEST = 1000
# Fewer of either have no normal sum to speak of: the interval is then everything.
LEAST = 30


@dataclass(frozen=True)
class Interval:
    """Candidate minus champion in mean loss (above 0: the candidate is worse), and its interval.

    Infinite ends: too few labels. Not-a-number: a loss was none. Of pairs both counts are theirs.
    """

    effect: float
    low: float
    high: float
    candidates: int
    champions: int


def compare_arms(
    losses: Floats,
    is_candidate: npt.NDArray[np.bool_],
    propensity: Floats,
    *,
    significance: float,
    entities: npt.NDArray[np.int64] | None = None,
) -> Interval:
    """Candidate minus champion of answers that were dealt out by chance.

    All arrays: [answers], in the order in which they were given. Of `losses` lower is better.
    `propensity` is the probability with which the variant that answered was chosen; it may change
    from answer to answer. Answers where it is 1 were not dealt out, and are left out. `entities`
    numbers whom each answer was about: a sticky share deals out entities, so the answers to one of
    them count as one draw. ValueError: arrays of different lengths, or no probabilities.
    """
    sizes = {len(losses), len(is_candidate), len(propensity)}
    if entities is not None:
        sizes.add(len(entities))
    if len(sizes) != 1:
        raise ValueError(f"arrays of different lengths: {sorted(sizes)}")
    if not bool(((propensity > 0) & (propensity <= 1)).all()):
        raise ValueError("a propensity lies above 0 and is at most 1")
    drawn = propensity < 1
    losses, arms, chances = losses[drawn], is_candidate[drawn].astype(bool), propensity[drawn]
    candidates = int(arms.sum())
    champions = len(arms) - candidates
    if not bool(np.isfinite(losses).all()):
        return Interval(math.nan, math.nan, math.nan, candidates, champions)
    effects = effects_of_answers(losses, arms, chances)
    groups = None if entities is None else entities[drawn]
    effect, half = _newest(effects, significance, groups)
    if min(candidates, champions) < LEAST:
        half = math.inf
    return Interval(effect, effect - half, effect + half, candidates, champions)


def compare_pairs(
    differences: Floats, *, significance: float, entities: npt.NDArray[np.int64] | None = None
) -> Interval:
    """Candidate minus champion where both answered the same rows.

    differences: [rows], the candidate's loss less the champion's, in the order of the answers.
    """
    effect, half = _newest(differences, significance, entities)
    pairs = len(differences)
    if pairs < LEAST:
        half = math.nan if math.isnan(effect) else math.inf
    return Interval(effect, effect - half, effect + half, pairs, pairs)


def effects_of_answers(
    losses: Floats, is_candidate: npt.NDArray[np.bool_], propensity: Floats
) -> Floats:
    """What each answer says of the difference: [answers], of the true mean whatever the shares.

    Augmented inverse-propensity weighting. Each arm's mean is predicted from the answers before, so
    that it does not depend on the one that it corrects.
    """
    ours, theirs = _means_before(losses, is_candidate), _means_before(losses, ~is_candidate)
    residual = np.where(is_candidate, losses - ours, theirs - losses)
    return ours - theirs + residual / propensity


def half_widths(spreads: Floats, counts: Floats, significance: float) -> Floats:
    """Half of the interval's width after each count of observations of that standard deviation."""
    tuning = _tuning(significance)
    grown = counts * tuning + 1
    widths: Floats = spreads * np.sqrt(
        2 * grown * np.log(np.sqrt(grown) / significance) / (counts * counts * tuning)
    )
    return widths


def _tuning(significance: float) -> float:
    """The variance of the mixture that makes the boundary tightest at _TIGHTEST observations."""
    doubled = -2 * math.log(significance)
    return (doubled + math.log(doubled + 1)) / _TIGHTEST


def _newest(
    values: Floats, significance: float, groups: npt.NDArray[np.int64] | None
) -> tuple[float, float]:
    """Mean and half width after all values; (nan, nan) if one is no finite number."""
    count = len(values)
    if count < 2:
        return (0.0, math.inf) if count == 0 or np.isfinite(values[0]) else (math.nan, math.nan)
    if not bool(np.isfinite(values).all()):
        return math.nan, math.nan
    effect = float(values.mean())
    rest = values - effect
    if groups is not None:
        _, places = np.unique(groups, return_inverse=True)
        rest = np.bincount(places, weights=rest).astype(np.float64)
    spread = math.sqrt(float((rest * rest).sum()) / (count - 1))
    return effect, float(half_widths(np.array(spread), np.array(float(count)), significance))


def _means_before(losses: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """The mean loss of the chosen answers before each; of all answers where none was chosen yet."""
    sums = np.cumsum(np.where(chosen, losses, 0.0))
    counts = np.cumsum(chosen)
    before_sums = np.concatenate([[0.0], sums[:-1]])
    before = np.concatenate([[0], counts[:-1]])
    all_sums = np.concatenate([[0.0], np.cumsum(losses)[:-1]])
    places = np.maximum(np.arange(len(losses)), 1)
    means: Floats = np.where(before > 0, before_sums / np.maximum(before, 1), all_sums / places)
    return means
