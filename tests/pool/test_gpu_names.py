"""GPUs of a driver that may see only some: its tasks get those, by the names that it knows."""

from __future__ import annotations

import os

import pytest

import parallax as px


@px.remote(num_gpus=1)
def device() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_tasks_get_the_gpus_that_their_driver_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8932f937")
    with px.init(num_cpus=1):
        assert px.cluster_resources()["GPU"] == 2
        assert px.get(device.remote()) == "5"
        assert px.get(device.options(num_gpus=2).remote()) == "5,GPU-8932f937"
        assert px.get(device.options(num_gpus=0).remote()) == ""
