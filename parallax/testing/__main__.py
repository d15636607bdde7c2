"""``python -m parallax.testing``: see `parallax.testing.schedule_runs`."""

from __future__ import annotations

import sys

from parallax.testing.schedule_runs import main

if __name__ == "__main__":
    sys.exit(main())
