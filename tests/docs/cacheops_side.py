"""What cacheops does, printed as JSON: a program of its own, since cacheops patches Django. It takes a Redis URL."""

import json
import sys
from collections.abc import Callable
from itertools import count
from threading import Thread
from typing import Any

import django
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "cacheops"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHEOPS_REDIS=sys.argv[1],
    CACHEOPS={"auth.group": {"ops": (), "timeout": 77}},
)
django.setup()

import cacheops.redis  # noqa: E402 -- the models need the setup
import cacheops.signals  # noqa: E402
from cacheops.conf import settings as settings_of_cacheops  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402

server = cacheops.redis.redis_client
number = count()


class Counted:
    """A function under a decorator of cacheops, and how often it has computed."""

    def __init__(self, decorator: Any, function: Callable[..., Any] | None = None) -> None:
        """Decorate a function, or one that returns its argument, under a name that is new: it is part of the key."""
        self.computed: list[Any] = []

        def counted(x: Any = None) -> Any:
            self.computed.append(x)
            return x if function is None else function()

        counted.__name__ = f"counted_{next(number)}"
        self.cached = decorator(counted)

    def computations(self, *calls: Callable[[Any], object]) -> int:
        """Make calls, and count how often they compute."""
        for call in calls:
            call(self.cached)
        return len(self.computed)


def after(write: Callable[[], object], sample: Any = Group, **options: Any) -> list[int]:
    """Count what a cached count of the groups called North gives before and after a write."""
    Group.objects.all().delete()
    Group.objects.create(pk=7, name="North")
    decorator = cacheops.cached_as(sample, timeout=300, **options)
    cached = Counted(decorator, lambda: Group.objects.filter(name="North").count()).cached
    return [cached(), (write(), cached())[1]]


def deleted() -> None:
    """Delete the group."""
    Group.objects.get().delete()


def written_past() -> None:
    """Rename the group by raw SQL."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_group SET name = 'Renamed' WHERE id = 7")


def timeouts() -> list[object]:
    """Tell how often two calls compute, and whether the timeouts are those that are given, none, and the profile's."""
    given, none = Counted(cacheops.cached(timeout=300)), Counted(cacheops.cached)
    of_profile = Counted(cacheops.cached_as(Group))
    before = set(server.keys())
    of_profile.cached(1)
    [of_profile_key] = [key for key in set(server.keys()) - before if key.startswith(b"as:")]
    computations = given.computations(lambda f: f(1), lambda f: f(1))
    none.cached(1)
    return [
        computations,
        200 < server.ttl(given.cached.key(1)) <= 300,
        server.ttl(none.cached.key(1)),
        70 < server.ttl(of_profile_key) <= 77,
    ]


def extra(decorator: Callable[..., Any]) -> int:
    """Count the computations of a call whose *extra* changes."""
    changing = count()
    return Counted(decorator(extra=lambda _: next(changing))).computations(lambda f: f(1), lambda f: f(1))


def key_verbs() -> list[object]:
    """Return what a call gives after `set()`, what `get()` and `delete()` give, and what a call gives after that."""
    counted = Counted(cacheops.cached(timeout=300))
    counted.cached.key(1).set(9)
    key = counted.cached.key(1)
    return [counted.cached(1), key.get(), key.delete(), counted.cached(1)]


def signals() -> list[str]:
    """Return the signals of a call and a save."""
    told: set[str] = set()
    read, invalidated = (lambda **_: told.add("cache_read")), (lambda **_: told.add("cache_invalidated"))
    cacheops.signals.cache_read.connect(read)
    cacheops.signals.cache_invalidated.connect(invalidated)
    after(deleted)
    return sorted(told)


def saved_meanwhile(**options: Any) -> list[int]:
    """Save a row while the function computes."""

    def slow() -> int:
        found = Group.objects.count()
        if not found:
            Group.objects.create(name="North")
        return found

    Group.objects.all().delete()
    cached = Counted(cacheops.cached_as(Group, timeout=300, **options), slow).cached
    return [cached(), cached()]


def second_caller() -> int:
    """Call from a second thread while the first one computes; count the computations."""
    others: list[Thread] = []

    def call_again() -> int:
        if not others:
            others.append(Thread(target=counted.cached, args=(1,)))
            others[0].start()
            others[0].join()
        return 1

    counted = Counted(cacheops.cached(timeout=300), call_again)
    counted.cached(1)
    return len(counted.computed)


def delete_while_off() -> None:
    """Delete the group while caching is switched off."""
    settings_of_cacheops.CACHEOPS_ENABLED = False
    deleted()
    settings_of_cacheops.CACHEOPS_ENABLED = True


async def coroutine_function() -> int:
    """Be async."""
    return 1


def raised_by(call: Callable[[], object]) -> str:
    """Return the class of what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 -- its class is the result
        return type(error).__name__
    return ""


def computations(*calls: Callable[[Any], object]) -> int:
    """Count the computations of calls of a function under `cached`."""
    return Counted(cacheops.cached(timeout=300)).computations(*calls)


call_command("migrate", verbosity=0)
down = cacheops.simple.RedisCache(redis.Redis(port=9))  # nothing listens there
json.dump(
    {
        "timeouts": timeouts(),
        "extra": [extra(cacheops.cached), extra(lambda **options: cacheops.cached_as(Group, **options))],
        "invalidate": computations(lambda f: f(1), lambda f: f.invalidate(1), lambda f: f(1)),
        "verbs of a key": key_verbs(),
        "a model as sample": after(deleted),
        "a QuerySet as sample": after(deleted, Group.objects.filter(name="North")),
        "a row as sample": after(deleted, Group(pk=7)),
        "invalidate_obj": after(lambda: (written_past(), cacheops.invalidate_obj(Group(pk=7, name="North")))),
        "invalidate_model": after(lambda: (written_past(), cacheops.invalidate_model(Group))),
        "invalidated_update": after(lambda: Group.objects.invalidated_update(name="South")),
        "signals": signals(),
        "update": after(lambda: Group.objects.update(name="South")),
        "raw SQL": after(written_past),
        "saved meanwhile": [saved_meanwhile(), saved_meanwhile(keep_fresh=True)],
        "second caller": second_caller(),
        "keyword": computations(lambda f: f(1), lambda f: f(x=1)),
        "list and tuple": computations(lambda f: f([1]), lambda f: f((1,))),
        "has invalidate": hasattr(Counted(cacheops.cached_as(Group)).cached, "invalidate"),
        "switched off": after(delete_while_off),
        "async": raised_by(lambda: Counted(cacheops.cached(timeout=300), coroutine_function).cached(1)),
        "Redis down": raised_by(lambda: Counted(down.cached(timeout=300)).cached(1)),
    },
    sys.stdout,
)
