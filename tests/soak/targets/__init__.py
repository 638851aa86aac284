"""One target per file, in a list ``TARGETS``."""
