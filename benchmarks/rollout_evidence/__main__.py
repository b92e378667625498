"""`python -m benchmarks.rollout_evidence [--part P] [--rollouts N] [--tests N]`: sure, and when?

traffic   stages of 5 % and of 50 %, looked at after every 50 requests: how often a candidate is
          failed, on how many of its requests; and a healthy one passed
errors    the same of errors alone, looked at after each of 100,000 requests
labels    A/A and planted differences, looked at after every 50 labels, beside a t-test
"""

import argparse
import math

import numpy as np
from scipy.special import betaln, xlog1py, xlogy

from benchmarks.rollout_evidence.simulated_labels import look_often
from benchmarks.rollout_evidence.simulated_traffic import Behaviour, Draw, run_stage
from ferryman.rollout import rates
from ferryman.rollout.significance import FAIL, LEAST_ERRORS, LEAST_REQUESTS

REQUESTS = 10_000


def seconds(median: float) -> Draw:
    return lambda random, count: random.lognormal(math.log(median), 0.5, count)


def scores(a: float, b: float, shift: float = 0.0) -> Draw:
    return lambda random, count: random.beta(a, b, count) + shift


def constant(_: np.random.Generator, count: int) -> np.ndarray:
    return np.full(count, 0.3)


HEALTHY = Behaviour(0.0, seconds(0.005), scores(2, 5))
ERRING = Behaviour(0.03, seconds(0.005), scores(2, 5))
# Against beta(2, 5) a shift by 0.168 is a distance of 0.40, by 0.041 one of 0.10.
TRUTHS = {
    "healthy": (HEALTHY, HEALTHY),
    "healthy, both 3 % errors": (ERRING, ERRING),
    "healthy, shifted by 0.10": (HEALTHY, Behaviour(0, seconds(0.005), scores(2, 5, 0.041))),
    "errors 0.5 %": (HEALTHY, Behaviour(0.005, seconds(0.005), scores(2, 5))),
    "errors 2 %": (HEALTHY, Behaviour(0.02, seconds(0.005), scores(2, 5))),
    "errors 10 %": (HEALTHY, Behaviour(0.1, seconds(0.005), scores(2, 5))),
    "errors 100 %": (HEALTHY, Behaviour(1.0, seconds(0.005), scores(2, 5))),
    "latency 1.2 times": (HEALTHY, Behaviour(0, seconds(0.006), scores(2, 5))),
    "latency 2 times": (HEALTHY, Behaviour(0, seconds(0.010), scores(2, 5))),
    "latency 10 times": (HEALTHY, Behaviour(0, seconds(0.050), scores(2, 5))),
    "constant": (HEALTHY, Behaviour(0, seconds(0.005), constant)),
    "shifted by 0.40": (HEALTHY, Behaviour(0, seconds(0.005), scores(2, 5, 0.168))),
}


def traffic(rollouts: int) -> None:
    print("share  truth                       failed   on (median, 90 %)   passed   on (median)")
    for weight in (0.05, 0.5):
        for name, (champion, candidate) in TRUTHS.items():
            ends = [
                run_stage(champion, candidate, weight=weight, requests=REQUESTS, seed=seed)
                for seed in range(rollouts)
            ]
            failed = [end.requests for end in ends if end.outcome == "failed"]
            asked = [
                run_stage(
                    champion,
                    candidate,
                    weight=weight,
                    requests=REQUESTS,
                    seed=seed,
                    until_passed=True,
                )
                for seed in range(rollouts)
            ]
            passed = [end.requests for end in asked if end.outcome == "passed"]
            print(
                f"{weight:4.0%}   {name:26}  {len(failed) / rollouts:6.1%}   "
                f"{at(failed, 50):>6} {at(failed, 90):>6}       "
                f"{len(passed) / rollouts:6.1%}   {at(passed, 50):>6}",
                flush=True,
            )


def at(counts: list[int], percent: float) -> str:
    return f"{np.percentile(counts, percent):.0f}" if counts else "-"


def errors(rollouts: int) -> None:
    """The rule of `rates.increase_proof` in arrays, with a look at each request."""
    print("\nerrors alone, looked at after each of 100,000 requests: failed")
    for weight in (0.05, 0.5):
        for rate in (0.001, 0.01, 0.1):
            random = np.random.default_rng(7)
            failed = sum(_ever_failed(random, rate, weight) for _ in range(rollouts))
            print(f"{weight:4.0%}   both {rate:.1%}   {failed / rollouts:.2%}", flush=True)


def _ever_failed(random: np.random.Generator, rate: float, weight: float) -> bool:
    arm, wrong = random.random(100_000) < weight, random.random(100_000) < rate
    n1, x1 = np.cumsum(arm), np.cumsum(arm & wrong)
    n0, x0 = np.cumsum(~arm), np.cumsum(~arm & wrong)
    ours, theirs = rates.CANDIDATE, rates.CHAMPION
    mixture = betaln(ours[0] + x1, ours[1] + n1 - x1) - betaln(*ours)
    mixture += betaln(theirs[0] + x0, theirs[1] + n0 - x0) - betaln(*theirs)
    together = (x1 + x0) / (n1 + n0)
    null = xlogy(x1 + x0, together) + xlog1py(n1 + n0 - x1 - x0, -together)
    increase = x1 / np.maximum(n1, 1) - x0 / np.maximum(n0, 1)
    # Without the further demand that the increase is likely beyond its limit: fails no less often.
    proven = (mixture - null >= math.log(1 / FAIL)) & (increase > 0.01)
    return bool((proven & (n1 >= LEAST_REQUESTS) & (x1 >= LEAST_ERRORS)).any())


def labels(tests: int) -> None:
    print("\nshare  loss         difference   ever claimed   by a t-test   labels (median)")
    for share in (0.05, 0.5):
        for loss, differences in (
            ("brier", (0.0, 0.02, 0.05)),
            ("log_loss", (0.0, 0.1, 0.25)),
            ("wrong_class", (0.0, 0.02, 0.05)),
        ):
            for difference in differences:
                some = tests if difference == 0 else max(1, tests // 10)
                seen = look_often(loss, difference, share=share, tests=some)
                median = f"{seen.median:.0f}" if math.isfinite(seen.median) else "-"
                print(
                    f"{share:4.0%}   {loss:11}  {difference:10g}   {seen.always_valid:12.1%}   "
                    f"{seen.naive:11.1%}   {median:>6}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=100)
    parser.add_argument("--tests", type=int, default=2000)
    parser.add_argument("--part", choices=("traffic", "errors", "labels"))
    asked = parser.parse_args()
    if asked.part in (None, "traffic"):
        traffic(asked.rollouts)
    if asked.part in (None, "errors"):
        errors(asked.rollouts * 5)
    if asked.part in (None, "labels"):
        labels(asked.tests)


if __name__ == "__main__":
    main()
