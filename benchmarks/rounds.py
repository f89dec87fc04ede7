"""Rounds: contenders measured in turns, so that a machine that is busy for a while is busy for all of them."""

import random
from collections.abc import Callable
from time import process_time

Contenders = dict[str, Callable[[], object]]


def measured(calls: Contenders, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Return microseconds a call, for each round; the first round warms up and is thrown away."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name in random.sample(list(calls), len(calls)):
            call = calls[name]
            began = process_time()
            for _ in range(repeats):
                call()
            times[name].append((process_time() - began) / repeats * 1e6)
    return {name: each[1:] for name, each in times.items()}
