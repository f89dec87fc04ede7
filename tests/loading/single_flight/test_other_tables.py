"""A follower whose function is known to read other tables than when its leader began looks the entry up again."""

from cachedeco import cached_query
from cachedeco.loading.following import _standing_keys
from cachedeco.loading.found import Found
from cachedeco.loading.load import FlightResult, Load, Miss


def test_result_under_a_stamp_of_another_length_is_not_taken() -> None:
    """Its tokens are of other keys, so they prove nothing to this caller."""

    @cached_query(name="tests.other_tables")
    def function() -> int:
        return 1

    policy, keys = function._spec.resolve_call((), {})
    load = Load(policy, [Miss(None, Found(keys, {}))])

    assert set() == _standing_keys(load, {keys[0]: FlightResult((b"x" * 16,))})
