"""Losses, metrics and plans are those that were written down."""

import pytest

from tests.golden import computed, differences


@pytest.mark.slow
def test_results_are_what_they_were():
    assert differences(computed(real=["offline"])) == []
