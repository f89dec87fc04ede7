"""The table of commands in the documentation is what is sent."""

from collections.abc import Callable

import pytest
from django.db import transaction

from cachedeco import Namespace, bypass, cached_query, mode
from tests.docs.test_pages import COSTS, tables_under
from tests.support.backends import Commands


@pytest.mark.django_db
def test_commands_table_is_what_is_sent(commands: Commands) -> None:
    """What each path sends to the cache is what the table says."""

    @cached_query(name="docs.plain")
    def plain(number: int) -> int:
        return number

    @cached_query(name="docs.unwaited", wait=0)
    def unwaited(number: int) -> int:
        return number

    unwaited(1)
    unwaited.invalidate(1)

    def sent(act: Callable[[], object]) -> str:
        commands.clear()
        act()
        return ", ".join(f"`{name}`" for name in commands.names)

    def all_sent(*acts: Callable[[], object]) -> str:
        [names] = {sent(act) for act in acts}
        return names

    def past_the_cache() -> str:
        with bypass():
            bypassed = sent(lambda: plain(1))
        with mode("off"):
            assert bypassed == sent(lambda: plain(1))
        return bypassed

    def invalidated_in_transaction() -> str:
        with transaction.atomic():
            plain.invalidate(1)
            return sent(lambda: plain(1))

    # In the order in which each finds the tokens that it needs: there already, or new.
    new_function = sent(lambda: plain(1))
    new_call = sent(lambda: plain(2))
    hit = sent(lambda: plain(2))
    invalidation = all_sent(lambda: plain.invalidate(1), plain.invalidate_all)
    invalidated = sent(lambda: plain(1))
    invalidated_unwaited = sent(lambda: unwaited(1))
    namespace_invalidation = sent(Namespace("docs", 1).invalidate)
    peek = sent(lambda: plain.peek(1))
    refresh = all_sent(lambda: plain.refresh(1), lambda: plain.call(1).set(1))
    bypassed = past_the_cache()
    in_transaction = invalidated_in_transaction()
    [table] = tables_under(COSTS, "What each path costs")

    assert [
        hit,
        invalidated,
        invalidated_unwaited,
        new_call,
        new_function,
        peek,
        refresh,
        invalidation,
        namespace_invalidation,
        bypassed,
        in_transaction,
    ] == [sent_by_table for _, sent_by_table in table]
