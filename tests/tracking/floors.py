"""Three cached functions, each of which calls the next."""

from contextlib import nullcontext
from typing import Any

from cachedeco import cached_query
from tests.support.sides import Side


class Floors:
    """`top()` calls `middle()`, that calls `bottom()`, and that reads a value that is "old" at first."""

    def __init__(
        self,
        side: Side,
        *,
        top: dict[str, Any] | None = None,
        middle: dict[str, Any] | None = None,
        bottom: dict[str, Any] | None = None,
    ) -> None:
        """Decorate, with more options where they are given."""
        self.side = side
        self.value = "old"
        self.computed: list[str] = []  # names of the functions, as they were computed
        make = self._async if side.is_async else self._sync
        self.top: Any
        self.middle: Any
        self.bottom: Any
        self.top, self.middle, self.bottom = make(top or {}, middle or {}, bottom or {})

    def _sync(self, *options: dict[str, Any]) -> tuple[Any, Any, Any]:
        @cached_query(**{"ignore": ("self",)} | options[2] | {"namespace": "bottom:{number}"})
        def bottom(number: int = 1) -> str:  # noqa: ARG001 -- only the key tells it
            self.computed.append("bottom")
            return self.value

        @cached_query(**{"ignore": ("self", "bottom")} | options[1])
        def middle() -> str:
            self.computed.append("middle")
            return f"middle {bottom()}"

        @cached_query(**{"ignore": ("self", "middle")} | options[0])
        def top() -> str:
            self.computed.append("top")
            return f"top {middle()}"

        return top, middle, bottom

    def _async(self, *options: dict[str, Any]) -> tuple[Any, Any, Any]:
        @cached_query(**{"ignore": ("self",)} | options[2] | {"namespace": "bottom:{number}"})
        async def bottom(number: int = 1) -> str:  # noqa: ARG001 -- as above
            self.computed.append("bottom")
            return self.value

        @cached_query(**{"ignore": ("self", "bottom")} | options[1])
        async def middle() -> str:
            self.computed.append("middle")
            return f"middle {await bottom()}"

        @cached_query(**{"ignore": ("self", "middle")} | options[0])
        async def top() -> str:
            self.computed.append("top")
            return f"top {await middle()}"

        return top, middle, bottom

    def call(self, name: str = "top") -> tuple[str, list[str]]:
        """Return what a call gives, and what it has computed for that."""
        self.computed.clear()
        value = self.side.call(getattr(self, name))
        return value, self.computed.copy()

    def change(self) -> None:
        """Change the value; who computes from now on finds a "new" one."""
        self.value = "new"


def around(side: Side, name: str, *inner: Any, how: Any = nullcontext, **options: Any) -> Any:
    """Return a cached function of a name that calls others, inside a context, and joins what they give."""
    ignored = {"ignore": ("inner", "how"), "name": name}

    @cached_query(**ignored | options)
    def outer() -> str:
        with how():
            return " ".join([each() for each in inner])

    @cached_query(**ignored | {"name": f"{name}_async"} | options)
    async def aouter() -> str:
        with how():
            return " ".join([await each() for each in inner])

    return aouter if side.is_async else outer
