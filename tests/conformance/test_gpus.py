"""`num_gpus`, on GPUs that need not exist: a task sees them through its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate


@pytest.fixture(scope="module", autouse=True)
def _pool() -> Iterator[None]:
    with px.init(num_cpus=2, num_gpus=2):
        yield


@px.remote
def devices(gate: Gate | None = None) -> str | None:
    if gate is not None:
        gate.pass_through()
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_the_cluster_has_them() -> None:
    assert px.cluster_resources()["GPU"] == 2


@pytest.mark.parametrize(
    ("num_gpus", "allowed"), [(1, {"0", "1"}), (2, {"0,1"}), (0.5, {"0", "1"}), (0, {""})]
)
def test_a_task_sees_those_that_it_asked_for(num_gpus: float, allowed: set[Any]) -> None:
    for _ in range(3):
        assert px.get(devices.options(num_gpus=num_gpus).remote()) in allowed


def test_whole_gpus_are_not_shared(gate: Gate) -> None:
    refs = [devices.options(num_gpus=1).remote(gate) for _ in range(2)]
    gate.wait_for(2)
    assert px.available_resources()["GPU"] == 0
    gate.open()
    assert sorted(px.get(refs)) == ["0", "1"]  # type: ignore[type-var]


def test_fractions_share_one(gate: Gate) -> None:
    refs = [devices.options(num_gpus=0.5).remote(gate) for _ in range(2)]
    gate.wait_for(2)
    gate.open()
    assert len(set(px.get(refs))) == 1


@px.remote(num_gpus=1)
class Holder:
    def devices(self) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_actors_keep_theirs() -> None:
    actors = [Holder.remote() for _ in range(2)]
    for _ in range(2):
        assert sorted(px.get([actor.devices.remote() for actor in actors])) == ["0", "1"]


def test_those_of_a_bundle_are_for_its_group_alone() -> None:
    group = px.placement_group([{"CPU": 1, "GPU": 1}])
    assert group.wait(30)
    inside = devices.options(num_gpus=1, scheduling_strategy=group)
    half = devices.options(num_gpus=0.5, scheduling_strategy=group)
    mine = px.get([inside.remote(), half.remote(), half.remote()])
    actor = Holder.options(scheduling_strategy=group).remote()
    mine.append(px.get(actor.devices.remote()))
    (own,) = set(mine)
    outside = {px.get(devices.options(num_gpus=1).remote()) for _ in range(3)}
    assert outside == {"0", "1"} - {own}
    px.remove_placement_group(group)
