"""`StopUnsafe`: TRL's trainers generate rollouts that end where they become unsafe.

    trainer = GRPOTrainer("Qwen/Qwen3-4B", reward, args, prompts, rollout_func=StopUnsafe(stream_guard))

Training then pays for no token behind the one that decides the reward: not while the policy generates, not in the
reward model, not in the policy's own forward and backward passes. TRL generates as ever; the policy's ``generate`` is
given one more stopping criterion.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guard_reward.conversation import Turns
from guard_reward.rewards.outcomes import STOPPED_COLUMN
from guard_reward.rewards.policy import opens_thinking_of_trainer, tokenizer_of_trainer
from guard_reward.rollout import begun_reply
from guard_reward.streaming.stopping import UnsafeStoppingCriteria
from guard_reward.verdict import Severity, describe_guard

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from guard_reward.guards.stream_guard import StreamGuard

__all__ = ["StopUnsafe"]


class StopUnsafe:
    """For ``rollout_func=`` of TRL's `GRPOTrainer` and of `guard_reward.trainers.PPOTrainer`.

    A rollout ends at the token that shows the stream guard that its text is not safe. `guard_reward.GuardReward` gives
    it the outcome ``stopped``, which pays the scheme's worst value unless told otherwise: its own guard sees a text
    that was cut. Other reward functions get the column ``stopped_as_unsafe``, true or false per row.

    Args:
        guard: a stream guard; its tokenizer may be another one than the policy's.
        stop_at: the severity from which a rollout is stopped.
        every: how many tokens are judged at a time; more are cheaper and stop a little later.
        sleep: give the accelerator's memory back after every batch.
        name: prefix of its metrics: ``stopping/stopped_rate``, and ``stopping/not_judged_rate`` of rollouts that the
            guard could not read while they grew, and that were not stopped.

    Raises:
        ValueError: not a stream guard; values that `UnsafeStoppingCriteria` refuses.

    >>> trainer = GRPOTrainer(                                                               # doctest: +SKIP
    ...     "Qwen/Qwen3-4B", reward, GRPOConfig("runs/grpo"), prompts, rollout_func=StopUnsafe(stream_guard))
    """

    def __init__(
        self,
        guard: StreamGuard,
        *,
        stop_at: Severity = Severity.CONTROVERSIAL,
        every: int = 1,
        sleep: bool = False,
        name: str = "stopping",
    ):
        if not callable(getattr(guard, "feed_many", None)):
            raise ValueError(f"guard should be a stream guard, found {guard!r}")
        UnsafeStoppingCriteria(guard, None, [], stop_at=stop_at, every=every)  # refuses what it cannot work with
        self.guard = guard
        self.stop_at = stop_at
        self.every = every
        self.sleep = sleep
        self.name = name

    def describe(self) -> dict[str, str]:
        """What decides where rollouts end, for the run's record."""
        return {**describe_guard(self.guard), "stop_at": str(self.stop_at), "every": str(self.every)}

    def __call__(self, prompts: Sequence[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """Generate one rollout per prompt; called by TRL.

        Returns:
            ``prompt_ids``, ``completion_ids``, ``logprobs`` and the column ``stopped_as_unsafe``.

        Raises:
            ValueError: a trainer that does not generate with transformers, calls tools, or leaves truncated rollouts
                out of its loss.
            RuntimeError: this version of TRL generates in another way.
        """
        _check(trainer)
        tokenizer = tokenizer_of_trainer(trainer._log_metric)
        opens = opens_thinking_of_trainer(trainer._log_metric)
        conversations, written = zip(*(_begun(prompt, opens) for prompt in prompts), strict=True)
        options: dict[str, Any] = {"written": written, "stop_at": self.stop_at, "every": self.every}
        stop = UnsafeStoppingCriteria(self.guard, tokenizer, conversations, **options)
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
        return {
            "prompt_ids": prompt_ids,
            # Behind a stopped row's last token there is padding, which TRL takes for the policy's text.
            "completion_ids": [ids[:length] for ids, length in zip(completion_ids, stop.lengths, strict=True)],
            "logprobs": logprobs,
            STOPPED_COLUMN: stop.stopped,
        }


def _check(trainer: GRPOTrainer) -> None:
    """Refuse a trainer whose rollouts cannot be stopped."""
    other = next((name for name in ("use_vllm", "use_transformers_continuous_batching") if _is_on(trainer, name)), None)
    if other:
        raise ValueError(f"{other}: rollouts are stopped only while transformers generates them; leave {other} out")
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
