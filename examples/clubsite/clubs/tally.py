"""Count, for each request, what the cache did and what the database was asked."""

from collections import Counter, deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

from django.db import connection
from django.http import HttpRequest, HttpResponse

from cachedeco import Event, runs_anywhere

# In the header even when they are 0, so that "none" and "not counted" can't be taken for each other.
KINDS = (
    "hit",
    "stale",
    "miss",
    "bypassed",
    "computed",
    "stored",
    "unstored",
    "invalidated",
    "lost",
    "error",
)


class Miss(NamedTuple):
    """One call that was no hit, for the page that says why."""

    request: str
    function: str
    reason: str


# Of this process, the last one first.
last_misses: deque[Miss] = deque(maxlen=15)


@dataclass
class Tally:
    """What happened during one request."""

    request: str
    events: list[Event] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)

    def run_query(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,  # noqa: FBT001
        context: dict[str, Any],
    ) -> Any:
        """Note one query and run it, as Django's ``execute_wrapper()`` wants it done."""
        self.queries.append(sql)
        return execute(sql, params, many, context)

    @property
    def counts(self) -> dict[str, int]:
        """Count the events by kind."""
        return dict.fromkeys(KINDS, 0) | Counter(event.kind for event in self.events)

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Give, for each call of a cached function, its name and what became of it."""
        return [
            (event.function.rpartition(".")[2], event.kind)
            for event in self.events
            if event.kind in {"hit", "stale", "miss", "bypassed"}
        ]

    @property
    def milliseconds_saved(self) -> float:
        """Sum up what the hits would have taken to compute."""
        return 1000 * sum(event.seconds for event in self.events if event.kind in {"hit", "stale"})

    @property
    def milliseconds(self) -> float:
        """Give the time since the request came in."""
        return 1000 * (perf_counter() - self.started)

    def headers(self) -> dict[str, str]:
        """Return the tally as response headers, for the browser's own tools and for the demo."""
        return {
            "Server-Timing": f"total;dur={self.milliseconds:.2f}",
            "X-Clubsite-Cache": " ".join(f"{kind}={n}" for kind, n in self.counts.items()),
            "X-Clubsite-Calls": " ".join(f"{name}={kind}" for name, kind in self.calls),
            "X-Clubsite-Queries": str(len(self.queries)),
        }


# A context variable, since threads serve several requests at the same time.
_current: ContextVar[Tally | None] = ContextVar("tally", default=None)


@runs_anywhere  # it only appends to lists: without the mark, each hit of async code would change threads
def record(event: Event) -> None:
    """Note *event* for the request that it happened in; a hook of cachedeco."""
    tally = _current.get()
    if tally is not None:
        tally.events.append(event)
        if event.kind == "miss":
            last_misses.appendleft(Miss(tally.request, event.function, event.reason))


def tally_of_this_request(_request: HttpRequest) -> dict[str, Tally | None]:
    """Give the tally so far to the templates, whose footer shows it; a context processor."""
    return {"tally": _current.get()}


def tally_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Keep a tally of each request and put it into the headers of the response."""

    def middleware(request: HttpRequest) -> HttpResponse:
        tally = Tally(f"{request.method} {request.path}")
        reset_token = _current.set(tally)
        try:
            with connection.execute_wrapper(tally.run_query):
                response = get_response(request)
        finally:
            _current.reset(reset_token)
        for name, value in tally.headers().items():
            response[name] = value
        return response

    return middleware
