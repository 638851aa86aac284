"""Judging policies and guards: sampling replies, grading verdicts against labels, statistics over what was found."""
