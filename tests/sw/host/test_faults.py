"""Ten thousand faults between driver and board: the right spikes or one error, never a wrong answer or a hang."""

import pytest
from harness.faults import WrongAnswer, run_with_faults
from harness.link_bugs import WithoutCrc, WithoutNewSession
from harness.networks import rng_of


def test_ten_thousand_faults(request):
    happened, ended = run_with_faults(rng_of(request.node.name), faults=10_000)
    assert sum(happened.values()) >= 10_000
    assert all(happened[kind] > 500 for kind in ("flip", "drop", "insert", "repeat", "cut")), happened
    assert happened["line cut"] > 20, happened
    assert ended["equal"] > 50, ended
    assert ended["error"] > 50, ended
    assert ended["new host equal"] > 50, ended


@pytest.mark.parametrize("planted", [WithoutCrc, WithoutNewSession])
def test_planted_bugs_are_found(request, planted):
    with pytest.raises(WrongAnswer):
        run_with_faults(rng_of(request.node.name), faults=10_000, model_class=planted)
