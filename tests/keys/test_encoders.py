"""One value, one text: what can be in a cache key, and what its text is."""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import math
import pathlib
import types
import uuid
import zoneinfo
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from django.db.models import TextChoices
from django.utils.safestring import mark_safe

from cachedeco.keys.encoders import encode
from tests.models import Club
from tests.support.cases import in_one_test

T = TypeVar("T")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
TWO_HOURS = dt.timezone(dt.timedelta(hours=2))
AUTUMN = dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)  # a minute that comes twice
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    CRIMSON = 1  # noqa: PIE796  an alias
    BLUE = 2


class Tone(enum.Enum):
    """An enum with the same names."""

    RED = 1


class Rank(enum.IntEnum):
    """An enum whose members are numbers."""

    FIRST = 1


class Level(TextChoices):
    """An enum of Django's whose members are texts."""

    BEGINNER = "b", "Beginner"


class Right(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Vector:
    """A dataclass with the same fields."""

    x: int
    y: int


@dataclasses.dataclass
class Scaled(Generic[T]):
    """A generic dataclass that is made of more than its fields, and computes an attribute at need."""

    x: int
    scale: dataclasses.InitVar[int] = 1

    def __post_init__(self, scale: int) -> None:
        """Keep it beside the fields."""
        self.scaled = self.x * scale

    @functools.cached_property
    def square(self) -> int:
        """Return the square."""
        return self.x**2


@dataclasses.dataclass(init=False)
class Labelled:
    """A dataclass with an `__init__` of its own."""

    x: int

    def __init__(self, x: int, label: str) -> None:
        """Keep the label beside the field."""
        self.x = x
        self.label = label


def with_square(scaled: Scaled[T]) -> Scaled[T]:
    """Return it, its cached property computed."""
    assert scaled.square
    return scaled


class Size(NamedTuple):
    """A named tuple."""

    x: int
    y: int


Extent = namedtuple("Extent", "x y")  # noqa: PYI024  the older way to write one


@in_one_test(
    [
        (7, "7"),
        (-7, "-7"),
        (True, "True"),
        (None, "None"),
        (..., "Ellipsis"),
        (1.5, "1.5"),
        ("hello", "5'hello"),
        ("", "0'"),
        ("ü", "1'ü"),
        (b"\x00\xff", "4b00ff"),
        (b"", "0b"),
        ((), "()"),
        ((1, "a"), "(1,1'a)"),
        ([1, [2]], "[1,[2]]"),
        ({"b": 2, "a": 1}, "{1'a=1,1'b=2}"),
        ({3, 1, 2}, "set(1,2,3)"),
        (frozenset(), "frozenset()"),
        (dt.date(2026, 11, 22), "datetime.date(10'2026-11-22)"),
        (decimal.Decimal("1.50"), "decimal.Decimal(4'1.50)"),
        (Colour.RED, "tests.keys.test_encoders.Colour(3'RED)"),
        (Point(1, 2), "tests.keys.test_encoders.Point(x=1,y=2)"),
        (Size(1, 2), "tests.keys.test_encoders.Size(x=1,y=2)"),
        (Colour, "class:tests.keys.test_encoders.Colour()"),
        (Rank.FIRST, "1"),
        (Level.BEGINNER, "1'b"),
        (pathlib.PurePosixPath("/a"), "pathlib.PurePosixPath(2'/a)"),  # in Python 3.13 they are of another module
        (pathlib.PureWindowsPath("a"), "pathlib.PureWindowsPath(1'a)"),
        (pathlib.Path, "class:pathlib.Path()"),
        (zoneinfo.ZoneInfo("UTC"), "zoneinfo.ZoneInfo(3'UTC)"),
    ]
)
def test_encode_common_values_are_readable(value: object, text: str) -> None:
    """What most keys are made of can be read by a developer who looks into the cache."""
    encoded = encode(value)

    assert text == encoded


# In each group no two are the same argument, though Python's == may say so.
LOOKALIKES: dict[str, list[Any]] = {
    "one": [1, "1", 1.0, True, b"1", decimal.Decimal(1), fractions.Fraction(1), 1 + 0j, "1.0", "True"],
    "nothing": [
        None,
        "None",
        "",
        b"",
        (),
        [],
        {},
        set(),
        frozenset(),
        0,
        False,
        0.0,
        "()",
        "[]",
        (None,),
        [None],
        ...,
        "...",
    ],
    "zero": [0.0, -0.0, 0j, complex(0.0, -0.0)],
    "infinite": [math.inf, -math.inf, math.nan, "nan", "inf"],
    "lengths": [deque([1, 2]), deque([1, 2], maxlen=2), deque([1, 2], maxlen=3), deque([[1, 2], 2])],
    "sequences": [(1, 2), [1, 2], {1, 2}, frozenset((1, 2)), deque([1, 2]), range(1, 3), slice(1, 3), "(1,2)"],
    "nesting": [[[1], 2], [[1, 2]], [1, [2]], [1, 2], [[], 1, 2], ([1], 2)],
    "cuts": [("ab", "c"), ("a", "bc"), ("abc",), ("a,b", "c"), ("a", "b,c"), ("a", "b", "c"), ("a'1'b", "c")],
    "forged lengths": [("1'a",), ("a", ""), ("", "a"), "1'a", ("1'a,1'b",), ("a", "b")],
    "forged marks": [("a)", "(b"), ("a", ")(b"), ["a]"], ["a", "]"], {"a": "1'b=1'c"}, {"a": "b", "c": "d"}],
    "mappings": [
        {1: "a"},
        {"1": "a"},
        OrderedDict({1: "a"}),
        defaultdict(int, {1: "a"}),
        defaultdict(list, {1: "a"}),
        defaultdict(None, {1: "a"}),
        types.MappingProxyType({1: "a"}),
        [(1, "a")],
        {"a": 1},
        {1: "a", 2: None},
    ],
    "marked sets": [{1}, {"__set__": [1]}, "{1}", "set(1)"],
    "ordered": [OrderedDict([(1, 2), (3, 4)]), OrderedDict([(3, 4), (1, 2)]), {1: 2, 3: 4}],
    "bytes": [b"ab", bytearray(b"ab"), "ab", b"6162", "4b6162"],
    "decimals": [decimal.Decimal("1.0"), decimal.Decimal("1.00"), "1.0", 1.0],
    "dates": [dt.date(2026, 11, 22), dt.datetime(2026, 11, 22), "2026-11-22", dt.time(0), dt.timedelta(0)],  # noqa: DTZ001
    "microseconds": [NOON.replace(microsecond=1001), NOON.replace(microsecond=1999), NOON],
    "zones": [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.replace(tzinfo=zoneinfo.ZoneInfo("UTC")),
        NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/London")),
        NOON.replace(tzinfo=dt.timezone(dt.timedelta(0), "GMT")),
        NOON.astimezone(TWO_HOURS),
    ],
    "same offset": [AUTUMN, AUTUMN.replace(tzinfo=TWO_HOURS), AUTUMN.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Rome"))],
    "folds": [AUTUMN, AUTUMN.replace(fold=1), dt.time(2, 30), dt.time(2, 30, fold=1), dt.time(2, 30, tzinfo=dt.UTC)],
    "zones themselves": [BERLIN, "Europe/Berlin", dt.UTC, zoneinfo.ZoneInfo("UTC"), TWO_HOURS],
    "spans": [dt.timedelta(days=1), dt.timedelta(hours=23, minutes=59), dt.timedelta(microseconds=1), 86400, (1, 0, 0)],
    "ranges": [range(3), range(0, 3, 2), slice(3), slice(0, 3), slice(None), (0, 3, 1)],
    "ids": [uuid.UUID(int=1), str(uuid.UUID(int=1)), 1, uuid.UUID(int=1).bytes],
    "addresses": [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("::10.0.0.1"),
        ipaddress.ip_network("10.0.0.1/32"),
        "10.0.0.1",
    ],
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a/b"), "a/b", pathlib.PurePosixPath("/a/b")],
    "enums": [Colour.RED, Colour.BLUE, Tone.RED, "RED", 1, "b"],
    "flags": [Right.READ, Right.WRITE, Right.READ | Right.WRITE, Right(0), 0, 3],
    "records": [Point(1, 2), Vector(1, 2), Size(1, 2), Extent(1, 2), (1, 2), {"x": 1, "y": 2}, Point(2, 1)],
    "more than fields": [Scaled(1, 2), Scaled(1, 3), Labelled(1, "a"), Labelled(1, "b")],
    "classes": [Colour, Tone, Point, Club, int, "class:builtins.int()"],
    "safe text": ["<b>", mark_safe("<b>"), mark_safe("<i>")],
}


@in_one_test(LOOKALIKES.values())
def test_encode_lookalikes_all_differ(values: list[object]) -> None:
    """No two arguments that could give different results have one text, however alike they are."""
    texts = [encode(value) for value in values]

    assert len(texts) == len(set(texts)), texts


@in_one_test(
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: "a", "1": "b", None: "c"}, {None: "c", "1": "b", 1: "a"}),
        ({"b", "a", "c"}, {"c", "b", "a"}),
        (frozenset({(1, 2), (3,)}), frozenset({(3,), (1, 2)})),
        ({"q": {"x": {1, 2}, "y": [1]}}, {"q": {"y": [1], "x": {2, 1}}}),
        (math.nan, float("nan")),
        (Colour.RED, Colour.CRIMSON),
        (Right.READ | Right.WRITE, Right.WRITE | Right.READ),
        (Right.READ & Right.WRITE, Right(0)),
        (Point(1, 2), dataclasses.replace(Point(1, 5), y=2)),
        (Scaled(2, 2), with_square(Scaled(2, scale=2))),
        (Scaled(2, 2), Scaled[int](2, 2)),
        (dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC), NOON),
        (zoneinfo.ZoneInfo.no_cache("Europe/Berlin"), BERLIN),
        (pathlib.Path("a//b/"), pathlib.Path("a/b")),
        (10**40, int("1" + 40 * "0")),
    ]
)
def test_encode_equal_values_have_one_text(left: object, right: object) -> None:
    """What is one argument has one text, in any order, and made in any way."""
    texts = encode(left), encode(right)

    assert texts[0] == texts[1]


@pytest.mark.parametrize("value", [dt.date(2026, 11, 22), NOON, AUTUMN], ids=str)
def test_encode_moments_of_freezegun_have_the_text_of_pythons(value: Any) -> None:
    """In a frozen test a row's date may be Python's, and the one that invalidates it is freezegun's."""
    real = type(value)
    frozen = type(f"Fake{real.__name__.capitalize()}", (real,), {"__module__": "freezegun.api"})
    moment = (value.timetuple()[:3], {}) if real is dt.date else (value.timetuple()[:6], {"tzinfo": value.tzinfo})

    assert encode(value) == encode(frozen(*moment[0], **moment[1]))


def test_encode_deep_nesting_keeps_the_depth_apart() -> None:
    """Fifty levels of containers in one another differ from fifty-one."""

    def nested(depth: int) -> object:
        value: object = "leaf"
        for level in range(depth):
            value = [(value,), {"key": value}, [value]][level % 3]
        return value

    texts = {encode(nested(depth)) for depth in (49, 50, 51)}

    assert 3 == len(texts)


def test_encode_lone_surrogates_have_a_text() -> None:
    """A text that is no valid Unicode, as a broken client sends it, is a value like another."""
    texts = {encode("\ud800"), encode("\ud801"), encode("?")}

    assert 3 == len(texts)


def test_encode_named_tuple_with_methods_is_its_values() -> None:
    """A class that derives from a named tuple to add methods is told by its own name and the values."""

    class Box(namedtuple("Box", "x y")):  # noqa: PYI024, SLOT002  the older way to write one
        """A named tuple with a method."""

        def area(self) -> int:
            """Return the product."""
            return int(self.x * self.y)

    texts = encode(Box(1, 2)), encode(Box(2, 1))

    assert (f"{__name__}.{Box.__qualname__}(x=1,y=2)", f"{__name__}.{Box.__qualname__}(x=2,y=1)") == texts


def test_encode_named_tuples_of_one_name_are_told_apart_by_their_fields() -> None:
    """`namedtuple()` may make two classes of one name, whose first values mean two things."""
    first, second = (namedtuple("Place", names)(1, 2) for names in ("row seat", "seat row"))  # noqa: PYI024  as above

    texts = encode(first), encode(second)

    assert texts[0] != texts[1]


def test_encode_enums_that_a_function_makes_are_told_apart_by_their_values() -> None:
    """A function may make several enums of one name; a value that can't be in a key is left out."""

    def make(value: object) -> enum.Enum:
        class Rate(enum.Enum):
            """An enum of one member."""

            FULL = value

        return Rate.FULL

    texts = [encode(make(value)) for value in (1, 2, "1", object())]

    assert 4 == len(set(texts))
    assert [encode(make(1)), encode(make(object()))] == [texts[0], texts[3]]


def test_encode_enums_of_one_name_that_enum_makes_are_told_apart_by_their_values() -> None:
    """`Enum("Rate", ...)` in a function gives no hint of the function in the name."""
    make: Any = enum.Enum
    first, second = (make("Rate", {"FULL": value}) for value in (1, 2))

    assert encode(first.FULL) != encode(second.FULL)
    assert encode(first) != encode(second)


def test_encode_enum_class_is_the_same_text_in_each_version_of_python() -> None:
    """The parameters by which `EnumMeta` makes classes are not the class's own, and they change."""
    make: Any = enum.Enum
    cls = make("Rate", {"FULL": 1})

    assert f"class:{__name__}.Rate(((class:enum.Enum()),{{4'FULL={__name__}.Rate(4'FULL=1)}},[]))" == encode(cls)


def test_encode_flag_bits_without_a_name_are_told_apart() -> None:
    """Flags keep bits that no member stands for: these count, too."""

    class Loose(enum.IntFlag):
        """Flags that take any bits."""

        READ = 1

    texts = {encode(Loose(bits)) for bits in (0, 1, 8, 9)}

    assert 4 == len(texts)
