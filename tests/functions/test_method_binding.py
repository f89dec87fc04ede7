"""Methods of every kind: verbs are bound as the method is."""

import enum
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import models

from cachedeco import MISSING, cached_query, cached_query_many
from tests.models import Club

computed: list[object] = []


@pytest.fixture(autouse=True)
def _nothing_computed() -> None:
    """Forget what other tests have computed."""
    computed.clear()


def note(*call: object) -> list[object]:
    """Remember a computation, and return its value."""
    computed.append(call)
    return list(map(str, call))


class Meters:
    """A class with a cached method of each kind."""

    def __init__(self, pk: int) -> None:
        """Keep the primary key."""
        self.pk = pk

    def __cache_key__(self) -> int:
        """Return the primary key."""
        return self.pk

    @cached_query
    def method(self, unit: str = "m") -> list[object]:
        """Depend on the instance."""
        return note(self.pk, unit)

    @cached_query
    @classmethod
    def class_method(cls, unit: str = "m") -> list[object]:
        """Depend on the class."""
        return note(cls.__name__, unit)

    @cached_query(timeout=60)
    @classmethod
    def class_with_options(cls, unit: str = "m") -> list[object]:
        """Depend on the class, decorated with options."""
        return note(cls.__name__, unit)

    @staticmethod
    @cached_query
    def static_outside(unit: str = "m") -> list[object]:
        """Depend on neither."""
        return note(unit)

    @cached_query
    @staticmethod
    def static_inside(unit: str = "m") -> list[object]:
        """Depend on neither, decorated in the other order."""
        return note(unit)

    @property
    @cached_query
    def total(self) -> list[object]:
        """Be a property over a cached method."""
        return note(self.pk)


class Yards(Meters):
    """A class that inherits them."""


BOUND: dict[str, Callable[[], Any]] = {
    "method": lambda: Meters(7).method,
    "method of a subclass": lambda: Yards(7).method,
    **{
        f"{name} of {place}": lambda name=name, owner=owner: getattr(owner, name)
        for name in ("class_method", "class_with_options", "static_outside", "static_inside")
        for place, owner in {
            "class": Meters,
            "subclass": Yards,
            "instance": Meters(7),
            "instance of subclass": Yards(7),
        }.items()
    },
}


@pytest.fixture(params=BOUND)
def bound(request: pytest.FixtureRequest) -> Any:
    """Give a method of each kind, as it is reached in each way."""
    return BOUND[request.param]()


def test_bound_method_is_computed_once(bound: Any) -> None:
    """A method is computed at its first call, and served to the second one, in any form."""
    values = [bound(), bound("m"), bound(unit="m")]

    assert 1 == len(computed)
    assert values[0] == values[1] == values[2]


def test_bound_method_has_bound_verbs(bound: Any) -> None:
    """Every verb takes what the bound method takes, and reaches the entry that the method uses."""
    bound("m"), bound("yd")
    bound.invalidate("m")
    invalidated = [bound.peek(unit="m"), bound.peek("yd")]
    bound.call(unit="m").set(["set"])
    replaced = [bound("m"), bound.peek(), bound.refresh("m") == bound.uncached("m")]
    bound.invalidate_all()
    all_invalidated = [bound.peek("m"), bound.peek("yd")]

    assert [MISSING, bound.uncached("yd")] == invalidated
    assert [["set"], ["set"], True] == replaced
    assert [MISSING, MISSING] == all_invalidated
    assert bound.key_for() == bound.key_for("m") == bound.key_for(unit="m") != bound.key_for("yd")


@pytest.mark.parametrize("name", ["class_method", "class_with_options"])
def test_class_method_is_keyed_by_the_class_that_it_is_reached_by(name: str) -> None:
    """A subclass has entries of its own, an instance those of its class; there is one function all the same."""
    keys = [getattr(owner, name).key_for() for owner in (Meters, Meters(1), Meters(2), Yards, Yards(1))]

    values = [getattr(owner, name)() for owner in (Meters, Yards)]

    assert [keys[0]] * 3 + [keys[3]] * 2 == keys
    assert keys[0] != keys[3]
    assert [["Meters", "m"], ["Yards", "m"]] == values


@pytest.mark.parametrize("name", ["static_outside", "static_inside"])
def test_static_method_is_keyed_by_its_arguments_alone(name: str) -> None:
    """However a static method is reached, it is the same call."""
    keys = {getattr(owner, name).key_for("m") for owner in (Meters, Meters(1), Yards, Yards(1))}

    assert 1 == len(keys)


def test_method_is_keyed_by_its_instance() -> None:
    """Two instances, and an instance of a subclass, have entries of their own; equal instances share them."""
    keys = [owner.method.key_for() for owner in (Meters(7), Meters(7), Meters(8), Yards(7))]

    assert keys[0] == keys[1]
    assert 3 == len(set(keys))


def test_method_reached_through_its_class_takes_the_instance() -> None:
    """`Meters.method` is the function: it takes `self` like any argument, by name too."""
    keys = {Meters.method.key_for(Meters(7)), Meters.method.key_for(self=Meters(7)), Meters(7).method.key_for()}

    values = [Meters(7).method(), Meters.method(self=Meters(7)), Meters.method(Meters(7), "m")]

    assert (1, 1) == (len(keys), len(computed))
    assert [["7", "m"]] * 3 == values


def test_property_over_a_cached_method_is_computed_once() -> None:
    """A property may stand above the decorator."""
    values = [Meters(7).total, Meters(7).total, Meters(8).total]

    assert [["7"], ["7"], ["8"]] == values
    assert [(7,), (8,)] == computed


def test_method_of_an_instance_that_no_key_can_hold_is_refused() -> None:
    """An instance without a text of its own is refused by name, with what to do."""

    class Bare:
        @cached_query
        def rows(self) -> list[object]:
            return note(self)

        @cached_query(ignore=("self",))
        def constant(self) -> list[object]:
            return note("constant")

    with pytest.raises(TypeError, match=r"\(self of .*Bare\.rows\(\)\) in a cache key; register its type"):
        Bare().rows()

    assert [["constant"], ["constant"]] == [Bare().constant(), Bare().constant()]
    assert 1 == len(computed)


def test_bound_method_decorated_is_keyed_by_its_instance() -> None:
    """A method that is bound already can be decorated, and its instance is part of the key."""
    plain = Meters.method.uncached

    keys = [cached_query(plain.__get__(Meters(pk))).key_for("m") for pk in (7, 8)]

    assert [Meters(pk).method.key_for() for pk in (7, 8)] == keys


def test_super_reaches_the_method_of_the_base() -> None:
    """A class may override a cached class method and call what it overrides, for itself."""

    class Feet(Meters):
        @cached_query
        @classmethod
        def class_method(cls, unit: str = "ft") -> list[object]:
            return ["feet", *super().class_method(unit)]

    value = Feet.class_method()

    assert ["feet", "Feet", "ft"] == value


def test_class_method_leaves_no_trace_of_how_it_was_bound() -> None:
    """The class holds its methods and nothing else of ours."""
    expected = {"method", "class_method", "class_with_options", "static_outside"}

    names = {name for name in vars(Meters) if not name.startswith("__")}

    assert expected | {"static_inside", "total"} == names


class Level(enum.Enum):
    """An enum with a cached class method."""

    LOW = 1
    HIGH = 2

    @cached_query
    @classmethod
    def names(cls) -> list[object]:
        """List the members."""
        return note(*[member.name for member in cls])


class ClubProxy(Club):
    """A model with cached class methods."""

    class Meta:
        """Make it a proxy."""

        proxy = True
        app_label = "tests"

    @cached_query
    @classmethod
    def label(cls) -> list[object]:
        """Name the model."""
        return note(cls._meta.label)


@pytest.mark.parametrize("function", [lambda: Level.names, lambda: ClubProxy.label])
def test_class_method_of_classes_that_are_made_in_their_own_way(function: Callable[[], Any]) -> None:
    """Enums and models, which look through their bodies themselves, can have cached class methods."""
    values = [function()(), function()()]
    function().invalidate()

    assert values[0] == values[1]
    assert 1 == len(computed)
    assert MISSING is function().peek()
    assert [Level.LOW, Level.HIGH] == list(Level)


@pytest.mark.django_db
def test_method_of_a_row_is_keyed_by_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's method has entries for each row, for any values of its other fields."""

    def size(self: models.Model) -> list[object]:
        return note(self.pk)

    monkeypatch.setattr(Club, "size", cached_query(size), raising=False)
    club: Any = Club.objects.create(name="a")
    again: Any = Club.objects.get(pk=club.pk)
    again.name = "b"

    values = [club.size(), again.size()]
    club.size.invalidate()

    assert [(club.pk,)] == computed
    assert values[0] == values[1]
    assert MISSING is again.size.peek()


class Owner:
    """A class whose methods take more than their instance."""

    def __cache_key__(self) -> int:
        """Be one of a kind."""
        return 1

    @cached_query(name="binding.total")
    def total(self, user: object = None) -> object:
        """Take an argument that may be left out."""
        return user

    @cached_query(name="binding.distance")
    def distance(self, *others: object) -> int:
        """Take any number of its kind."""
        return len(others)

    @cached_query(name="binding.same")
    def same(self, other: object) -> bool:
        """Take another one of the kind."""
        return self is other

    @cached_query(name="binding.of_class")
    @classmethod
    def of_class(cls, number: object = None) -> object:
        """Take the class."""
        return number

    @cached_query_many(over="ids", name="binding.many")
    def many(self, ids: list[int], user: object = None) -> dict[int, object]:
        """Take many ids."""
        return dict.fromkeys(ids, user)


VERBS = ["invalidate", "peek", "refresh", "key_for", "ainvalidate", "apeek", "arefresh", "akey_for"]


@pytest.mark.parametrize("verb", VERBS)
def test_verb_that_is_given_its_own_object_says_that_it_is_bound(verb: str) -> None:
    """`club.total.invalidate(club)` would be about another call, with the club as its user."""
    owner = Owner()

    def of(function: Any, *args: object) -> object:
        return async_to_sync(getattr(function, verb))(*args) if verb[0] == "a" else getattr(function, verb)(*args)

    for function, given in ((owner.total, owner), (owner.of_class, Owner), (Owner.of_class, Owner)):
        with pytest.raises(TypeError, match=r"is bound to .* already, .*leave it out.*(user|number)="):
            of(function, given)
    many = verb.replace("key_for", "keys_for")
    with pytest.raises(TypeError, match=r"binding\.many\(\) is bound to"):
        (async_to_sync(getattr(owner.many, many)) if verb[0] == "a" else getattr(owner.many, many))(owner, [1])


def test_verb_that_is_given_its_own_object_where_no_name_can_be_given_says_how_it_may_be() -> None:
    """`*others` takes no name: the function of the class takes both, as the error says."""
    owner = Owner()
    owner.distance(owner)

    with pytest.raises(TypeError, match=r"of its own, give it twice to Owner\.distance\(\), of the class\."):
        owner.distance.invalidate(owner)
    Owner.distance.invalidate(owner, owner)

    assert MISSING is Owner.distance.peek(owner, owner)


@pytest.mark.django_db
def test_verb_that_is_given_its_own_row_says_that_it_is_bound() -> None:
    """A row that is equal is the same one, fetched again."""

    class Totalled(Club):
        class Meta:
            proxy = True
            app_label = "tests_binding"

        @cached_query
        def total(self, user: object = None) -> object:
            return user

    club = Totalled.objects.create(name="a")

    with pytest.raises(TypeError, match=r"Totalled pk=\d+> already"):
        club.total.invalidate(Totalled.objects.get(pk=club.pk))


def test_verb_takes_an_object_that_can_be_meant() -> None:
    """What the method needs, what is given by name, another object, and that of an unbound verb are arguments."""
    owner, other = Owner(), Owner()
    calls: list[Callable[[], Any]] = [
        lambda: owner.same.key_for(owner),
        lambda: owner.total.key_for(user=owner),
        lambda: owner.total.key_for(other),
        lambda: owner.total(owner) and owner.total.call(owner).key(),
        lambda: Owner.total.key_for(owner, owner),
    ]

    keys = [call() for call in calls]

    assert keys[1] == keys[2] == keys[3] == keys[4]
