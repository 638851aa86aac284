"""Judging policies: sampling replies, and statistics over what was found."""
