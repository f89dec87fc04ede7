"""The mode: in force at once, the innermost block's, in this thread or task only."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from cachedeco import bypass, mode
from cachedeco.runtime.conf import Settings
from cachedeco.runtime.modes import current_mode

ModeName = Literal["on", "bypass", "off"]


@pytest.mark.parametrize("name", ["on", "bypass", "off"])
def test_mode_is_that_of_the_setting(name: ModeName) -> None:
    """`MODE` is in force where no block says otherwise."""
    with override_settings(CACHEDECO={"MODE": name}):
        found = current_mode()

    assert (name, "on") == (found, current_mode())


@pytest.mark.parametrize("setting", ["on", "bypass", "off"])
@pytest.mark.parametrize("inner", ["on", "bypass", "off"])
def test_mode_of_the_innermost_block_counts(setting: ModeName, inner: ModeName) -> None:
    """Blocks nest, and each leaves what it found."""
    with override_settings(CACHEDECO={"MODE": setting}), mode("off"):
        with mode(inner):
            found = current_mode()
        after = current_mode()

    assert (inner, "off") == (found, after)


@pytest.mark.parametrize(("outer", "expected"), [("on", "bypass"), ("bypass", "bypass"), ("off", "off")])
def test_bypass_never_turns_the_cache_on(outer: ModeName, expected: str) -> None:
    """Inside "off", bypass is off: no server may be reached."""
    with mode(outer), bypass():
        found = current_mode()

    assert expected == found


def test_mode_is_left_after_an_exception() -> None:
    """A block that raised leaves nothing behind: elsewhere caching stayed off in that thread."""
    with pytest.raises(LookupError), mode("off"):
        raise LookupError

    assert "on" == current_mode()


@pytest.mark.parametrize("name", ["Off", "", None, 7, []])
def test_mode_of_another_name_is_refused(name: Any) -> None:
    """A name that is none of the three is an error at once, not when the block begins."""
    with pytest.raises(ValueError, match="it takes one of 'on', 'bypass', 'off'"):
        mode(name)


def test_mode_can_be_used_again_and_inside_itself() -> None:
    """One object may be entered many times."""
    off = mode("off")

    with off, off:
        inside = current_mode()

    with off:
        again = current_mode()

    assert ("off", "off", "on") == (inside, again, current_mode())


def test_mode_decorates_functions_and_coroutine_functions() -> None:
    """A decorated function runs in the mode, and an async one to its end."""

    @mode("off")
    def sync() -> str:
        return current_mode()

    @mode("off")
    async def later() -> str:
        await asyncio.sleep(0)
        return current_mode()

    assert ("off", "off", "on", "later") == (sync(), asyncio.run(later()), current_mode(), later.__name__)


def test_mode_refuses_to_decorate_a_generator_function() -> None:
    """A generator's body would run after the block: an error says what to do."""

    def numbers() -> Iterator[int]:
        yield 1

    async def anumbers() -> Any:
        yield 1

    for function in (numbers, anumbers):
        with pytest.raises(TypeError, match="is a generator function: its body would run outside; use `with` inside"):
            bypass()(function)


def test_mode_is_that_of_a_thread() -> None:
    """A new thread begins with the setting, and what it does stays there."""
    found: list[str] = []

    def work() -> None:
        found.append(current_mode())
        with mode("bypass"):
            inside.set()
            done.wait()

    inside, done = threading.Event(), threading.Event()
    with mode("off"):
        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        here = current_mode()
        done.set()
        thread.join()

    assert (["on"], "off") == (found, here)


def test_mode_is_inherited_by_tasks_and_their_threads() -> None:
    """A task started inside a block has its mode, and keeps it when the block ends; its siblings are not touched."""

    async def work() -> list[str]:
        with bypass():
            task = asyncio.create_task(sync_to_async(current_mode)())
        other = asyncio.create_task(sync_to_async(current_mode)())
        return [await task, await other]

    assert ["bypass", "on"] == asyncio.run(work())


def test_mode_refuses_to_decorate_a_class() -> None:
    """A class under a mode would be a class no more: an error says what to do."""
    with pytest.raises(TypeError, match="is a class, which this would turn into a function"):
        bypass()(Settings)


def test_mode_ended_out_of_order_ends_itself_only() -> None:
    """Blocks in generators may end in any order: each takes back its own mode, and a second end does nothing."""
    off, bypassing = mode("off"), mode("bypass")
    off.__enter__()
    bypassing.__enter__()

    off.__exit__()
    between = current_mode()
    bypassing.__exit__()
    bypassing.__exit__()

    assert ("bypass", "on") == (between, current_mode())
