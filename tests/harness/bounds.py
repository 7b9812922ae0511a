"""Integers with a range: both ends are accepted, and values beyond them are refused with the range in the message."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


def assert_bounds(make: Callable[..., object], name: str, low: int, high: int, **others: object) -> None:
    """Assert that ``make(**others)`` accepts ``name`` from ``low`` to ``high``, and refuses anything else with the
    usual message."""
    for value in (low, high):
        make(**others | {name: value})
    for wrong in (low - 1, high + 1, True, float(low)):
        message = rf"^{name} must be (an integer )?from {low} to {high}, not {re.escape(repr(wrong))}$"
        if not isinstance(wrong, int) or isinstance(wrong, bool):
            message += rf"|^{name} must be an integer, not {re.escape(repr(wrong))}$"
        with pytest.raises((TypeError, ValueError), match=message):
            make(**others | {name: wrong})
