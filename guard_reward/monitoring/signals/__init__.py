"""What is measured of one rollout: text → number, one idea per file. No guards, no trainer.

- `garbling`: bits per character under a character model of the first steps' own answers.
- `repetition`: share of the text that it has said before.
- `length`: tokens, or characters.
- `language_switch`: the answer is written in another script than the prompt.
"""
