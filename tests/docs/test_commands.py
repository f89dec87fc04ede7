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

    @cached_query(name="docs.spaced", namespace="docs:{number}")
    def spaced(number: int) -> int:
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
        [told] = {sent(act) for act in acts}
        return told

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

    measured = [
        sent(lambda: plain(1)),
        sent(lambda: plain(2)),
        sent(lambda: plain(2)),
        sent(lambda: spaced(1)),
        all_sent(lambda: plain.invalidate(1), plain.invalidate_all),
        sent(lambda: plain(1)),
        sent(lambda: unwaited(1)),
        sent(Namespace("docs", 1).invalidate),
        sent(lambda: plain.peek(1)),
        all_sent(lambda: plain.refresh(1), lambda: plain.call(1).set(1)),
        past_the_cache(),
        invalidated_in_transaction(),
    ]
    new_function, new_call, hit, new_namespace, invalidate, invalidated, unwaited_miss, *others = measured
    namespace, peek, refresh, *past = others
    [table] = tables_under(COSTS, "What each path costs")

    assert [
        hit,
        invalidated,
        unwaited_miss,
        new_call,
        new_function,
        new_namespace,
        peek,
        refresh,
        invalidate,
        namespace,
        *past,
    ] == [told for _, told in table]
