"""Run a pool hard for minutes, and see whether anything grows: ``python -m tools.soak``."""
