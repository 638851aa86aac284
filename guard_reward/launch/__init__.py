"""From a YAML file to a running trainer: what the recipes share.

    with clean_errors():
        guard, data, config, model = parse((GuardRewardConfig, DataConfig, GRPOConfig, ModelConfig), __doc__)
        train_dataset, eval_dataset = load_prompts(data, config)
        reward = build_reward(guard, model, config)

One idea a file:

- `config`: the reward's own settings, and the reward made of them; `values`: a scheme's values as its fields take
  them; `policy`: what the reward has to know of the policy.
- `data`: prompt sets, labelled and mixed.
- `parsing`: YAML file and command line through TRL's parser; `errors`: a user's mistake is one line.
- `resume`: where an interrupted run goes on, and whether it is the same run; `record`: what is saved beside the model.
- `files`: where recipes and configs are, and copies of them.

This room knows TRL's configs; it knows no trainer: those are the recipes' own lines.
"""

import lazy_loader

from guard_reward._renamed import renamed_names

_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = renamed_names(
    __name__,
    {
        "DataConfig": "guard_reward.prompts.DataConfig",
        "LaunchError": "guard_reward.errors.UserError",
        "PolicyFacts": "guard_reward.rewards.policy.PolicyFacts",
        "PromptSet": "guard_reward.prompts.PromptSet",
        "clean_errors": "guard_reward.errors.clean_errors",
        "load_prompts": "guard_reward.prompts.load_prompts",
    },
    _getattr,
)
