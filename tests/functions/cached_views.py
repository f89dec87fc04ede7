"""Methods of views under our decorator: a test imports this module, and no other is to find its functions."""

from typing import ClassVar

from django.views import View

from cachedeco import cached_query, cached_query_many


class Rows:
    """What two views have in common."""

    shown: ClassVar[str]

    @cached_query(ignore=("self",))
    def get_queryset(self) -> list[str]:
        """Return what only the view knows."""
        return [self.shown]

    @cached_query_many(over="ids", ignore=("self",))
    def names(self, ids: list[int]) -> dict[int, str]:
        """Return what only the view knows, for each id."""
        return dict.fromkeys(ids, self.shown)


class Prices(Rows, View):
    """A view."""

    shown = "price"


class Accounts(Rows, View):
    """Another one."""

    shown = "account"

    @cached_query(ignore=("self",))
    def total(self, number: int) -> int:
        """Return what any view would."""
        return number


class Plain(Rows):
    """No view."""

    shown = "plain"
