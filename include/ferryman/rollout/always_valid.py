"""The difference of two models' losses, with an interval that may be looked at any time.

An asymptotic confidence sequence: the interval covers the true difference at all numbers of labels
together with the stated probability, so stopping at the first verdict errs no more often. Source:
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic
confidence sequences (Annals of Statistics 2024; arXiv 2103.06476), theorem 2.2 for the boundary and
section 3 for the randomised experiment. The authors' own package `sequential.causal` has the same
boundary (`std_conjmix_margin`).
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

    Infinite ends: too little is known. Not-a-number: a loss was none. Pairs count as both.
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
    entities: npt.NDArray[np.generic] | None = None,
) -> Interval:
    """Candidate minus champion of answers that were dealt out by chance.

    All arrays: [answers], in the order in which they were given. Of `losses` lower is better.
    `propensity` is the probability with which the variant that answered was chosen; it may change
    from answer to answer. Answers where it is 1 were not dealt out, and are left out. `entities`
    says whom each answer was about: a sticky share deals out entities, so the answers to one of
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
    if min(candidates, champions) < LEAST:
        return Interval(0.0, -math.inf, math.inf, candidates, champions)
    effects, halves = arms_over_time(losses, arms, chances, significance)
    effect, half = float(effects[-1]), float(halves[-1])
    if entities is not None:
        groups = entities[drawn]
        if min(len(np.unique(groups[arms])), len(np.unique(groups[~arms]))) < LEAST:
            return Interval(effect, -math.inf, math.inf, candidates, champions)
        values, weights = _effects_of_answers(losses, arms, chances), _weights(chances)
        half *= math.sqrt(_likeness(weights * (values - effect), groups))
    return Interval(effect, effect - half, effect + half, candidates, champions)


def compare_pairs(
    differences: Floats, *, significance: float, entities: npt.NDArray[np.generic] | None = None
) -> Interval:
    """Candidate minus champion where both answered the same rows.

    differences: [rows], the candidate's loss less the champion's, in the order of the answers.
    Infinite ends also where fewer than LEAST of them are other than 0, or of as few entities.
    """
    pairs = len(differences)
    if not bool(np.isfinite(differences).all()):
        return Interval(math.nan, math.nan, math.nan, pairs, pairs)
    if pairs < LEAST:
        return Interval(0.0, -math.inf, math.inf, pairs, pairs)
    effect = float(differences.mean())
    rest = differences - effect
    varied = float((rest * rest).sum()) * (1 if entities is None else _likeness(rest, entities))
    few = entities is not None and len(np.unique(entities)) < LEAST
    if few or np.count_nonzero(differences) < LEAST:
        varied = math.inf  # both err alike in nearly all rows: a few others have no normal sum
    half = float(boundary(np.array(float(pairs)), np.array(varied), significance)) / pairs
    return Interval(effect, effect - half, effect + half, pairs, pairs)


def arms_over_time(
    losses: Floats, is_candidate: npt.NDArray[np.bool_], propensity: Floats, significance: float
) -> tuple[Floats, Floats]:
    """The effect after each answer, and half of its interval's width: both [answers].

    What an answer says is weighted by how evenly it was dealt out, p (1 - p): the answers of a
    stage of 5 % say little of the difference, those of one of 50 % much. While one arm has few
    answers their spread is not known: it is thought no smaller than that within both together.
    Infinite widths: fewer than LEAST answers of an arm, or no spread at all.
    """
    values, weights = _effects_of_answers(losses, is_candidate, propensity), _weights(propensity)
    known = np.cumsum(weights)
    # Sums of squares are taken about a constant near the mean, so that nothing cancels.
    centre = float((weights * values).sum() / known[-1])
    squares, rest = weights * weights, values - centre
    offs = np.cumsum(weights * rest) / known
    sums = np.cumsum(squares * rest)
    seen = np.cumsum(squares * rest * rest) - 2 * offs * sums + offs**2 * np.cumsum(squares)
    within = _spread_within(losses, is_candidate)
    varied = np.maximum(seen, 4 * within * known)
    halves = boundary(known, varied, significance) / known
    count = np.cumsum(is_candidate)
    few = np.minimum(count, np.arange(1, len(losses) + 1) - count) < LEAST
    halves[few | (within == 0)] = np.inf
    return offs + centre, halves


def boundary(known: Floats, varied: Floats, significance: float) -> Floats:
    """How far from 0 a sum of that variance may stray, at all times together.

    `known` is the time that the mixture runs in: one for each observation of full weight.
    """
    doubled = -2 * math.log(significance)
    # The variance of the mixture that makes the boundary tightest at _TIGHTEST.
    tuning = (doubled + math.log(doubled + 1)) / _TIGHTEST
    grown = known * tuning + 1
    far: Floats = np.sqrt(
        varied * 2 * grown * np.log(np.sqrt(grown) / significance) / (known * tuning)
    )
    return far


def _weights(propensity: Floats) -> Floats:
    """1 for an answer of either with probability 1/2, less for others."""
    return 4 * propensity * (1 - propensity)


def _effects_of_answers(
    losses: Floats, is_candidate: npt.NDArray[np.bool_], propensity: Floats
) -> Floats:
    """What each answer says of the difference: [answers], of the true mean whatever the shares.

    Augmented inverse-propensity weighting. Each arm's mean is predicted from the answers before, so
    that it does not depend on the one that it corrects.
    """
    ours, theirs = _means_before(losses, is_candidate), _means_before(losses, ~is_candidate)
    residual = np.where(is_candidate, losses - ours, theirs - losses)
    return ours - theirs + residual / propensity


def _spread_within(losses: Floats, is_candidate: npt.NDArray[np.bool_]) -> Floats:
    """The variance of losses within both arms, after each answer."""
    squares: Floats = np.zeros(len(losses))
    for arm in (is_candidate, ~is_candidate):
        centre = float(losses[arm].mean())
        rest = np.where(arm, losses - centre, 0.0)
        count = np.maximum(np.cumsum(arm), 1)
        squares += np.cumsum(rest * rest) - np.cumsum(rest) ** 2 / count
    freedom = np.maximum(np.arange(1, len(losses) + 1) - 2, 1)
    # What rounding left of a variance of nothing is nothing.
    tiny = np.finfo(np.float64).eps * 100 * float((losses * losses).mean())
    within: Floats = squares / freedom
    within[within <= tiny] = 0.0
    return within


def _likeness(rest: Floats, groups: npt.NDArray[np.generic]) -> float:
    """How much more the sum varies since the answers of a group are alike; 1 at least."""
    _, places = np.unique(groups, return_inverse=True)
    together = np.bincount(places, weights=rest)
    alone = float((rest * rest).sum())
    return max(1.0, float((together * together).sum()) / alone) if alone > 0 else 1.0


def _means_before(losses: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """The mean loss of the chosen answers before each; of all answers where none was chosen yet.

    Of the first answer it is its own loss, so that it says nothing, whatever the losses' zero is.
    """
    sums = np.cumsum(np.where(chosen, losses, 0.0))
    counts = np.cumsum(chosen)
    before_sums = np.concatenate([[0.0], sums[:-1]])
    before = np.concatenate([[0], counts[:-1]])
    all_sums = np.concatenate([losses[:1], np.cumsum(losses)[:-1]])
    places = np.maximum(np.arange(len(losses)), 1)
    means: Floats = np.where(before > 0, before_sums / np.maximum(before, 1), all_sums / places)
    return means
