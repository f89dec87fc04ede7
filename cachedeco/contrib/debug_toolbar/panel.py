"""`CachedecoPanel`: a panel of django-debug-toolbar with each call of a cached function in a request."""

from contextvars import ContextVar
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple

from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine

from cachedeco.contrib.debug_toolbar.recording import Recording, SentInvalidation, SentInvalidations, caller
from cachedeco.contrib.debug_toolbar.summary import summarize
from cachedeco.contrib.observing import observe
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import add_hook
from cachedeco.runtime.units import counted

TEMPLATES: Final = str(Path(__file__).parent / "templates")


class _Request(NamedTuple):
    """A request that is recorded."""

    name: str  #: method and path
    recording: Recording


# The request that this context is in: threads and tasks serve several at the same time.
_current: ContextVar[_Request | None] = ContextVar("cachedeco_panel", default=None)
_ends = SentInvalidations()


def record(event: Event) -> None:
    """Add an event to the recording of its request; remember an invalidation for the misses of later ones. A hook."""
    request, where = _current.get(), ""
    if request is not None or event.kind == "invalidated":
        where = caller()
    if event.kind == "invalidated":
        _ends.add(event.subject.text, SentInvalidation(time(), request.name if request else "", where))
    if request is not None:
        request.recording.record(event, where)


class CachedecoPanel(Panel):
    """The calls of cached functions in one request: what each cost or saved, and why it was a miss."""

    nav_icon: Any = "debug_toolbar/img/cache.svg"
    is_async = True

    @classmethod
    def ready(cls) -> None:
        """Hear all events, and time the commands to caches, from now on."""
        observe()
        add_hook(record)

    # Any, since the toolbar's own say nothing of their types, and a type checker guesses others.

    @property
    def title(self) -> Any:
        """The name in the bar, and above the panel."""
        return "Cached functions"

    @property
    def nav_subtitle(self) -> Any:
        """Say how many calls were hits."""
        stats = self.get_stats()
        calls, hits = stats.get("calls", 0), dict(stats.get("outcomes", ())).get("hit", 0)
        return f"{hits} of {counted(calls, 'call')} from the cache" if calls else "no calls"

    @property
    def content(self) -> Any:
        """Render the panel; by an engine of its own, so that there need be no app."""
        return Engine(dirs=[TEMPLATES]).get_template("panel.html").render(Context(self.get_stats()))

    def enable_instrumentation(self) -> None:
        """Record the events of this request."""
        request = self.toolbar.request
        self._recording = Recording(_ends.find)
        _current.set(_Request(f"{request.method} {request.path}", self._recording))

    def disable_instrumentation(self) -> None:
        """Stop recording."""
        _current.set(None)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:  # noqa: ARG002 -- debug-toolbar's
        """Keep what was recorded, as plain data that the toolbar can store."""
        self.record_stats({**summarize(self._recording), "is_streamed": response.streaming})
