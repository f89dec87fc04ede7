"""The first example of the README, as a reader tries it: pasted into the shell of a new project."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT
from tests.support.threads import PROGRAM_SECONDS


def first_example() -> str:
    """Return the first Python example of the README."""
    [example] = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[:1]
    return str(example)


def run(folder: Path, *arguments: str, typed: str | None = None) -> str:
    """Run Python in a folder as in a terminal, where *typed* is what the keyboard sends; return what it prints."""
    terminal, keyboard = pty.openpty()
    os.write(terminal, (typed or "").encode())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSTARTUP": "", "TERM": "dumb"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdin=keyboard,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PROGRAM_SECONDS,
            check=True,
        )
    finally:
        os.close(terminal)
        os.close(keyboard)
    return done.stdout


def test_first_example_pastes_into_the_shell_of_a_new_project(tmp_path: Path) -> None:
    """With the app in INSTALLED_APPS, the first example of the README works line by line in `manage.py shell`."""
    run(tmp_path, "-m", "django", "startproject", "mysite", ".")
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = ["cachedeco",'))
    run(tmp_path, "manage.py", "migrate")

    printed = run(tmp_path, "manage.py", "shell", "--interface", "python", typed=f"{first_example()}exit()\n")

    assert "Traceback" not in printed
    assert ["[]", "['editors']", "['editors']"] == re.findall(r"^(?:>>> |\.\.\. )*(\[.*\])$", printed, re.MULTILINE)
    assert re.search(r"hits=1, misses=2, .*computations=2", printed)


def test_first_example_is_short() -> None:
    """The first example has at most twelve lines, so that it stands on the first screen."""
    assert len(first_example().splitlines()) <= 12


def rows_of(page: str) -> list[list[str]]:
    """Return the rows of the table of libraries on a page, as cells."""
    table = re.search(r"^\| \| cachedeco.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / page).read_text(), re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_comparison_in_short_is_a_part_of_the_whole_one() -> None:
    """Each row of the README says what the comparison says, of the libraries that both have."""
    whole = {name: cells for name, *cells in rows_of("docs/comparison.md")}

    for name, *cells in rows_of("README.md"):
        assert cells == whole[name][: len(cells)]
