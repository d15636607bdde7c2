"""Objects in shared memory and on disk: a mapping, usable alone."""
