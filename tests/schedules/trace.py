"""A schedule as a numbered list of steps, for a reader who has to find out what went wrong."""

import pickle
from collections.abc import Callable
from typing import Any

from cachedeco.storage.serializers import SERIALIZERS
from tests.schedules.world import START, World

DISTURBANCES: dict[str, Callable[[Any], str]] = {
    "evict": lambda key: f"the cache evicts {key}",
    "crash": lambda name: f"{name} is abandoned",
    "kill": lambda name: f"process {name} is killed",
    "interrupt": lambda name: f"{name} gets a signal",
    "cancel": lambda name: f"the task of {name} is cancelled",
    "doubt": lambda name: f"{name} loses its database",
    "fail": lambda name: f"{name} is told that the row can't be read",
    "poll": lambda seconds: f"time passes, to {seconds:.3f} s",
    "timeout": lambda seconds: f"time passes, to {seconds:.3f} s",
}


def told(world: World, scenario: str, seed: int | None) -> str:
    """Return what was seen, and the steps that led there."""
    thrown = "" if seed is None else f", seed {seed}"
    lines = [f"{number:3}. {_line(*step)}" for number, step in enumerate(world.trace, 1)]
    text = "\n".join([f"{scenario}{thrown}: {world.violation}", *lines])
    return text.replace("schedules.", "")  # of the functions' names


def _line(who: str, what: tuple[object, ...], result: object) -> str:
    name, *about = what
    if who == "*":
        return f"   * {DISTURBANCES[str(name)](about[0])}"
    gives = "" if result is None else f" -> {shown(result)}"
    return f"{who:4} {name} {', '.join(shown(each) for each in about)}{gives}"


def shown(what: object) -> str:
    """Return a text for what is sent or found: tokens by their names, entries by their values."""
    if isinstance(what, bytes):
        return _shown_bytes(what)
    if isinstance(what, dict):
        return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in what.items()) + "}" if what else "nothing"
    if isinstance(what, tuple):
        return "(" + " ".join(shown(each) for each in what) + ")"
    if isinstance(what, float) and what > START / 2:
        return f"{what - START:.3f} s"
    return str(what)


def _shown_bytes(what: bytes) -> str:
    if what.startswith(pickle.PROTO):
        kind = "entry" if what.endswith(SERIALIZERS["pickle"].format_id) else "value"
        return f"{kind} {pickle.loads(what)}"  # noqa: S301 -- the explorer's own
    return what.decode("ascii", "replace").rstrip(".")
