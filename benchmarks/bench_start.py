"""
What does a process pay for cachedeco before its first hit: the import, a thousand decorations, and their first calls?

    python benchmarks/bench_start.py [--rounds 9] [--functions 1000] [--tree DIR] [--results FILE]

CPU time of a process, user and system, a new one for each round: milliseconds for an import, microseconds for a
function. The imports begin where Django is set up without the app; the first round, in which Python may compile the
modules, is thrown away. A first call computes and stores, so beside it stands a second miss of the same functions; what
is over that is the price of being first. The functions of one form differ in nothing but the name, as pages that were
written alike, so that the source of their keys is compiled once; those of "each its own" have a parameter name each,
and so nothing in common. All on Django's LocMemCache.

`--tree` measures another checkout, for example one that `git worktree add DIR COMMIT` has made. Prints what was
measured, and with which spread; it judges nothing, and is no part of the tests.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any, Final, NamedTuple

import results

ROOT: Final = Path(__file__).parent.parent


class Form(NamedTuple):
    """How functions are written and decorated."""

    parameters: str  #: with the number of the function as {n}
    options: dict[str, Any]
    model: bool = False  #: whether they depend on a model


FORMS: Final = {
    "plain": Form("club, page=1", {}),
    "key": Form("club, page=1", {"key": "{club.pk}:{page}"}),
    "namespace": Form("club, page=1", {"namespace": "club:{club.pk}"}),
    "depends_on": Form("club, page=1", {}, model=True),
    "all three": Form("club, page=1", {"key": "{club.pk}:{page}", "namespace": "club:{club.pk}"}, model=True),
    "each its own": Form("club, page{n}=1", {"namespace": "club:{club.pk}"}),
}
STEPS: Final = ("decorate", "first call", "second miss")


def spent(work: Callable[[], object]) -> float:
    """Return the seconds of CPU that some work takes."""
    began = process_time()
    work()
    return process_time() - began


def module_of(name: str, parameters: str, functions: int) -> ModuleType:
    """Return a module with functions, as an import would make it."""
    lines = [f"def rows{n}({parameters.format(n=n)}): return [1, 2]" for n in range(functions)]
    module = sys.modules[name] = ModuleType(name)
    exec(compile("\n".join(lines), f"/srv/{name}.py", "exec"), module.__dict__)  # noqa: S102 -- the lines above
    return module


def measure_import() -> dict[str, float]:
    """Return the seconds of the imports, in a process that has not imported cachedeco."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    )
    django.setup()
    from django.core.cache import cache

    cache.get("opened")

    def alone() -> None:
        import cachedeco  # noqa: F401

    def decorator() -> None:
        from cachedeco import cached_query  # noqa: F401

    return {"import cachedeco": spent(alone), "from cachedeco import cached_query": spent(decorator)}


def measure_functions(functions: int) -> dict[str, list[float]]:
    """Return the seconds of each step, for each form."""
    import django
    from django.conf import settings

    locmem = "django.core.cache.backends.locmem.LocMemCache"
    settings.configure(
        CACHES={"default": {"BACKEND": locmem, "OPTIONS": {"MAX_ENTRIES": 1_000_000}}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cachedeco"],
    )
    django.setup()
    from django.contrib.auth.models import Group

    from cachedeco import cached_query

    first, second = Group(pk=7), Group(pk=8)
    for group in (first, second):
        group._state.adding, group._state.db = False, "default"
    found = {}
    # In another order each time: what comes later has more objects around, at which the garbage collector looks.
    for name, form in [("warming up", FORMS["plain"]), *random.sample([*FORMS.items()], len(FORMS))]:
        module = module_of(f"shop_{name.replace(' ', '_')}", form.parameters, functions)
        plain = [*vars(module).items()]
        plain = [(key, each) for key, each in plain if callable(each)]
        options = {"timeout": 60, "depends_on": [Group] if form.model else [], **form.options}

        def decorate(
            module: ModuleType = module,
            plain: list[tuple[str, Any]] = plain,
            options: dict[str, Any] = options,
        ) -> None:
            for key, each in plain:
                setattr(module, key, cached_query(**options)(each))

        def call(group: Group, module: ModuleType = module, plain: list[tuple[str, Any]] = plain) -> None:
            for key, _ in plain:
                getattr(module, key)(group)

        found[name] = [spent(decorate), spent(lambda: call(first)), spent(lambda: call(second))]
    return {name: found[name] for name in FORMS}


def in_a_process(tree: Path, *arguments: str) -> dict[str, Any]:
    """Return what this file measures in a process of its own, with the package of a checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 -- this file
        [sys.executable, __file__, *arguments],
        check=True,
        env={**environment, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
    )
    return dict(json.loads(done.stdout))


def rows_of(tree: Path, functions: int) -> Iterator[tuple[str, float]]:
    """Yield what one round has measured, by the name of its line: in the unit of that line."""
    for what, seconds in in_a_process(tree, "--child", "0").items():
        yield f"{what}, ms", seconds * 1e3
    for form, several in in_a_process(tree, "--child", str(functions)).items():
        for step, seconds in zip(STEPS, several, strict=True):
            yield f"{step}: {form}, µs", seconds / functions * 1e6


def main() -> None:
    """Measure in rounds; or, as a child, once."""
    parser = results.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--tree", type=Path, default=ROOT, help="a checkout, if not that of this file")
    parser.add_argument("--child", type=int, help="measure once, for the process that has started this one")
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(measure_functions(options.child) if options.child else measure_import()))
        return
    conditions = results.conditions()
    print(f"{options.rounds} rounds of {options.functions} functions of each form, in {options.tree}")
    found: dict[str, list[float]] = {}
    for number in range(options.rounds + 1):
        for name, value in rows_of(options.tree.resolve(), options.functions):
            found.setdefault(name, []).extend([value] if number else [])
    spreads = {name: results.spread(each) for name, each in found.items()}
    print(f"\n{'':40}{'min':>9}{'median':>9}{'quartiles':>18}")
    for name, (low, middle, high) in spreads.items():
        print(f"{name:40}{min(found[name]):9.1f}{middle:9.1f}{f'{low:.1f} to {high:.1f}':>18}")
    record = {**conditions, "rounds": options.rounds, "functions": options.functions}
    results.record(options.results, "start", {**record, "start": spreads})


if __name__ == "__main__":
    main()
