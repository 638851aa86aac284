"""Attacks on a reward, before a policy finds them: what they pay, with and without defences."""
