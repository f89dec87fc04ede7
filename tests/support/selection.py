"""
Which tests run: all by default, at a length for each push; more with `--soak`, fewer with `--quick`. A pytest plugin.

A test whose parameters make a large product is marked `covering(2)`: it runs a covering array, as few combinations as
hold each pair of values of any two parameters, which finds what depends on one of them or on two. `covering(1)` runs
each value once, where the parameters have nothing to do with each other.

`--soak` runs whole products, what is marked `soak`, and as many examples as `of_length()` says. `--quick` leaves out
what needs a server, another process or more than a moment, and runs the folders of the core where the command line
names none: for while one works. A test that it has not left out, and that starts a process, fails.
"""

import os
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from itertools import combinations
from types import FunctionType

import pytest

Combination = dict[str, int]

# What tests call the caches of the door `backends`.
OURS = {"ours", "our redis", "our-redis"}

# What `--quick` runs where no path is given: tests that need no door.
CORE = ("functions", "house", "invalidation", "keys", "loading", "runtime", "storage", "tracking")

# What a test that needs a server asks for.
SERVERS = {
    "memcached_server",
    "postgresql_server",
    "private_memcached",
    "private_redis",
    "redis_server",
    "server",
    "shared_kind",
    "wire",
}
IN_MEMORY = {"locmem", "faulty", "dummy"}
# Among parameters of any name.
ON_SERVERS = OURS | {"memcached", "redis", "postgresql", "mariadb"}

# Helpers that start processes; what they are called in a module of tests does not matter.
STARTING = {"tests.support.postgres", "tests.support.programs"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--soak", action="store_true", help="run whole products, soaks, and many more examples")
    parser.addoption("--quick", action="store_true", help="run what needs neither a server nor another process")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and tell modules that are imported later how long to be."""
    config.addinivalue_line("markers", "covering(strength): run combinations that hold each tuple of so many values")
    config.addinivalue_line("markers", "soak: run with --soak only")
    config.addinivalue_line("markers", "slow: leave out with --quick")
    if config.getoption("quick"):
        sys.addaudithook(refuse_processes)
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            config.args = [f"tests/{folder}" for folder in CORE]
    if config.getoption("soak"):
        os.environ["CACHEDECO_SOAK"] = "1"


def of_length(usual: int, soak: int) -> int:
    """Return how many examples, seeds or rounds to run."""
    return soak if "CACHEDECO_SOAK" in os.environ else usual


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the options, or their absence, leave out."""
    left_out = set[pytest.Item]()
    if not config.getoption("soak"):
        left_out = {item for item in items if item.get_closest_marker("soak")}
        left_out |= _covered_by_others([item for item in items if item not in left_out])
    if config.getoption("quick"):
        left_out.update(item for item in items if not is_quick(item))
    if find_spec("cachedeco.backends") is None:  # the door was deleted, by scripts/without_doors.py
        left_out.update(item for item in items if _is_of_our_backend(item))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_of_our_backend(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    # By type first: some values refuse to be compared.
    return callspec is not None and any(isinstance(each, str) and each in OURS for each in callspec.params.values())


def is_quick(item: pytest.Item) -> bool:
    """Tell whether a test is one for `--quick`, as far as its module, its parameters and its fixtures tell."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    needs_server = (
        not SERVERS.isdisjoint(getattr(item, "fixturenames", ()))
        or params.get("backend", "locmem") not in IN_MEMORY
        or any(isinstance(each, str) and each in ON_SERVERS for each in params.values())
    )
    return not (_starts_processes(item) or needs_server or item.get_closest_marker("slow"))


def _starts_processes(item: pytest.Item) -> bool:
    names = vars(item.module) if isinstance(item, pytest.Function) else {}
    # By type first: a lazy object that is asked for its class may ask for an app.
    return any(
        each is subprocess or (issubclass(type(each), FunctionType | type) and each.__module__ in STARTING)
        for each in names.values()
    )


def refuse_processes(event: str, _arguments: object) -> None:
    """Refuse, as an audit hook, that a test starts a process: `--quick` would need what it says that it does not."""
    if event == "subprocess.Popen" and "PYTEST_CURRENT_TEST" in os.environ:
        pytest.fail("--quick starts no process: mark the test slow, or its parameters with what they need.")


def _covered_by_others(items: list[pytest.Item]) -> set[pytest.Item]:
    groups = defaultdict[tuple[str, int], list[pytest.Item]](list)
    for item in items:
        if marker := item.get_closest_marker("covering"):
            groups[item.nodeid.partition("[")[0], *marker.args].append(item)
    left_out = set[pytest.Item]()
    for (_, strength), group in groups.items():
        group.sort(key=lambda item: item.nodeid)  # each process of pytest-xdist chooses the same
        chosen = covering(_places_of_values([item.callspec.params for item in group]), strength)  # type: ignore[attr-defined]
        left_out.update(item for number, item in enumerate(group) if number not in chosen)
    return left_out


def _places_of_values(given: list[dict[str, object]]) -> list[Combination]:
    """Name each value by its place among those of its parameter. Values of one `parametrize` are the same objects."""
    places = defaultdict[str, dict[int, int]](dict)
    return [
        {name: places[name].setdefault(id(value), len(places[name])) for name, value in each.items()} for each in given
    ]


def covering(product: list[Combination], strength: int) -> set[int]:
    """Return the places of combinations that hold each tuple of so many values: greedily, the same ones each time."""
    held = [set(combinations(sorted(each.items()), min(strength, len(each)))) for each in product]
    order = sorted(range(len(held)), key=lambda number: sorted(product[number].items()))
    missing, chosen = set().union(*held), set[int]()
    while missing:
        best = max(order, key=lambda number: len(held[number] & missing))
        chosen.add(best)
        missing -= held[best]
    return chosen
