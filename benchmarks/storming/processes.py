"""The processes of a storm: each is started, asked for what it has printed, and ended."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from signal import Signals
from typing import IO, Any, NamedTuple, Self

ROOT = Path(__file__).parent.parent.parent
# A machine that does ten other things ends a process in less.
LONGEST_END_SECONDS = 30.0


class StormError(Exception):
    """The storm itself has failed, so that its figures would say nothing."""


class Process(NamedTuple):
    """One process, and where it writes."""

    module: str
    popen: "subprocess.Popen[bytes]"
    output: IO[bytes]
    errors: IO[bytes]

    @classmethod
    def start(cls, module: str, *arguments: str) -> Self:
        """Run a module of this package."""
        # The measurement of coverage would be most of what they do, and those that are killed would leave pieces.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 -- closed in end()
        command = [sys.executable, "-m", f"benchmarks.storming.{module}", *arguments]
        popen = subprocess.Popen(  # noqa: S603 -- our own program
            command,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        return cls(module, popen, output, errors)

    def end(self) -> None:
        """Kill it, if it still runs, and forget what it has written."""
        self.popen.kill()
        self.popen.wait()
        self.output.close()
        self.errors.close()

    def told(self) -> Any:
        """Return what the process has printed, once it has ended well."""
        try:
            self.popen.wait(LONGEST_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise StormError(self.complaint()) from None
        if self.popen.returncode:
            raise StormError(self.complaint())
        self.output.seek(0)
        text = self.output.read()
        return json.loads(text) if text else None

    def complaint(self) -> str:
        """Tell how the process has ended, or that it does not, and what it has written about that."""
        code = self.popen.poll()
        how = (
            "does not end" if code is None else f"ended with {code}" if code >= 0 else f"ended by {Signals(-code).name}"
        )
        return f"A process of {self.module}.py, {self.popen.pid}, {how}: {self.written_errors()}"

    def written_errors(self) -> str:
        """Return what it has written to its standard error so far."""
        self.errors.seek(0)
        return self.errors.read().decode()
