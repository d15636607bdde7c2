"""How many examples the property tests of the core try.

``PARALLAX_EXAMPLES=100 pytest tests/core`` tries a hundred times as many as usual.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("PARALLAX_EXAMPLES", "1"))


def examples(count: int, **options: int) -> settings:
    """Settings for so many examples, times the factor that the environment asks for.

    Without deadlines: the machine is shared, and the tests run on a virtual clock anyway.
    """
    return settings(
        max_examples=max(1, round(count * FACTOR)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
        **options,
    )
