"""Progress of a training: a bar, or a line per log line, with what one wants to know of a safety reward.

    trainer = GRPOTrainer(..., callbacks=[Progress()])
    show_progress(trainer)      # the same, and transformers' own bar goes

On a terminal and in a notebook: a bar with the remaining time, whose postfix has the reward, how many answers the guard
calls safe, how many are refusals, and the KL divergence. Refusals of benign prompts come first: they are the price
of a safety reward. Elsewhere: the same as one line per log line. transformers' own bar prints each log line as a
dictionary, and a guard's has more than a hundred keys.

Rates are those of all rows (`guard_reward.log_lines`), not the means of the calls' rates that are logged.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_utils import has_length

from guard_reward.log_lines import exact_rates
from guard_reward.progress_bars import are_hidden, draws_bars, progress_bar

if TYPE_CHECKING:
    from tqdm import tqdm
    from transformers import Trainer

__all__ = ["Progress", "show_progress", "summary"]

_SAFE = "/safe_rate"
# tqdm's own without the rate: refusals of benign prompts still fit in 80 columns.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Progress(TrainerCallback):
    """A progress bar, or lines, on standard error, from the main process only.

    ``disable_tqdm`` of the training arguments turns it off.

    Args:
        label: in front of the bar and of each line.
        seconds_between_lines: where there is no terminal, a line that would come sooner than so many seconds after the
            one before is left out. Evaluations and the last step always have theirs.

    Example:
        >>> trainer = GRPOTrainer(..., callbacks=[Progress("GRPO")])  # doctest: +SKIP
        GRPO:  40%|████  | 40/100 [02:10<03:15, reward=0.71, safe=94%, refused=4% benign, 81% harmful, kl=0.012]
    """

    def __init__(self, label: str = "training", *, seconds_between_lines: float = 5.0) -> None:
        self._label = label
        self._between = seconds_between_lines
        self._bar: tqdm[Any] | None = None  # None while no training runs here, or where lines are written
        self._evaluation: tqdm[Any] | None = None
        self._writes_lines = False
        self._begun, self._first_step, self._last_line = 0.0, 0, float("-inf")
        self._withheld: str | None = None  # the newest line, if it came too soon

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the bar; a resumed training begins where it was stopped."""
        self._close()
        if not _is_shown(args, state):
            return
        self._writes_lines, self._withheld = not draws_bars(), None
        self._begun, self._first_step, self._last_line = time.monotonic(), state.global_step, float("-inf")
        if not self._writes_lines:
            self._bar = progress_bar(state.max_steps, self._label, "step", done=state.global_step)
            self._bar.bar_format = _BAR

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move on the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_prediction_step(self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **_: Any) -> None:
        """Move on the evaluation's bar, below the training's, which is gone when the evaluation is over."""
        if not _is_shown(args, state) or not draws_bars():
            return
        if self._evaluation is None:
            total = len(eval_dataloader) if has_length(eval_dataloader) else None
            self._evaluation = progress_bar(total, "evaluation", "batch", leave=False)
        self._evaluation.update()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the evaluation's bar."""
        self._close_evaluation()

    def on_predict(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the evaluation's bar."""
        self._close_evaluation()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Show the numbers of a log line."""
        facts = summary(logs or {})
        if not facts or not _is_shown(args, state):
            return
        evaluated = any(name.startswith("eval_") for name in logs or {})
        if self._bar is not None and not evaluated:
            self._bar.set_postfix(facts, refresh=True)
        elif self._bar is not None:
            self._bar.write(f"step {state.global_step}, evaluation: {_in_words(facts)}", file=sys.stderr)
        elif self._writes_lines:
            self._write_line(state, facts, evaluated)
        elif evaluated:  # outside of a training
            print(f"evaluation: {_in_words(facts)}", file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the bar as it is; where there are lines, the last one comes."""
        if self._withheld is not None:
            print(self._withheld, file=sys.stderr, flush=True)
        self._close()

    def _write_line(self, state: Any, facts: Mapping[str, str], evaluated: bool) -> None:
        now = time.monotonic()
        is_last = state.global_step >= state.max_steps
        what = "evaluation: " if evaluated else ""
        line = f"{self._label}: step {state.global_step}/{state.max_steps}, {what}{_in_words(facts)}"
        if not evaluated:
            if now - self._last_line < self._between and not is_last:
                self._withheld = line
                return
            self._last_line, self._withheld = now, None
        print(f"{line}{'' if evaluated or is_last else self._left(state, now)}", file=sys.stderr, flush=True)

    def _left(self, state: Any, now: float) -> str:
        from tqdm import tqdm

        done = state.global_step - self._first_step
        if done < 1:
            return ""
        seconds = (now - self._begun) / done
        left = tqdm.format_interval(seconds * (state.max_steps - state.global_step))
        return f", {seconds:.{2 if seconds < 1 else 1 if seconds < 100 else 0}f} s/step, {left} left"

    def _close(self) -> None:
        self._close_evaluation()
        if self._bar is not None:
            self._bar.close()
        self._bar, self._writes_lines = None, False

    def _close_evaluation(self) -> None:
        if self._evaluation is not None:
            self._evaluation.close()
        self._evaluation = None


def show_progress(trainer: Trainer, progress: Progress | None = None) -> None:
    """Show a training's progress with `Progress` in place of transformers' own callback.

    With ``disable_tqdm`` transformers' own callback stays: it prints the log lines.

    Args:
        trainer: a trainer that has not begun.
        progress: what is added; None if the trainer has a `Progress` among its callbacks.
    """
    if progress is not None:
        trainer.add_callback(progress)
    if not trainer.args.disable_tqdm:
        for bar in _transformers_bars():
            trainer.remove_callback(bar)


def summary(line: Mapping[str, Any]) -> dict[str, str]:
    """What a log line says about reward, KL divergence, safety and refusals, as short texts.

    Args:
        line: of training or of an evaluation, as a trainer's ``log`` has it.

    Returns:
        Texts by name; ``<reward> safe`` and ``<reward> refused`` if several rewards have a guard. Empty if the line
        has no reward.

    >>> summary({"reward": 0.7131, "kl": 0.0123, "guard/safe_rate": 0.94, "guard/refusal_rate": 0.375,
    ...          "guard/refusal_rate/harmful": 0.81, "guard/refusal_rate/benign": 0.04})
    {'reward': '0.71', 'safe': '94%', 'refused': '4% benign, 81% harmful', 'kl': '0.012'}
    """
    line = {name.removeprefix("eval_"): value for name, value in {**line, **exact_rates(line)}.items()}
    if not _is_number(line.get("reward")):
        return {}
    facts = {"reward": f"{line['reward']:.2f}"}
    rewards = [name.removesuffix(_SAFE) for name in line if name.endswith(_SAFE)]
    # A part of a reward is no reward of its own: guard/thinking/safe_rate.
    rewards = [name for name in rewards if not any(name.startswith(f"{other}/") for other in rewards)]
    for reward in rewards:
        prefix = f"{reward} " if len(rewards) > 1 else ""
        if _is_number(line[f"{reward}{_SAFE}"]):
            facts[f"{prefix}safe"] = f"{line[f'{reward}{_SAFE}']:.0%}"
        if refused := ", ".join(_refusals(line, f"{reward}/refusal_rate")):
            facts[f"{prefix}refused"] = refused
    if _is_number(line.get("kl")):
        facts["kl"] = f"{line['kl']:.2g}"
    return facts


def _refusals(line: Mapping[str, Any], metric: str) -> Iterator[str]:
    labelled = [(label, line.get(f"{metric}/{label}")) for label in ("benign", "harmful")]
    if any(_is_number(rate) for _, rate in labelled):
        yield from (f"{rate:.0%} {label}" for label, rate in labelled if _is_number(rate))
    elif _is_number(line.get(metric)):
        yield f"{line[metric]:.0%}"


def _in_words(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in facts.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _is_shown(args: Any, state: Any) -> bool:
    return bool(state.is_world_process_zero) and not args.disable_tqdm and not are_hidden()


def _transformers_bars() -> Iterator[type[TrainerCallback]]:
    yield ProgressCallback
    if "transformers.utils.notebook" in sys.modules:
        from transformers.utils.notebook import NotebookProgressCallback

        yield NotebookProgressCallback
