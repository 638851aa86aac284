"""What is done with whole files and runs: moderate a table of text, write a run's report.

This room knows files and guards (`guard_reward.guards.base.Guard`); it knows no trainer. Nothing heavy is imported
until a function needs it.
"""
