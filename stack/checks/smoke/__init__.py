"""The smoke test of a running stack: one file a check, found by their names (`check_*.py`)."""
