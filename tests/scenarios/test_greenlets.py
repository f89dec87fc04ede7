"""gevent: what holds for threads holds for the greenlets of one thread."""

import json

from tests.support.programs import run


def test_greenlets_read_what_is_theirs_and_committed() -> None:
    """No greenlet reads another's answer, an old value or one that was rolled back, though a Timeout ends some."""
    done = run("-W", "error", "-m", "gevent.monkey", "--module", "tests.scenarios.greenlets")

    assert 0 == done.returncode, done.stderr
    assert "ResourceWarning" not in done.stderr  # a connection that is not closed
    found = json.loads(done.stdout.splitlines()[-1])
    expected = ("cached foreign", "cached old", "cached uncommitted", "own write unseen", "old at rest")
    assert dict.fromkeys(expected, 0) == {name: found[name] for name in expected}
    assert 0 < found["control old"], "reads and writes did not meet"
    assert 0 < found["timeouts"]
    assert 0 < found["hits"]
