"""
What type checkers know of the public face. Never run: mypy and pyright read it.

Each wrong use carries a comment that silences both checkers, and both report a comment that silences nothing.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, assert_type

from django.contrib.auth.models import User

from cachedeco import (
    MISSING,
    AsyncCachedQuery,
    AsyncCachedQueryMany,
    AsyncCall,
    AsyncCallMany,
    CachedQuery,
    CachedQueryMany,
    Call,
    CallMany,
    Event,
    Missing,
    Namespace,
    Stats,
    add_hook,
    agather,
    bypass,
    cached_query,
    cached_query_many,
    gather,
    listening,
    mode,
    remove_hook,
    rows,
)
from cachedeco import register_key_type as register


@cached_query
def bare(number: int, *, page: int = 1) -> str:
    """Be decorated without parentheses."""
    return f"{number} {page}"


@cached_query(timeout=timedelta(hours=1), key="{number}", ignore=["page"], namespace=["a:{number}", Namespace("b")])
def full(number: int, *, page: int = 1) -> str:
    """Be decorated with options."""
    return f"{number} {page}"


@cached_query(depends_on=[User, "auth.Group", rows(User, pk="{pk}"), rows("auth.User", id="{pk}")])
def dependent(pk: int) -> str:
    """Depend on models, and on parts of them."""
    return f"{pk}"


@cached_query
async def abare(number: int) -> list[str]:
    """Be async, without parentheses."""
    return [f"{number}"]


@cached_query(timeout=None)
async def afull(number: int) -> list[str]:
    """Be async, with options."""
    return [f"{number}"]


@cached_query_many(over="ids", timeout=60, namespace="club:{each}")
def many(ids: Iterable[int], lang: str = "en") -> Mapping[int, str]:
    """Be over many ids."""
    return dict.fromkeys(ids, lang)


@cached_query_many(over="ids")
async def amany(ids: list[int]) -> dict[int, str]:
    """Be async, and over many ids."""
    return dict.fromkeys(ids, "")


class Club:
    """Methods of each kind."""

    @cached_query_many(over="ids")
    def prices(self, ids: Iterable[str]) -> dict[str, int]:
        """Be a method over many ids."""
        return dict.fromkeys(ids, 1)

    @cached_query_many(over="ids")
    async def aprices(self, ids: Iterable[str]) -> dict[str, int]:
        """Be an async method over many ids."""
        return dict.fromkeys(ids, 1)

    @cached_query
    def classes(self, page: int) -> list[str]:
        """Be a method."""
        return [f"{page}"]

    @cached_query(timeout=60)
    async def aclasses(self, page: int) -> list[str]:
        """Be an async method."""
        return [f"{page}"]

    @staticmethod
    @cached_query
    def total(page: int) -> int:
        """Be a staticmethod."""
        return page

    @property
    @cached_query
    def name(self) -> str:
        """Be a property."""
        return ""

    @cached_property
    @cached_query
    def slug(self) -> str:
        """Be a cached property."""
        return ""


def calls() -> None:
    """Call, and use the verbs of, a sync function."""
    assert_type(bare(1), str)
    assert_type(bare(number=1, page=2), str)
    assert_type(full(1, page=2), str)
    assert_type(bare.refresh(1), str)
    assert_type(bare.peek(1, page=2), str | Missing)
    assert_type(bare.key_for(1), str)
    assert_type(bare.stats(), Stats)
    assert_type(bare.stats().seconds_saved, float)
    assert_type(bare.uncached(1), str)
    bare.call(1, page=2).set("value")
    bare.invalidate(1)
    bare.invalidate_all()

    found = bare.peek(1)
    if found is not MISSING:
        assert_type(found, str)


async def awaits() -> None:
    """Call, and use the verbs of, async functions, and the twins of a sync one."""
    assert_type(await abare(1), list[str])
    assert_type(await afull(number=1), list[str])
    assert_type(await abare.arefresh(1), list[str])
    assert_type(await abare.apeek(1), list[str] | Missing)
    assert_type(abare.peek(1), list[str] | Missing)
    assert_type(await abare.akey_for(1), str)
    assert_type(await abare.uncached(1), list[str])
    await abare.call(1).aset(["value"])
    abare.call(1).set(["value"])
    await abare.ainvalidate(1)
    await abare.ainvalidate_all()
    abare.invalidate(1)

    assert_type(await bare.arefresh(1), str)
    assert_type(await bare.apeek(1, page=2), str | Missing)
    await bare.call(1).aset("value")
    await bare.ainvalidate(1)


def methods(club: Club) -> None:
    """Call methods, bound and unbound, with their verbs."""
    assert_type(club.classes(1), list[str])
    assert_type(Club.classes(club, 1), list[str])
    assert_type(club.classes.peek(page=1), list[str] | Missing)
    assert_type(club.classes.refresh(1), list[str])
    assert_type(club.classes.uncached(1), list[str])
    club.classes.call(1).set(["value"])
    club.classes.invalidate(1)
    Club.classes.invalidate(club, 1)
    club.classes.invalidate_all()

    assert_type(Club.total(1), int)
    assert_type(Club.total.peek(1), int | Missing)
    Club.total.invalidate(1)
    assert_type(club.name, str)
    assert_type(club.slug, str)


async def async_methods(club: Club) -> None:
    """Await a method, bound, with its verbs."""
    assert_type(await club.aclasses(1), list[str])
    assert_type(await club.aclasses.arefresh(1), list[str])
    assert_type(await club.aclasses.apeek(1), list[str] | Missing)
    await club.aclasses.ainvalidate(1)


async def many_at_once(club: Club) -> None:
    """Call, and use the verbs of, functions over many ids."""
    assert_type(many([1], "de"), dict[int, str])
    assert_type(many(ids=(1, 2), lang="de"), dict[int, str])
    assert_type(many.peek({1}), dict[int, str])
    assert_type(many.refresh([1]), dict[int, str])
    assert_type(many.keys_for([1]), dict[int, str])
    assert_type(many.uncached([1]), Mapping[int, str])
    assert_type(many.stats(), Stats)
    many.call([1], lang="de").set({1: "one"})
    many.invalidate([1])
    many.invalidate_all()

    assert_type(await amany([1]), dict[int, str])
    assert_type(await amany.arefresh([1]), dict[int, str])
    assert_type(await amany.apeek([1]), dict[int, str])
    assert_type(amany.peek([1]), dict[int, str])
    assert_type(await amany.akeys_for([1]), dict[int, str])
    assert_type(await many.arefresh([1]), dict[int, str])
    await amany.call([1]).aset({1: "one"})
    await amany.ainvalidate([1])

    assert_type(club.prices(["a"]), dict[str, int])
    assert_type(Club.prices(club, ["a"]), dict[str, int])
    assert_type(club.prices.peek(["a"]), dict[str, int])
    assert_type(await club.aprices(["a"]), dict[str, int])
    assert_type(await club.aprices.apeek(["a"]), dict[str, int])
    club.prices.invalidate(["a"])


def calls_as_objects(club: Club) -> None:
    """Use the verbs of calls, which take no arguments."""
    call = bare.call(1, page=2)
    assert_type(call, Call[str])
    assert_type(call(), str)
    assert_type(call.refresh(), str)
    assert_type(call.peek(), str | Missing)
    assert_type(call.key(), str)
    assert_type(call.uncached(), str)
    call.set("value")
    call.invalidate()

    ids = many.call([1], lang="de")
    assert_type(ids, CallMany[int, str])
    assert_type(ids(), dict[int, str])
    assert_type(ids.refresh(), dict[int, str])
    assert_type(ids.peek(), dict[int, str])
    assert_type(ids.keys(), dict[int, str])
    assert_type(ids.uncached(), Mapping[int, str])
    ids.set({1: "one"})
    ids.invalidate()

    assert_type(club.classes.call(1), Call[list[str]])
    assert_type(Club.classes.call(club, page=1), Call[list[str]])
    assert_type(club.prices.call(["a"]), CallMany[str, int])
    assert_type({call: 1}[bare.call(1)], int)


async def async_calls_as_objects(club: Club) -> None:
    """Await the verbs of calls."""
    call = abare.call(1)
    assert_type(call, AsyncCall[list[str]])
    assert_type(await call(), list[str])
    assert_type(await call.arefresh(), list[str])
    assert_type(await call.apeek(), list[str] | Missing)
    assert_type(call.peek(), list[str] | Missing)
    assert_type(await call.akey(), str)
    assert_type(await call.uncached(), list[str])
    await call.aset(["value"])
    await call.ainvalidate()
    assert_type(await bare.call(1).arefresh(), str)

    ids = amany.call([1])
    assert_type(ids, AsyncCallMany[int, str])
    assert_type(await ids(), dict[int, str])
    assert_type(await ids.arefresh(), dict[int, str])
    assert_type(await ids.akeys(), dict[int, str])
    assert_type(await ids.uncached(), Mapping[int, str])
    await ids.aset({1: "one"})
    assert_type(await many.call([1]).arefresh(), dict[int, str])

    assert_type(club.aclasses.call(1), AsyncCall[list[str]])
    assert_type(club.aprices.call(["a"]), AsyncCallMany[str, int])


async def gather_calls() -> None:
    """Gather: up to six calls of several types, and any number of one type."""
    one, other = bare.call(1), many.call([1])
    assert_type(gather(one), tuple[str])
    assert_type(gather(one, other), tuple[str, dict[int, str]])
    assert_type(
        gather(one, other, Club().prices.call(["a"]), Club.total.call(1), one, other),
        tuple[str, dict[int, str], dict[str, int], int, str, dict[int, str]],
    )
    assert_type(gather(one, other, one), tuple[str, dict[int, str], str])
    assert_type(gather(one, one, one, other), tuple[str, str, str, dict[int, str]])
    assert_type(gather(one, one, one, one, other), tuple[str, str, str, str, dict[int, str]])
    assert_type(gather(*[one, one]), tuple[str, ...])
    assert_type(await agather(one), tuple[str])
    assert_type(await agather(one, abare.call(1)), tuple[str, list[str]])
    assert_type(await agather(other, amany.call([1]), one), tuple[dict[int, str], dict[int, str], str])
    assert_type(await agather(one, one, one, abare.call(1)), tuple[str, str, str, list[str]])
    assert_type(await agather(one, one, one, one, other), tuple[str, str, str, str, dict[int, str]])
    assert_type(
        await agather(one, one, one, one, one, Club().aclasses.call(1)), tuple[str, str, str, str, str, list[str]]
    )
    assert_type(await agather(*[abare.call(1)]), tuple[list[str], ...])


async def refreshes_of_async_functions() -> None:
    """Have `refresh()` of an async function reported, and what follows it checked."""
    abare.refresh(1)  # type: ignore[attr-defined]
    amany.refresh([1])  # type: ignore[attr-defined]
    abare.call(1).refresh()  # type: ignore[attr-defined]
    amany.call([1]).refresh()  # type: ignore[attr-defined]
    abare.peek("1")  # type: ignore[arg-type]


def everything_else(event: Event) -> None:
    """Use what is no cached function."""
    assert_type(event.seconds, float)
    assert_type(event.error, BaseException | None)
    Namespace("club", 7).invalidate()
    Namespace("club", 7).invalidate(using="other")
    assert_type(Namespace.for_model(User), Namespace)
    Namespace.for_model("auth.User", pk=7).invalidate(using="other")
    add_hook(print)
    remove_hook(print)
    with bypass(), mode("off"), listening(print):
        pass
    register(Club, lambda club: club.name)

    @bypass()
    def plain(number: int) -> str:
        return f"{number}"

    assert_type(plain(1), str)


def handed_on(function: Callable[[int], str], other: Callable[[int], Coroutine[Any, Any, str]]) -> None:
    """Decorate what came as an argument; hand a cached function to code that takes a plain one."""
    assert_type(cached_query(function)(1), str)
    assert_type(cached_query(function), CachedQuery[[int], str])
    assert_type(cached_query(other), AsyncCachedQuery[[int], str])
    takes(full)
    takes(bare)


def takes(function: Callable[[int], str]) -> CachedQuery[[int], str]:
    """Want a plain function."""
    return cached_query(function)


def takes_many(function: Callable[[list[int]], dict[int, str]]) -> CachedQueryMany[[list[int]], int, str]:
    """Want a plain function."""
    takes_many(many)
    return cached_query_many(over="ids")(function)


def atakes_many(
    function: Callable[[list[int]], Coroutine[Any, Any, dict[int, str]]],
) -> AsyncCachedQueryMany[[list[int]], int, str]:
    """Want a plain async function."""
    return cached_query_many(over="ids")(function)


def mistakes(club: Club) -> None:
    """Make every mistake that a checker can see: each is seen by both."""
    gather(bare)  # type: ignore[call-overload]
    gather(abare.call(1))  # type: ignore[call-overload]
    gather("value", bare.call(1))  # type: ignore[call-overload]
    bare("1")  # type: ignore[arg-type]
    bare(1, 2)  # type: ignore[call-arg]
    bare()  # type: ignore[call-arg]
    bare.invalidate("1")  # type: ignore[arg-type]
    bare.invalidate()  # type: ignore[call-arg]
    bare.invalidate_all(1)  # type: ignore[call-arg]
    bare.peek(other=1)  # type: ignore[call-arg]
    bare.call("1")  # type: ignore[arg-type]
    bare.call(1).set(7)  # type: ignore[arg-type]
    bare.call(1).set()  # type: ignore[call-arg]
    bare.call(1).peek(1)  # type: ignore[call-arg]
    bare.set("value", 1)  # type: ignore[attr-defined]
    abare.call(1).set("value")  # type: ignore[arg-type]
    many(["1"])  # type: ignore[list-item]
    many.invalidate()  # type: ignore[call-arg]
    many.call([1]).set({1: 1})  # type: ignore[dict-item]
    many.call()  # type: ignore[call-arg]
    many.set({1: "one"}, [1])  # type: ignore[attr-defined]
    club.prices([1])  # type: ignore[list-item]
    cached_query_many(timeout=60)  # type: ignore[call-arg]
    cached_query_many(over="ids")(bare)  # type: ignore[arg-type]
    club.classes.invalidate(club, 1)  # type: ignore[call-arg,arg-type]
    club.classes("1")  # type: ignore[arg-type]
    bare.clear(1)  # type: ignore[attr-defined]
    cached_query(timeout="60")  # type: ignore[call-overload]
    cached_query(depends_on=[1])  # type: ignore[list-item]
    cached_query(depends_on=User)  # type: ignore[call-overload]
    cached_query(nonsense=1)  # type: ignore[call-overload]
    cached_query(60)
    cached_query("60")  # type: ignore[call-overload]
    cached_query(None)  # type: ignore[call-overload]
    cached_query(tiemout=60)  # type: ignore[call-overload]
    cached_query(stale_if_error="60")  # type: ignore[call-overload]
    cached_query(stale_if_error=None)  # type: ignore[call-overload]
    cached_query(stale_while_revalidate=None)  # type: ignore[call-overload]
    cached_query(wait=None)  # type: ignore[call-overload]
    cached_query(serializer="yaml")  # type: ignore[call-overload]
    cached_query(depends_on=[(User, "pk")])  # type: ignore[list-item]
    cached_query_many(over="ids", tiemout=60)  # type: ignore[call-arg]
    cached_query_many(over="ids", early="1")  # type: ignore[arg-type]
    rows(User, pk=7)  # type: ignore[arg-type]
    mode("of")  # type: ignore[arg-type]
    len(bare.peek(1))  # type: ignore[arg-type]
