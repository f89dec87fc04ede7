"""
A machine that does anything with cached functions over rows, in any order, and asks the functions themselves.

The oracle is the undecorated function, asked at the same moment on the same connection.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, ClassVar

from django.core.cache import caches
from django.db import connections, transaction
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cachedeco import MISSING, Namespace, bypass, cached_query, mode
from tests.models import Club
from tests.support.backends import recorded
from tests.support.threads import PATIENCE_SECONDS, Gate

PKS = (1, 2)
NAMES = st.sampled_from(["a", "b", "c"])
_histories = count()
_language = ["en"]


def language() -> str:
    """Return what a function varies on."""
    return _language[0]


def season() -> str:
    """Return what the setting VARY may vary on besides."""
    return "winter"


class Functions:
    """The functions, decorated; and how to invalidate what a change of a club touches."""

    def __init__(self, gate: Gate, cached: Callable[..., Any] = cached_query) -> None:
        """Decorate; the gate stops one reader after it has read."""
        many = cached(namespace=lambda pks: [Namespace("club", pk) for pk in pks], name="histories.many")

        @cached(namespace="club:{pk}", name="histories.one", ignore=("gate",), timeout=None)
        def one(pk: int) -> str:
            name = Club.objects.get(pk=pk).name
            gate.wait_to_pass()
            return name

        @cached(namespace="club", name="histories.all")
        def everything() -> list[str]:
            return list(Club.objects.order_by("pk").values_list("name", flat=True))

        @cached(namespace="club:{pk}", vary=language, name="histories.greeting")
        def greeting(pk: int, *, loud: bool = False) -> str:
            text = f"{language()} {Club.objects.get(pk=pk).name}"
            return text.upper() if loud else text

        self.one, self.everything, self.greeting = one, everything, greeting
        self.many = many(_names)
        self.calls: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
            "one 1": (one, (1,), {}),
            "one 2": (one, (2,), {}),
            "everything": (everything, (), {}),
            "greeting 1": (greeting, (1,), {}),
            "greeting 1 loud": (greeting, (1,), {"loud": True}),
            "greeting 2": (greeting, (2,), {}),
            "many 1": (self.many, ((1,),), {}),
            "many both": (self.many, ((1, 2),), {}),
        }

    def invalidate(self, pk: int, way: str) -> None:
        """Invalidate all that a change of a club touches, in one of several ways."""
        if way == "parent namespace":
            Namespace("club").invalidate()
        elif way == "functions":
            for function in (self.one, self.everything, self.greeting, self.many):
                function.invalidate_all()
        else:
            self.everything.invalidate()
            if way == "namespace":
                Namespace("club", pk).invalidate()
                return
            self.one.invalidate(pk)
            for loud in (True, False):
                self.greeting.invalidate(pk, loud=loud)
            self.many.invalidate((pk,))
            self.many.invalidate(PKS)


def _names(pks: tuple[int, ...]) -> dict[int, str]:
    return dict(Club.objects.filter(pk__in=pks).values_list("pk", "name"))


WAYS = st.sampled_from(["calls", "functions", "namespace", "parent namespace"])
CALLS = st.sampled_from(sorted(Functions(Gate()).calls))


class Histories(RuleBasedStateMachine):
    """Everything that one connection can do. A call that gives anything but what the plain function gives fails."""

    isolation_level: ClassVar[str | None] = None
    made_functions: ClassVar[Callable[[Gate], Functions]] = Functions

    def __init__(self) -> None:
        """Begin with two clubs, and a cache in which nothing is found."""
        super().__init__()
        recorded.clear()
        self.overrides: list[override_settings] = []
        self.prefix = f"history{next(_histories)}"
        self._override(MODE="on")
        self.gate = Gate()
        self.functions = type(self).made_functions(self.gate)
        self.blocks: list[transaction.Atomic] = []
        self.evictable: list[str] = []
        _language[0] = "en"
        self.connection = connections["default"]
        self.level = getattr(self.connection, "isolation_level", None)
        self.connection.isolation_level = self.isolation_level  # type: ignore[attr-defined] # as other databases have
        Club.objects.all().delete()
        Club.objects.bulk_create(Club(pk=pk, name="a") for pk in PKS)

    def _override(self, **changed: object) -> None:
        override = override_settings(CACHEDECO={"KEY_PREFIX": self.prefix, **changed})
        override.enable()
        self.overrides.append(override)

    def teardown(self) -> None:
        """Undo all that is open."""
        while self.blocks:
            self.end(undo=True)
        self.connection.isolation_level = self.level  # type: ignore[attr-defined] # as above
        while self.overrides:
            self.overrides.pop().disable()

    # --- calls ---

    def _expected(self, which: str) -> object:
        function, args, kwargs = self.functions.calls[which]
        return function.uncached(*args, **kwargs)

    def _check(self, which: str, found: object) -> None:
        expected = self._expected(which)

        assert expected == found, f"{which} is {found!r}, not {expected!r}"

    @rule(which=CALLS)
    def call(self, which: str) -> None:
        """Call."""
        function, args, kwargs = self.functions.calls[which]

        self._check(which, function(*args, **kwargs))

    @rule(which=CALLS)
    def refresh(self, which: str) -> None:
        """Compute and store."""
        function, args, kwargs = self.functions.calls[which]

        self._check(which, function.refresh(*args, **kwargs))

    @rule(which=CALLS)
    def peek(self, which: str) -> None:
        """Only look."""
        function, args, kwargs = self.functions.calls[which]
        found = function.peek(*args, **kwargs)

        if found is not MISSING:
            self._check(which, found)

    @rule(which=CALLS)
    def set_value(self, which: str) -> None:
        """Store what is right."""
        function, args, kwargs = self.functions.calls[which]
        function.call(*args, **kwargs).set(self._expected(which))

    @rule(which=CALLS, name=st.sampled_from(["bypass", "off"]))
    def call_past_the_cache(self, which: str, name: str) -> None:
        """Call with the cache bypassed, or off."""
        function, args, kwargs = self.functions.calls[which]
        with mode(name):  # type: ignore[arg-type] # one of the literals
            self._check(which, function(*args, **kwargs))

    @invariant()
    def every_entry_is_right(self) -> None:
        """All that can be found is what the function would give."""
        for which in self.functions.calls:
            self.peek(which)

    # --- changes ---

    @rule(pk=st.sampled_from(PKS), name=NAMES, way=WAYS, bypassed=st.booleans())
    def write(self, pk: int, name: str, way: str, *, bypassed: bool) -> None:
        """Change a row, and invalidate; bypassed or not."""
        Club.objects.filter(pk=pk).update(name=name)
        if bypassed:
            with bypass():
                self.functions.invalidate(pk, way)
        else:
            self.functions.invalidate(pk, way)

    @precondition(lambda self: self.blocks)
    @rule(pk=st.sampled_from(PKS), name=NAMES, way=WAYS)
    def write_late(self, pk: int, name: str, way: str) -> None:
        """Invalidate before the change is made: in a transaction both count at its end."""
        self.functions.invalidate(pk, way)
        Club.objects.filter(pk=pk).update(name=name)

    @rule(pk=st.sampled_from(PKS), way=WAYS)
    def invalidate(self, pk: int, way: str) -> None:
        """Invalidate what has not changed."""
        self.functions.invalidate(pk, way)

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        """Begin a transaction, or a savepoint."""
        block = transaction.atomic()
        block.__enter__()
        self.blocks.append(block)

    @precondition(lambda self: self.blocks)
    @rule(undo=st.booleans())
    def end(self, *, undo: bool) -> None:
        """Commit, or roll back, the innermost block."""
        if undo:
            transaction.set_rollback(True)
        self.blocks.pop().__exit__(None, None, None)

    # --- what happens to a cache ---

    @rule(which=CALLS, keys=st.sets(st.integers(0, 6)))
    def evict(self, which: str, keys: set[int]) -> None:
        """Lose any of a call's entry and tokens."""
        function, args, kwargs = self.functions.calls[which]
        held = keys_of(function, args, kwargs)
        caches["default"].delete_many([key for number, key in enumerate(held) if number in keys])

    @rule(chosen=st.sampled_from(["en", "de"]))
    def speak(self, chosen: str) -> None:
        """Change what a function varies on."""
        _language[0] = chosen

    @rule(vary=st.sampled_from([(), (season,)]), timeout=st.sampled_from([60, 3600, None]))
    def override(self, vary: tuple[Callable[[], str], ...], timeout: float | None) -> None:
        """Change the settings."""
        self._override(VARY=vary, TIMEOUT=timeout)


def keys_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """Return the keys of a call's entry and of its tokens, as a look at it asks for them."""
    before = len(recorded)
    function.peek(*args, **kwargs)
    return [key for command in recorded[before:] for key in command.keys]


class ConcurrentHistories(Histories):
    """The same, beside a thread with a connection of its own, and a slow reader in a third."""

    def __init__(self) -> None:
        """Begin with the threads idle."""
        super().__init__()
        self.other = ThreadPoolExecutor(1)
        self.slow = ThreadPoolExecutor(1)
        self.running: Any = None

    def teardown(self) -> None:
        """End the threads."""
        if self.running:
            self.finish_slowly()
        for executor in (self.other, self.slow):
            executor.submit(connections.close_all).result(PATIENCE_SECONDS)
            executor.shutdown()
        super().teardown()

    @rule(which=CALLS)
    def call_elsewhere(self, which: str) -> None:
        """Call from another thread, which sees what is committed."""
        self.other.submit(super().call, which).result(PATIENCE_SECONDS)

    @precondition(lambda self: not self.blocks)
    @rule(pk=st.sampled_from(PKS), name=NAMES, way=WAYS)
    def write_elsewhere(self, pk: int, name: str, way: str) -> None:
        """Change a row in another thread, in a transaction: SQLite has room for one writer at a time."""

        @transaction.atomic
        def write() -> None:
            Club.objects.filter(pk=pk).update(name=name)
            self.functions.invalidate(pk, way)

        self.other.submit(write).result(PATIENCE_SECONDS)

    @precondition(lambda self: self.running is None)
    @rule(pk=st.sampled_from(PKS))
    def begin_slowly(self, pk: int) -> None:
        """Begin to refresh in a third thread, and stop after reading the row."""
        self.gate.shut()
        self.running = self.slow.submit(self.functions.one.refresh, pk)
        self.gate.wait_reached()

    @precondition(lambda self: self.running is not None)
    @rule()
    def finish_slowly(self) -> None:
        """Let the slow reader store."""
        self.gate.open()
        self.running.result(PATIENCE_SECONDS)
        self.running = None
