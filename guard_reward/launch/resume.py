"""Which checkpoint a run resumes from, whether it is finished, and whether it is still the same run."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.errors import UserError
from guard_reward.launch.checkpoints import fault_of, read_state
from guard_reward.launch.record import read_record
from guard_reward.launch.same_run import guard_changes, listed, setting_changes
from guard_reward.launch.unset import is_nothing
from guard_reward.reward_judge import judge_warning

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from guard_reward.rewards.reward import GuardReward
    from guard_reward.rewards.stream_reward import StreamReward
    from guard_reward.streaming import StopUnsafe

__all__ = ["check_guard", "find_checkpoint", "is_finished"]

logger = logging.getLogger(__name__)


def find_checkpoint(args: TrainingArguments, configs: Sequence[Any] = ()) -> str | None:
    """The checkpoint folder to resume from, or None for a fresh start.

    Args:
        args: ``resume_from_checkpoint`` is ``"auto"`` (the last whole checkpoint in ``output_dir``, or a fresh
            start if there is none), a checkpoint's folder, or ``"none"``, ``"null"``, ``"false"`` or None for a fresh
            start.
        configs: all configs of the run, including `args`. With ``"auto"`` they must match ``run_config.json`` in
            ``output_dir``; with a checkpoint's folder they may differ.

    Raises:
        UserError: a path that is not a checkpoint, or has no step left; an ``output_dir`` of a run with other settings;
            names them.
    """
    wanted = args.resume_from_checkpoint
    if is_nothing(wanted) or str(wanted).lower() == "false":
        return None
    if wanted != "auto":
        return _named_checkpoint(str(wanted), args.max_steps)
    found = _last_checkpoint(args, says=True)
    if found is None:
        logger.warning("%s has no checkpoint: starting fresh", args.output_dir)
        return None
    if changes := _changes(args, configs):
        raise UserError(
            f"output_dir: {args.output_dir} was made with other settings: {listed(changes)}. Give another --output_dir "
            "or the old settings, or name the checkpoint to resume it with the new ones: "
            f"--resume_from_checkpoint {found}"
        )
    logger.warning("%s: resuming from %s", args.output_dir, found.name)
    return str(found)


def is_finished(args: TrainingArguments, configs: Sequence[Any] = ()) -> bool:
    """Whether ``resume_from_checkpoint: auto`` finds this run with all its steps done; says so.

    A run with other settings is another one, so it is not finished.

    Args:
        args: the trainer's settings; ``resume_from_checkpoint`` must still be what the user gave.
        configs: the run's other settings.
    """
    if args.resume_from_checkpoint != "auto" or _changes(args, configs):
        return False
    folder = Path(args.output_dir)
    is_saved = _is_at_end(read_state(folder), args)
    last = None if is_saved else _last_checkpoint(args)
    if not is_saved and (last is None or not _is_at_end(read_state(last), args)):
        return False
    logger.warning(
        "%s: this run is finished, so nothing was changed. Its model is in %s. Raise --max_steps or --num_train_epochs "
        "to train on, or give another --output_dir for a new run",
        folder,
        last or folder,
    )
    return True


def check_guard(
    args: TrainingArguments,
    reward: GuardReward,
    stopping: StopUnsafe | None = None,
    dense: Sequence[StreamReward] = (),
) -> None:
    """Refuse to let ``resume_from_checkpoint: auto`` resume with another guard behind the same name.

    An ``eval_judge`` is checked too: it needs evaluations, and a warning says if it gives the reward as well.

    Args:
        args: ``resume_from_checkpoint`` must still be what the user gave.
        reward: of this run, its guard loaded.
        stopping: what stops its rollouts, if anything.
        dense: its rewards per token.

    Raises:
        UserError: names what has changed: revision, template, dtype.
    """
    _check_eval_judge(args, reward)
    if args.resume_from_checkpoint != "auto" or (found := _last_checkpoint(args)) is None:
        return
    record = read_record(Path(args.output_dir))
    per_token = record.get("dense_rewards")
    known: list[tuple[str, Any, Any]] = [
        ("guard", record.get("reward"), reward),
        ("stop_guard", record.get("stopping"), stopping),
        *(
            ("stream_guard", *pair)
            for pair in zip(per_token if isinstance(per_token, list) else (), dense, strict=False)
        ),
    ]
    for option, before, now in known:
        if now is None or not isinstance(before, dict) or not (changes := guard_changes(before, now.describe())):
            continue
        raise UserError(
            f"{option}: {args.output_dir} was made with another guard behind the same name: {listed(changes)}. Give "
            f"the old one ({option.removesuffix('_guard')}_revision) or another --output_dir, or name the checkpoint "
            f"to resume with the new one: --resume_from_checkpoint {found}"
        )


def _check_eval_judge(args: TrainingArguments, reward: GuardReward) -> None:
    if getattr(reward, "eval_judge", None) is None:
        return
    if str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
        raise UserError("eval_judge: the run evaluates nothing; set eval_strategy and eval_datasets, or leave it out")
    facts = reward.describe()
    judge = {"guard": facts["eval_judge"], "spec": facts.get("eval_judge/spec", "")}
    if warning := judge_warning(judge, {"reward": facts}):
        logger.warning("eval_judge: %s %s", facts["eval_judge"], warning)


def _changes(args: TrainingArguments, configs: Sequence[Any]) -> dict[str, tuple[Any, Any]]:
    before = read_record(Path(args.output_dir)).get("configs")
    return setting_changes(before, configs, trainer=type(args).__name__) if isinstance(before, dict) else {}


def _named_checkpoint(path: str, max_steps: int) -> str:
    if fault := fault_of(Path(path)):
        raise UserError(
            f"resume_from_checkpoint: {path!r} is not a checkpoint folder ({fault}); 'auto' takes the last one in "
            "output_dir"
        )
    state = read_state(Path(path)) or {}
    if 0 < max_steps <= state["global_step"]:
        raise UserError(
            f"resume_from_checkpoint: {path!r} has already reached max_steps ({max_steps}); raise --max_steps"
        )
    return path


def _is_at_end(state: dict[str, Any] | None, args: TrainingArguments) -> bool:
    if state is None:
        return False
    if args.max_steps > 0:
        return bool(state["global_step"] >= args.max_steps)
    # An epoch is a sum of fractions of it.
    return bool((state.get("epoch") or 0) >= args.num_train_epochs - 1e-6)


def _last_checkpoint(args: TrainingArguments, *, says: bool = False) -> Path | None:
    """The checkpoint with the highest step that is whole; says which are passed over."""
    steps = {
        int(match[1]): path
        for path in Path(args.output_dir).glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    for _, path in sorted(steps.items(), reverse=True):
        fault = fault_of(path)
        if fault is None:
            return path
        if says:
            logger.warning("%s is not whole (%s): skipped", path, fault)
    return None
