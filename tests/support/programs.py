"""Programs of the tests: Python in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.threads import PROGRAM_SECONDS


def run(
    *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """
    Run Python in a folder, where it can import the package and the tests; return how it has ended, and what it says.

    The environment is that of the tests, with these variables besides. *given* is what it reads from standard input.
    """
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        input=given,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def output_of(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run Python as `run()` does, and return what it prints; the test fails with its errors if it fails."""
    done = run(*arguments, environment=environment)
    if done.returncode:
        pytest.fail(done.stderr)
    return done.stdout
