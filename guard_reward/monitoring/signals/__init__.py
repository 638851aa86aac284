"""What is measured of one rollout: text → number, one idea per file. No guards, no trainer.

- `garbling`: bits per character under a character model of the first steps' own answers.
- `length`: tokens, or characters.
- repetition and language switches: `guard_reward.text`.
"""
