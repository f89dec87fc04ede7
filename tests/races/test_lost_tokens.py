"""A token that is lost is an invalidation: nothing that a server evicts brings the past back."""

from collections.abc import Callable

import pytest
from django.core.cache import caches
from pytest_django import Settings

from cachedeco import MISSING
from tests.support.backends import Recording
from tests.support.naive import Versioned
from tests.support.sources import EVERY_WAY, Reader, Source, interfering, sync_reader, tokens_of
from tests.support.stored import stored
from tests.support.threads import started

pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True),
]


@pytest.mark.covering(2)
@pytest.mark.parametrize("lost", range(5), ids=["own", "function", "parent", "namespace", "all"])
def test_token_lost_is_a_miss_and_never_the_past(source: Source, read: Reader, lost: int) -> None:
    """
    Whichever token the server evicts, and with any invalidation before, what was stored under it is dead.

    The defects: an evicted version began again at its first value and revived the entries of long ago; an evicted
    set of dependents left entries that no invalidation reached.
    """
    read(1)
    tokens = tokens_of(read)
    assert 4 == len(tokens)

    stored().delete_many(tokens if lost == len(tokens) else [tokens[lost]])
    source.value = "new"

    assert (MISSING, "new", "new") == (read.peek(1), read(1), read.peek(1))


def test_control_lost_version_revives_the_past(source: Source) -> None:
    """The control: where an absent counter is 1, losing it serves the entry from before the invalidation."""
    read = Versioned(lambda _number: source.read())
    read(1)
    source.value = "new"
    read.invalidate(1)
    assert "new" == read(1)

    caches["default"].delete("naive:version")

    assert "old" == read(1)


@pytest.mark.covering(2)
@EVERY_WAY
def test_token_lost_after_invalidation_does_not_undo_it(
    source: Source, read: Reader, invalidate: Callable[[Reader], None]
) -> None:
    """A slow reader's stamp is dead for ever, also when the token that killed it is lost and minted anew."""
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        invalidate(read)
        stored().delete_many(tokens_of(read))
        source.gate.open()

    assert ("old", MISSING, "new") == (slow.result(), read.peek(1), read(1))


@pytest.mark.covering(2)
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(4))
def test_eviction_between_any_two_commands_of_a_call_is_only_a_miss(
    source: Source, monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool
) -> None:
    """Whenever a server loses all it holds during a miss and an invalidation, no later call gives the old value."""
    read = sync_reader(source)
    tokens = tokens_of(read)

    def lose() -> None:
        stored().delete_many([read.key_for(1), *tokens])

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "carry_out", interfering(at, lose, after=after))
        first = read(1)
    source.value = "new"
    read.invalidate(1)

    assert ("old", "new", "new") == (first, read(1), read(1))


def test_token_minted_by_two_readers_at_once_serves_no_old_value(
    source: Source, read: Reader, settings: Settings
) -> None:
    """Of two cold readers, one that read before a write and one after it, only the later one's entry can live."""
    settings.CACHEDECO = {"WAIT": 0.3}  # for which the later one waits for the lease of the other
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        stored().delete_many(tokens_of(read))
        source.value = "new"
        fresh = read(1)
        source.gate.open()

    assert ("old", "new") == (slow.result(), fresh)
    assert read.peek(1) in {"new", MISSING}
    assert "new" == read(1)
