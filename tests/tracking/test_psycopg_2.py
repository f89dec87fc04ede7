"""psycopg 2: what its cursors do beside `execute()`."""

import json
import subprocess
import sys

from tests.support import ROOT


def test_copies_are_read_and_written() -> None:
    """A copy to a table ends what has read the table, by queries and by copies."""
    program = [sys.executable, "-m", "tests.tracking.psycopg_2"]

    run = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)

    assert 0 == run.returncode, run.stderr
    assert [
        "psycopg2",
        {
            "copy_from": [[1, 1, 1], [2, 2, 2], [2]],
            "copy_expert": [[2, 2, 2], [4, 4, 4], [4]],
            "execute_values": [[4, 4, 4], [5, 5, 5], [5]],
        },
    ] == json.loads(run.stdout)
