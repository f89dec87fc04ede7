"""What is shown of a LOCATION has no password."""

import pytest

from cachedeco.diagnosis.findings import describe_error, mask_location


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("10.0.0.1:11211", "10.0.0.1:11211"),
        ("redis://10.0.0.1:6379/0", "redis://10.0.0.1:6379/0"),
        ("redis://ann:hunter2@10.0.0.1:6379/0", "redis://***@10.0.0.1:6379/0"),
        ("rediss://:hun/ter@2@10.0.0.1/0", "rediss://***@10.0.0.1/0"),
        ("redis://h/0?password=hunter2&db=3", "redis://h/0?password=***&db=3"),
        ("redis://h/0?pass%77ord=hunter2", "redis://h/0?pass%77ord=***"),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
        ("redis://a:hunter2@h1/0, redis://b:hunter2@h2/0", "redis://***@h1/0, redis://***@h2/0"),
        ("/var/tmp/cache", "/var/tmp/cache"),  # noqa: S108 -- a text
    ],
)
def test_location_has_no_password(location: str, expected: str) -> None:
    """Neither before a host nor as a parameter."""
    assert expected == mask_location(location)


def test_error_has_no_password() -> None:
    """Of a client that says the URL which it can't use."""
    long = f"redis://:{'hunter2' * 40}@h/0"

    assert ["OSError: can't reach redis://***@h/0", "OSError: redis://***@h/0", "OSError"] == [
        describe_error(OSError(text)) for text in ("can't reach redis://:hunter2@h/0", long, "")
    ]
