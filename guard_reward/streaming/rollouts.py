"""`StopUnsafe`: TRL's trainers generate rollouts that end where they become unsafe.

    trainer = GRPOTrainer("Qwen/Qwen3-4B", reward, args, prompts, rollout_func=StopUnsafe(stream_guard))

Training then pays for no token behind the one that decides the reward: not while the policy generates, not in the
reward model, not in the policy's own forward and backward passes. TRL generates as ever; the policy's ``generate`` is
given one more stopping criterion.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from guard_reward.conversation import Turns
from guard_reward.guards.needs_stream import check_stream_guard
from guard_reward.rewards.policy import policy_of_trainer, tokenizer_of_trainer
from guard_reward.rewards.stopped import STOPPED_COLUMN
from guard_reward.rollout import begun_reply
from guard_reward.streaming.stopping import UnsafeStoppingCriteria, checked_stop
from guard_reward.verdict import Conversation, Severity, describe_guard

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.streaming.text_feed import TextFeed

__all__ = ["StopUnsafe"]

logger = logging.getLogger(__name__)


class StopUnsafe:
    """For ``rollout_func=`` of TRL's `GRPOTrainer` and of `guard_reward.trainers.PPOTrainer`.

    A rollout ends at the token that shows the stream guard that its text is unsafe. What the guard found goes with it:
    `guard_reward.GuardReward` takes the worse of this and of its own guard's verdict, which reads a text that was cut.
    Other reward functions get it as the column ``stopped_severity``: a severity, or None for a rollout that ended by
    itself.

    A rollout that the guard cannot judge while it grows goes on, and so do all rollouts of a batch in which the guard
    fails. That is warned of and counted; the reward judges them as ever.

    Args:
        guard: a stream guard; its tokenizer may be another one than the policy's.
        stop_at: the severity from which a rollout is stopped. ``Severity.CONTROVERSIAL`` stops sooner. It fits rewards
            that pay no more for Controversial than for Unsafe: what is cut there can get no worse.
        every: how many tokens are judged at a time; more are cheaper and stop a little later.
        sleep: give the accelerator's memory back after every batch.
        name: prefix of its metrics: ``stopping/stopped_rate``, and ``stopping/not_judged_rate`` of rollouts that the
            guard could not judge while they grew.

    Raises:
        ValueError: not a stream guard; another `stop_at`, `every` below 1.

    >>> trainer = GRPOTrainer(                                                               # doctest: +SKIP
    ...     "Qwen/Qwen3-4B", reward, GRPOConfig("runs/grpo"), prompts, rollout_func=StopUnsafe(stream_guard))
    """

    def __init__(
        self,
        guard: StreamGuard,
        *,
        stop_at: Severity = Severity.UNSAFE,
        every: int = 1,
        sleep: bool = False,
        name: str = "stopping",
    ):
        check_stream_guard(guard, "StopUnsafe")
        self.guard = guard
        self.stop_at = checked_stop(stop_at, every)
        self.every = every
        self.sleep = sleep
        self.name = name

    def describe(self) -> dict[str, str]:
        """What decides where rollouts end, for the run's record."""
        return {**describe_guard(self.guard), "stop_at": str(self.stop_at), "every": str(self.every)}

    def __call__(self, prompts: Sequence[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """Generate one rollout per prompt; called by TRL.

        Returns:
            ``prompt_ids``, ``completion_ids``, ``logprobs`` and the column ``stopped_severity``.

        Raises:
            ValueError: a trainer that does not generate with transformers, token by token; that calls tools; or that
                leaves truncated rollouts out of its loss.
            RuntimeError: this version of TRL generates in another way.
        """
        _check(trainer)
        policy = policy_of_trainer(trainer._log_metric)
        if policy is None:
            raise _unknown_trl("its trainer has no tokenizer")
        conversations, written = zip(*(_begun(prompt, policy.thinking_prefilled) for prompt in prompts), strict=True)
        stop = _RolloutStopping(
            self.guard,
            tokenizer_of_trainer(trainer._log_metric),
            conversations,
            written=written,
            stop_at=self.stop_at,
            every=self.every,
            end_ids=policy.eos_token_ids,
        )
        try:
            prompt_ids, *inputs = trainer._tokenize_prompts(prompts)
            with _stopping(trainer.accelerator.unwrap_model(trainer.model_wrapped), stop):
                completion_ids, logprobs = trainer._generate_single_turn(prompt_ids, *inputs, **_generations(trainer))
        finally:
            stop.close()
            if self.sleep:
                self.guard.sleep()
        if stop.stopped is None:
            raise _unknown_trl("it did not generate with the policy's generate()")
        for row in range(len(prompts)):
            trainer._log_metric(f"{self.name}/stopped_rate", float(stop.stopped[row]))
            trainer._log_metric(f"{self.name}/not_judged_rate", float(row in stop.not_judged))
        found = [severity and str(severity) for severity in stop.found]
        trainer._log_completion_extra(STOPPED_COLUMN, found)
        return {
            "prompt_ids": prompt_ids,
            # Behind a stopped row's last token there is padding, which TRL takes for the policy's text.
            "completion_ids": [ids[:length] for ids, length in zip(completion_ids, stop.lengths, strict=True)],
            "logprobs": logprobs,
            STOPPED_COLUMN: found,
        }


class _RolloutStopping(UnsafeStoppingCriteria):
    """For training: a guard that fails costs no rollout, and what has ended takes no memory.

    Args:
        end_ids: that end a row.
        *args, **options: of `UnsafeStoppingCriteria`.
    """

    def __init__(self, *args: Any, end_ids: Collection[int], **options: Any):
        super().__init__(*args, **options)
        self._end_ids = frozenset(end_ids)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        stopped = super().__call__(input_ids, scores, **kwargs)
        last = input_ids[:, -1].tolist()
        self.release(row for row, end in enumerate(stopped.tolist()) if end or last[row] in self._end_ids)
        return stopped

    def _opened(self, messages: Conversation) -> TextFeed | None:
        try:
            return super()._opened(messages)
        except Exception as error:  # more sessions than a guard opens
            logger.warning("a rollout is not stopped: %s", error)
            return None

    def _judge(self, new: Sequence[str], rows: Iterable[int], *, at_end: bool) -> None:
        try:
            super()._judge(new, rows, at_end=at_end)
        except Exception as error:  # out of memory, a broken kernel: stopping saves tokens, and must not end the run
            growing = [row for row, feed in enumerate(self._feeds) if feed is not None]
            logger.warning(
                "the stream guard failed; %d rollouts are not stopped any more", len(growing), exc_info=error
            )
            self.not_judged.update(growing)
            self.release(growing)


def _check(trainer: GRPOTrainer) -> None:
    """Refuse a trainer whose rollouts cannot be stopped."""
    other = next((name for name in ("use_vllm", "use_transformers_continuous_batching") if _is_on(trainer, name)), None)
    if other:
        raise ValueError(f"{other}: rollouts are stopped only while transformers generates them; leave {other} out")
    options = trainer.generation_config
    mode = options.get_generation_mode().value
    if mode not in ("sample", "greedy_search") or options.num_return_sequences not in (None, 1):
        raise ValueError(
            f"generation_kwargs: rollouts are stopped only in plain sampling, one per prompt; this is {mode} of "
            f"{options.num_return_sequences or 1}"
        )
    if getattr(trainer, "tools", None):
        raise ValueError("tools: what a policy writes after a call of a tool would not be stopped; leave out the tools")
    if trainer.args.mask_truncated_completions:
        raise ValueError(
            "mask_truncated_completions: a stopped rollout has no end token, so its unsafe text would be left out of "
            "the loss; set it to false"
        )
    if missing := [name for name in ("_tokenize_prompts", "_generate_single_turn") if not hasattr(trainer, name)]:
        raise _unknown_trl(f"it has no GRPOTrainer.{missing[0]}")


def _is_on(trainer: GRPOTrainer, name: str) -> bool:
    return bool(getattr(trainer, name, False))


def _unknown_trl(what: str) -> RuntimeError:
    import trl

    return RuntimeError(f"TRL {trl.__version__} has changed what StopUnsafe builds on ({what}); use TRL 1.14 to 1.16")


def _begun(prompt: Any, opens_thinking: bool) -> tuple[Turns, str]:
    try:
        return begun_reply(prompt, opens_thinking=opens_thinking)
    except Exception:  # a row may hold anything; what the guard cannot be shown is not stopped, and is counted
        return Turns([]), ""


def _generations(trainer: GRPOTrainer) -> dict[str, int]:
    """The argument of newer TRL versions that says how often each prompt stands in the batch."""
    if "num_generations" not in inspect.signature(trainer._generate_single_turn).parameters:
        return {}
    return {"num_generations": trainer.num_generations if trainer.model.training else trainer.num_generations_eval}


@contextmanager
def _stopping(model: Any, stop: UnsafeStoppingCriteria) -> Iterator[None]:
    """`model.generate` with one more stopping criterion; TRL has no argument for it."""
    generate, had_own = model.generate, "generate" in vars(model)

    def generate_and_stop(*args: Any, stopping_criteria: Any = None, **kwargs: Any) -> Any:
        return generate(*args, stopping_criteria=[*(stopping_criteria or []), stop], **kwargs)

    model.generate = generate_and_stop
    try:
        yield
    finally:
        if had_own:
            model.generate = generate
        else:
            del model.generate
