"""What can't be right in a key is refused with an error that says what to do; and how a class is let in."""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import pathlib
import weakref
import zoneinfo
from collections import Counter
from collections.abc import Callable
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import ObjectDoesNotExist
from django.core.files.base import ContentFile
from django.db.models import F, Q, Value
from django.http import HttpResponse
from django.template import Context
from django.test import RequestFactory
from django.utils.datastructures import MultiValueDict
from django.utils.translation import ngettext_lazy
from django.views import View

from cachedeco import Namespace, cached_query, cached_query_many, register_key_type
from cachedeco.keys import encoders
from cachedeco.keys.encoders import encode
from cachedeco.keys.refusals import KeyTypeError
from tests.models import Club, ClubClass, UuidThing
from tests.support.cases import in_one_test


def len_of(ids: list[int]) -> dict[int, int]:
    """Be decorated."""
    raise NotImplementedError


class GraphQLResolveInfo(NamedTuple):
    """What a resolver of graphene, strawberry or ariadne is given, by the name of its class."""

    field_name: str
    context: object


GraphQLResolveInfo.__module__ = "graphql.type.definition"


@dataclasses.dataclass
class Info:
    """What a resolver of strawberry is given, by the name of its class: a dataclass around the other."""

    _raw_info: GraphQLResolveInfo


Info.__module__ = "strawberry.types.info"


class Details:
    """What a middleware says about its request, as `request.htmx` of django-htmx."""

    def __init__(self) -> None:
        """Keep the request."""
        self.request = RequestFactory().get("/")


class Money:
    """A class of a user's that says nothing about keys."""

    def __init__(self, amount: int, currency: str) -> None:
        """Keep both."""
        self.amount, self.currency = amount, currency


class TaggedPath(pathlib.PurePosixPath):
    """A path that adds what its text does not tell."""

    tag = "draft"


class TaggedValues(MultiValueDict[str, str]):
    """A mapping that adds what its items do not tell."""

    tag = "draft"


class Price(decimal.Decimal):
    """A class that derives from one in the table, and adds what the base's text does not tell."""

    currency = "EUR"


class Zone(dt.tzinfo):
    """A zone that does not say what it is called."""

    def utcoffset(self, _moment: dt.datetime | None) -> dt.timedelta:
        """Return none."""
        return dt.timedelta(0)


class Notice:
    """A class of a project with a name that files have, too."""

    read = False


class Awaited:
    """What an async function returns until it is awaited."""

    def __await__(self) -> Any:
        """Be awaited."""


class KeyedByProperty:
    """A class that says what it is in keys by a property."""

    @property
    def __cache_key__(self) -> int:
        """Return what distinguishes it."""
        return 1


class Described:
    """A class whose repr looks like a value's."""

    def __repr__(self) -> str:
        """Return what every other instance returns."""
        return "described"


@in_one_test(
    [
        (Money(1, "EUR"), "register_key_type()"),
        (Money(1, "EUR"), "__cache_key__"),
        (Money(1, "EUR"), f"{__name__}.Money"),
        (Described(), "pass key="),
        (KeyedByProperty(), "its __cache_key__ is no method: write def __cache_key__(self), without @property"),
        (Price(1), f"{__name__}.Price"),
        (Notice(), f"register its type {__name__}.Notice"),
        (Counter("a"), "collections.Counter"),
        (TaggedPath("a"), f"register its type {__name__}.TaggedPath"),
        (TaggedValues({"a": ["b"]}), f"register its type {__name__}.TaggedValues"),
        (ngettext_lazy("%(number)d club", "%(number)d clubs", "number"), "text % number"),
        (
            (number for number in ()),
            "a builtins.generator can be read only once: pass a list or tuple of what it gives",
        ),
        (iter([1]), "pass a list or tuple"),
        (Awaited(), "it has not been awaited: pass what await gives"),
        (object(), "it is another one in each process: take None, or a member of an enum, in its place"),
        (io.StringIO("a"), "a file may be read, and changed: pass what it contains, or its name"),
        (ContentFile(b"a"), "pass what it contains, or its name"),
        (Context({"club": 1}), "function outside of it"),
        (GraphQLResolveInfo("classes", RequestFactory().get("/")), "request.user.pk"),
        (Info(GraphQLResolveInfo("classes", None)), "request.user.pk"),
        (Details(), "request.user.pk"),
        (weakref.ref(Described), "pass the object itself"),
        (weakref.proxy(Described), "pass the object itself"),
        ({}.items(), "pass a list, tuple, dict or bytes made of it"),
        (memoryview(b"a"), "bytes made of it"),
        (Club(name="a"), "save it, or pass key="),
        (UuidThing(name="a"), "save it, or pass key="),
        (Club.objects.all(), "what selects the rows"),
        (Club.objects.none(), "what selects the rows"),
        (Club.objects, "what selects the rows"),
        (Q(pk=1), "pass the values in it"),
        (F("name"), "pass the values in it"),
        (Value(1), "pass the values in it"),
        (RequestFactory().get("/clubs/"), "request.user.pk"),
        (RequestFactory().get("/clubs/"), "cache_page()"),
        (View(), "function outside of it"),
        (SessionStore(), "function outside of it"),
        (SimpleCookie(), "function outside of it"),
        (HttpResponse(), "function outside of it"),
        (lambda: None, "pass key=, or name it in ignore= if it changes nothing"),
        (len, "pass key=, or name it in ignore= if it changes nothing"),
        ("".join, "pass key=, or name it in ignore= if it changes nothing"),
        (Described().__repr__, "pass key=, or name it in ignore= if it changes nothing"),
        (cached_query(len_of), "pass key=, or name it in ignore= if it changes nothing"),
        (cached_query_many(over="ids", name="tests.keys.many")(len_of), "pass key=, or name it in ignore="),
        (functools.partial(print), "pass key=, or name it in ignore= if it changes nothing"),
        (dt.datetime(2026, 11, 22, tzinfo=Zone()), "zoneinfo.ZoneInfo or datetime.timezone"),
        (dt.time(1, tzinfo=Zone()), "zoneinfo.ZoneInfo or datetime.timezone"),
    ]
)
def test_encode_what_cannot_be_right_is_refused_with_a_remedy(value: object, remedy: str) -> None:
    """A value whose text could be another's, or another's tomorrow, is an error that says what to do."""
    with pytest.raises(KeyTypeError) as caught:
        encode(value)

    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "wrap", [lambda value: [value], lambda value: {"k": (value,)}, lambda value: {value}], ids=["list", "dict", "set"]
)
def test_encode_refuses_inside_containers(wrap: Any) -> None:
    """A container is no way around a refusal."""
    with pytest.raises(KeyTypeError, match="register_key_type"):
        encode(wrap(Described()))


def test_encode_zone_read_from_a_file_without_key_is_refused() -> None:
    """A zone that does not know its name is shown by the file it came from: by an address in memory."""
    tzif = b"TZif2" + bytes(15) + (b"\0\0\0\0" * 4 + b"\0\0\0\1\0\0\0\4") + b"\0\0\0\0\0\0UTC\0"
    body = tzif + tzif + b"\nUTC0\n"
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(body))

    with pytest.raises(KeyTypeError, match=r"zoneinfo\.ZoneInfo"):
        encode(dt.datetime(2026, 11, 22, tzinfo=zone))


def test_encode_what_derives_from_a_dataclass_is_refused() -> None:
    """A class that adds attributes to a dataclass, and is none itself, has no text: fields don't tell all."""

    @dataclasses.dataclass
    class Point:
        x: int

    class Named(Point):
        def __init__(self, x: int, name: str) -> None:
            super().__init__(x)
            self.name = name

    with pytest.raises(KeyTypeError, match="Named"):
        encode(Named(1, "a"))


def test_encode_queryset_is_refused_without_a_query() -> None:
    """The error does not fetch the rows to show them: this test may not use the database."""
    with pytest.raises(KeyTypeError, match="encode a QuerySet in"):
        encode(Club.objects.all())


def test_refusal_survives_a_repr_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is not saved often can't even be shown, as its text follows a relation: the error stays ours."""
    monkeypatch.setattr(ClubClass, "__str__", lambda row: row.club.name)
    row = ClubClass()
    with pytest.raises(ObjectDoesNotExist):
        repr(row)

    with pytest.raises(KeyTypeError, match="it is not saved"):
        encode(row)


@pytest.fixture
def money() -> type[Money]:
    """Give a class that is not registered yet."""

    class Fresh(Money):
        """A class of this test's own."""

    return Fresh


def test_registered_type_is_told_by_its_identity(money: type[Money]) -> None:
    """A registered class is its name around what its identity returns."""
    register_key_type(money, lambda money: (money.amount, money.currency))

    texts = [encode(money(1, "EUR")), encode(money(1, "USD")), encode(money(2, "EUR"))]

    name = f"{__name__}.{money.__qualname__}"
    assert [f"{name}((1,3'EUR))", f"{name}((1,3'USD))", f"{name}((2,3'EUR))"] == texts


def test_registered_type_speaks_for_what_derives_from_it(money: type[Money]) -> None:
    """A class that derives from a registered one can be in keys, under its own name."""

    class Dollars(money):  # type: ignore[valid-type,misc]  # made by the fixture
        """A class that derives from it."""

    register_key_type(money, lambda money: money.amount)

    texts = encode(Dollars(1, "USD")), encode(money(1, "USD"))

    assert (f"{__name__}.{Dollars.__qualname__}(1)", f"{__name__}.{money.__qualname__}(1)") == texts


def test_registered_type_nearest_in_the_hierarchy_counts(money: type[Money]) -> None:
    """Where a class and its base are registered, the class's own registration is asked."""

    class Dollars(money):  # type: ignore[valid-type,misc]  # made by the fixture
        """A class that derives from it."""

    register_key_type(Dollars, lambda dollars: ("dollars", dollars.amount))
    register_key_type(money, lambda money: money.amount)

    text = encode(Dollars(1, "USD"))

    assert f"{__name__}.{Dollars.__qualname__}((7'dollars,1))" == text


def test_registration_counts_after_a_refusal(money: type[Money]) -> None:
    """A class that was refused once is not refused for ever."""
    with pytest.raises(KeyTypeError):
        encode(money(1, "EUR"))
    register_key_type(money, lambda money: money.amount)

    text = encode(money(1, "EUR"))

    assert f"{__name__}.{money.__qualname__}(1)" == text


def test_registration_replaces_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that has a text already can be registered anew."""
    half = fractions.Fraction(1, 2)
    monkeypatch.setitem(encoders._encoders, fractions.Fraction, encoders._encoders[fractions.Fraction])
    register_key_type(fractions.Fraction, float)

    text = encode(half)

    assert "fractions.Fraction(0.5)" == text


def test_registered_identity_that_cannot_be_in_a_key_is_refused(money: type[Money]) -> None:
    """An identity is encoded like any other value, and so refused like it."""
    register_key_type(money, lambda _: object())

    with pytest.raises(KeyTypeError, match="object object"):
        encode(money(1, "EUR"))


def test_register_key_type_refuses_the_base_of_all() -> None:
    """It would be asked for each row, enum and class, too."""
    with pytest.raises(TypeError, match="not object, which is the base of all others"):
        register_key_type(object, repr)


@pytest.mark.parametrize(("cls", "identity"), [("Money", str), (Money, "amount"), (Money(1, "EUR"), str)])
def test_register_key_type_refuses_what_it_does_not_take(cls: Any, identity: Any) -> None:
    """It takes a class and a callable, and says so."""
    with pytest.raises(TypeError, match="takes a class and a callable"):
        register_key_type(cls, identity)


@pytest.mark.parametrize(
    "identity", [str, repr, id, hash, lambda cart: f"{cart} of a visitor", lambda cart: [1, repr(cart)]]
)
def test_registered_identity_that_is_a_place_in_memory_is_refused(identity: Any) -> None:
    """Another object may lie there later, and would get the value of this one."""

    class Cart:
        """A class that says nothing of itself."""

    register_key_type(Cart, identity)

    with pytest.raises(KeyTypeError, match="place in memory, where another object may lie later"):
        encode(Cart())


def test_registered_identity_may_be_a_text_like_a_place() -> None:
    """A visitor may have typed it."""

    class Search:
        """What a visitor has typed."""

    register_key_type(Search, lambda _: "<Cart object at 0x7f0000000000>")

    assert encode(Search()).endswith("(31'<Cart object at 0x7f0000000000>)")


def test_register_key_type_refuses_a_callable_of_other_arguments() -> None:
    """At once, and not when a call has such an argument."""
    with pytest.raises(TypeError, match="which takes nothing; it is called with the value"):
        register_key_type(Tenant, lambda: 1)  # type: ignore[misc,arg-type] # refused


def test_register_key_type_refuses_an_async_callable() -> None:
    """Nothing would await what it returns."""

    async def identity(_: object) -> int:
        return 1

    with pytest.raises(TypeError, match=r"the callable of register_key_type\(\) is async"):
        register_key_type(Tenant, identity)


class Tenant:
    """A class with a key of its own."""

    def __init__(self, slug: str) -> None:
        """Keep the slug."""
        self.slug = slug

    def __cache_key__(self) -> str:
        """Return the slug."""
        return self.slug


class Plan(enum.Enum):
    """An enum whose members say themselves what they are in keys."""

    FREE = 1

    def __cache_key__(self) -> int:
        """Return the value, and not the name."""
        return self.value


def test_cache_key_method_tells_two_instances_apart() -> None:
    """A method `__cache_key__` is all that a class of one's own needs."""
    texts = encode(Tenant("a")), encode([Tenant("b")])

    assert (f"{__name__}.Tenant(1'a)", f"[{__name__}.Tenant(1'b)]") == texts


def test_cache_key_method_goes_before_all_other_rules() -> None:
    """A class that says what it is, is told by that, for any kind, and though it is registered."""
    register_key_type(Plan, lambda plan: plan.name)

    text = encode(Plan.FREE)

    assert f"{__name__}.Plan(1)" == text


def test_refusal_in_a_call_names_argument_and_function() -> None:
    """A developer who reads the error in a log finds the argument, the function and the remedy in it."""

    @cached_query(name="refusals.classes")
    def classes(club: object, page: int = 1) -> object:
        return club, page

    with pytest.raises(TypeError) as caught:
        classes(Club(name="a"))

    assert (
        "Can't encode <tests.models.Club object> (club of refusals.classes()) in a cache key; it is not saved, so "
        "nothing distinguishes it from another one: save it, or pass key=." == str(caught.value)
    )


class Cart:
    """A class that says nothing of itself."""


@pytest.mark.parametrize(
    "options",
    [
        {"key": lambda cart: f"of {cart}"},
        {"key": lambda cart: (1, repr(cart))},
        {"ignore": ["cart"], "vary": lambda cart: f"{cart}"},
    ],
    ids=["key", "in a tuple", "vary"],
)
def test_key_that_is_a_place_in_memory_is_refused(options: Any) -> None:
    """Each call would have another one, or that of an object that was there before."""
    price = cached_query(**options)(_price)

    with pytest.raises(TypeError, match=r"\(what (key|vary)= gave of .*place in memory, where another object may lie"):
        price(Cart())


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (Money(1, "EUR"), "give it a __cache_key__ method, or give what distinguishes it."),
        (Club(name="a"), "save it, or give what distinguishes it."),
        (len, "a function has no text that says what it does: give what it returns."),
    ],
    ids=["object", "row", "function"],
)
@pytest.mark.parametrize("options", [{"key": lambda cart: cart}, {"vary": lambda cart: cart, "key": lambda cart: 1}])  # noqa: ARG005
def test_callable_of_a_key_is_advised_to_give_something_else(given: object, advice: str, options: Any) -> None:
    """There is a callable, so that to pass one is no advice."""
    price = cached_query(name="refusals.callable", ignore=["cart"], **options)(_price)

    with pytest.raises(TypeError) as caught:
        price(given)

    assert str(caught.value).endswith(advice)


class Order:
    """An object that holds others, none of which is in a key by itself."""

    def __init__(self) -> None:
        """Hold one, and a list of it."""
        self.cart = Cart()
        self.carts = [self.cart]


HELD: dict[str, Callable[..., object]] = {
    "attribute": lambda cart: str(cart.cart),
    "in a list": lambda cart: str(cart.carts),
    "its method": lambda cart: [repr(cart.cart.__str__)],
}


@pytest.mark.parametrize("key", HELD.values(), ids=HELD)
def test_key_that_is_the_place_of_what_an_argument_holds_is_refused(key: Any) -> None:
    """Python's own text of a related object tells nothing of it, just as that of the argument."""
    price = cached_query(key=key)(_price)

    with pytest.raises(TypeError, match=r"\(what key= gave of .*place in memory, where another object may lie"):
        price(Order())


def test_key_that_is_the_place_of_a_related_row_s_object_is_refused() -> None:
    """A foreign key that was fetched is held by the row's state."""
    row = ClubClass(pk=1, club=Club(pk=2))
    row.club.cart = Cart()  # type: ignore[attr-defined] # as a project may
    price = cached_query(key=lambda cart: f"{cart.club.cart}")(_price)

    with pytest.raises(TypeError, match="place in memory"):
        price(row)


def test_namespace_that_is_a_place_in_memory_is_refused() -> None:
    """No other process, and no later object, would ever name it."""
    price = cached_query(key="{cart.pk}", namespace=lambda cart: Namespace("cart", str(cart.held)))(_price)

    with pytest.raises(TypeError, match=r"price\(\): what namespace= gave has a part .*place in memory"):
        price(SimpleNamespace(pk=1, held=Cart()))


def test_namespace_may_be_a_text_like_a_place() -> None:
    """As of a key."""
    price = cached_query(key="{cart.pk}", namespace=lambda cart: Namespace("cart", cart.text))(_price)

    assert "1" == price(SimpleNamespace(pk=1, text="<Cart object at 0x7F0000000000>"))


def test_key_may_be_a_text_like_a_place() -> None:
    """A visitor may have typed it; many objects are looked through, and not all."""
    price = cached_query(key=lambda cart: cart.lower() if isinstance(cart, str) else cart[0].lower())(_price)

    assert "1" == price("<Cart object at 0x7F0000000000>")
    assert "1" == price(["<Cart object at 0x7F0000000000>", *map(str, range(5_000))])


def _price(cart: object) -> str:
    return "1" if cart else ""
