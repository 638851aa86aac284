"""Does the installed TRL still have what `PPOTrainer` builds on? Those methods are not a public interface of TRL."""

from __future__ import annotations

import inspect

import trl
from trl import GRPOTrainer

__all__ = ["check_trl_compatibility", "incompatible"]

_METHODS = {
    "_generate_and_score_completions": ("inputs",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_per_token_logps_and_entropies": ("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"),
    "_compute_loss": ("model", "inputs"),
    "save_model": ("output_dir", "_internal_call"),
    "_save_optimizer_and_scheduler": ("output_dir",),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_load_best_model": (),
    "_get_learning_rate": (),
}
"""The methods that PPO overrides or calls, with the parameters that it relies on."""


def check_trl_compatibility(trainer_class: type = GRPOTrainer) -> None:
    """Check that TRL's `GRPOTrainer` has the methods that PPO builds on.

    Raises:
        RuntimeError: a method or a parameter is missing; names it and TRL's version.

    >>> check_trl_compatibility()
    """
    for name, expected in _METHODS.items():
        method = getattr(trainer_class, name, None)
        if method is None:
            raise incompatible(f"it has no {trainer_class.__name__}.{name}")
        found = inspect.signature(method).parameters
        takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in found.values())
        missing = [parameter for parameter in expected if parameter not in found]
        if missing and not takes_any:
            raise incompatible(f"{trainer_class.__name__}.{name} has no {', '.join(missing)}")


def incompatible(what: str) -> RuntimeError:
    """The error to raise if TRL has changed; `what` names the change."""
    return RuntimeError(f"TRL {trl.__version__} has changed what PPOTrainer builds on ({what}); use TRL 1.14 to 1.16")
