"""Hypothesis profiles for the core: ``--hypothesis-profile=deep`` runs a hundred times as much."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,  # other processes share the machine
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("core", max_examples=100, **COMMON)
settings.register_profile("deep", max_examples=10_000, **COMMON)
