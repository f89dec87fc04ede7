"""Numbers are shown with their units."""

from cachedeco.runtime.units import duration, share, size
from tests.support.cases import in_one_test


@in_one_test(
    [
        (size(0), "0 bytes"),
        (size(1023), "1023 bytes"),
        (size(1536), "1.5 kB"),
        (size(64 * 2**20), "64 MB"),
        (size(3 * 2**30), "3 GB"),
        (duration(0), "0 s"),
        (duration(0.000_01), "10 µs"),
        (duration(0.001_5), "1.5 ms"),
        (duration(59), "59 s"),
        (duration(90), "1.5 min"),
        (duration(7200), "2 h"),
        (duration(10 * 86400), "10 d"),
        (share(0.5), "50 %"),
        (share(0.012), "1.2 %"),
        (share(0), "0 %"),
    ]
)
def test_number_has_two_digits_and_a_unit(shown: str, expected: str) -> None:
    """The largest unit that is not above it."""
    assert expected == shown
