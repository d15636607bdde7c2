"""What nodes have, what tasks ask for, and what is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.resources import UNIT, Demand, NodeRecord, describe
from tests.core.depth import examples


def node(**amounts: float) -> NodeRecord:
    return NodeRecord(0, 1, "host", amounts)


def test_fractions_add_up_exactly() -> None:
    host = node(CPU=1)
    tenth = Demand({"CPU": 0.1})
    for _ in range(10):
        assert host.fits(tenth)
        host.acquire(tenth)
    assert not host.fits(tenth)
    assert host.available == {"CPU": 0}


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="CPU="):
        Demand({"CPU": amount})
    with pytest.raises(ValueError, match="CPU="):
        node(CPU=amount)


def test_what_a_node_lacks_never_fits() -> None:
    host = node(CPU=4)
    assert not host.could_fit(Demand({"license": 1.0}))
    assert not host.could_fit(Demand({"CPU": 5.0}))
    assert host.could_fit(Demand({"CPU": 4.0}))


def test_fractions_share_the_fullest_gpu_and_whole_ones_are_taken_entire() -> None:
    host = node(CPU=8, GPU=3)
    third, whole, two = Demand({"GPU": 0.3}), Demand({"GPU": 1.0}), Demand({"GPU": 2.0})
    first = host.acquire(third)
    assert host.acquire(third) == first
    assert host.fits(two)
    assert len(host.acquire(whole)) == 1
    assert not host.fits(two)
    assert host.acquire(third) == first
    assert not host.fits(Demand({"GPU": 1.5}))


def test_more_than_a_whole_gpu_needs_as_many_gpus_as_it_touches() -> None:
    assert not node(CPU=1, GPU=1).could_fit(Demand({"GPU": 1.5}))
    assert node(CPU=1, GPU=2).could_fit(Demand({"GPU": 1.5}))


def test_describes_demands_as_the_options_that_ask_for_them() -> None:
    demand = Demand({"CPU": 2.0, "GPU": 0.5, "license": 1.0})
    assert demand.describe() == "num_cpus=2, num_gpus=0.5, license=1"
    assert Demand({}).describe() == "nothing"
    assert describe({"CPU": 0}) == ""


amounts = st.fixed_dictionaries(
    {},
    optional={
        "CPU": st.sampled_from([0.5, 1.0, 2.0]),
        "GPU": st.sampled_from([0.25, 0.5, 1.0, 2.0]),
        "x": st.floats(0.001, 3.0),
    },
)


@examples(100)
@given(st.lists(st.tuples(amounts, st.booleans()), max_size=40))
def test_is_never_overdrawn_and_everything_comes_back(
    steps: list[tuple[dict[str, float], bool]],
) -> None:
    host = node(CPU=4, GPU=2, x=5.0)
    leases: list[tuple[Demand, list[int]]] = []
    for wanted, release in steps:
        demand = Demand(wanted)
        if host.fits(demand):
            leases.append((demand, host.acquire(demand)))
        if release and leases:
            host.release(*leases.pop(0))
        assert min(host.available.values()) >= 0
        assert min(host.gpu_free.values()) >= 0
        taken = sum(demand.gpus for demand, _ in leases)
        assert host.available["GPU"] == 2 * UNIT - taken
    for lease in leases:
        host.release(*lease)
    assert host.available == host.total
    assert host.gpu_free == {0: UNIT, 1: UNIT}
