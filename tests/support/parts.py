"""Histories of writes to rows that lie in parts of two fields, with what each of them may leave stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from django.db import connections, transaction
from django.db.models import F
from django.db.models.signals import pre_save
from hypothesis import strategies as st

from cachedeco import MISSING, cached_query, rows
from tests.models import Player, Squad

SQUADS: Final = 4
NUMBERS: Final = range(4)
Parts = set[tuple[str, object]]
State = dict[int, tuple[int | None, int]]


@cached_query(depends_on=[rows(Player, squad_id="{squad_id}")], name="tests.support.parts.by_squad")
def by_squad(alias: str, squad_id: int | None) -> list[tuple[int, str, int]]:
    """Return the players of a squad."""
    return list(Player.objects.using(alias).filter(squad=squad_id).order_by("pk").values_list("pk", "name", "number"))


@cached_query(depends_on=[rows(Player, number="{number}")], name="tests.support.parts.by_number")
def by_number(alias: str, number: int) -> list[tuple[int, str, int | None]]:
    """Return the players that have a number."""
    return list(Player.objects.using(alias).filter(number=number).order_by("pk").values_list("pk", "name", "squad_id"))


class Write(NamedTuple):
    """One write of a history: its kind, the row, the values that it gives, and what a receiver does before it."""

    kind: str
    row: int
    squad: int
    number: int
    receiver: str
    outcome: str


# What is known row by row, and what may have changed all rows.
PRECISE: Final = (
    "save",
    "save old",
    "save name",
    "save created by hand",
    "create",
    "bulk_create",
    "delete",
    "delete many",
)
COARSE: Final = ("save expression", "update", "update one", "bulk_update", "raw", "clear", "upsert")
WRITES: Final = st.builds(
    Write,
    st.sampled_from([*PRECISE, *COARSE]),
    st.integers(0, 5),
    st.integers(0, SQUADS),  # the last stands for none
    st.sampled_from(NUMBERS),
    st.sampled_from(["", "", "save another", "set the squad", "update the row", "update others"]),
    st.sampled_from(["autocommit", "autocommit", "commit", "rollback", "savepoint"]),
)


class PartsWorld:
    """Rows of one database, with a stored value for each part."""

    def __init__(self, alias: str) -> None:
        """Begin with four squads and four players."""
        self.alias = alias
        self.kept = self.asked = 0  #: parts that had to be kept, and all that were looked at
        Player.objects.using(alias).all().delete()
        Squad.objects.using(alias).all().delete()
        self.squads = [Squad.objects.using(alias).create(name=str(n)).pk for n in range(SQUADS)]
        for n in range(SQUADS):
            Player.objects.using(alias).create(name=str(n), squad_id=self.squads[n], number=n)
        self.old = list(Player.objects.using(alias).order_by("pk"))
        self.touched: set[int] = set()

    def state(self) -> State:
        """Return the values of the two fields of each row."""
        values = Player.objects.using(self.alias).values_list("pk", "squad_id", "number")
        return {pk: (squad, number) for pk, squad, number in values}

    def each_part(self) -> list[tuple[Any, Any, object]]:
        """Return the function of each part, its argument, and its value now."""
        squads = [(by_squad, pk) for pk in (*self.squads, None)]
        parts: list[tuple[Any, Any]] = [*squads, *((by_number, number) for number in (*NUMBERS, NUMBERS.stop))]
        return [(function, value, function.uncached(self.alias, value)) for function, value in parts]

    def run(self, write: Write) -> None:
        """Write, and compare what is stored with what is in the database."""
        for function, value, _ in self.each_part():
            function(self.alias, value)
        before = self.state()
        self.touched = set()
        self._write_in_transaction(write)
        after = self.state()
        undone = write.outcome in {"rollback", "savepoint"}
        rows_touched = self.touched | {pk for pk in before | after if before.get(pk) != after.get(pk)}
        places = [state[pk] for state in (before, after) for pk in rows_touched if pk in state]
        concerned = {("by_squad", squad) for squad, _ in places} | {("by_number", number) for _, number in places}
        for function, value, fresh in self.each_part():
            stored = function.peek(self.alias, value)
            assert stored is MISSING or stored == fresh, f"{write} left {function.__name__}({value}) stale"
            self.asked += 1
            if undone or (self._is_precise(write) and (function.__name__, value) not in concerned):
                assert stored is not MISSING, f"{write} ended {function.__name__}({value}) without need"
                self.kept += 1

    def _is_precise(self, write: Write) -> bool:
        saves = write.kind.startswith("save") or write.kind == "create"
        if saves and write.receiver.startswith("update"):
            return False
        return write.kind in PRECISE

    def _write_in_transaction(self, write: Write) -> None:
        change = self._changes()[write.kind]
        with self._receiving(write):
            if write.outcome == "autocommit":
                change(write)
                return
            with transaction.atomic(self.alias):
                if write.outcome == "savepoint":
                    with transaction.atomic(self.alias):
                        change(write)
                        transaction.set_rollback(rollback=True, using=self.alias)
                else:
                    change(write)
                    transaction.set_rollback(write.outcome == "rollback", self.alias)

    def _squad(self, write: Write) -> int | None:
        return [*self.squads, None][write.squad]

    def _row(self, write: Write) -> Player | None:
        found = list(Player.objects.using(self.alias).order_by("pk"))
        return found[write.row % len(found)] if found else None

    def _changes(self) -> dict[str, Callable[[Write], object]]:
        players = Player.objects.using(self.alias)
        return {
            "save": self._save,
            "save old": self._save_old,
            "save name": self._save_name,
            "save created by hand": self._save_by_hand,
            "save expression": self._save_expression,
            "create": lambda write: players.create(name="new", squad_id=self._squad(write), number=write.number),
            "bulk_create": self._bulk_create,
            "delete": self._delete,
            "delete many": lambda write: players.filter(number=write.number).delete(),
            "update": lambda write: players.filter(number=write.number).update(squad_id=self._squad(write)),
            "update one": lambda write: players.filter(pk=getattr(self._row(write), "pk", 0)).update(
                number=write.number
            ),
            "bulk_update": self._bulk_update,
            "raw": self._raw,
            "clear": lambda write: (
                Squad.objects.using(self.alias).get(pk=self.squads[write.row % SQUADS]).players.clear()
            ),
            "upsert": self._upsert,
        }

    def _save(self, write: Write) -> None:
        row = self._row(write)
        if row is not None:
            row.squad_id, row.number, row.name = self._squad(write), write.number, f"{row.name}'"
            self.touched.add(row.pk)
            row.save(using=self.alias)

    def _save_old(self, write: Write) -> None:
        row = self.old[write.row % len(self.old)]
        row.number = write.number
        self.touched.add(row.pk)
        row.save(using=self.alias)

    def _save_name(self, write: Write) -> None:
        row = self._row(write)
        if row is not None:
            row.name = f"{row.name}'"
            self.touched.add(row.pk)
            row.save(using=self.alias, update_fields=["name"])

    def _save_by_hand(self, write: Write) -> None:
        row = self._row(write)
        if row is not None:
            self.touched.add(row.pk)
            Player(pk=row.pk, name="by hand", squad_id=self._squad(write), number=write.number).save(using=self.alias)

    def _save_expression(self, write: Write) -> None:
        row = self._row(write)
        if row is not None:
            row.number = F("number") * 0 + write.number
            self.touched.add(row.pk)
            row.save(using=self.alias)

    def _bulk_create(self, write: Write) -> None:
        new = [Player(name=name, squad_id=self._squad(write), number=write.number) for name in "ab"]
        Player.objects.using(self.alias).bulk_create(new)

    def _delete(self, write: Write) -> None:
        row = self._row(write)
        if row is not None:
            self.touched.add(row.pk)
            row.delete(using=self.alias)

    def _bulk_update(self, write: Write) -> None:
        found = list(Player.objects.using(self.alias).order_by("pk")[:2])
        for row in found:
            row.squad_id, row.number = self._squad(write), write.number
        Player.objects.using(self.alias).bulk_update(found, ["squad", "number"])

    def _raw(self, write: Write) -> None:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                "update tests_player set squad_id = %s where number = %s", [self._squad(write), write.number]
            )

    def _upsert(self, write: Write) -> None:
        row = self._row(write)
        pk = 1 if row is None else row.pk
        keys = None if connections[self.alias].vendor == "mysql" else ["pk"]
        new = Player(pk=pk, name="upsert", squad_id=self._squad(write), number=write.number)
        Player.objects.using(self.alias).bulk_create(
            [new], update_conflicts=True, unique_fields=keys, update_fields=["name", "squad", "number"]
        )

    @contextmanager
    def _receiving(self, write: Write) -> Iterator[None]:
        """Have a receiver of the user's write before a row is saved, once."""
        acted: list[str] = []

        def receive(instance: Player, **_: object) -> None:
            if acted:
                return
            acted.append(write.receiver)
            others = Player.objects.using(self.alias).exclude(pk=instance.pk)
            if write.receiver == "save another" and (other := others.order_by("pk").first()):
                other.number = (write.number + 1) % len(NUMBERS)
                self.touched.add(other.pk)
                other.save(using=self.alias)
            elif write.receiver == "set the squad":
                instance.squad_id = self.squads[0]
            elif write.receiver == "update the row":
                Player.objects.using(self.alias).filter(pk=instance.pk).update(squad_id=self.squads[1])
            elif write.receiver == "update others":
                others.update(squad_id=self.squads[2])

        pre_save.connect(receive, sender=Player, weak=False)
        try:
            yield
        finally:
            pre_save.disconnect(receive, sender=Player)
