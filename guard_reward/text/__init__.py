"""What can be measured of one text, or made of it: no models, no guards, no trainer. One idea per file.

- `clipping`: the part of a very long text that is measured.
- `repetition`: share of the text that it has said before.
- `language_switch`: the answer is written in another script than the prompt.
"""
