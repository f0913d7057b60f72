"""Which cases of a test are in the first tier, that `pytest` runs by itself."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_except(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Parameters of a test, all slow but some, which must be among them."""
    values = list(values)
    assert all(value in values for value in fast), fast
    arguments = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        pytest.param(*given, marks=[] if value in fast else pytest.mark.slow)
        for value, given in zip(values, arguments, strict=True)
    ]
