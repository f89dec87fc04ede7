"""A visitor with a browser's memory: follows addresses, keeps cookies, fills in forms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from time import perf_counter
from urllib.parse import urlencode

from story import StoryError

REQUEST_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """What came back for one request, and what the site says that it cost."""

    request: str
    status: int
    text: str
    milliseconds: float
    queries: int
    cache: Mapping[str, int]
    calls: Mapping[str, str]

    @property
    def page(self) -> str:
        """The page without its footer, which counts and so is never the same."""
        return re.sub(r'<footer class="tally">.*?</footer>', "", self.text, flags=re.DOTALL)

    @property
    def invalidated(self) -> list[str]:
        """What has ended entries that the page asked for, as its footer says it, each once."""
        reasons = re.findall(r'<td class="kind-miss">.*?<td>invalidated: ([^<]*)</td>', self.text)
        return list(dict.fromkeys(map(unescape, reasons)))

    @property
    def computed_at(self) -> str:
        """When the ranking on the page was computed, empty if there is none."""
        found = re.search(r'<time id="computed">([^<]*)</time>', self.page)
        return found[1] if found else ""

    @property
    def classes(self) -> dict[int, "ClassRow"]:
        """The classes that the page shows, by number."""
        rows = re.findall(
            r'<li data-class="(\d+)" data-trainer="(\d+)" data-weekday="(\d)">\s*'
            r'<span class="time">([\d:]+)\D([\d:]+)</span>',
            self.page,
        )
        return {int(pk): ClassRow(int(pk), int(trainer), int(day), start, end) for pk, trainer, day, start, end in rows}


@dataclass(frozen=True)
class ClassRow:
    """One class as a club's page shows it, its hours as a reader sees them."""

    pk: int
    trainer: int
    weekday: int
    start: str
    end: str


class Visitor:
    """Visit the site on one port of this machine."""

    def __init__(self, port: int) -> None:
        """Begin without cookies."""
        self.port = port
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        """Fetch a page."""
        return self._ask("GET", path)

    def submit(self, path: str, **changes: object) -> Answer:
        """Fetch the page, change fields of its form, and send the form; redirects are not followed."""
        fields = fields_of(self.get(path).text)
        unknown = changes.keys() - fields.keys()
        if unknown:
            msg = f"The form at {path} has no field {', '.join(sorted(unknown))}."
            raise StoryError(msg)
        form = {name: value for name, value in fields.items() if value is not None}
        return self._ask("POST", path, {**form, **{name: str(value) for name, value in changes.items()}})

    def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        began = perf_counter()
        try:
            connection.request(method, path, urlencode(form) if form is not None else None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        milliseconds = 1000 * (perf_counter() - began)
        for line in response.headers.get_all("Set-Cookie", []):
            self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        return Answer(
            request=f"{method} {path}",
            status=response.status,
            text=text,
            milliseconds=milliseconds,
            queries=int(response.headers.get("X-Clubsite-Queries", -1)),
            cache={name: int(n) for name, n in pairs_of(response.headers.get("X-Clubsite-Cache", ""))},
            calls=dict(pairs_of(response.headers.get("X-Clubsite-Calls", ""))),
        )


def pairs_of(header: str) -> list[tuple[str, str]]:
    """Read a header of the form "hit=2 miss=0"."""
    return [(name, value) for name, _, value in (pair.partition("=") for pair in header.split())]


def fields_of(page: str) -> dict[str, str | None]:
    """Return what the forms of a page would send, with None for boxes that are not ticked."""
    reader = _FormReader()
    reader.feed(page)
    return reader.fields


class _FormReader(HTMLParser):
    """Collect the fields of a page's forms; enough for the forms of this site and of Django's admin."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str | None] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the name and the value of an input, or of the option that is selected."""
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
            self.fields[name] = None
        elif tag == "option" and self._select and "selected" in given:
            self.fields[self._select] = given.get("value") or ""
        elif tag == "input" and name and given.get("type") not in {"submit", "button", "file"}:
            ticked = given.get("type") not in {"checkbox", "radio"} or "checked" in given
            self.fields[name] = (given.get("value") or "") if ticked else None

    def handle_endtag(self, tag: str) -> None:
        """Leave a select."""
        if tag == "select":
            self._select = ""
