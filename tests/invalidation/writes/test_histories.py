"""
Histories: random writes of every kind by two processes, and random reads, each compared with the plain function.

Each history begins cold: no process knows a table of a function. A write is preceded by a hit of a function that it
concerns, and a share of all reads are hits: otherwise a history would prove nothing.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Count, F

from cachedeco import AUTO, MISSING, CachedQuery, cached_query
from cachedeco.tracking import nested_names
from tests.conftest import UseCaches
from tests.invalidation.writes.kinds import KINDS, Kind
from tests.invalidation.writes.rows import MODELS, ModelClass, fill
from tests.invalidation.writes.ways import COMMITTED, UNDONE, write
from tests.models import League, Lineup, Player, ProxySquad, Skill, Squad, SquadView, YouthSquad
from tests.support.clubs import assert_nothing_waits
from tests.support.engines import Engine, empty, marks_of
from tests.support.selection import of_length
from tests.support.stored import stored
from tests.support.threads import in_thread

STEPS = 60
WRITES_UNTIL_REFILL = 6
LEAST_HITS = 0.2

Reader = CachedQuery[[str], Any]


def squads_with_league(alias: str) -> Any:
    """Read along a foreign key."""
    return list(Squad.objects.using(alias).order_by("pk").values_list("name", "league__name"))


def skills_of_players(alias: str) -> Any:
    """Read along a many-to-many field, by a prefetch."""
    several: Any = Player.objects.using(alias).order_by("pk").prefetch_related("skills")
    return [(player.name, sorted(skill.name for skill in player.skills.all())) for player in several]


def lineups(alias: str) -> Any:
    """Read a through model of one's own, with both sides."""
    return sorted(Lineup.objects.using(alias).values_list("player__name", "match__day"))


def young(alias: str) -> Any:
    """Read a multi-table child."""
    return list(YouthSquad.objects.using(alias).order_by("pk").values_list("name", "age"))


def by_proxy(alias: str) -> Any:
    """Read rows as a proxy."""
    return [squad.name for squad in ProxySquad.objects.using(alias).order_by("pk")]


def through_view(alias: str) -> Any:
    """Read a view."""
    return sorted(SquadView.objects.using(alias).values_list("name", flat=True))


def aggregated(alias: str) -> Any:
    """Read numbers."""
    several = League.objects.using(alias).order_by("pk").annotate(number=Count("squads"))
    return list(several.values_list("name", "number"))


def branching(alias: str) -> Any:
    """Read one table or two, as the rows say."""
    if Skill.objects.using(alias).filter(name="Pass").exists():
        return Player.objects.using(alias).filter(number__lt=F("number") + 1).count()
    return None


def lazy(alias: str) -> Any:
    """Return a QuerySet inside a dict."""
    return {"skills": Skill.objects.using(alias).order_by("pk").values_list("name", flat=True)}


PLAIN: tuple[Callable[[str], Any], ...] = (
    squads_with_league,
    skills_of_players,
    lineups,
    young,
    by_proxy,
    through_view,
    aggregated,
    branching,
    lazy,
)


def rows_of(model: ModelClass) -> Callable[[str], Any]:
    """Return a function that reads all rows of a model."""

    def rows(alias: str) -> Any:
        return sorted(map(str, model._base_manager.using(alias).values_list()))

    return rows


class Process:
    """The functions of a process that has just started."""

    def __init__(self) -> None:
        """Decorate all anew."""
        self.readers: dict[str, Reader] = {}
        for plain in PLAIN:
            self.readers[plain.__name__] = self._decorated(plain, plain.__name__)
        for model in MODELS:
            self.readers[model.__name__] = self._decorated(rows_of(model), model.__name__)
        squads, lineups_inside = self.readers["squads_with_league"], self.readers["lineups"]

        def nesting(alias: str) -> Any:
            return squads(alias), lineups_inside(alias), Skill.objects.using(alias).count()

        self.readers["nesting"] = self._decorated(nesting, "nesting")

    @staticmethod
    def _decorated(plain: Callable[[str], Any], name: str) -> Reader:
        ignored = plain.__code__.co_freevars
        return cached_query(key="{alias}", name=f"histories.{name}", ignore=ignored, depends_on=[AUTO])(plain)


class Writer:
    """A second process, which writes."""

    def __init__(self, engine: Engine) -> None:
        """Start it."""
        cache = {**django_settings.CACHES["default"]}
        cache["BACKEND"] = "django.core.cache.backends.memcached.PyMemcacheCache"
        values = {
            "CACHES": {"default": cache},
            "DATABASES": {"default": engine.settings, engine.alias: engine.settings},
            "INSTALLED_APPS": [app for app in django_settings.INSTALLED_APPS if "outbox" not in app],
            "DEFAULT_AUTO_FIELD": django_settings.DEFAULT_AUTO_FIELD,
            "USE_TZ": True,
            "CACHEDECO": {"MODULES": []},
        }
        command = [sys.executable, "-m", "tests.invalidation.writes.writer", json.dumps(values, default=str)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, kind: Kind, way: str, alias: str) -> str:
        """Let it write; return what that has raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([kind.name, way, alias]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer.endswith("\n"), "the writer has ended"
        return answer.strip()

    def end(self) -> None:
        """Let it end, and look whether it has imported no cached function."""
        self._process.communicate()
        assert 0 == self._process.returncode


class History:
    """One history."""

    def __init__(self, engine: Engine, seed: int, writer: Writer | None = None) -> None:
        """Begin cold."""
        self.alias = engine.alias
        self.engine = engine
        self.random = Random(seed)
        self.writer = writer
        self.steps: list[str] = [f"seed {seed}"]
        self.reads, self.hits = 0, 0
        self.written = Counter[str]()
        nested_names.names_by_key.clear()
        stored().clear()
        self.processes = [Process(), Process()]
        self.kinds = [
            kind
            for kind in KINDS
            if engine.name in kind.engines and kind.can_roll_back and len(kind.ends) < len(MODELS)
        ]
        self.refill()

    def refill(self) -> None:
        """Put back the rows that the kinds of writes look for."""
        empty(self.engine)
        fill(self.alias)
        self.steps.append("refill")

    def run(self, steps: int) -> None:
        """Go through so many steps."""
        for _ in range(steps):
            chosen = self.random.random()
            if chosen < 0.35:
                self.write()
            elif chosen < 0.45:
                self.evict()
            else:
                name = self.random.choice(sorted(self.processes[0].readers))
                for _ in range(self.random.randint(1, 3)):
                    self.read(name)
            if self.written.total() % WRITES_UNTIL_REFILL == WRITES_UNTIL_REFILL - 1:
                self.written["refill"] += 1
                self.refill()
        for name in self.processes[0].readers:
            self.read(name)

    def read(self, name: str) -> None:
        """Compare what a process is served with what the plain function gives."""
        number = self.random.randrange(2)
        reader = self.processes[number].readers[name]
        in_other_thread = self.random.random() < 0.2
        is_hit = reader.peek(self.alias) is not MISSING
        value = in_thread(lambda: reader(self.alias)) if in_other_thread else reader(self.alias)
        self.reads += 1
        self.hits += is_hit
        self.steps.append(f"process {number} reads {name}{' (hit)' if is_hit else ''}")
        assert reader.uncached(self.alias) == value or self._equal(reader.uncached(self.alias), value), self.steps[-40:]

    @staticmethod
    def _equal(one: Any, other: Any) -> bool:
        """Compare values with QuerySets inside."""
        return isinstance(one, dict) and {key: list(value) for key, value in one.items()} == {
            key: list(value) for key, value in other.items()
        }

    def write(self) -> None:
        """Write, after a hit of a function that the write concerns."""
        kind = self.random.choice(self.kinds)
        way = self.random.choice([*COMMITTED, *UNDONE])
        concerned = sorted(model.__name__ for model in kind.changes if model is not SquadView)
        for name in concerned[:1]:
            reader = self.processes[0].readers[name]
            for _ in range(3):
                reader(self.alias)
            assert reader.peek(self.alias) is not MISSING, (name, self.steps[-40:])
        self.steps.append(f"{'the other process' if self.writer else 'this one'}: {kind.name}, {way}")
        if self.writer is not None and self.random.random() < 0.6:
            raised = self.writer.write(kind, way, self.alias)
        else:
            raised = self._write_here(kind, way)
        self.steps[-1] += f" ({raised})" if raised else ""
        if not raised:
            self.written[kind.name] += 1
        for name in concerned[:1]:
            self.read(name)

    def _write_here(self, kind: Kind, way: str) -> str:
        def work() -> str:
            try:
                write(kind, way, self.alias)
            except Exception as error:  # noqa: BLE001 -- rows that a kind needs may be gone
                return type(error).__name__
            return ""

        return in_thread(work) if self.random.random() < 0.3 else work()

    def evict(self) -> None:
        """Lose a value of the cache: an entry, a token, a list of tables."""
        reader = self.processes[0].readers[self.random.choice(sorted(self.processes[0].readers))]
        spec: Any = reader._spec
        policy, keys = spec.resolve_call((self.alias,), {})
        lost = self.random.choice([*keys, policy.tables._list_key])
        stored().delete(lost)
        self.steps.append(f"evict {lost}")


on_every_engine = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=marks_of(name)) for name in ("sqlite", "postgresql", "mariadb")], indirect=True
)


@pytest.fixture
def writer(engine: Engine, use_caches: UseCaches) -> Iterator[Writer]:
    """Give a second process that shares database and cache with this one."""
    use_caches(default="memcached")
    process = Writer(engine)
    yield process
    process.end()


@on_every_engine
def test_history_in_one_process_never_reads_the_past(engine: Engine) -> None:
    """Threads of one process, whose functions are decorated twice: each knows its own tables."""
    written = Counter[str]()
    for seed in range(of_length(3, 60)):
        history = History(engine, seed)
        history.run(STEPS)
        written += history.written
        assert history.hits > LEAST_HITS * history.reads
        assert_nothing_waits()
    assert len(written) > of_length(20, len(history.kinds))


@on_every_engine
def test_history_of_two_processes_never_reads_the_past(engine: Engine, writer: Writer) -> None:
    """A process without cached functions writes; this one reads, and writes, too."""
    for seed in range(of_length(2, 40)):
        history = History(engine, 1_000 + seed, writer)
        history.run(STEPS)
        assert history.hits > LEAST_HITS * history.reads
        assert_nothing_waits()
    connections[engine.alias].close()
