"""AUTO: an entry depends on the tables that its computation has read, in any way, and on no others."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.db.models import Prefetch
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings

from cachedeco import (
    AUTO,
    MISSING,
    CachedQuery,
    Namespace,
    bypass,
    cached_query,
    cached_query_many,
    deferred_invalidation,
)
from cachedeco.runtime.validation import UNSET
from cachedeco.testing import isolated
from cachedeco.tracking import known_tables, nested_names
from tests.models import Club, ClubClass, Member, Skill, SportsClub
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.events import heard
from tests.support.sides import ASYNC, SYNC, Side
from tests.support.threads import PATIENCE_SECONDS, in_thread, started

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

START = datetime(2026, 1, 1, tzinfo=UTC)


def auto(function: Callable[..., Any], **options: Any) -> CachedQuery[..., Any]:
    """Decorate a function anew, as a process does that has just started: nothing is known of its tables."""
    nested_names.names_by_key.clear()
    code = function.__code__
    name = f"auto.{function.__qualname__.replace('<', '').replace('>', '')}.{code.co_firstlineno}"
    chosen: dict[str, Any] = {"name": name, "ignore": code.co_freevars, "depends_on": [AUTO], **options}
    return cached_query(**chosen)(function)


def is_kept(function: CachedQuery[..., Any], *args: Any) -> bool:
    """Tell whether a value is stored."""
    return function.peek(*args) is not MISSING


# --- what counts as read ---


@cached_query(depends_on=[AUTO])
def members() -> int:
    """Return how many members there are."""
    return Member.objects.count()


@cached_query(depends_on=[Member])
def members_declared() -> int:
    """Return the same, as a function that names its model."""
    return Member.objects.count()


@dataclass
class Page:
    """A value with a lazy one inside."""

    title: str
    rows: Any


class Lazy:
    """A value that reads when it is pickled."""

    def __init__(self, number: int = 0) -> None:
        """Hold a number."""
        self.number = number

    def __getstate__(self) -> dict[str, int]:
        """Read a table."""
        return {"number": Member.objects.count()}


def plain() -> Any:
    """Read one table."""
    return Club.objects.count() + Member.objects.count()


def lazy_query_set() -> Any:
    """Return what was not read yet."""
    return Member.objects.order_by("pk")


def in_dict() -> Any:
    """Return a QuerySet inside a dict, as the context of a template."""
    return {"title": "x", "rows": Member.objects.order_by("pk")}


def in_dataclass() -> Any:
    """Return a QuerySet inside a dataclass in a tuple."""
    return ("x", [Page("x", Member.objects.order_by("pk"))])


def in_getstate() -> Any:
    """Return an object that reads when it is pickled."""
    return Lazy()


def inner_auto() -> Any:
    """Call a function under AUTO."""
    return members()


def inner_declared() -> Any:
    """Call a function with a declared model."""
    return members_declared()


def prefetched() -> Any:
    """Prefetch a relation."""
    several: Any = Club.objects.prefetch_related("members")
    return [list(club.members.all()) for club in several]


def subquery() -> Any:
    """Read a table in a condition only."""
    return Club.objects.filter(members__in=Member.objects.all()).count()


def exists() -> Any:
    """Ask whether there are rows."""
    return Member.objects.exists()


def answer_to(sql: str) -> Any:
    """Return the one value that a text gives."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def raw() -> Any:
    """Read by a text."""
    return answer_to("SELECT count(*) FROM tests_member")


def raw_query_set() -> Any:
    """Read by a text, and get rows."""
    return [member.pk for member in Member.objects.raw("SELECT * FROM tests_member")]


def iterated() -> Any:
    """Read in chunks."""
    return [member.pk for member in Member.objects.iterator(chunk_size=1)]


def in_transaction() -> Any:
    """Read inside a block, where only the tables that are known before may be new."""
    with transaction.atomic():
        return Member.objects.count()


READERS = [
    plain,
    lazy_query_set,
    in_dict,
    in_dataclass,
    in_getstate,
    inner_auto,
    inner_declared,
    prefetched,
    subquery,
    exists,
    raw,
    raw_query_set,
    iterated,
    in_transaction,
]


@pytest.mark.parametrize("function", READERS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("is_warm", [False, True])
def test_what_was_read_ends_with_its_table(function: Callable[[], Any], is_warm: bool) -> None:
    """A table that a computation has read in any way is a dependency; one that it has not is none."""
    club = Club.objects.create(name="North")
    if is_warm:  # what the inner functions compute is there already
        members()
        members_declared()
    cached = auto(function)
    cached()
    if not is_kept(cached):  # first met in a snapshot: the next one is stored
        cached()
    assert is_kept(cached)

    Skill.objects.create(name="x")
    kept = is_kept(cached)
    Member.objects.create(name="new").clubs.add(club)

    assert (True, False) == (kept, is_kept(cached))


@pytest.mark.parametrize("outer_dependency", [[AUTO], [Club], ()], ids=["auto", "declared", "none"])
@pytest.mark.parametrize("inner", [members, members_declared], ids=["auto", "declared"])
def test_call_inherits_what_its_inner_call_depends_on(outer_dependency: Any, inner: CachedQuery[[], int]) -> None:
    """AUTO inside AUTO, AUTO inside declared, declared inside AUTO: on a miss of the inner call, and on a hit."""

    def outer() -> Any:
        return Club.objects.count(), inner()

    for _ in range(2):
        cached = auto(outer, depends_on=outer_dependency)
        cached()
        assert is_kept(cached)
        Member.objects.create(name="new")
        assert (Club.objects.count(), Member.objects.count()) == cached()
        cached.invalidate()


@pytest.mark.parametrize("dependency", [{}, {"namespace": "clubs", "depends_on": ()}], ids=["AUTO", "namespace"])
def test_older_of_two_tokens_counts_for_the_call_around(dependency: Any) -> None:
    """A call reads a table, and one inside it reads it anew after a write: what is around both has the older token."""

    def write() -> None:
        Club.objects.create(name="new")
        Namespace("clubs").invalidate()

    def inner() -> Any:
        return Club.objects.count()

    def middle() -> Any:
        before = Club.objects.count()
        if not before:
            in_thread(write)
        return min(before, cached_inner())

    def outer() -> Any:
        return cached_middle()

    cached_inner, cached_middle = (auto(each, **dependency) for each in (inner, middle))
    cached = auto(outer, depends_on=())
    Club.objects.create(name="old")
    cached()
    Club.objects.all().delete()
    Namespace("clubs").invalidate()

    assert (0, 1) == (cached(), cached())


def test_inner_call_that_is_served_hands_on_its_tables_across_a_cold_process() -> None:
    """A process that has computed neither knows the tables of both."""

    def outer() -> Any:
        return members()

    auto(outer)()
    cold = auto(outer)

    assert is_kept(cold)
    Member.objects.create(name="new")
    assert 1 == cold()


@contextmanager
def invalidated_here() -> Iterator[None]:
    """Invalidate what an inner call depends on, for this thread at first."""
    with deferred_invalidation():
        Namespace("past", 1).invalidate()
        yield


@pytest.mark.parametrize("nested", [True, False], ids=["nested", "not nested"])
@pytest.mark.parametrize(
    ("pass_by", "side"),
    [(bypass, SYNC), (bypass, ASYNC), (invalidated_here, SYNC)],
    ids=["bypass()", "bypass() async", "invalidated here"],
)
def test_what_an_inner_call_reads_past_the_cache_is_no_read_of_the_outer_function(
    pass_by: Callable[[], AbstractContextManager[Any]], side: Side, nested: bool
) -> None:
    """It is of one call alone, and would end the entries of all others, and these from then on with each write."""

    def inner(number: int) -> Any:
        return number, Member.objects.count()

    async def ainner(number: int) -> Any:
        return number, await Member.objects.acount()

    def outer(number: int) -> Any:
        with pass_by() if number else nullcontext():
            return cached_inner(number)

    async def aouter(number: int) -> Any:
        with pass_by() if number else nullcontext():
            return await cached_inner(number)

    cached_inner = auto(ainner if side.is_async else inner, depends_on=(), namespace="past:{number}")
    cached = auto(aouter if side.is_async else outer, nested=nested)
    side.call(cached, 0)
    side.call(cached, 1)
    Member.objects.create(name="new")

    assert is_kept(cached, 0)


# --- rows among the arguments ---


def test_row_among_the_arguments_is_a_read() -> None:
    """What a row holds was read before the call: its table is a dependency, although no statement names it."""
    club = Club.objects.create(name="North")
    cached = auto(lambda club: club.name.upper(), key="{club.pk}")
    cached(club)
    assert is_kept(cached, club)

    club.name = "South"
    club.save()

    assert "SOUTH" == cached(club)


def _related(club: Club) -> list[Any]:
    Member.objects.create(name="a").clubs.add(club)
    ClubClass.objects.create(club=club, name="Yoga", start_time=START)
    return [
        ClubClass.objects.select_related("club").get(),
        Club.objects.prefetch_related("members").get(),
        Club.objects.prefetch_related(Prefetch("members", to_attr="found")).get(),
        Club.objects.prefetch_related("classes__club__members").get(),
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("wrap", [lambda row: row, lambda row: [row], lambda row: {"x": (row,)}])
def test_what_hangs_on_a_row_is_a_read(number: int, wrap: Callable[[Any], Any]) -> None:
    """Selected and prefetched rows of an argument count, at any depth, in any container."""
    club = Club.objects.create(name="North")
    row = _related(club)[number]
    cached = auto(lambda value: len(str(value)), key=lambda value: type(value).__name__)
    cached(wrap(row))
    model = {0: Club, 1: Member, 2: Member, 3: Member}[number]
    assert is_kept(cached, wrap(row))
    model.objects.update(name="x")
    assert not is_kept(cached, wrap(row))


@dataclass
class Basket:
    """What a view puts together, and hands on."""

    club: Club


@dataclass(slots=True)
class SlimBasket:
    """The same, without a dictionary."""

    club: Club


class Desk:
    """A service of a project, which says itself what tells it from another one."""

    __slots__ = "club"  # noqa: PLC0205 -- Python takes it

    def __init__(self, club: Club) -> None:
        """Begin with a row."""
        self.club = club

    def __cache_key__(self) -> int:
        """Return the key of the row."""
        return self.club.pk

    @cached_query(depends_on=[AUTO])
    def name(self) -> str:
        """Return what the row has in memory."""
        return self.club.name


@pytest.mark.parametrize(
    "wrap",
    [
        Basket,
        SlimBasket,
        Desk,
        lambda club: [Basket(club)],
        lambda club: deque([club]),
        lambda club: SimpleLazyObject(lambda: Desk(club)),
    ],
)
def test_row_in_an_object_that_can_be_in_a_key_is_a_read(wrap: Callable[[Club], Any]) -> None:
    """Dataclasses, and objects with `__cache_key__`, are made to hold rows for a function."""
    club = Club.objects.create(name="North")
    cached = auto(lambda held: str(getattr(held, "club", held)))
    cached(wrap(club))
    assert is_kept(cached, wrap(club))

    Club.objects.update(name="South")

    assert not is_kept(cached, wrap(club))


def test_object_that_answers_to_each_name_does_not_keep_a_value_from_being_stored() -> None:
    """No attribute of an argument that is ignored is asked for, as it may raise anything."""

    class Remote:
        def __getattr__(self, name: str) -> Any:
            raise ValueError(name)

    cached = auto(lambda number, remote: (number, remote is None), ignore=["remote"])
    cached(1, Remote())

    assert is_kept(cached, 1, Remote())


class Service:
    """A service whose key is its club's, and which makes what it rarely needs when it is used."""

    def __init__(self, club: Club, rare: Any) -> None:
        """Begin with a row, under a name that Python changes, and what may not be needed."""
        self.__club = club
        self.rare = rare

    def __cache_key__(self) -> int:
        """Return the key of the row."""
        return self.__club.pk

    def name(self) -> str:
        """Return what the row has in memory."""
        return self.__club.name


class SlimService(Service):
    """The same, with another row that no dictionary has."""

    __slots__ = ("__other", "empty")

    def __init__(self, club: Club, rare: Any) -> None:
        """Keep the row twice."""
        super().__init__(club, rare)
        self.__other = club


@pytest.mark.parametrize("kind", [Service, SlimService])
def test_what_is_lazy_in_an_object_is_not_made_to_look_for_rows(kind: type[Service]) -> None:
    """It may cost a query, or raise, and has no part in the key."""
    club, made = Club.objects.create(name="North"), list[int]()
    cached = auto(lambda service: service.name())
    service = kind(club, SimpleLazyObject(lambda: made.append(1)))
    cached(service)

    assert is_kept(cached, service)
    Club.objects.update(name="South")

    assert ([], False) == (made, is_kept(cached, service))


def test_row_of_the_object_that_has_the_method_is_a_read() -> None:
    """The method shows the row that the object was made with."""
    Club.objects.create(name="North")
    assert "North" == Desk(Club.objects.get()).name()

    Club.objects.update(name="South")

    assert "South" == Desk(Club.objects.get()).name()


def test_row_of_a_multi_table_child_is_a_read_of_its_parents() -> None:
    """The child's row holds columns of the parent's table."""
    sports = SportsClub.objects.create(name="North", sport="Chess")
    cached = auto(lambda club: club.name, key="{club.pk}")
    cached(sports)

    Club.objects.update(name="South")

    assert not is_kept(cached, sports)


def test_permissions_that_a_user_was_asked_for_before_are_a_read() -> None:
    """The view has asked for one, Django keeps all of them on the user, and no statement of the call names a table."""
    group = Group.objects.create(name="editors")
    User.objects.create_user("ann").groups.add(group)
    kind = ContentType.objects.get_for_model(Club)
    permission = Permission.objects.get_or_create(content_type=kind, codename="add_club")[0]
    cached = auto(lambda user: sorted(user.get_all_permissions()), key="{user.pk}")
    user = User.objects.get()
    assert not user.has_perm("tests.add_club")
    assert [] == cached(user)
    assert is_kept(cached, user)

    group.permissions.add(permission)

    assert ["tests.add_club"] == cached(User.objects.get())


@pytest.mark.parametrize(
    ("query", "model"),
    [
        (Club.objects.all, Club),
        (lambda: ClubClass.objects.values("club__name"), Club),
        (lambda: Club.objects.prefetch_related("members"), Member),
        (Club.objects.none, Club),
    ],
)
def test_query_set_itself_is_a_read_once_it_was_evaluated(query: Callable[[], Any], model: Any) -> None:
    """No statement follows: the tables of its query count, with what hangs on its rows."""
    _related(Club.objects.create(name="North"))
    rows = query()
    list(rows)
    cached = auto(lambda number, rows: number + len(rows), ignore=["rows"])
    cached(1, rows)
    assert is_kept(cached, 1, rows)
    model.objects.update(name="x")
    assert not is_kept(cached, 1, rows)


def test_argument_that_can_not_be_looked_into_breaks_no_call() -> None:
    """A mapping of the user's raises: the function is called all the same, and its value is not stored."""

    class Broken(dict[str, int]):
        """Gives no values."""

        def values(self) -> Any:
            """Raise."""
            raise LookupError

    cached = auto(lambda number, mapping: number + len(mapping), ignore=["mapping"])
    with heard("error", "unstored") as events:
        assert 1 == cached(1, Broken())

    assert ["error", "unstored"] == [event.kind for event in events]


def test_query_set_among_the_arguments_that_was_evaluated_is_a_read() -> None:
    """A list of rows that the caller holds counts as the rows do."""
    Club.objects.create(name="North")
    cached = auto(lambda clubs: [club.name for club in clubs], key=lambda clubs: len(clubs))  # noqa: PLW0108 -- it names the parameter
    rows = list(Club.objects.all())
    cached(rows)
    assert is_kept(cached, rows)

    Club.objects.update(name="South")

    assert not is_kept(cached, rows)


# --- snapshots ---


def test_table_met_first_inside_a_snapshot_is_known_and_not_stored() -> None:
    """An iterator keeps a snapshot on SQLite: the value is right, the reason is told, and the next one is stored."""
    Member.objects.bulk_create([Member(name=str(number)) for number in range(5)])

    def function() -> Any:
        for _ in Member.objects.iterator(chunk_size=1):
            return [club.name for club in Club.objects.all()]
        return None

    cached = auto(function)
    with heard("unstored") as events:
        assert [] == cached()
    assert (False, True) == (is_kept(cached), "tests_club" in events[0].reason)
    assert [] == cached()
    assert is_kept(cached)
    Club.objects.create(name="new")
    assert ["new"] == cached()


def test_branch_taken_first_inside_a_snapshot_never_stores_the_past() -> None:
    """Another thread commits between the begin of the snapshot and the first read of a table."""
    Member.objects.bulk_create([Member(name=str(number)) for number in range(5)])
    Club.objects.create(name="old")
    reads = {"club": False}

    def function() -> Any:
        for _ in Member.objects.iterator(chunk_size=1):
            if reads["club"]:
                in_thread(lambda: Club.objects.update(name="new"))
                in_thread(auto(names))  # another thread reads it, so that the token is there
                return [club.name for club in Club.objects.all()]
            return []
        return None

    def names() -> Any:
        return list(Club.objects.values_list("name", flat=True))

    cached = auto(function)
    cached()
    reads["club"] = True
    cached.invalidate()

    assert ["old"] == cached()
    assert not is_kept(cached)


def test_table_met_first_inside_a_block_is_not_stored() -> None:
    """On SQLite a block is a snapshot: the first computation is not stored, the second one is."""

    def function() -> Any:
        with transaction.atomic():
            return Club.objects.count(), Member.objects.count()

    cached = auto(function)
    with heard("unstored") as events:
        cached()
    first = is_kept(cached)
    cached()

    assert (False, True, 1) == (first, is_kept(cached), len(events))


# --- what processes know of each other ---


def branching() -> Any:
    """Read one table more at will."""
    return Club.objects.count() + (Member.objects.count() if BRANCH["members"] else 0)


BRANCH = {"members": False}


@pytest.fixture(autouse=True)
def _no_branch() -> Iterator[None]:
    BRANCH["members"] = False
    yield
    BRANCH["members"] = False


def test_hit_is_one_command_after_the_first_call(commands: Commands) -> None:
    """The list of tables is read at the first call of a process, and then no more."""
    auto(plain)()
    cold = auto(plain)
    commands.clear()
    cold()
    first = list(commands)
    commands.clear()
    cold()

    assert (2, 1) == (len(first), len(commands))


def test_table_that_is_new_to_another_process_costs_one_more_read_once(commands: Commands) -> None:
    """A process that meets an entry with more tables reads the list again, and hits from then on."""
    one, other = auto(branching), auto(branching)
    one()
    other()
    BRANCH["members"] = True
    one.refresh()
    commands.clear()
    with heard() as events:
        other()
    first = len(commands)
    commands.clear()
    other()

    assert (3, 1, ["hit"]) == (first, len(commands), [event.kind for event in events])
    Member.objects.create(name="new")
    assert 1 == other()


def test_table_that_another_call_makes_known_meanwhile_is_new_to_a_computation() -> None:
    """Its token was not in the look-up: it is read before the data, so that a process that knows less never hits."""

    def page(number: int) -> Any:
        clubs = Club.objects.count()
        if number == 1:
            in_thread(lambda: one(2))
        return clubs + (Member.objects.count() if number else 0)

    one, other = auto(page), auto(page)
    one(0)
    other(0)
    one(1)
    Member.objects.create(name="new")

    assert (1, 1) == (other(1), one(1))


def test_lost_list_is_written_again() -> None:
    """A process that knows tables writes a list that is lost; a cold one that finds none misses, and is right."""
    one = auto(branching)
    BRANCH["members"] = True
    one()
    from tests.support.stored import stored

    known = one_tables(one)
    stored().delete(known._list_key)
    cold = auto(branching)
    cold()
    Member.objects.create(name="new")

    assert (1, 1) == (cold(), auto(branching)())


def test_list_that_a_restart_has_lost_is_written_with_the_first_entry() -> None:
    """A process that knows tables writes the list again, so that one which starts later finds what is stored."""
    one = auto(plain)
    one()
    from tests.support.stored import stored

    stored().clear()
    one()

    assert (True, True) == (is_kept(one), is_kept(auto(plain)))


def one_tables(function: CachedQuery[..., Any]) -> known_tables.KnownTables:
    """Return the tables that a function is known to read here."""
    tables = function._spec.resolve().policy.tables
    assert tables is not None
    return tables


def test_two_writers_of_the_list_converge() -> None:
    """Processes that learn different tables at the same time end up with all of them, and serve each other."""

    def either(number: int) -> Any:
        return (Member if BRANCH["members"] else Skill).objects.count() + Club.objects.count() + number

    one, other = auto(either), auto(either)
    assert [MISSING, MISSING] == [one.peek(0), other.peek(0)]  # both have read the empty list
    one(1)
    BRANCH["members"] = True
    other(2)
    for _ in range(known_tables.DEAD_ENTRIES):
        Club.objects.create(name="y")
        for process, branch in ((one, False), (other, True)):
            BRANCH["members"] = branch
            process(1)
            process(2)

    assert {"tests_club", "tests_member", "tests_skill"} == set(one_tables(one).names) == set(one_tables(other).names)
    with heard() as events:
        one(1)
        other(1)
    assert ["hit", "hit"] == [event.kind for event in events]


def test_memo_of_one_process_does_no_harm_in_another() -> None:
    """A table that one process reads into a memo is a dependency of what another one computes without reading it."""
    memo: dict[str, int] = {}

    def remembering() -> Any:
        if "members" not in memo:
            memo["members"] = Member.objects.count()
        return memo["members"] + Club.objects.count()

    auto(remembering)()
    cold = auto(remembering)
    cold.refresh()  # without a statement that names the member
    assert is_kept(cold)
    Member.objects.create(name="new")

    assert not is_kept(cold)


def test_follower_and_leader_may_know_different_tables() -> None:
    """A value that a leader computes with tables that its follower does not know is shared, and is right."""
    BRANCH["members"] = True
    from threading import Event as ThreadEvent

    begun, go = ThreadEvent(), ThreadEvent()

    def slow() -> Any:
        result = Club.objects.count() + Member.objects.count()
        begun.set()
        go.wait(PATIENCE_SECONDS)
        return result

    leader, follower = auto(slow), auto(slow)
    with started(leader) as one:
        begun.wait(PATIENCE_SECONDS)
        with started(follower) as two:
            go.set()
            assert (0, 0) == (one.result(PATIENCE_SECONDS), two.result(PATIENCE_SECONDS))
    Member.objects.create(name="new")
    assert (1, 1) == (leader(), follower())


# --- bulk, async ---


def test_bulk_entries_depend_on_what_the_computation_read() -> None:
    """All entries of one call depend on all tables that it has read."""

    @cached_query_many(over="ids", depends_on=[AUTO])
    def names_of(ids: list[int]) -> dict[int, str]:
        return {club.pk: club.name for club in Club.objects.filter(pk__in=ids)}

    several = [Club.objects.create(name=str(number)).pk for number in range(3)]
    names_of(several[:2])
    names_of(several)
    with heard("hit") as events:
        names_of(several)
    Club.objects.update(name="x")

    assert (3, {"x"}) == (len(events), set(names_of(several).values()))


def test_coroutine_depends_on_what_it_reads() -> None:
    """The ORM's async methods, and asyncio.gather inside."""

    async def function() -> Any:
        return await asyncio.gather(Club.objects.acount(), Member.objects.acount())

    cached: Any = auto(function)

    async def steps() -> list[Any]:
        first = await cached()
        hit = await cached.apeek() is not MISSING
        await Member.objects.acreate(name="new")
        return [first, hit, await cached()]

    from asgiref.sync import async_to_sync

    assert [[0, 0], True, [0, 1]] == async_to_sync(steps)()


# --- what can't be stored, with the reason ---


def reasons(function: CachedQuery[..., Any], *args: Any, kind: str = "unstored") -> list[str]:
    """Call a function, and return why its value is not stored."""
    with heard(kind) as events:
        function(*args)
    return [event.reason for event in events]


def test_function_that_writes_what_it_reads_is_not_stored() -> None:
    """It would be dead at birth each time; the reason names the table."""

    def counting() -> Any:
        Club.objects.create(name="x")
        return Club.objects.count()

    cached = auto(counting)
    [first], [second] = reasons(cached), reasons(cached)

    assert ("tests_club" in first, "tests_club" in second, 3) == (True, True, cached())


def test_function_that_writes_what_it_does_not_read_is_stored() -> None:
    """A log of calls is no dependency."""

    def logging() -> Any:
        Skill.objects.create(name="x")
        return Club.objects.count()

    cached = auto(logging)
    cached()

    assert is_kept(cached)


def test_function_that_reads_nothing_gets_advice() -> None:
    """Nothing would invalidate it: an event says so."""
    assert "depends_on" in reasons(auto(lambda: 1), kind="advice")[0]


def test_read_of_a_table_without_a_model_is_not_stored() -> None:
    """No write to it is known."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS odd_table (n integer)")

    try:
        cached = auto(lambda: answer_to("SELECT count(*) FROM odd_table"))
        with heard("unstored", "advice") as events:
            cached()
        assert ["advice", "unstored"] == [event.kind for event in events]  # nor is it told that it has read nothing
        assert all("odd_table" in event.reason for event in events)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE odd_table")


def in_function_of_the_database() -> Any:
    """Read what a function of the database gives."""
    return answer_to("SELECT count(*) FROM pragma_table_info('tests_club')")


def test_read_of_an_unknown_function_is_not_stored() -> None:
    """What a function of the database reads is unknown, unless the setting TABLES says it."""
    assert "pragma_table_info" in reasons(auto(in_function_of_the_database))[0]


def test_function_in_the_setting_reads_what_it_says(settings: Settings) -> None:
    """With TABLES, the function stands for its tables."""
    settings.CACHEDECO = {"TABLES": {"pragma_table_info": ["tests.Club"]}}
    cached = auto(in_function_of_the_database)
    cached()
    assert is_kept(cached)

    Club.objects.create(name="x")

    assert not is_kept(cached)


def test_ignored_table_keeps_a_value_from_being_stored(settings: Settings) -> None:
    """What is not watched makes no value wrong: it is not stored, with the name of the table."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Member"]}

    assert "tests_member" in reasons(auto(plain))[0]


def test_declared_table_that_is_ignored_keeps_a_value_from_being_stored(settings: Settings) -> None:
    """A model of depends_on whose writes end nothing: the value would be stale, in silence."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Member"]}

    assert "tests_member" in reasons(auto(plain, depends_on=[Member]))[0]


# What is never stored by the settings, or by the statements that it runs.
NEVER_STORED: dict[str, tuple[Callable[[], Any], list[Any], dict[str, Any]]] = {
    "an ignored table": (plain, [AUTO], {"IGNORED_TABLES": ["tests.Member"]}),
    "an ignored table that is named": (plain, [Member], {"IGNORED_TABLES": ["tests.Member"]}),
    "an unknown function": (in_function_of_the_database, [AUTO], {}),
}


@pytest.mark.parametrize("case", NEVER_STORED)
def test_function_whose_values_are_never_stored_is_a_warning_once(
    settings: Settings, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """Who looks at the log alone learns that the decorator does nothing, and what to do."""
    function, depends_on, settings.CACHEDECO = NEVER_STORED[case]
    cached = auto(function, depends_on=depends_on)

    for _ in range(3):
        cached()

    [line] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "(): Values are not stored where it " in line
    assert "Say depends_on=()" in line


def test_value_that_the_next_call_stores_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """What a function writes at its first call alone is a reason of that call."""

    def getting() -> Any:
        return Club.objects.get_or_create(name="only")[0]

    cached = auto(getting)
    with heard("unstored") as events:
        cached()
    cached()

    assert (1, True, []) == (len(events), is_kept(cached), [each for each in caplog.records if each.levelno > 20])


def test_given_value_is_not_stored_before_any_table_is_known() -> None:
    """`set()` for a function that was never computed: nothing would invalidate its value."""
    cached = auto(plain)
    with heard("unstored") as events:
        cached.call().set(0)
    assert ("call it first" in events[0].reason, False) == (True, is_kept(cached))

    cached()
    cached.call().set(0)
    assert is_kept(cached)
    Member.objects.create(name="new")
    assert not is_kept(cached)


def test_given_value_of_a_function_that_reads_nothing_is_stored_once_that_is_known() -> None:
    """As a computed one is."""
    cached = auto(lambda: 1)
    cached()
    cached.invalidate()
    cached.call().set(2)

    assert 2 == cached()


def test_too_many_tables_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that reads hundreds of tables is told to name models."""
    monkeypatch.setattr(known_tables, "MOST_TABLES", 1)

    assert "AUTO" in reasons(auto(plain))[0]


class Router:
    """Reads from a replica."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        """Read from the other one."""
        return "other"

    def db_for_write(self, *_: Any, **__: Any) -> str:
        """Write to the first one."""
        return "default"


def test_read_from_a_replica_is_not_stored_unless_its_lag_is_known(settings: Settings) -> None:
    """A replica is older than the token: the reason names the setting, which makes the entry end soon."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    [reason] = reasons(auto(plain))
    settings.CACHEDECO = {"REPLICA_LAG": {"other": 5}}
    cached = auto(plain)
    cached()

    assert ("REPLICA_LAG" in reason, True) == (True, is_kept(cached))


def test_replica_that_is_read_by_using_is_one_where_the_setting_names_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without routers a database that the setting does not name is read and written: only the named one lags."""
    settings.CACHEDECO = {"REPLICA_LAG": {"other": 5}}
    clock = Clock()
    clock.install(monkeypatch)
    lagging = auto(lambda: Club.objects.using("other").count())
    other = auto(lambda: Club.objects.count())  # noqa: PLW0108 -- a name of its own
    lagging()
    other()
    assert (True, True) == (is_kept(lagging), is_kept(other))
    clock.now += 6

    assert (False, True) == (is_kept(lagging), is_kept(other))


def test_replica_of_a_test_that_mirrors_is_the_database_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TEST["MIRROR"] makes two aliases one database, of which nothing is old."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    _mirror(monkeypatch)
    try:
        cached = auto(plain)
        cached()
        assert is_kept(cached)
        Member.objects.create(name="x")
        assert 1 == cached()
    finally:
        connections["other"].close()


def test_replica_that_only_the_options_name_is_a_replica(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's `service` and `target_session_attrs`, or MySQL's `read_default_file`, say which server it is."""
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    _mirror(monkeypatch)
    own = connections["other"].settings_dict
    monkeypatch.setitem(own, "OPTIONS", {**own["OPTIONS"], "timeout": 6})
    try:
        [reason] = reasons(auto(plain))
    finally:
        connections["other"].close()

    assert "REPLICA_LAG" in reason


def _mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make both aliases one database."""
    for name in ("HOST", "PORT", "NAME"):
        monkeypatch.setitem(connections["other"].settings_dict, name, connections["default"].settings_dict[name])
    connections["other"].close()


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("depends_on", [[AUTO], [Club, Member]], ids=["AUTO", "models"])
def test_test_case_without_isolation_stores_nothing(depends_on: list[Any]) -> None:
    """The rollback of a test is not seen: what it reads must not be left to the next one."""
    cached = auto(plain, depends_on=depends_on)

    [reason] = reasons(cached)

    assert "inside a TestCase whose caches are not isolated" in reason
    assert MISSING is cached.peek()


def test_advice_of_known_tables_survives_a_broken_list() -> None:
    """Bytes that no process of ours has written are no list."""
    from tests.support.stored import stored

    one = auto(plain)
    one()
    stored().set(one_tables(one)._list_key, b"\xff\xfe", None)
    cold = auto(plain)

    assert 0 == cold()
    Member.objects.create(name="x")
    assert 1 == cold()


@dataclass(frozen=True)
class Asked:
    """What is no row, and has one."""

    user: Member


def test_row_that_the_key_passes_through_is_a_read() -> None:
    """`request.user` is loaded before the call, as an argument is, and what it held may be in the value."""
    member = Member.objects.create(name="Ann")

    @cached_query(name="tests.auto.greeting", key="{request.user.pk}", depends_on=[AUTO])
    def greeting(request: Any) -> str:
        return str(request.user.name)

    with isolated():
        before = greeting(SimpleNamespace(user=member))
        Member.objects.update(name="Eve")
        after = greeting(SimpleNamespace(user=Member.objects.get()))
        refreshed = greeting.refresh(SimpleNamespace(user=Member.objects.get()))

    assert ("Ann", "Eve", "Eve") == (before, after, refreshed)


def test_default_that_the_key_passes_through_is_no_read() -> None:
    """It was made with the function, and is no row that a caller has loaded."""
    number = SimpleNamespace(of=SimpleNamespace(page=7))

    @cached_query(name="tests.auto.page", key="{number.of.page}", depends_on=[AUTO])
    def page(number: Any = number) -> int:
        return Club.objects.count() + int(number.of.page)

    with isolated():
        values = [page(), page(), page(number)]

    assert ([7, 7, 7], 1) == (values, page.stats().computations)


def test_row_that_the_keys_of_many_ids_pass_through_is_a_read() -> None:
    """As that of one key; and so is one that an id leads to."""
    member = Member.objects.create(name="Ann")

    @cached_query_many(over="ids", name="tests.auto.greetings", key="{request.user.pk}:{each}", depends_on=[AUTO])
    def greetings(request: Any, ids: Iterable[int]) -> dict[int, str]:
        return {each: str(request.user.name) for each in ids}

    @cached_query_many(over="requests", name="tests.auto.names", key="{each.user.pk}", depends_on=[AUTO])
    def names(requests: Iterable[Asked]) -> dict[Asked, str]:
        return {each: each.user.name for each in requests}

    with isolated():
        before = greetings(SimpleNamespace(user=member), [1, 2]), names([Asked(member)])
        Member.objects.update(name="Eve")
        eve = Member.objects.get()
        after = greetings(SimpleNamespace(user=eve), [2, 1]), names([Asked(eve)])
        greetings.refresh(SimpleNamespace(user=eve), [1])
        Member.objects.update(name="Zoe")
        at_last = greetings(SimpleNamespace(user=Member.objects.get()), [1])

    assert ({1: "Ann", 2: "Ann"}, ["Ann"]) == (before[0], [*before[1].values()])
    assert ({1: "Eve", 2: "Eve"}, ["Eve"]) == (after[0], [*after[1].values()])
    assert {1: "Zoe"} == at_last


@pytest.mark.usefixtures("_auto_by_default")
@pytest.mark.parametrize("depends_on", [UNSET, [AUTO]], ids=["default", "auto"])
def test_function_that_reads_is_refused_without_the_app(settings: Settings, depends_on: Any) -> None:
    """Nothing would tell what it reads, nor what is written: its values would be old in silence."""
    early = auto(lambda: 1, depends_on=depends_on)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.startswith("cachedeco")]

    for use in (early, early.peek, early.invalidate, lambda: auto(lambda: 2, depends_on=depends_on)):
        with pytest.raises(ImproperlyConfigured, match="add 'cachedeco' to INSTALLED_APPS"):
            use()


@pytest.mark.usefixtures("_auto_by_default")
def test_function_needs_no_app_where_there_is_no_database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one there is nothing to read; nor does it need the app with depends_on=()."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.startswith("cachedeco")]
    plain = auto(lambda: 1, depends_on=())

    found = plain(), plain()
    monkeypatch.setattr(connections, "settings", {"default": {"ENGINE": "django.db.backends.dummy"}})
    reading = auto(lambda: 2, depends_on=UNSET)

    assert ((1, 1), 2, 2, 1) == (found, reading(), reading(), reading.stats().hits)
