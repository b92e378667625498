"""The training graph as one plain Python script, in a new interpreter: the cold yardstick."""

import sys
import time

START = time.perf_counter()


def main(model: str, run_id: str, cutoff: str) -> None:
    from ferryman.catalog import find_model
    from ferryman.settings import load_settings
    from ferryman.steps.journey import Journey

    settings = load_settings()
    journey = Journey(settings, find_model(settings.zoo, model))
    before = time.perf_counter()
    for result in journey.run("training", run_id=run_id, params={"cutoff": cutoff}):
        now = time.perf_counter()
        print(f"{result.step} {now - before:.3f}")
        before = now


if __name__ == "__main__":
    main(*sys.argv[1:])
