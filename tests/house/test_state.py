"""The list of the process's state names all that the package keeps, and events reset it."""

import ast
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from operator import attrgetter
from threading import Event, Lock, RLock, Thread, current_thread
from types import ModuleType
from unittest.mock import MagicMock, Mock

import pytest
from django.core.signals import request_started, setting_changed

from cachedeco.backends.memcached_pool import MemcachedPool
from cachedeco.loading import flights
from cachedeco.runtime import state
from cachedeco.runtime.state import RESETS, Reset
from tests.house.modules import PATHS, tree_of
from tests.house.state import STATE
from tests.support.cases import in_one_test
from tests.support.threads import PATIENCE_SECONDS

# What can't change, or is kept by others: Python's logging keeps loggers.
FIXED = {"Struct", "struct.Struct", "logging.getLogger", "TypeVar", "ParamSpec"}
LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "remove", "setdefault", "update"}
# What is called when something happens: Python's, beside `connect(..., dispatch_uid=...)` of Django's signals.
REGISTRATIONS = {"atexit.register", "os.register_at_fork", "signal.signal"}
# The functions of ours that Python and Django call, and what they do.
HANDLERS = {
    ("runtime.state", "os.register_at_fork"): "a fork: resets the state",
    ("runtime.state", "request_started.connect"): "a request begins: the process may be an unannounced child",
    ("runtime.state", "setting_changed.connect"): "a change of settings: resets the state",
    ("storage.connections", "request_finished.connect"): "the end of a request: closes the thread's caches",
    ("invalidation.retry_queue", "atexit.register"): "the exit: delivers what waits, once more",
    ("invalidation.retry_queue", "signals.worker_process_shutdown.connect"): "a child of Celery ends: the same",
    ("invalidation.tables", "class_prepared.connect"): "a model is defined: forgets what is known of tables",
    ("invalidation.parts", "class_prepared.connect"): "a model is defined: it may share a table",
    ("invalidation.parts", "pre_save.connect"): "a row is about to be saved: announces it",
    ("invalidation.parts", "pre_delete.connect"): "a row is about to be deleted: announces it",
    ("tracking.watcher", "connection_created.connect"): "a connection to a database is made: watches it",
    ("tracking.watcher", "request_started.connect"): "a request begins: looks whether connections are watched",
    ("tracking.watcher", "request_finished.connect"): "a request ends: looks whether connections are watched",
    ("outbox.apps", "pre_migrate.connect"): "migrate begins: it may make the table of the outbox",
    ("outbox.apps", "post_migrate.connect"): "migrate has ended",
    ("backends.server", "atexit.register"): "the exit: closes idle connections",
    ("testing.switching", "setting_changed.connect"): "a change of settings: refuses to switch on what is not isolated",
    ("management.delivering", "signal.signal"): "SIGTERM, SIGINT: ends the loop of deliveries",
}

Found = tuple[str, str]


def split(place: str) -> Found:
    """Return the module and the name of a piece of the list; a name of a class has a dot of its own."""
    module = max((each for each in PATHS if place.startswith(f"{each}.")), key=len, default=place.rpartition(".")[0])
    return module, place.removeprefix(f"{module}.")


def targets_of(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Give each name that a statement assigns, with the value."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from ((each.id, statement.value) for each in ast.walk(target) if isinstance(each, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, statement.value


def is_kept(name: str, value: ast.expr | None) -> bool:
    """Tell whether a name is state: not written as a constant or a type, no other name of a thing, and can change."""
    if name.startswith("__") or name.lstrip("_")[:1].isupper() or isinstance(value, ast.Name | ast.Attribute):
        return False
    made = ast.unparse(value.func).partition("[")[0] if isinstance(value, ast.Call) else ""
    return made not in FIXED


def state_of(module: str) -> Iterator[Found]:
    """Give what a module keeps: names at its top, those that functions swap, caches of functions, and class bodies'."""
    tree = tree_of(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from ((module, name) for name in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            if any(each.partition("(")[0].rpartition(".")[2] in {"lru_cache", "cache"} for each in decorators):
                yield module, node.name
        elif isinstance(node, ast.ClassDef) and "NamedTuple" not in map(ast.unparse, node.bases):  # defaults of fields
            for name, value in (pair for statement in node.body for pair in targets_of(statement)):
                if isinstance(value, ast.Dict | ast.List | ast.Set) or locks_in(value):
                    yield module, f"{node.name}.{name}"
    for statement in tree.body:
        yield from ((module, name) for name, value in targets_of(statement) if is_kept(name, value))


def locks_in(value: ast.expr | None) -> bool:
    """Tell whether a value is made as a lock."""
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in LOCKS


def test_list_names_all_state() -> None:
    """Each name at the top of a module that can change is in the list, and nothing else is."""
    found = {each for module in PATHS for each in state_of(module)}
    # A door that was deleted has taken its state with it.
    pieces = [split(place) for place in STATE]

    assert sorted(found) == sorted((module, name) for module, name in pieces if module in PATHS)


def test_constants_stay_as_they_are() -> None:
    """What is written as a constant is never changed."""
    changed = [(module, change) for module in PATHS for change in changes_of_constants(tree_of(module))]

    assert [] == changed


def changes_of_constants(tree: ast.Module) -> list[str]:
    """Return what changes the constants of a module, as source text."""
    constants = {name for statement in tree.body for name, _ in targets_of(statement) if name.lstrip("_").isupper()}
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CHANGES
            and ast.unparse(node.func.value) in constants
        )
        or (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store | ast.Del)
            and ast.unparse(node.value) in constants
        )
    ]


def test_each_lock_is_renewed_in_a_child() -> None:
    """No lock that another thread of the parent may hold keeps a child waiting: each is another one behind a fork."""
    locks = {
        (module, name): getattr(import_module(f"cachedeco.{module}"), name)
        for module in PATHS
        for tree in [tree_of(module)]
        for statement in tree.body
        for name, value in targets_of(statement)
        if locks_in(value)
    }

    state.reset("fork")
    renewed = {place: getattr(import_module(f"cachedeco.{place[0]}"), place[1]) for place in locks}

    assert locks
    assert [] == [place for place in locks if locks[place] is renewed[place]]


@in_one_test([each for each in RESETS if each.module in PATHS])
def test_resets_fit_the_state(reset: Reset) -> None:
    """What a reset calls or replaces is there, and of the kind that it makes."""
    found = attrgetter(reset.path)(import_module(f"cachedeco.{reset.module}"))

    assert callable(found) if reset.make is None else type(reset.make()) is type(found)


def test_list_names_all_handlers() -> None:
    """Each place where the package asks Python or Django to be called is in the list, and nothing else is."""
    receivers = {
        (module, ast.unparse(node.func))
        for module in PATHS
        for tree in [tree_of(module)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and {"dispatch_uid", "sender"} & {each.arg for each in node.keywords}
    }
    others = {
        (module, ast.unparse(node))
        for module in PATHS
        for tree in [tree_of(module)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in REGISTRATIONS
    }
    found = {each for each in receivers if each[1].endswith(".connect")} | others

    assert {(module, added_by) for module, added_by in HANDLERS if module in PATHS} == found


# --- what it does ---


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give a module with state, as one of the package."""
    module = ModuleType("cachedeco.sample")
    module.calls = []  # type: ignore[attr-defined] # made here
    module.kept = {"a": 1}  # type: ignore[attr-defined]
    module.emptied = {"a": 1}  # type: ignore[attr-defined]
    module.lock = Lock()  # type: ignore[attr-defined]
    module.forget = lambda: module.calls.append("forget")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cachedeco.sample", module)
    return module


def test_event_resets_what_the_list_says(module: ModuleType) -> None:
    """A piece is kept, emptied in place, replaced, or reset by its module."""
    emptied, lock = module.emptied, module.lock
    resets = [
        Reset("sample", "kept.clear", ("settings",)),
        Reset("sample", "emptied.clear", ("fork",)),
        Reset("sample", "lock", ("fork",), RLock),
        Reset("sample", "forget", ("settings", "fork")),
    ]

    state.reset("fork", resets)

    assert ({"a": 1}, {}, ["forget"]) == (module.kept, module.emptied, module.calls)
    assert emptied is module.emptied
    assert lock is not module.lock


def test_module_that_is_not_there_yet_has_nothing_to_reset(module: ModuleType) -> None:
    """A fork may come before a module is imported, or while it is."""
    del module.lock, module.forget
    resets = [
        Reset("elsewhere", "lock", ("fork",), RLock),
        Reset("sample", "lock", ("fork",), RLock),
        Reset("sample", "forget", ("fork",)),
    ]

    state.reset("fork", resets)

    assert not hasattr(module, "lock")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("CACHEDECO", ["settings"]), ("CACHES", ["settings", "caches"]), ("DEBUG", [])],
)
def test_receiver_follows_two_settings(setting: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of CACHEDECO or CACHES resets what follows from it; one of another setting resets nothing."""
    seen: list[str] = []
    monkeypatch.setattr(state, "reset", seen.append)

    setting_changed.send(sender=None, setting=setting, value=None, enter=True)

    assert expected == seen


@pytest.mark.django_db  # which receivers of Django ask when a request begins
@pytest.mark.parametrize(
    "begin", [lambda: request_started.send(None), lambda: MemcachedPool("nowhere", {}, 1, 1).run(id, writes=True)]
)
def test_unannounced_child_is_noticed(begin: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in C forks without a call of Python's handlers: the next request, or write, resets the state, once."""
    resets: list[str] = []
    monkeypatch.setattr(state, "pid", -1)
    monkeypatch.setattr(flights, "_flights", Mock(clear=lambda: resets.append("flights")))

    begin()
    begin()

    assert (["flights"], os.getpid()) == (resets, state.pid)


def test_threads_of_an_unannounced_child_wait_until_one_has_reset_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that comes meanwhile goes on when all is reset, not with the parent's connections; once suffices."""
    order: list[str] = []
    lock, is_waiting = RLock(), Event()

    def come() -> None:
        state.reset_in_unannounced_child()
        order.append("second")

    def reset() -> None:
        second.start()
        assert is_waiting.wait(PATIENCE_SECONDS)
        order.append("reset")

    def enter(*_: object) -> None:
        if current_thread() is second:
            is_waiting.set()
        lock.acquire()

    second = Thread(target=come)
    guard = MagicMock(__enter__=Mock(side_effect=enter), __exit__=Mock(side_effect=lambda *_: lock.release()))
    monkeypatch.setattr(state, "pid", -1)
    monkeypatch.setattr(state, "_lock", guard)
    monkeypatch.setattr(flights, "_flights", Mock(clear=reset))

    state.reset_in_unannounced_child()
    second.join(PATIENCE_SECONDS)

    assert ["reset", "second"] == order


def test_receiver_is_connected_once_and_can_go_behind_others() -> None:
    """To connect again moves the receiver behind those that came since."""

    def other(**_: object) -> None:
        pass

    before = len(setting_changed.receivers)
    setting_changed.connect(other)

    state.connect()
    keys = [key[0] for key, *_ in setting_changed.receivers]
    setting_changed.disconnect(other)

    assert state.UID == keys[-1]
    assert before == len(setting_changed.receivers)
