"""Scenarios of AUTO: functions that depend on the tables that they read, as the watcher sees them."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from django.db import transaction

from cachedeco import AUTO, cached_query, cached_query_many
from cachedeco.tracking import watcher
from tests.schedules import database
from tests.schedules.acts import Act, Versions, forgets, only_once, passes, reads
from tests.schedules.database import ALIAS
from tests.schedules.explorer import Scenario
from tests.schedules.functions import TIMEOUT
from tests.schedules.known import KnownHere
from tests.schedules.simulation import REPLACED, step, world
from tests.schedules.world import LONGEST_WAIT, Violation

REPLACED["functions.resolving.KnownTables"] = KnownHere
# Dead entries until the list is read again: so few that a schedule of some calls comes to it.
REPLACED["tracking.known_tables.DEAD_ENTRIES"] = 2

# Tables of models that concern no other table. Each has one row, with the same name in the world.
TABLES: Final = {"a": "tests_scarf", "b": "tests_fan", "c": "tests_skill"}
_NO_ROWS: Final = SimpleNamespace(description=None)


def _run(sql: str, what: str, table: str, carry_out: Callable[[], int]) -> int:
    """Run a statement as Django does, past the watcher; the database takes one step for it."""

    def execute(*_: object) -> Any:
        return step("row", (what, table), carry_out)

    context = {"connection": database.here(), "cursor": _NO_ROWS}
    return int(watcher.watch(execute, sql, (), many=False, context=context))


def select(table: str) -> int:
    """Read a table."""
    connection = database.here()
    # In a snapshot, what others write meanwhile to any table matters to when this is done.
    what = "read row" if not connection.keeps_snapshot else "read row in a snapshot"
    return _run(f"SELECT id FROM {TABLES[table]}", what, table, lambda: connection.read(table))  # noqa: S608 -- no input


def update(table: str) -> int:
    """Write a table."""
    connection = database.here()
    return _run(f"UPDATE {TABLES[table]} SET number = number + 1", "write row", table, lambda: connection.write(table))  # noqa: S608 -- as above


def computed(*tables: str) -> dict[str, int]:
    """Read some tables, one after the other, and count the computation."""
    here = world()
    here.computed["".join(tables)] += 1
    return {table: select(table) for table in tables}


def _auto(function: Callable[..., dict[str, int]]) -> Any:
    name = f"schedules.auto.{function.__name__}"
    return cached_query(name=name, depends_on=[AUTO], timeout=TIMEOUT, wait=LONGEST_WAIT)(function)


@_auto
def one() -> dict[str, int]:
    """Read a table."""
    return computed("a")


@_auto
def two() -> dict[str, int]:
    """Read two tables."""
    return computed("a", "b")


@_auto
def branching() -> dict[str, int]:
    """Read a table, and another one once the first was written."""
    found = computed("a")
    return found | computed("b") if found["a"] else found


@_auto
def page(tables: str) -> dict[str, int]:
    """Read the tables of a page."""
    return computed(*tables)


@_auto
def in_repeatable_read() -> dict[str, int]:
    """Read two tables in one snapshot, of a transaction of its own."""
    with database.opened() as connection:
        connection.isolation_level = "repeatable read"
        with transaction.atomic(using=ALIAS):
            return computed("a", "b")


@_auto
def in_read_committed() -> dict[str, int]:
    """Read two tables in a transaction of its own, in which each statement has a snapshot."""
    with database.opened(), transaction.atomic(using=ALIAS):
        return computed("a", "b")


@_auto
def with_open_cursor() -> dict[str, int]:
    """Read a table while the rows of another one are being fetched, on SQLite in WAL mode."""
    with database.opened() as connection, connection.open_cursor():
        return computed("a", "b")


@_auto
def inside() -> dict[str, int]:
    """Read a table, for another one."""
    return computed("a")


@_auto
def between() -> dict[str, int]:
    """Read a table, and return the older of it and what a cached function inside gives."""
    return min(computed("a"), inside(), key=lambda versions: versions["a"])


@_auto
def around() -> dict[str, int]:
    """Return what cached functions inside give."""
    return between()


@_auto
def album() -> dict[str, int]:
    """Return a page, and a table that it may have read before."""
    return computed("c") | page("ab") | page("bc")


@_auto
def crossing(tables: str) -> dict[str, int]:
    """Read tables in one snapshot of a transaction."""
    with database.opened() as connection:
        connection.isolation_level = "repeatable read"
        with transaction.atomic(using=ALIAS):
            return computed(*tables)


@cached_query_many(over="pages", name="schedules.auto.pages", depends_on=[AUTO], timeout=TIMEOUT, wait=LONGEST_WAIT)
def pages(pages: Sequence[str]) -> dict[str, dict[str, int]]:
    """Read the tables of some pages, each for itself."""
    return {each: computed(*each) for each in pages}


def of_pages(*names: str) -> Callable[[], dict[str, int]]:
    """Return a call of `pages`, and of each table the oldest version in any page."""

    def act() -> dict[str, int]:
        found = [item for versions in pages(names).values() for item in versions.items()]
        return dict(sorted(found, reverse=True))

    return act


def updates(table: str, times: int = 1) -> Act:
    """Write a table in autocommit: when the statement has returned, the version is acknowledged."""

    def act() -> None:
        for _ in range(times):
            version = update(table)
            world().acked[table] = max(world().acked.get(table, 0), version)

    return act


def commits(table: str) -> Act:
    """Write a table in a transaction: when the block has ended, the version is acknowledged."""

    def act() -> None:
        with database.opened(), transaction.atomic(using=ALIAS):
            version = update(table)
        world().acked[table] = max(world().acked.get(table, 0), version)

    return act


def is_stored(function: Callable[[], Versions], *, is_computed: bool = True) -> Act:
    """Fail unless what was computed before is stored: here, when no other actor is there, or by the cast."""

    def act() -> None:
        if is_computed:
            function()
        before = world().computed.total()
        function()
        if world().computed.total() != before:
            message = "what was computed is not stored"
            raise Violation(message)

    return act


def is_not_stored(function: Callable[[], Versions]) -> Act:
    """Fail if what was computed before is stored, or what is computed now is not."""

    def act() -> None:
        before = world().computed.total()
        function()
        if world().computed.total() == before:
            message = "what was computed is stored"
            raise Violation(message)
        is_stored(function, is_computed=False)()

    return act


def loses_list() -> None:
    """Lose the lists of tables, and nothing else."""
    held = world().cache
    for key in [key for key in held if ":r:" in key]:
        world().wrote(key)
        del held[key]


def loses_list_at_a_step() -> None:
    """Lose them at any step."""
    step("command", ("evict the list",), loses_list)


def in_process(name: str, act: Act) -> Act:
    """Act in a process before the schedule begins."""

    def acts() -> None:
        here = world()
        before, here.alone = here.alone, here.processes[name]
        try:
            act()
        finally:
            here.alone = before

    return acts


def nothing() -> None:
    """Do nothing: the process is there to look in the end."""


def of_page(tables: str) -> Callable[[], dict[str, int]]:
    """Return a call of `page`."""
    return lambda: page(tables)


_ONE_CACHE: Final = {"ALIASES": ["default"]}


def _scenario(**options: Any) -> Scenario:
    # One command for each write: its tokens are in one cache.
    return Scenario(settings=_ONE_CACHE, **options)


def _cold() -> list[Scenario]:
    """Return scenarios of readers that know no table."""
    return [
        *[
            _scenario(
                name=f"a cold reader under AUTO, {how}",
                promise="Once a write is acknowledged nobody is served what was read before it, by a reader that knew "
                "no table of the function either.",
                cast={"A": reads(one, times=2), "W": act("a")},
                looks=[reads(one), is_stored(one)],
            )
            for how, act in {"a write in autocommit": updates, "a write at its commit": commits}.items()
        ],
        _scenario(
            name="two cold readers under AUTO",
            promise="What two readers of one process store who know no table ends with a later write.",
            cast={"A": reads(one), "B": reads(one)},
            looks=[is_stored(one), updates("a"), reads(one)],
        ),
        _scenario(
            name="two cold readers under AUTO, one writer",
            promise="Two readers of one process who know no table serve nothing older than an acknowledged write.",
            cast={"A": reads(one), "B": reads(one), "W": updates("a")},
            looks=[reads(one), is_stored(one)],
        ),
        _scenario(
            name="a cold reader under AUTO, any key evicted",
            promise="The same holds if the entry, the list of tables or a token is evicted at any step.",
            cast={"A": reads(one, times=2), "W": updates("a")},
            looks=[reads(one), is_stored(one)],
            budget={"evict": 1},
        ),
        _scenario(
            name="a branch is taken for the first time",
            promise="A table that a warm function reads for the first time, since another one has changed, ends its "
            "entries from that computation on.",
            before=[one, branching],
            cast={"A": reads(branching, times=2), "V": updates("a"), "W": updates("b")},
            looks=[reads(branching), is_stored(branching)],
        ),
    ]


def _snapshots() -> list[Scenario]:
    """Return scenarios of what a table that is new to the function is read in."""
    writers = {"one writer": {"W": updates("b")}, "two writers": {"V": updates("a"), "W": updates("b")}}
    return [
        _scenario(
            name=f"two new tables {how}, {who}",
            promise="What is read in statements that each have a snapshot, or in one snapshot of all, is served "
            "to nobody after a write of any of its tables; the computation after the first one is stored.",
            cast={"A": reads(function), **cast},
            looks=[reads(function), is_stored(function)],
        )
        for how, function in _BY_SNAPSHOT.items()
        for who, cast in writers.items()
    ] + [
        _scenario(
            name=f"two new tables {how}, {'stored' if is_first else 'not stored'} at first",
            promise="The first computation is stored if each statement has a snapshot of its own, and else the second.",
            cast={"A": reads(function)},
            looks=[is_stored(function, is_computed=False) if is_first else is_not_stored(function)],
        )
        for (how, function), is_first in zip(_BY_SNAPSHOT.items(), (True, True, False, False), strict=True)
    ]


_BY_SNAPSHOT: Final[dict[str, Any]] = {
    "in autocommit": two,
    "in READ COMMITTED": in_read_committed,
    "in REPEATABLE READ": in_repeatable_read,
    "beside an open cursor": with_open_cursor,
}


# p knows a and b, q knows a and c, and so does the list: of each other's entries they have as many tokens.
_DIVIDED: Final = [
    in_process("q", of_page("a")),
    in_process("p", of_page("ab")),
    loses_list,
    in_process("q", of_page("ac")),
]
# p knows a and b, q knows a alone and has read the list before.
_UNEQUAL: Final = [in_process("q", of_page("a")), in_process("p", of_page("ab"))]


def _processes() -> list[Scenario]:
    """Return scenarios of processes that know different tables of a function."""
    both = reads(of_page("ab"))
    promise = (
        "Processes that know different tables of a function, and share a list of them, serve each other only what they "
        "know to be right."
    )
    return [
        _scenario(
            name="a call learns what another one is about to read",
            promise="A table that another call of the function has made known during a computation is new to that.",
            before=[in_process("p", of_page("a")), in_process("q", of_page("a")), forgets],
            cast={"C@q": nothing, "A@p": both, "B@p": reads(of_page("b"))},
            looks=[updates("b"), both],
        ),
        *[
            _scenario(
                name=f"two processes that know {what} tables, one writer",
                promise=promise,
                before=before,
                cast={"A@p": both, "B@q": both, "W@r": updates("b")},
                looks=[both],
            )
            for what, before in (("other", _DIVIDED), ("more and fewer", _UNEQUAL))
        ],
        *[
            _scenario(
                name=f"two processes that know {what} tables, the list evicted",
                promise=promise,
                before=before,
                cast={"A@p": both, "B@q": both, "W@r": updates("b"), "E@s": loses_list_at_a_step},
                looks=[both],
            )
            for what, before in (("other", _DIVIDED), ("more and fewer", _UNEQUAL))
        ],
    ]


def _flights() -> list[Scenario]:
    """Return scenarios of leaders and followers."""
    return [
        _scenario(
            name="the tables grow during a flight",
            promise="Leader and follower who meet a table for the first time compute once, and a later write ends "
            "what is stored.",
            before=[branching, updates("a")],
            cast={"A": reads(branching), "B": reads(branching)},
            looks=[only_once, is_stored(branching), updates("b"), reads(branching)],
        ),
        _scenario(
            name="the tables grow during a flight, one writer",
            promise="A follower takes the value of a leader who met a new table only if that still stands.",
            before=[branching, updates("a")],
            cast={"A": reads(branching), "B": reads(branching), "W": updates("b")},
            looks=[reads(branching), is_stored(branching)],
        ),
    ]


def _inside() -> list[Scenario]:
    """Return scenarios of calls in calls that read the same table."""
    return [
        _scenario(
            name="a table read by a call, and then by a call inside it",
            promise="Of a token that a call and one inside it have read, what is around them depends on the older one.",
            before=[around, forgets],
            cast={"A": reads(around), "W": updates("a")},
            looks=[reads(around)],
        ),
    ]


AUTOS: Final = [*_inside(), *_cold(), *_snapshots(), *_processes(), *_flights()]

_TROUBLE: Final = {"evict": 3, "crash": 1, "kill": 1, "poll": 5, "timeout": 1}

# Of more schedules than could ever be run.
MANY_AUTOS: Final = [
    _scenario(
        name="many pages under AUTO",
        promise="Processes that learn, forget and evict tables and their list serve nothing that a write has ended.",
        cast={
            "A@p": reads(of_page("ab"), times=2),
            "B@p": reads(of_page("bc")),
            "R@p": reads(lambda: page.refresh("ab")),
            "C@q": reads(of_page("abc"), times=2),
            "D@q": reads(of_page("b"), times=2),
            "V@p": updates("a", times=2),
            "W@r": commits("b"),
        },
        looks=[passes(11), reads(of_page("ab")), reads(of_page("abc")), reads(of_page("b"))],
        budget=_TROUBLE,
    ),
    _scenario(
        name="many calls inside calls under AUTO",
        promise="What is around a call has the older of the tokens of each table that both have read.",
        cast={
            "A@p": reads(album, times=2),
            "B@p": reads(of_page("ab")),
            "C@q": reads(album, times=2),
            "D@q": reads(of_page("bc")),
            "V@p": updates("b", times=2),
            "W@r": commits("c"),
        },
        looks=[passes(11), reads(album), reads(of_page("ab"))],
        budget=_TROUBLE,
    ),
    _scenario(
        name="many bulk calls under AUTO",
        promise="Entries of one computation whose look-ups have asked for different tables are right, each for itself.",
        cast={
            "A@p": reads(of_pages("ab", "c"), times=2),
            "B@p": reads(of_pages("bc", "c", "ab")),
            "C@q": reads(of_pages("abc", "ab"), times=2),
            "D@q": reads(of_pages("c", "bc"), times=2),
            "V@p": updates("b", times=2),
            "W@r": commits("c"),
        },
        looks=[passes(11), reads(of_pages("ab", "bc", "c"))],
        budget=_TROUBLE,
    ),
    _scenario(
        name="many snapshots under AUTO",
        promise="What is new in a snapshot is never stored.",
        cast={
            "A@p": reads(lambda: crossing("ab"), times=2),
            "B@p": reads(lambda: crossing("bc")),
            "C@q": reads(lambda: crossing("abc"), times=2),
            "D@q": reads(with_open_cursor, times=2),
            "V@p": updates("b", times=2),
            "W@r": commits("c"),
        },
        looks=[passes(11), reads(lambda: crossing("ab")), reads(with_open_cursor)],
        budget=_TROUBLE,
    ),
]
