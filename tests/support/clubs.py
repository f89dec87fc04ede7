"""Cached functions over the rows of Club, for the tests of commits."""

import gc

from cachedeco import cached_query
from cachedeco.invalidation import commits
from tests.models import Club


class Undone(Exception):  # noqa: N818 -- raised to leave a block, not for a fault
    """Leave an atomic block by rolling it back."""


@cached_query(namespace="club:{pk}")
def name_of(pk: int) -> str:
    """Return the name of a club."""
    return Club.objects.get(pk=pk).name


@cached_query(namespace="club")
def names() -> list[str]:
    """Return the names of all clubs."""
    return list(Club.objects.order_by("pk").values_list("name", flat=True))


@cached_query(using="other", namespace="elsewhere:{pk}")
def other_name_of(pk: int) -> str:
    """Return the name of a club in the other database."""
    return Club.objects.using("other").get(pk=pk).name


def rename(pk: int, name: str, *, using: str = "default") -> None:
    """Change a club's name, and invalidate nothing."""
    Club.objects.using(using).filter(pk=pk).update(name=name)


def made_club() -> int:
    """Make a club of the name "old" in both databases, call its functions once, and return its primary key."""
    club = Club.objects.create(name="old")
    Club.objects.using("other").create(pk=club.pk, name="old")
    assert ("old", ["old"], "old") == (name_of(club.pk), names(), other_name_of(club.pk))
    key: int = club.pk
    return key


def assert_nothing_waits() -> None:
    """Fail if something still waits for a commit."""
    if commits.waiting:  # what was rolled back may still be there, as garbage
        gc.collect()
    assert {} == commits.waiting
