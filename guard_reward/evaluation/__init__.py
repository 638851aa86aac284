"""Judging policies (`evaluate`, `policies/`) and guards (`grading/`), and the statistics of both."""
