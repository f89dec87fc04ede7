"""The threads of the actors, of which one runs at a time, and the baton that they hand on before each step."""

import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Protocol, Self

from django.db import OperationalError

from cachedeco.loading.promise import Promise
from tests.schedules.world import (
    CARRIED_OUT,
    Actor,
    Choice,
    Crashed,
    Failing,
    Interrupted,
    Kind,
    Pending,
    Violation,
    World,
)
from tests.support.threads import PATIENCE_SECONDS


class Strategy(Protocol):
    """Who decides what happens next."""

    def choose(self, world: World, choices: list[Choice]) -> Choice | None:
        """Return one of the choices; None to give the schedule up."""


class Crew:
    """Threads that live as long as the block, as to begin one takes as long as a whole schedule."""

    def __init__(self, size: int) -> None:
        """Prepare the block."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(size)]

    def __enter__(self) -> Self:
        """Begin the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def do(self, job: Callable[[], None]) -> None:
        """Have one of the threads do something."""
        self._jobs.put(job)

    def _work(self) -> None:
        # What runs a thousand times over need not be seen each time: coverage.py makes it half as fast.
        sys.settrace(None)
        while job := self._jobs.get():
            job()


class Stage:
    """A world with its actors in threads."""

    def __init__(self, world: World, crew: Crew, strategy: Strategy) -> None:
        """Begin empty."""
        self.world = world
        self._crew = crew
        self._strategy = strategy
        self._over = _closed()
        self._beginners: Iterator[Actor] = iter(())
        self._error: Exception | None = None  # the explorer's own
        self.is_given_up = False

    def play(self, actors: list[Actor]) -> None:
        """Run the actors until all have ended, or the strategy gives up."""
        self.world.actors = [*actors]
        self._beginners = iter(actors)
        self._resume_next(None)
        self._wait(self._over)
        self.world.running = None
        if self._error:
            raise self._error

    # --- what the actors call ---

    def step(self, kind: Kind, what: tuple[object, ...], operation: Callable[[], Any]) -> Any:
        """Take a step, when it is this actor's turn; return what the operation does."""
        world, actor = self.world, self.world.running
        if actor is None or (actor.is_dead and kind == "flight"):
            return operation()
        self._stop(actor, Pending(kind, what))
        fate, actor.fate = actor.fate, None
        if fate is not None:
            self._meet(actor, fate, kind)
        if actor.floor is None:
            actor.floor = dict(world.acked)
            actor.saw(tuple(actor.floor.items()))
        result = operation()
        actor.saw(world.clock, what, _frozen(result))
        world.trace.append((actor.name, what, result))
        if fate is not None and fate.target.endswith(CARRIED_OUT):
            raise Interrupted if fate.deed == "interrupt" else OperationalError
        return result

    def _meet(self, actor: Actor, fate: Choice, kind: Kind) -> None:
        """Let happen to an actor what happens before its step is carried out."""
        actor.saw(fate)
        match fate.deed:
            case "fail":
                self.world.has_failed = True
                raise Failing
            case "interrupt" if not fate.target.endswith(CARRIED_OUT):
                raise Interrupted
            case "doubt" if not fate.target.endswith(CARRIED_OUT):
                raise OperationalError
            case "cancel" if actor.cancel is not None and kind in {"command", "flight"}:
                actor.cancel()  # the thread goes on with the step
            case "cancel":
                raise CancelledError

    def wait(self, kind: Kind, what: tuple[object, ...], seconds: float, promise: Promise[Any] | None = None) -> None:
        """Wait until so much time has passed in the world, or until the promise is kept."""
        world, actor = self.world, self.world.running
        assert actor is not None
        began = world.clock
        until = began + seconds
        self._stop(actor, Pending(kind, what, until, promise))
        fate, actor.fate = actor.fate, None
        if fate is not None:
            self._meet(actor, fate, kind)
        actor.waited += min(world.clock, until) - began
        # How a flight ended, its followers see by this.
        result = promise.value if promise is not None and promise.is_kept else None
        actor.saw(world.clock, what, repr(result))
        actor.followed = actor.followed or bool(result)
        world.trace.append((actor.name, what, result))

    def spawn(self, act: Callable[[], object]) -> bool:
        """Add an actor of the same process: it goes on with what the running one has begun."""
        parent = self.world.running
        assert parent is not None
        name = f"{parent.name}{len(self.world.actors)}"
        self.world.actors.append(Actor(name, parent.process, act, copy_context()))
        return True

    # --- the baton ---

    def _stop(self, actor: Actor, pending: Pending) -> None:
        if not actor.is_dead:
            actor.pending = pending
            self._resume_next(actor)
        if actor.is_dead:
            raise Crashed

    def _resume_next(self, actor: Actor | None) -> None:
        """Hand the baton to the next actor, and wait for it to come back to this actor."""
        # First each begins, up to its first step.
        following = next(self._beginners, None) or self._next()
        self.world.running = following
        if following is actor and actor is not None:
            return
        if following is not None:
            self._resume(following)
        else:
            self._over.release()
        if actor is not None and not actor.is_done:
            self._wait(actor.baton)

    def _next(self) -> Actor | None:
        world = self.world
        while True:
            for each in world.actors:  # who was ended has still to be told
                if each.is_dead and not each.is_done:
                    return each
            if self.is_given_up:
                return None
            try:
                choices = world.choices()
                choice = self._strategy.choose(world, choices) if choices else Choice("end")
            except Violation as violation:
                self._found(str(violation))
                continue
            except Exception as error:  # noqa: BLE001 -- the library would take it for one of the cache
                self._error = error
                self._give_up()
                continue
            if choice is None:
                self._give_up()
            elif choice.deed == "end":
                return None
            elif actor := world.apply(choice):
                return actor

    def _resume(self, actor: Actor) -> None:
        self.world.running = actor
        if actor.is_started:
            actor.baton.release()
            return
        actor.is_started = True
        actor.baton.acquire()
        self._crew.do(lambda: actor.context.run(self._live, actor))

    def _live(self, actor: Actor) -> None:
        try:
            actor.act()
        except Crashed:
            pass
        except Violation as violation:
            self._found(str(violation))
        except BaseException as error:  # noqa: BLE001 -- none may reach a caller
            if not (isinstance(error, Failing) and self.world.has_failed) and not actor.is_dead:
                self._found(f"{actor.name} was stopped by {error!r}")
        actor.is_done = True
        self._resume_next(actor)

    def _found(self, violation: str) -> None:
        self.world.violation = self.world.violation or violation
        self._give_up()

    def _give_up(self) -> None:
        self.is_given_up = True
        for each in self.world.actors:
            self.world.end(each)

    @staticmethod
    def _wait(lock: Lock) -> None:
        assert lock.acquire(timeout=PATIENCE_SECONDS), "the baton was dropped: an actor waits outside the world"


def _closed() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


def _frozen(result: object) -> object:
    return tuple(result.items()) if isinstance(result, dict) else repr(result) if isinstance(result, list) else result
