"""
The commonest mistakes of the first days: what is typed, when it is told, and what is said.

Those that issue trackers of other decorators are full of, and those that a new user made who was watched. A message
says what was given, what is accepted, and what to do next.
"""

import logging
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.test import RequestFactory, override_settings

import cachedeco
from cachedeco.testing import isolated
from tests.models import Club, ClubClass

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_auto_by_default")]

WITHOUT_APP = [app for app in django_settings.INSTALLED_APPS if not app.startswith("cachedeco")]
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
DUMMY = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}

Told = Literal["decoration", "call", "check", "log"]


class Mistake(NamedTuple):
    """What is typed in a module, what is typed to use it, when it is told, and the essential words."""

    typed: str
    used: str
    told: Told
    says: str
    settings: dict[str, Any] = {}  # noqa: RUF012 -- it is never written to
    isolates: bool = True


FUNCTION = "@cached_query(60)\ndef classes(club_id):\n    return list(ClubClass.objects.filter(club=club_id))"
OF_ROW = "@cached_query(60)\ndef classes(club):\n    return list(ClubClass.objects.filter(club=club))"

MISTAKES = {
    # --- settings ---
    "the app is missing": Mistake(
        FUNCTION,
        "",
        "decoration",
        r"classes\(\) depends on the tables that it reads, .*: add 'cachedeco' to INSTALLED_APPS\. .* depends_on=\(\)",
        {"INSTALLED_APPS": WITHOUT_APP},
    ),
    "the app is missing, and models are named": Mistake(
        "@cached_query(depends_on=[ClubClass])\ndef classes(club_id): ...",
        "",
        "decoration",
        r"classes\(\) needs the app, which watches what is written: add 'cachedeco' to INSTALLED_APPS",
        {"INSTALLED_APPS": WITHOUT_APP},
    ),
    "a setting is misspelt": Mistake(
        "",
        "",
        "check",
        r"E001\) CACHEDECO has no setting 'TIMEOUTS'; did you mean 'TIMEOUT'\?",
        {"CACHEDECO": {"TIMEOUTS": 60}},
    ),
    "a mode is misspelt": Mistake(
        "",
        "",
        "check",
        r"E001\) CACHEDECO\['MODE'\]: the mode is 'of'; it takes one of 'on', 'bypass', 'off'",
        {"CACHEDECO": {"MODE": "of"}},
    ),
    "the dict of settings is misspelt": Mistake(
        "", "", "check", "W015.* CACHE_DECO, which nothing reads.*Write CACHEDECO", {"CACHE_DECO": {"MODE": "off"}}
    ),
    "a module of functions is misspelt": Mistake(
        "",
        "",
        "check",
        r"W016\) CACHEDECO\['MODULES'\] names 'querys', and no installed app has .*Correct it, or leave it out",
        {"CACHEDECO": {"MODULES": ["querys"]}},
    ),
    "memory of one process in production": Mistake(
        "",
        "",
        "check",
        r"W008\) Cache 'default' is this process's own: an invalidation reaches no other .*Use memcached, Redis",
        {"CACHES": LOCMEM},
    ),
    "a DummyCache in production": Mistake(
        "",
        "",
        "check",
        r"W008\) Cache 'default' is a DummyCache, which keeps nothing: each call computes.*Use .*'MODE': 'off'",
        {"CACHES": DUMMY},
    ),
    # --- the decorator ---
    "a timeout as text": Mistake(
        "@cached_query('1h')\ndef classes(club_id): ...",
        "",
        "decoration",
        r"cached_query\('1h'\): a positional argument is a timeout, in seconds or as a timedelta",
    ),
    "an option is misspelt": Mistake(
        "@cached_query(timout=60)\ndef classes(club_id): ...",
        "",
        "decoration",
        r"cached_query\(\) has no option 'timout'; did you mean 'timeout'\?",
    ),
    "an option of another library": Mistake(
        "@cached_query(ttl=60)\ndef classes(club_id): ...",
        "",
        "decoration",
        r"cached_query\(\) has no option 'ttl'; here it is timeout=",
    ),
    "an option of another library that looks like one of ours": Mistake(
        "@cached_query(60, cache_alias='slow')\ndef classes(club_id): ...",
        "",
        "decoration",
        r"cached_query\(\) has no option 'cache_alias'; here it is cache=",
    ),
    "a model in the place of the timeout": Mistake(
        "@cached_query(ClubClass, timeout=60)\ndef classes(club_id): ...",
        "",
        "decoration",
        r"can't decorate <class .*ClubClass'>; .* What it reads invalidates it by itself; .* depends_on=\[ClubClass\]",
    ),
    "a QuerySet in the place of the timeout": Mistake(
        "@cached_query(ClubClass.objects.all())\ndef classes(club_id): ...",
        "",
        "decoration",
        r"QuerySet object>\): a positional argument is a timeout, .* by name, as in .*depends_on=\[",
    ),
    "a key without the parameter": Mistake(
        "@cached_query(key='club_page_classes')\ndef classes(club): ...",
        "",
        "decoration",
        r"classes\(\) takes 'club', which its key never looks at: .* would share one entry. Put it into key=",
    ),
    "a key with another parameter": Mistake(
        "@cached_query(key='{club.pk}')\ndef classes(club_id): ...",
        "",
        "decoration",
        r"key= has the field \{club.pk\}, but .*classes\(\) takes no 'club'; it has club_id",
    ),
    "a key with an attribute that is not there": Mistake(
        "@cached_query(key='{club.id_}')\ndef classes(club): ...",
        "classes(club)",
        "call",
        r"key='\{club.id_\}' of .*\(\) can't read \{club.id_\}: 'Club' object has no attribute 'id_'; correct it",
    ),
    "a value from the function around it": Mistake(
        "def make(language):\n    @cached_query\n    def classes(club_id):\n        return language\nmake('nl')",
        "",
        "decoration",
        r"reads 'language' from the function around it, .* Make it a parameter, or say vary=",
    ),
    "a lambda": Mistake(
        "classes = cached_query(60)(lambda club_id: [])",
        "",
        "decoration",
        r"A lambda has no name .* say name=, or write a def",
    ),
    "a generator": Mistake(
        "@cached_query(60)\ndef classes(club_id):\n    yield 1",
        "",
        "decoration",
        r"classes\(\) is a generator: its values can be used only once. Return a list",
    ),
    "a property below": Mistake(
        "class Page:\n    @cached_query\n    @property\n    def classes(self): ...",
        "",
        "decoration",
        r"can't decorate <property object>; .* Put @property above it",
    ),
    "a classmethod above": Mistake(
        "class Page:\n    @classmethod\n    @cached_query\n    def classes(cls): ...",
        "Page.classes()",
        "call",
        r"Page.classes\(\) is under @classmethod, .* Swap the two: @cached_query above @classmethod",
    ),
    "a view": Mistake(
        "from django.views.generic import TemplateView\npage = cached_query(60)(TemplateView.as_view())",
        "",
        "decoration",
        r"TemplateView is a view: its response has cookies .* let a function return the data, .* cache_page\(\)",
    ),
    "many ids without over": Mistake(
        "@cached_query_many(timeout=60)\ndef classes(ids): ...",
        "",
        "decoration",
        r"cached_query_many\(timeout=60\) takes all by name, .*@cached_query_many\(over='ids', timeout=60\)",
    ),
    "a model that does not exist": Mistake(
        "@cached_query(depends_on=['tests.ClubKlass'])\ndef classes(club_id): ...",
        "",
        "decoration",
        r"depends_on= of .*classes\(\): 'tests.ClubKlass' names no model: App 'tests' doesn't have a 'ClubKlass' model",
    ),
    # --- the call ---
    "a request as an argument": Mistake(
        "@cached_query(60)\ndef classes(request, club_id): ...",
        "classes(RequestFactory().get('/'), 1)",
        "call",
        r"Can't encode <.*WSGIRequest object> \(request of .*\(\)\) .* let a function take .* request.user.pk",
    ),
    "a response as the value": Mistake(
        "from django.http import HttpResponse\n@cached_query(60)\ndef page(club_id):\n    return HttpResponse()",
        "page(1)",
        "call",
        r"page\(\) returned an HttpResponse, which has cookies .* let a function return the data, .* cache_page\(\)",
    ),
    "a row that is not saved": Mistake(
        OF_ROW,
        "classes(Club(name='new'))",
        "call",
        r"Can't encode <tests.models.Club object> \(club of .*\) in a cache key; it is not saved, .*: save it",
    ),
    "a row that is not saved, in a template": Mistake(
        "@cached_query(key='{club.pk}')\ndef classes(club): ...",
        "classes(Club(name='new'))",
        "call",
        r"Can't encode <tests.models.Club object> \(club.pk of .*\) in a cache key; it is not saved, .*: save it\.$",
    ),
    "a QuerySet as an argument": Mistake(
        "@cached_query\ndef names(clubs): ...",
        "names(Club.objects.all())",
        "call",
        r"Can't encode a QuerySet \(clubs of .*\) in a cache key; pass what selects the rows",
    ),
    "an object as an argument": Mistake(
        "class Tariff:\n    @cached_query\n    def price(self): ...",
        "Tariff().price()",
        "call",
        r"Can't encode <.*Tariff object> \(self of .*Tariff.price\(\)\) .* a __cache_key__ method, or pass key=; or "
        r"say ignore=\('self',\) if it does not change the value",
    ),
    "a value that can be used once": Mistake(
        "@cached_query\ndef names(number):\n    return map(str, range(number))",
        "names(3)",
        "call",
        r"names\(\) returned <map object>, which can be used only once; return a list",
    ),
    "a value that can't be stored": Mistake(
        "@cached_query(depends_on=())\ndef names(number):\n    return lambda: number",
        "names(3)",
        "log",
        r"The value can't be stored, .* so that each call computes; return plain data",
    ),
    "a cache that is not there": Mistake(
        "@cached_query(cache='fast')\ndef classes(club_id): ...",
        "classes(1)",
        "call",
        r"classes\(\) has cache='fast', which is not in CACHES. It takes one of .*: default",
    ),
    "a database that is not there": Mistake(
        "@cached_query(using='replica')\ndef classes(club_id): ...",
        "classes(1)",
        "call",
        r"classes\(\) has using='replica', which is not in DATABASES. It takes one of default, other",
    ),
    "an async call without await": Mistake(
        "@cached_query\nasync def classes(club_id):\n    return []",
        "call = classes(1)\ntry:\n    call[0]\nfinally:\n    call.close()",
        "call",
        r"'coroutine' object is not subscriptable",
    ),
    "a refresh that would have to await": Mistake(
        "@cached_query\nasync def classes(club_id): ...",
        "classes.refresh(1)",
        "call",
        r"classes\(\) is async, and refresh\(\) would have to await it: use arefresh\(\)",
    ),
    "one id where many are asked for": Mistake(
        "@cached_query_many(over='ids')\ndef classes(ids):\n    return {}",
        "classes(1)",
        "call",
        r"classes\(\) got ids=1; it takes a collection of ids: \[1\]",
    ),
    # --- the verbs ---
    "an invalidation without arguments": Mistake(
        FUNCTION,
        "classes.invalidate()",
        "call",
        r"missing 1 required positional argument: 'club_id'; invalidate\(\) takes the arguments .* invalidate_all\(\)",
    ),
    "an invalidation by the key for the row": Mistake(
        OF_ROW,
        "classes(club)\nclasses.invalidate(club.pk)",
        "log",
        r"classes\(\): invalidate\(\) got club as int, and .* each key has had tests.Club .*: pass what the calls pass",
    ),
    "a namespace in one piece": Mistake(
        "@cached_query(namespace='club:{club_id}')\ndef classes(club_id): ...",
        "classes(1)\nNamespace('club:1').invalidate()",
        "log",
        r"':' inside one part .* reaches nothing of .*: pass each part by itself",
    ),
    "a refresh by django-cache-memoize's keyword": Mistake(
        FUNCTION,
        "classes(1, _refresh=True)",
        "call",
        r"got an unexpected keyword argument '_refresh'; to compute anew and store, call its refresh\(\)",
    ),
    "a verb of lru_cache": Mistake(
        FUNCTION, "classes.cache_clear()", "call", r"no attribute 'cache_clear'; it has invalidate_all\(\)"
    ),
    "a verb of Django's caches": Mistake(
        FUNCTION, "classes.delete(1)", "call", r"no attribute 'delete'; it has invalidate\(\)"
    ),
    "results gathered in the place of calls": Mistake(
        FUNCTION, "gather(classes(1))", "call", r"gather\(\) got an object of list; it takes calls, gather\(f.call\(7\)"
    ),
    # --- tests ---
    "a test without the kit": Mistake(
        FUNCTION,
        "from cachedeco.testing import assert_hits\nwith assert_hits(classes, 1):\n    classes(1), classes(1)",
        "call",
        r"0 hits of .*classes, 1 expected.*inside a TestCase whose caches are not isolated",
        isolates=False,
    ),
    "a test that meets what was stored before it": Mistake(
        "@cached_query(depends_on=())\ndef classes(club_id): ...",
        "from cachedeco.testing import assert_hits\nclasses(1)\nwith assert_hits(classes, 1):\n    classes(1)",
        "call",
        r"was served an entry from before the block, and nothing isolates the caches: .* cachedeco_tests = isolated",
        isolates=False,
    ),
    "a test of a cache that keeps nothing": Mistake(
        "@cached_query(depends_on=())\ndef classes(club_id): ...",
        "from cachedeco.testing import assert_hits\nwith assert_hits(classes, 1):\n    classes(1), classes(1)",
        "call",
        r"0 hits of .*classes, 1 expected.*Cache 'default' is a DummyCache",
        {"CACHES": DUMMY},
    ),
    "a block without parentheses": Mistake(
        "", "with bypass:\n    pass", "call", r"`with bypass:` needs parentheses: `with bypass\(\):`"
    ),
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module of a site, with what its head imports."""
    module = ModuleType("mistaken")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update({name: getattr(cachedeco, name) for name in cachedeco.__all__})
    vars(module).update(Club=Club, ClubClass=ClubClass, RequestFactory=RequestFactory)
    vars(module).update(club=Club.objects.create(name="North"))
    return module


def told(act: Callable[[], object]) -> str:
    """Return what an exception says; nothing where there is none."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 -- any is a finding
        return str(error)
    return ""


@pytest.mark.usefixtures("_nothing_advised")
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_told(mistake: Mistake, module: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """It is told where it is made, or at the first use; the message names what was given and what to do next."""
    caplog.set_level(logging.WARNING, "cachedeco")
    said: dict[Told, str] = {}

    with override_settings(DEBUG=True, **mistake.settings), isolated() if mistake.isolates else nullcontext():
        said["decoration"] = told(lambda: exec(mistake.typed, vars(module)))  # noqa: S102 -- from the table above
        said["call"] = said["decoration"] or told(lambda: exec(mistake.used, vars(module)))  # noqa: S102 -- as above
        if mistake.told == "check":
            found = run_checks(include_deployment_checks=True)
            said["check"] = "\n".join(f"{each} {each.hint}" for each in found if "cachedeco" in str(each.id))
    said["log"] = caplog.text

    assert re.search(mistake.says, said[mistake.told], re.DOTALL), said
    assert mistake.told == "decoration" or not said["decoration"]
    assert mistake.told in {"decoration", "call"} or not said["call"]


def test_commonest_are_in_the_table() -> None:
    """There are twenty and more, and a rule of each kind."""
    assert {"decoration", "call", "check", "log"} == {each.told for each in MISTAKES.values()}
    assert 20 <= len(MISTAKES)
