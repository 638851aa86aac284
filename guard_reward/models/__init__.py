"""Frozen Hugging Face models: what a guard and a reward model share.

- `guard_reward.models.checkpoint`: a checkpoint on its device, whole and frozen.
- `guard_reward.models.modelscope`: the folder of a checkpoint from ModelScope.
- `guard_reward.models.chat_template`: conversations to token ids that no content can forge.
- `guard_reward.models.precision`: number formats that a CPU computes slowly.
- `guard_reward.models.generation_options`: what only ``generate`` would apply.
- `guard_reward.models.sleep`: weights leave the accelerator and come back; the lock of all models.
"""
