"""The package, built and installed as a user gets it: once for all processes of a run."""

import fcntl
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple
from venv import EnvBuilder

import pytest

from tests.support import ROOT

# As `python -m build` does: the wheel is made from what the sdist holds.
BUILD = """
import os, shutil, sys
from hatchling import build
target = sys.argv[1]
sdist = os.path.join(target, build.build_sdist(target))
shutil.unpack_archive(sdist, target)
os.chdir(sdist.removesuffix(".tar.gz"))
build.build_wheel(target)
"""

# What Django needs; what else the environment of the tests has, the new one has not.
NEEDED = ("Django", "asgiref", "sqlparse")


class Built(NamedTuple):
    """What is published."""

    sdist: Path
    unpacked: Path
    wheel: Path


class Environment(NamedTuple):
    """A virtual environment that has the wheel, and Django with its requirements."""

    python: Path

    def run(self, *arguments: str, cwd: Path) -> str:
        """Run its Python without anything of this process; return what it prints, and fail if it fails."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory that the first process of the run which asks for it has filled."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a directory of its own, inside that of the run
    directory, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            directory.mkdir()
            make(directory)
            done.touch()
    return directory


def build(directory: Path) -> None:
    """Build sdist and wheel into a directory."""
    subprocess.run([sys.executable, "-c", BUILD, directory], cwd=ROOT, check=True, capture_output=True)


def built_in(directory: Path) -> Built:
    """Return what was built into a directory."""
    [sdist], [wheel] = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return Built(sdist, directory / sdist.name.removesuffix(".tar.gz"), wheel)


def install(directory: Path, wheel: Path) -> None:
    """Make an environment with the wheel, which pip installs, and links to the Django that the tests run with."""
    EnvBuilder(symlinks=True, with_pip=False).create(directory)
    python = environment_in(directory).python
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True, capture_output=True)
    [packages] = directory.glob("lib/python*/site-packages")
    for name in NEEDED:
        found = distribution(name)
        for part in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (packages / part).symlink_to(Path(str(found.locate_file(part))).resolve())


def environment_in(directory: Path) -> Environment:
    """Return the environment that was made in a directory."""
    return Environment(directory / "bin" / "python")


def members_of(sdist: Path) -> set[str]:
    """Return the paths of the files in an sdist, without the directory that they are all in."""
    with tarfile.open(sdist) as archive:
        return {each.name.partition("/")[2] for each in archive if each.isfile()}
