"""What counts as flat."""

import pytest

from tests.faults.memory import assert_flat


def test_a_start_may_grow_and_what_follows_may_not() -> None:
    assert_flat([10.0, 60.0, *[100.0, 110.0] * 3])


def test_what_grows_with_time_is_not_flat() -> None:
    with pytest.raises(AssertionError, match="125 MiB in the second quarter, 175 in the last"):
        assert_flat([100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 170.0, 180.0])
