"""The parts of ``benchmarks/gpu.py``, one file each, and what they share.

- `registry`: which parts there are, in which order they run, and what happens when one fails or time runs out;
- `exactness`, `trained`, `idle`, `sleep`, `training`, `speed`: the parts;
- `bench`: the guard that is measured, and the clock; `rows`: the table; `measures`, `peaks`: its arithmetic;
- `precisions`: answers in float32 and in bfloat16, which two parts compare; `text`: made-up conversations.
"""
