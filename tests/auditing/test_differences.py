"""Which values differ for the auditor: by what they hold, and not by how they came to be."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject

from cachedeco.storage.comparison import difference
from tests.auditing.conftest import TIMEOUT, Background, Told
from tests.loading.refreshing.conftest import Truth
from tests.models import Club, Member
from tests.support.sides import SYNC


class Page:
    """A value without an == of its own."""

    def __init__(self, **attributes: object) -> None:
        """Keep what it is told."""
        vars(self).update(attributes)


class Slim:
    """Another, without a dict."""

    __slots__ = ("rows",)

    def __init__(self, *rows: object) -> None:
        """Keep what it is told."""
        self.rows = rows


class Bag:
    """Another, that is pickled item by item."""

    def __init__(self, *rows: object) -> None:
        """Keep what it is told."""
        self.rows = rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Give the items for themselves."""
        return Bag, (), None, iter(self.rows)

    def extend(self, rows: list[object]) -> None:
        """Take the items."""
        self.rows = (*self.rows, *rows)


class Global:
    """One that is pickled by its name."""

    def __reduce__(self) -> str:
        """Give the name."""
        return "GLOBAL"


GLOBAL = Global()


class Unequal:
    """A value that can't be asked whether it is equal."""

    def __eq__(self, other: object) -> bool:
        """Refuse."""
        raise LookupError

    __hash__ = None  # type: ignore[assignment]


class Sport(Enum):
    """Values without an == of their own, of which there is one each."""

    JUDO = 1
    KARATE = 2


@dataclass
class Report:
    """A value with fields, one of which is of no account."""

    rows: object
    note: str = field(default="", compare=False)


def club(name: str = "Judo", **attributes: object) -> Club:
    """Return a row."""
    row = Club(pk=1, name=name)
    vars(row).update(attributes)
    return row


def set_of(*numbers: int) -> set[int]:
    """Return a set that is gone through in the order that its items came in: they share their places."""
    return set(numbers)


def circle(name: str) -> list[object]:
    """Return a list that holds itself."""
    items: list[object] = [name]
    items.append(items)
    return items


def audited(truth: Truth, later: Background, served: object, now: object) -> None:
    """Serve one value while the function returns another, and look twice."""
    truth.value = served
    read = truth.cached(SYNC, timeout=TIMEOUT)
    read(1)
    truth.value = now
    read(1)
    later.look()
    later.look()


@pytest.mark.parametrize(
    ("served", "now"),
    [
        (lambda: Page(kind="kind"), lambda: Page(kind=str(b"kind", "ascii"))),
        (lambda: Page(numbers=set_of(8, 0, 16)), lambda: Page(numbers=set_of(16, 8, 0))),
        (lambda: Page(numbers={1: 1, 2: 2}), lambda: Page(numbers={2: 2, 1: 1})),
        (lambda: Slim(set_of(8, 0, 16)), lambda: Slim(set_of(16, 8, 0))),
        (lambda: Bag(set_of(8, 0, 16)), lambda: Bag(set_of(16, 8, 0))),
        (lambda: GLOBAL, lambda: GLOBAL),
        (Unequal, Unequal),
        (lambda: [math.nan, {1: math.nan}], lambda: [float("nan"), {1: float("nan")}]),
        (lambda: {math.nan, 1.5, 2.5}, lambda: {2.5, float("nan"), 1.5}),
        (lambda: Counter("ab"), lambda: Counter("ba")),
        (lambda: OrderedDict(a=math.nan), lambda: OrderedDict(a=math.nan)),
        (lambda: Report(math.nan, "one"), lambda: Report(math.nan, "two")),
        (lambda: {club()}, lambda: {club()}),
        (lambda: SimpleLazyObject(club), lambda: SimpleLazyObject(club)),
        (lambda: Page(row=SimpleLazyObject(club)), lambda: Page(row=club())),
        (lambda: circle("one"), lambda: circle("one")),
        (lambda: club(annotated=1), club),
    ],
    ids=[
        "equal texts that are one object or two",
        "order of a set in an object",
        "order of a dict in an object",
        "slots",
        "items",
        "global",
        "no equality",
        "not a number",
        "set of not a number",
        "counter",
        "ordered",
        "field of no account",
        "set of rows",
        "lazy row",
        "lazy row in an object",
        "circle",
        "annotation",
    ],
)
def test_values_that_are_alike_accuse_no_call(
    later: Background, truth: Truth, told: Told, *, served: Callable[[], object], now: Callable[[], object]
) -> None:
    """Values that hold the same are the same, whether their class says so or not, and in any order."""
    audited(truth, later, served(), now())

    assert [("audited", "")] == told.reasons


@pytest.mark.parametrize(
    ("served", "now", "where"),
    [
        (Page(row=club("Judo")), Page(row=club("Karate")), ".row.name: 'Judo' and 'Karate'"),
        (Page(a=1), Page(a=1, b=2), ": {'a': 1} and {'a': 1, 'b': 2}"),
        (Slim(club("Judo")), Slim(club("Karate")), "[1]['rows'][0].name: 'Judo' and 'Karate'"),
        (Bag(club("Judo")), Bag(club("Karate")), "[0].name: 'Judo' and 'Karate'"),
        (Report([club("Judo")]), Report([club("Karate")]), ".rows[0].name: 'Judo' and 'Karate'"),
        ({club("Judo")}, {club("Karate")}, "[<Club pk=1>].name: 'Judo' and 'Karate'"),
        (SimpleLazyObject(club), SimpleLazyObject(lambda: club("Karate")), ".name: 'Judo' and 'Karate'"),
        (
            OrderedDict(a=1, b=2),
            OrderedDict(b=2, a=1),
            "OrderedDict({'a': 1, 'b': 2}) and OrderedDict({'b': 2, 'a': 1})",
        ),
        ({1, 2}, {1, 3}, "{1, 2} and {1, 3}"),
        ([Sport.JUDO], [Sport.KARATE], "[0]: Sport.JUDO and Sport.KARATE"),
        (circle("one"), circle("two"), "[0]: 'one' and 'two'"),
        (Club(pk=1), Member(pk=1), "<Club pk=1> and <Member pk=1>"),
    ],
    ids=[
        "object",
        "attributes",
        "slots",
        "items",
        "dataclass",
        "set of rows",
        "lazy row",
        "ordered",
        "set",
        "enumeration",
        "circle",
        "class",
    ],
)
def test_rows_are_compared_by_their_fields_wherever_they_are(  # noqa: PLR0913 -- a table
    later: Background, truth: Truth, told: Told, *, served: object, now: object, where: str
) -> None:
    """
    An old row in an object, or in a set, is found as one in a list is, and its place is told.

    The defect: a dataclass, or a set, of old rows was equal to one of new rows, as Django compares rows by their keys.
    """
    audited(truth, later, served, now)

    [event] = told
    assert "inconsistent" == event.kind
    assert f"computed now: {where}" in event.reason


def test_value_that_can_not_be_stored_by_now_is_an_event(later: Background, truth: Truth, told: Told) -> None:
    """A value that no caller could be served is not compared with one that was served."""
    audited(truth, later, "old", lambda: 1)

    assert ["error"] == told.kinds


@pytest.mark.django_db(transaction=True)
def test_rows_of_a_queryset_are_compared_by_their_fields(later: Background, truth: Truth, told: Told) -> None:
    """A QuerySet that is part of a value is the list of its rows."""
    Club.objects.create(name="Judo")
    truth.value = [Club.objects.all()]
    read = truth.cached(SYNC, timeout=TIMEOUT)
    read(1)
    Club.objects.update(name="Karate")
    truth.value = [Club.objects.all()]
    read(1)

    later.look()
    later.look()

    [event] = told
    assert "computed now: [0][0].name: 'Judo' and 'Karate'" in event.reason


def test_what_can_not_be_pickled_is_alike_where_its_class_is() -> None:
    """No caller is ever served it: a kit that compares functions must not tell them apart by where they lie."""
    assert [None, ""] == [difference([lambda: 1], [lambda: 2]), difference(lambda: 1, {1}.pop)]
