"""`check_transparent` also calls with rows that are loaded anew: what a row held when it was passed may be old."""

from functools import partial

import pytest
from hypothesis import strategies as st

from cachedeco import cached_query
from cachedeco.testing import call, check_transparent
from cachedeco.testing.histories import _loaded_anew
from tests.models import Club
from tests.testing.checks import quickly

pytestmark = pytest.mark.django_db


def rename(pk: int) -> None:
    """Change a row that a test may have loaded."""
    club = Club.objects.get(pk=pk)
    club.name += "!"
    club.save()


def test_function_that_reads_more_of_a_row_than_its_key_is_found() -> None:
    """It stores what the row held before the write, and serves it to who passes the row as it is now."""
    club = Club.objects.create(name="Judo")

    @cached_query(name="tests.anew.title", key="{club.pk}", depends_on=[Club])
    def title(club: Club) -> str:
        return club.name

    with pytest.raises(AssertionError, match="differs from the plain function"):
        check_transparent(title, st.just(call(club)), mutate=partial(rename, club.pk), settings=quickly)


def test_function_that_fetches_by_the_key_is_right() -> None:
    """What is fetched inside is read after the token."""
    club = Club.objects.create(name="Judo")

    @cached_query(name="tests.anew.fetched", key="{club.pk}", depends_on=[Club])
    def fetched(club: Club) -> str:
        return Club.objects.get(pk=club.pk).name

    check_transparent(fetched, st.just(call(club=club)), mutate=partial(rename, club.pk), settings=quickly)


def test_row_that_is_gone_is_not_loaded() -> None:
    """Nor is one that was never saved, and a call without rows is as it is."""
    club = Club.objects.create(name="Judo")
    Club.objects.all().delete()

    assert [None, None, None] == [_loaded_anew(call(row)) for row in (club, Club(name="new"), 7)]
