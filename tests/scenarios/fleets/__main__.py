"""The program: `python -m tests.scenarios.fleets`."""

import json
import sys
import warnings
from typing import Any

import django
from django.conf import settings

from tests.scenarios.fleets.release import current


def name_of(value: Any) -> str:
    """Return the release that computed a value; a row has all fields that its model has here."""
    if isinstance(value, dict):
        return str(value["name"])
    missing = value.get_deferred_fields()
    return f"{value.name} without {missing}" if missing else str(value.name)


def main() -> None:
    """Be a process of the release until there are no more orders."""
    release = current()
    if release.patch:
        django.__version__ = release.patch
    settings.configure(
        CACHES=release.caches,
        CACHEDECO={"SIGNING_KEYS": list(release.signing_keys)},
        INSTALLED_APPS=["cachedeco", "tests.scenarios.fleets.apps.FleetsConfig"],
        SECRET_KEY="only for the tests",  # noqa: S106 -- it protects nothing
        USE_TZ=True,
    )
    django.setup()
    from cachedeco import MISSING, Event, Namespace, add_hook
    from tests.scenarios.fleets.functions import computed, player, players, team

    errors: list[str] = []

    def note(event: Event) -> None:
        if event.kind in {"error", "invalidation_delayed", "unstored"}:
            errors.append(f"{event.kind}: {event.reason} {event.error!r}")

    add_hook(note)
    orders: dict[str, Any] = {
        "call": lambda: [name_of(player(1)), *map(name_of, players([1, 2]).values()), name_of(team(1))],
        "peek": lambda: [player.peek(1) is not MISSING, len(players.peek([1, 2])), team.peek(1) is not MISSING],
        "invalidate calls": lambda: (player.invalidate(1), players.invalidate([1, 2])),
        "invalidate functions": lambda: (player.invalidate_all(), players.invalidate_all()),
        "invalidate namespace": Namespace("players").invalidate,
    }
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for line in sys.stdin:
            result = orders[line.strip()]()
            told = {
                "result": result,
                "computed": computed,
                "errors": errors,
                "warnings": [str(each) for each in warned],
            }
            print(json.dumps(told), flush=True)  # noqa: T201 -- the test listens


main()
