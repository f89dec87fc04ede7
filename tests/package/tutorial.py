"""Type what a tutorial shows, as a newcomer does: its files, its commands, its shell and its second terminal."""

import os
import pty
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from tests.support.distributions import Environment
from tests.support.threads import PROGRAM_SECONDS

BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL)
SHOWN_ADDRESS = "http://127.0.0.1:8000/"
ADDRESS = re.compile(r"development server at (http://127\.0\.0\.1:\d+/)")
SHELL = "python manage.py shell"
SERVER = "python manage.py runserver"
# The environment is there before the walk begins, and is in force for each command.
INSTALLING = ("python3 -m venv", ". .venv/bin/activate", "python -m pip install")
PROMPT = re.compile(r"^(?:>>>|\.\.\.)(?: |$)")


class Outcome(NamedTuple):
    """What was typed, what the page shows under it, None if it shows nothing, and what it has printed."""

    line: int
    typed: str
    shown: str | None
    printed: str


class Walk:
    """A newcomer in an empty folder, and in an environment that has the wheel and Django."""

    def __init__(self, page: Path, folder: Path, environment: Environment) -> None:
        """Read the page."""
        self.folder = folder
        self.environment = environment
        self.server: subprocess.Popen[str] | None = None
        self.address = ""
        text = page.read_text()
        self.blocks = [
            (text.count("\n", 0, match.start()) + 1, match["kind"], match["title"] or "", match["body"])
            for match in BLOCK.finditer(text)
        ]

    def outcomes(self) -> Iterator[Outcome]:
        """Type one block after the other, and yield what each command and each session has printed."""
        session = ""
        for line, kind, title, body in self.blocks:
            if kind == "python":
                self._write(title, body)
            elif kind == "console":
                yield from self._type(line, body)
            elif kind == "pycon":
                session += body
                if session.endswith(">>> exit()\n"):
                    yield self._converse(line, session)
                    session = ""
        assert "" == session, "a session of the page does not end with exit()"

    def stop(self) -> str:
        """Stop the server, if it runs, and return what it has printed since it was asked for the first page."""
        if self.server is None:
            return ""
        self.server.terminate()
        printed, _ = self.server.communicate(timeout=PROGRAM_SECONDS)
        self.server = None
        return printed

    def _write(self, title: str, body: str) -> None:
        name, _, place = title.partition(", ")
        file = self.folder / name
        assert place in {"", "at the end"}, title
        file.write_text(f"{file.read_text()}\n{body}" if place else body)

    def _type(self, line: int, body: str) -> Iterator[Outcome]:
        for each in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            typed, _, shown = each.partition("\n")
            if typed == SERVER:
                self._serve()
            elif typed != SHELL and not typed.startswith(INSTALLING):
                yield Outcome(line, typed, shown or None, self._run(typed))

    def _run(self, typed: str) -> str:
        """Return what a command prints; fail if it fails."""
        if match := re.fullmatch(rf"curl {re.escape(SHOWN_ADDRESS)}(\S*)", typed):
            with urlopen(self.address + match[1], timeout=PROGRAM_SECONDS) as response:  # noqa: S310 -- our own server
                return str(response.read().decode())
        done = self._python(*shlex.split(re.sub(r"^django-admin ", "python -m django ", typed)))
        assert 0 == done.returncode, f"{typed}\n{done.stdout}{done.stderr}"
        return done.stdout if "manage.py test" not in typed else done.stderr

    def _serve(self) -> None:
        """Start the server on a free port, and wait until it says which."""
        self.server = subprocess.Popen(
            [self.environment.python, "manage.py", "runserver", "--noreload", "127.0.0.1:0"],
            cwd=self.folder,
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.server.stdout
        said: list[str] = []
        for said_line in self.server.stdout:
            said.append(said_line)
            if match := ADDRESS.search(said_line):
                self.address = match[1]
                return
        raise AssertionError("".join(said))

    def _converse(self, line: int, session: str) -> Outcome:
        """Type a session into Django's shell, as at a keyboard; return the prompts and what was printed between."""
        typed = [each for each in session.splitlines() if PROMPT.match(each)]
        shown = "".join(
            f"{match[0].strip()} " if (match := PROMPT.match(each)) else f"{each}\n" for each in session.splitlines()
        )
        terminal, keyboard = pty.openpty()
        os.write(terminal, "".join(f"{PROMPT.sub('', each)}\n" for each in typed).encode())
        try:
            done = self._python("python", "manage.py", "shell", stdin=keyboard)
        finally:
            os.close(terminal)
            os.close(keyboard)
        # Before the first prompt Django says what it has imported.
        return Outcome(line, SHELL, shown, done.stdout[done.stdout.find(">>> ") :])

    def _python(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        program, *rest = arguments
        assert "python" == program, arguments
        return subprocess.run(
            [self.environment.python, *rest],
            cwd=self.folder,
            env=self._env(),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )

    def _env(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self.folder), "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
