"""From a YAML file to a running trainer: the functions that the recipes share.

    with clean_errors():
        guard, data, config, model = parse((GuardRewardConfig, DataConfig, GRPOConfig, ModelConfig), __doc__)
        train_dataset, eval_dataset = load_prompts(data, config)
        reward = build_reward(guard, model, config)

- `config`: the reward's settings, and the reward built from them; `values`: a scheme's values in its fields' types;
  `policy`: end tokens and thinking of the policy, read from its files; `stream_reward`: rewards per token, for PPO;
  `stopping`: rollouts that end where they become unsafe; `monitor`: the alarm for a reward that is being hacked.
- `parsing`: YAML file and command line, with TRL's parser; `unset`: what None, none and null mean there.
- `resume`: the checkpoint to resume from, if the settings are the same; `checkpoints`: whether one is whole.
- `output_folder`: one run per output folder, and a full disk in one line.
- `record`, `model_card`: what is saved next to the model; `redaction`: without its secrets.
- `watching`: callbacks that show and keep how a run goes; a table that cannot be written stops no run.
- `scaffold`: copies of the recipes and configs for a new project.

Prompt sets are in `guard_reward.prompts`. Trainers are created in the recipes themselves.
"""

import lazy_loader

from guard_reward._renamed import renamed_names

_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = renamed_names(
    __name__, "DataConfig", "LaunchError", "PolicyFacts", "PromptSet", "clean_errors", "load_prompts", current=_getattr
)
