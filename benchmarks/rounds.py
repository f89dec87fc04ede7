"""Rounds: contenders measured in turns, so that a machine that is busy for a while is busy for all of them."""

import os
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import thread_time

Contenders = dict[str, Callable[[], object]]


def stay_on_one_processor() -> None:
    """
    Keep this process, and the servers that it starts from now on, on one processor, where the system can.

    A server on another processor sometimes answers before its client has gone to sleep, and sometimes has to be waked
    up first: that changes a hit by half, from one moment to the next. On one processor each read waits for its server,
    as it does for a server on another machine.
    """
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@contextmanager
def beside_the_servers() -> Generator[None]:
    """Keep this process off the processor of its servers, if there is another one: each works while the other does."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {*range(os.cpu_count() or 1)})  # those that this process may not use are left out
    os.sched_setaffinity(0, os.sched_getaffinity(0) - before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(
    calls: Contenders,
    rounds: int,
    repeats: int,
    weights: Mapping[str, int] | None = None,
    blocks: Mapping[str, Callable[[], AbstractContextManager[object]]] | None = None,
) -> dict[str, list[float]]:
    """
    Return microseconds of CPU a call, for each round; the first round warms up and is thrown away.

    Args:
        calls: What is measured, by name.

        rounds: How many rounds.

        repeats: How many calls of each in a round.

        weights: By name: how many usual calls one call of it counts as, where that is more than one.

        blocks: By name: what its calls run in, which is not measured itself.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name in random.sample(list(calls), len(calls)):
            call, number = calls[name], max(1, repeats // (weights or {}).get(name, 1))
            with (blocks or {}).get(name, nullcontext)():
                call()  # what has run before has left the caches of the processor to itself
                began = thread_time()
                for _ in range(number):
                    call()
                times[name].append((thread_time() - began) / number * 1e6)
    return {name: each[1:] for name, each in times.items()}
