"""Attacks on a reward, before a policy finds them: what they pay, with and without defences.

- `attack`: what an attack is; `attacks`: the known ones, a family per file; `registry`: all of them; `own`: the user's.
- `targets`: plain replies, from a file; `selection`: those that are attacked.
- `judging`: what a reward says of single replies, without a trace.
- `trial`: one attack, and what counts as paid; `run`: all attacks; `results`, `table`: what came of them.
- `searching`: compositions of attacks that pay.
- `training`: a policy that is trained against the reward, and what an independent judge says of its answers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
