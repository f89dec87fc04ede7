"""psycopg 2: what its cursors do beside `execute()`, and its transactions otherwise than those of psycopg 3."""

import json

from tests.support.programs import output_of


def test_writes_that_psycopg_2_alone_knows_are_seen() -> None:
    """
    They end what has read the table, by queries and by copies.

    Behind a COMMIT or ROLLBACK by SQL in a block the server commits each write, and the block's rollback undoes none.
    """
    output = output_of("-m", "tests.tracking.psycopg_2")

    assert [
        "psycopg2",
        {
            "copy_from": [[1, 1, 1], [2, 2, 2], [2]],
            "copy_expert": [[2, 2, 2], [4, 4, 4], [4]],
            "execute_values": [[4, 4, 4], [5, 5, 5], [5]],
            "write_behind_rollback": [[5, 5, 5], [6, 6, 6], [6]],
            "write_behind_commit": [[6, 6, 6], [8, 8, 8], [8]],
        },
    ] == json.loads(output)
