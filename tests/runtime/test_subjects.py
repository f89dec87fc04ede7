"""What an invalidation is of: for labels without arguments, and for people."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from cachedeco import Namespace, cached_query, rows
from cachedeco.runtime.subjects import Subject, subject_of
from tests.conftest import CacheConfig, UseCaches
from tests.models import Player
from tests.support.events import heard


@cached_query(
    300, name="subjects.page", namespace="club:{club}", depends_on=["auth.User", rows(Player, squad_id="{club}")]
)
def page(club: int) -> int:
    """Return what depends on all that there is."""
    return club


SUBJECTS: dict[Callable[[], object], Subject] = {
    lambda: page.invalidate(7): Subject("call", "subjects.page", "the call subjects.page(club=7)"),
    page.invalidate_all: Subject("function", "subjects.page", "the function subjects.page()"),
    Namespace("club", 7).invalidate: Subject("namespace", "club", "namespace club:7"),
    Namespace("club").invalidate: Subject("namespace", "club", "namespace club"),
    Namespace.for_model(User).invalidate: Subject("table", "auth_user", "table auth_user"),
    Namespace.for_model(Player, squad_id=7).invalidate: Subject(
        "rows", "tests_player", "rows of tests_player with squad_id 7"
    ),
}


@pytest.mark.parametrize("invalidate", SUBJECTS, ids=lambda each: SUBJECTS[each].text)
def test_invalidation_is_named(invalidate: Callable[[], object]) -> None:
    """Its kind and its name are of a closed list and of the code; the text has the arguments, too."""
    with heard("invalidated") as events:
        invalidate()

    assert SUBJECTS[invalidate] in [event.subject for event in events]


def hashed(key: str, *_: object) -> str:
    """Make a key of which nothing can be read."""
    return sha256(key.encode()).hexdigest()


def test_hashed_key_has_the_name_of_its_function(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Where a KEY_FUNCTION hashes keys, the function is known, and of a namespace the key."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=hashed))

    with heard("invalidated") as events:
        page.invalidate(7)
        Namespace("club", 7).invalidate()

    of_call, of_namespace = (event.subject for event in events)
    assert Subject("unknown", "subjects.page", "subjects.page") == of_call
    assert Subject("unknown", "", events[1].key) == of_namespace


def test_subject_is_known_while_the_settings_are_wrong() -> None:
    """An event of a process whose settings are being changed is named all the same."""
    with override_settings(CACHEDECO={"NONE": 1}):
        assert Subject("namespace", "club", "namespace club:7") == subject_of(":1:cd:n:club:7")
