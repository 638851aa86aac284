"""What can be measured of one text, or made of it: no models, no guards, no trainer. One idea per file.

- `clipping`: the part of a very long text that is measured.
- `repetition`: share of the text that it has said before.
- `language_switch`: the answer is written in another script than the prompt.
- `asked_language`: the prompt asks for another language.
- `word_count`: how many words it has.
- `degenerate`: why a reply says nothing.
- `openers`: replies that begin and never come to an answer.
- `windows`: a long text in overlapping pieces.
- `words`: frequent English words: whether letters are English text.
- `views`: the other forms in which a text can be read, made by
    - `hidden`, `markup`: characters, comments and elements that a reader does not see,
    - `lookalikes`, `upside_down`: letters that look like others,
    - `encodings`: Base64, hexadecimal, percent signs and others,
    - `braille`, `morse`, `number_codes`: signs and numbers in place of letters,
    - `spelled`, `leet`: words letter by letter, and with digits in them,
    - `ciphers`: Caesar, Atbash, backwards.
"""
