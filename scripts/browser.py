"""
Look at the pages of the admin in a real browser: `make browser`.

    python scripts/browser.py

Serves the example site with some traffic behind it, opens each page in Debian's chromium at the width of a desktop and
of a phone, light and dark, and checks what only a browser knows: that no page is wider than the screen, that none asks
another host, that all is there without JavaScript. Writes the screenshots of docs/images/admin-*.png.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from html import escape
from io import BytesIO, StringIO
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Thread
from time import sleep
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

ROOT: Final = Path(__file__).resolve().parents[1]
SITE: Final = ROOT / "examples" / "clubsite"
IMAGES: Final = ROOT / "docs" / "images"
LARGEST: Final = 150_000  # bytes of a screenshot
HIGHEST: Final = 1500  # pixels of the page

ADMIN: Final = "/admin/cachedeco_admin/function/"
AS_POST: Final = "as_post"  # in the query of a GET: it is sent on as a POST, as a browser without a driver only opens
PROBE: Final = "measure"  # in the query: a script puts the size of the page into its title
FRAME: Final = "/frame"  # its query is the page
TOKEN: Final = "a" * 32
PAUSE: Final = 2.0  # seconds between a computation and the invalidation behind it, as a reader of a picture expects
NONCE: Final = "measure"
NARROWEST: Final = 500  # no window of chromium is narrower: a phone is a frame in it, which is enlarged
WIDE: Final = (1280, 800)
PHONE: Final = (400, 800)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Shot(NamedTuple):
    """A screenshot of the documentation, and what must be on it."""

    name: str
    address: str
    size: tuple[int, int]
    texts: tuple[str, ...]  #: what answers the questions of a reader
    is_dark: bool = False


def post(path: str, **fields: str) -> str:
    """Return an address that is sent on as a POST."""
    return f"{path}?{urlencode({AS_POST: '1', **fields})}"


EXPLAINED: Final = post(f"{ADMIN}explain/", function="clubs.queries.club_classes", arguments="clubs.Club:1")
SHOTS: Final = (
    Shot("figures", ADMIN, WIDE, ("Served by the cache", "clubs.queries.timetable", "table clubs_trainer")),
    Shot("figures-dark", ADMIN, WIDE, ("Spent computing", "Of one process only"), is_dark=True),
    Shot("figures-phone", ADMIN, PHONE, ("Why not a hit", "clubs.queries.club_classes")),
    Shot("explain", EXPLAINED, WIDE, ("A miss", "It was invalidated", "table clubs_trainer", "changed")),
    Shot("explain-phone", EXPLAINED, PHONE, ("A miss", "table clubs_trainer"), is_dark=True),
    Shot("invalidate", f"{ADMIN}invalidate/", WIDE, ("A namespace", "A model")),
    Shot("confirm", post(f"{ADMIN}invalidate/", what="model", model="clubs.Trainer"), WIDE, ("clubs.Trainer",)),
    Shot("health", post(f"{ADMIN}health/"), WIDE, ("Does it honour timeouts?", "Nothing is wrong")),
)
# Of these the pages are checked, and no picture is kept.
UNKEPT: Final = frozenset({"invalidate", "confirm"})


class Server(ThreadingMixIn, WSGIServer):
    """A server with a thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Print no line for each request."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Visitor:
    """Lets a browser in as the administrator, and makes of an address what the browser alone can't do."""

    def __init__(self, application: Any, session: str) -> None:
        """Serve an application, with a session of it."""
        self._application = application
        self._cookies = f"sessionid={session}; csrftoken={TOKEN}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        environ["HTTP_COOKIE"] = self._cookies
        if environ["PATH_INFO"] == FRAME:
            start_response("200 OK", [("Content-Type", "text/html")])
            yield unquote(environ["QUERY_STRING"]).encode()
            return
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"], keep_blank_values=True).items()}
        probed = query.pop(PROBE, None)
        if query.pop(AS_POST, None):
            body = urlencode({**query, "csrfmiddlewaretoken": TOKEN}).encode()
            environ |= {
                "REQUEST_METHOD": "POST",
                "CONTENT_TYPE": "application/x-www-form-urlencoded",
                "CONTENT_LENGTH": str(len(body)),
                "QUERY_STRING": "",
                "wsgi.input": BytesIO(body),
            }
        # Without scripts, as some readers browse, but for one that measures.
        script = (
            f"<script nonce={NONCE}>addEventListener('load', () => {{ const page = document.documentElement;"
            "top.document.title = [innerWidth, page.scrollWidth, page.scrollHeight].join(' ') })</script></body>"
        )
        start: list[Any] = []
        whole = b"".join(self._application(environ, lambda *given: start.extend(given)))
        kept = [each for each in start[1] if each[0].lower() not in {"content-length", "x-frame-options"}]
        start_response(start[0], [*kept, ("Content-Security-Policy", f"script-src 'nonce-{NONCE}'")])
        yield whole if probed is None else whole.replace(b"</body>", script.encode())


@contextmanager
def served() -> Iterator[str]:
    """Serve the example site after some traffic; give its address."""
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(SITE)
        sys.path[0] = str(SITE)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "clubsite.settings",
            "CLUBSITE_DB": f"{directory}/db.sqlite3",
            "CACHE_URL": "locmem://",
            "CLUBSITE_DEBUG": "0",
            "CLUBSITE_ADMIN_PASSWORD": "admin",
        }
        import django

        django.setup()
        from django.contrib.auth.models import User
        from django.contrib.staticfiles.handlers import StaticFilesHandler
        from django.core.management import call_command
        from django.core.wsgi import get_wsgi_application
        from django.test import Client

        from cachedeco import mode

        with mode("off"):  # what is written here is no traffic
            call_command("migrate", verbosity=0)
            call_command("make_clubs", clubs=12, classes=8, stdout=StringIO())
            call_command("prepare", stdout=StringIO())
        visit()
        client = Client()
        client.force_login(User.objects.get(username="admin"))
        application = Visitor(StaticFilesHandler(get_wsgi_application()), client.cookies["sessionid"].value)
        server = make_server("127.0.0.1", 0, application, Server, Quiet)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


def visit() -> None:
    """Call functions and save rows, as visitors and editors do."""
    from clubs.models import Club, ClubClass, Trainer
    from clubs.queries import club_classes, club_statistics, directory, next_closure, timetable

    clubs = list(Club.objects.all())
    for n in range(6):
        for club in clubs:
            directory()
            club_classes(club)
            club_statistics(club)
            next_closure(club)
        for weekday in range(7):
            timetable(weekday)
            timetable(weekday, clubs[0].city)
        if n % 2:
            Trainer.objects.first().save()  # type: ignore[union-attr] # there is one
        ClubClass.objects.all()[n].save()
    club_classes(clubs[0])
    sleep(PAUSE)
    Trainer.objects.first().save()  # type: ignore[union-attr] # as above


def browse(address: str, size: tuple[int, int], *options: str) -> str:
    """Open an address in chromium; return what it prints."""
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=4000"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *options,
            address,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def framed(address: str, width: int, height: int) -> str:
    """Return a page that shows another one as a narrow screen does, enlarged to the narrowest window."""
    style = f"border:0;width:{width}px;height:{height}px;zoom:{NARROWEST / width}"
    page = f'<body style="margin:0"><iframe style="{style}" src="{escape(address)}"></iframe></body>'
    return f"{FRAME}?{quote(page, safe='')}"


def look(server: str, shot: Shot) -> list[str]:
    """Open one page, and take its screenshot; return what is wrong with it."""
    light = f"--blink-settings=preferredColorScheme={0 if shot.is_dark else 1}"
    probed = f"{shot.address}{'&' if '?' in shot.address else '?'}{PROBE}=1"
    is_narrow = shot.size[0] < NARROWEST
    seen = framed(probed, *shot.size) if is_narrow else probed
    dom = browse(f"{server}{seen}", WIDE, light, "--dump-dom")
    title = re.search(r"<title>(\d+) (\d+) (\d+)</title>", dom)
    if title is None:
        return [f"{shot.name}: it was not loaded: {dom[:500]}"]
    width, needed, height = map(int, title.groups())
    text = browse(f"{server}{shot.address}", WIDE, light, "--dump-dom")
    wrong = [f"{shot.name}: {each!r} is not there" for each in shot.texts if each not in text]
    if (width, needed) != (shot.size[0], shot.size[0]):
        wrong.append(f"{shot.name}: it is {needed} wide, on a screen of {width}")
    others = re.findall(r"(?:src|href|action)=\"(?:https?:)?//(?!127\.0\.0\.1)[^\"]*", text)
    wrong += [f"{shot.name}: it names another host: {each}" for each in others]
    if shot.name not in UNKEPT:
        IMAGES.mkdir(exist_ok=True)
        path = IMAGES / f"admin-{shot.name}.png"
        height = min(height, HIGHEST)
        size = (NARROWEST, height * NARROWEST // shot.size[0]) if is_narrow else (shot.size[0], height)
        seen = framed(shot.address, shot.size[0], height) if is_narrow else shot.address
        browse(f"{server}{seen}", size, light, f"--screenshot={path}")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
        if path.stat().st_size > LARGEST:
            wrong.append(f"{shot.name}: its picture has {path.stat().st_size:,} bytes")
    return wrong


def main() -> int:
    """Look at all pages."""
    with served() as server:
        wrong = [each for shot in SHOTS for each in look(server, shot)]
    print(
        "\n".join(wrong) or f"{len(SHOTS)} pages are right: in their width, without JavaScript, without another host."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
