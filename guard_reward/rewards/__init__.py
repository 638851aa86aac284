"""Rewards for TRL: verdicts of a guard, turned into one number per rollout."""
