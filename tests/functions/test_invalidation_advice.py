"""With DEBUG, an invalidation that reaches nothing is told where that is certain, and never otherwise."""

# ruff: noqa: ARG001, ARG005 -- the functions are there for their keys

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Prefetch, Value
from django.utils.timezone import now
from pytest_django import Settings

from cachedeco import Namespace, cached_query, cached_query_many
from cachedeco.functions import invalidation_advice
from cachedeco.invalidation import namespaces
from cachedeco.testing import capture_events
from tests.models import Club, ClubClass, Member, ProxyClub, SportsClub, Trainee


def saved(row: Any) -> Any:
    """Let a row be one that Django has read."""
    row._state.adding = False
    return row


CLUB, OTHER = saved(Club(pk=7, name="North")), saved(Club(pk=8, name="South"))


class Shelf:
    """What methods are cached on."""

    def __init__(self, number: int) -> None:
        """Remember the number."""
        self.number = number

    def __cache_key__(self) -> int:
        """Return what distinguishes shelves."""
        return self.number

    @cached_query
    def total(self, other: "Shelf | None" = None) -> int:
        """Return the number."""
        return self.number + (other.number if other else 0)


@pytest.fixture(autouse=True)
def _debug(settings: Settings, _nothing_advised: None) -> None:
    """Develop, with nothing told before."""
    settings.DEBUG = True


def told(act: Callable[[], object]) -> list[str]:
    """Return the advice that something gives."""
    with capture_events() as events:
        act()
    return [event.reason for event in events if event.kind == "advice"]


def cached(template: str | None = None) -> Any:
    """Return a function that no other test knows."""

    @cached_query(key=template)
    def shown(club: object = None) -> int:
        return 1

    return shown


def cached_many() -> Any:
    """Return a function over many ids that no other test knows."""

    @cached_query_many(over="ids")
    def several(ids: list[object]) -> dict[object, int]:
        return dict.fromkeys(ids, 1)

    return several


# --- types that no key has had ---

VAIN = [
    ([CLUB], 7, "club as int", "had tests.Club"),
    ([7], "7", "club as str", "had int"),
    (["7"], 7, "club as int", "had str"),
    ([7], CLUB, "club as tests.Club", "had int"),
    ([7], True, "club as bool", "had int"),
    ([7], 7.0, "club as float", "had int"),
    (["x"], b"x", "club as bytes", "had str"),
    ([UUID(int=1)], str(UUID(int=1)), "club as str", "had uuid.UUID"),
    ([(1,)], [1], "club as list", "had tuple"),
    ([{"a": 1}], (1,), "club as tuple", "had dict"),
    ([None, CLUB], 7, "club as int", "had tests.Club"),
    ([1, "x"], CLUB, "club as tests.Club", "had int or str"),
]


@pytest.mark.parametrize(("before", "given", "got", "had"), VAIN, ids=repr)
def test_argument_of_another_type_than_any_key_is_told(before: list[object], given: object, got: str, had: str) -> None:
    """The type that was given and those of the calls are named, and no value; once."""
    function = cached()
    for each in before:
        function(each)

    reasons = told(lambda: (function.invalidate(given), function.invalidate(given)))

    [reason] = reasons
    assert f"invalidate() got {got}, and in this process each key has {had} there" in reason
    assert "North" not in reason


@pytest.mark.parametrize(
    ("before", "given"),
    [
        ([], 7),
        ([CLUB], OTHER),
        ([7], 8),
        ([None], 7),
        ([7], None),
        ([7, "7"], "8"),
        ([1, "x", 1.0, True, b"x", (1,)], CLUB),
    ],
    ids=repr,
)
def test_argument_of_a_type_that_may_be_right_is_not_told(before: list[object], given: object) -> None:
    """No calls, the same type, None, equal texts, or types of every kind."""
    function = cached()
    for each in before:
        function(each)

    assert [] == told(lambda: function.invalidate(given))


def club_with(name: str, value: object) -> Club:
    """Return a saved row with a value beside its fields."""
    club = Club.from_db("default", ["id", "name"], [7, "North"])
    setattr(club, name, value)
    return club


def test_value_of_a_row_that_no_key_can_have_is_told() -> None:
    """It may be of one visitor, and the others get what was stored for that one: told once, by its type alone."""
    function = cached()

    [reason] = told(lambda: [function.refresh(club_with("far", Club.objects.all())) for _ in range(2)])

    assert "club.far is a django.db.models.query.QuerySet, which no key can have" in reason


@pytest.mark.parametrize(("name", "value"), [("far", 3), ("_far", ...), ("far", str.upper)], ids=repr)
def test_value_of_a_row_that_distinguishes_nothing_is_not_told(name: str, value: object) -> None:
    """What is in the key, private names, and functions."""
    assert [] == told(lambda: cached()(club_with(name, value)))


@pytest.fixture
def lesson() -> ClubClass:
    """Give a lesson of a club that has a member."""
    club = Club.objects.create(name="North")
    Member.objects.create(name="Ann").clubs.add(club)
    return ClubClass.objects.create(club=club, name="judo", start_time=now())


@pytest.mark.parametrize(
    ("held", "prefetch"),
    [
        ("Club.far", Prefetch("club", Club.objects.annotate(far=Value(3)))),
        ("Club.members", Prefetch("club__members", Member.objects.filter(name="Ann"))),
        ("Club.near", Prefetch("club__members", Member.objects.all(), to_attr="near")),
        ("Member.far", Prefetch("club__members", Member.objects.annotate(far=Value(3)))),
    ],
    ids=["annotated", "chosen", "in an attribute", "annotated further on"],
)
@pytest.mark.django_db
def test_what_rows_have_that_a_row_holds_is_told(held: str, prefetch: "Prefetch[Any]", lesson: ClubClass) -> None:
    """It may be of one visitor, and the key has it of the row itself alone: told once, by its model and name."""
    function, rows = cached(), ClubClass.objects.prefetch_related(prefetch)

    reasons = told(lambda: [function.refresh(rows.get(pk=lesson.pk)) for _ in range(2)])

    assert 1 == sum(f"club holds rows with tests.{held}, which is no field" in each for each in reasons)


@pytest.mark.parametrize(
    "prefetch",
    ["club__members", Prefetch("club", Club.objects.order_by("name")), Prefetch("club__members", to_attr="_of")],
)
@pytest.mark.django_db
def test_rows_that_a_row_holds_with_fields_alone_are_not_told(prefetch: Any, lesson: ClubClass) -> None:
    """All rows of a relation, and private names."""
    rows = ClubClass.objects.prefetch_related(prefetch)

    assert [] == told(lambda: cached()(rows.get(pk=lesson.pk)))


@pytest.mark.django_db
def test_rows_that_a_query_has_chosen_for_the_row_itself_are_not_told(lesson: ClubClass) -> None:
    """The key has these, and what they have beside their fields."""
    chosen = Prefetch("members", Member.objects.annotate(far=Value(3)))

    assert [] == told(lambda: cached()(Club.objects.prefetch_related(chosen).get(pk=lesson.club_id)))


@pytest.mark.parametrize("store", ["call", "refresh", "set"])
def test_each_way_to_store_is_a_call(store: str) -> None:
    """What was refreshed or set has a key, too."""
    function = cached()
    call = function.call(CLUB)
    {"call": call, "refresh": call.refresh, "set": lambda: call.set(1)}[store]()

    assert 1 == len(told(lambda: function.invalidate(7)))


def test_fields_of_a_template_are_told() -> None:
    """The key's own values are compared, so that another object with the same attribute is no fault."""
    function = cached("{club.pk}")
    function(CLUB)

    assert [] == told(lambda: function.invalidate(OTHER))
    assert "got club.pk as str" in told(lambda: function.invalidate(Club(pk="x")))[0]


def test_callable_key_is_not_asked_again() -> None:
    """A callable of the user's may be slow, and is no type."""
    asked: list[object] = []

    @cached_query(key=lambda club: asked.append(club) or 1)
    def shown(club: object) -> int:
        return 1

    shown(CLUB)

    assert [] == told(lambda: shown.invalidate(7))
    assert [CLUB, 7] == asked


@pytest.mark.parametrize("store", ["call", "refresh", "set"])
def test_ids_of_another_type_are_told(store: str) -> None:
    """Each id is a key, of a function over many."""
    function = cached_many()
    call = function.call([1, 2])
    {"call": call, "refresh": call.refresh, "set": lambda: call.set({1: 1})}[store]()

    reasons = told(lambda: (function.invalidate([1, 3]), function.invalidate(["1", "2"])))

    assert ["invalidate() got each as str, and in this process each key has had int there"] == [
        reason.partition(", so")[0] for reason in reasons
    ]


def test_async_functions_are_told() -> None:
    """The twin of the verb tells the same."""

    @cached_query
    async def shown(club: object) -> int:
        return 1

    async_to_sync(shown)(CLUB)

    assert 1 == len(told(lambda: async_to_sync(shown.ainvalidate)(7)))


def test_bound_call_that_has_its_own_object_is_told() -> None:
    """`shelf.total.call(shelf)` is another call than `shelf.total.call()`, and may be meant."""
    shelf = Shelf(1)
    shelf.total()

    assert [] == told(lambda: (shelf.total.invalidate(), shelf.total.invalidate(Shelf(2))))
    assert ["it is bound to an object, and invalidate() got that again, as other: leave it out"] == told(
        lambda: shelf.total.call(shelf).invalidate()
    )


@pytest.mark.parametrize("mode", ["off", "production"])
def test_nothing_is_told_or_remembered_otherwise(mode: str, settings: Settings) -> None:
    """Without DEBUG, and in the mode "off", arguments are not looked at."""
    settings.DEBUG = mode == "off"
    function = cached()
    function(CLUB)
    settings.CACHEDECO = {"MODE": "off" if mode == "off" else "on"}

    assert [] == told(lambda: (function.invalidate(7), Namespace("{x}").invalidate()))
    assert (mode == "off") is bool(function._spec.kinds_in_keys)


def test_attribute_that_fails_breaks_nothing() -> None:
    """What a user's attribute raises while advice is looked for is dropped, and the invalidation goes out."""

    class Once:
        asked = 0

        @property
        def pk(self) -> int:
            type(self).asked += 1
            if type(self).asked % 2 == 0:
                raise LookupError
            return 7

    function = cached("{club.pk}")

    with capture_events() as events:
        function(Once())
        Once.asked = 0
        function.invalidate(Once())

    assert "invalidated" in [event.kind for event in events]


# --- rows of two models ---


@pytest.mark.parametrize("template", ["{club.pk}", "{club.id}"])
def test_rows_of_two_models_that_share_a_template_are_told(template: str) -> None:
    """`{obj.pk}` of a club and of a trainee may be one key, whose entry is that of the first."""
    function = cached(template)

    [reason] = told(lambda: (function(CLUB), function(saved(Trainee(pk=9))), function(OTHER)))

    assert f"its key has {template} of tests.Club and of tests.Trainee: two of these rows with one prim" in reason
    assert reason.endswith("Put the row itself into the key, {club}")


@pytest.mark.parametrize(
    "rows",
    [
        [CLUB, saved(ProxyClub(pk=9)), saved(SportsClub(pk=10, id=10))],
        [SimpleNamespace(pk=1), CLUB],
    ],
    ids=["a proxy, and a multi-table child", "what is no row"],
)
def test_rows_of_one_table_that_share_a_template_are_not_told(rows: list[object]) -> None:
    """Their primary keys are those of one table."""
    function = cached("{club.pk}")

    assert [] == told(lambda: [function(row) for row in rows])


def test_attribute_that_is_no_primary_key_may_be_of_any_model() -> None:
    """A name may be meant to be one key."""
    function = cached("{club.name}")

    assert [] == told(lambda: (function(CLUB), function(saved(Trainee(pk=9, name="East")))))


# --- namespaces ---


@pytest.fixture
def _functions() -> Iterator[None]:
    """Have namespaces of each kind."""
    kept = [
        cached_query(namespace=namespace, name=f"tests.advice.n{n}")(lambda club: 1)
        for n, namespace in enumerate(
            ("plot:{club.pk}", ["town:north:{club}", Namespace("news", "today")], "link:{club}", Namespace("odd:one"))
        )
    ]
    yield
    assert kept


@pytest.mark.usefixtures("_functions")
@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        (Namespace("plot:7"), "'plot:{club.pk}', a namespace of tests.advice.n0(): pass each part by itself"),
        (Namespace(f"plot:{CLUB.pk}"), "Namespace('plot', ...)"),
        (Namespace("town:north", 7), "'town:north:{club}'"),
        (Namespace("town", "north:7"), "'town:north:{club}'"),
        (Namespace("news:today"), "'news:today'"),
        (Namespace("plot:{club.pk}"), "with the part 'plot:{club.pk}' was invalidated: Namespace() fills in no field"),
        (Namespace("plot", "{club.pk}"), "with the part '{club.pk}'"),
        (Namespace("nobody", "{pk}"), "with the part '{pk}'"),
    ],
    ids=str,
)
def test_namespace_that_no_template_gives_is_told(
    namespace: Namespace, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A path in one part, and braces: the template is named, and how to write it; once, in the log too."""
    [reason] = told(lambda: (namespace.invalidate(), async_to_sync(namespace.ainvalidate)()))

    assert expected in reason
    assert [f"{reason}."] == caplog.messages


@pytest.mark.usefixtures("_functions")
@pytest.mark.parametrize(
    "namespace",
    [
        Namespace("plot", 7),
        Namespace("plot"),
        Namespace("town", "north"),
        Namespace("polt", 7),
        Namespace("polt:7"),
        Namespace("plot:7", "more"),
        Namespace("link", "https://example.com:443/"),
        Namespace("odd:one"),
        Namespace("plot", "{}"),
        Namespace("plot", "{1}"),
        Namespace.for_model(Club),
    ],
    ids=str,
)
def test_namespace_that_may_be_right_is_not_told(namespace: Namespace) -> None:
    """Parts one by one, a colon inside a value, and a misspelt name, which may be that of another module."""
    assert [] == told(namespace.invalidate)


def test_namespace_with_braces_is_refused_at_decoration() -> None:
    """The person has meant the template."""
    with pytest.raises(TypeError, match=r"braces would never be filled in.*namespace='plot:\{club.pk\}'"):
        cached_query(namespace=Namespace("plot:{club.pk}"), name="tests.advice.braces")(lambda club: 1)


def test_failure_while_templates_are_looked_at_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invalidation goes out."""

    def fail() -> Any:
        raise LookupError

    monkeypatch.setattr(invalidation_advice, "all_specs", fail)

    with capture_events() as events:
        Namespace("plot:7").invalidate()

    assert ["invalidated"] == [event.kind for event in events]


def test_core_without_functions_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace can be invalidated where no function was imported."""
    monkeypatch.setattr(namespaces, "_look", None)

    assert [] == told(Namespace("plot:{pk}").invalidate)
