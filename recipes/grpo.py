"""GRPO, and its relatives (GSPO, DAPO, Dr. GRPO), with a guard model as the reward.

One YAML file describes a run: the guard and the reward scheme, the prompts, and every option of TRL's GRPOConfig
and ModelConfig. Options on the command line override the file.

examples:
  a laptop, minutes, no GPU and no download:
    guard-reward tiny runs/tiny
    python recipes/grpo.py --config configs/grpo_tiny.yaml

  your own policy, without a file:
    python recipes/grpo.py --model_name_or_path Qwen/Qwen3-0.6B --guard Qwen/Qwen3Guard-Gen-0.6B \\
        --dataset_name prompts.jsonl --harmful is_harmful --output_dir runs/first

  eight GPUs, the setting of the Qwen3Guard report, with another seed:
    accelerate launch --config_file configs/accelerate/zero3.yaml recipes/grpo.py \\
        --config configs/gspo_hybrid.yaml --seed 1 --output_dir runs/gspo_hybrid_seed1

  resume an interrupted run from its last checkpoint (the files in configs/ do this by default); its settings must be
  the same, other settings need another --output_dir:
    python recipes/grpo.py --config mine.yaml --resume_from_checkpoint auto
"""

from guard_reward.noise import quiet_libraries

quiet_libraries()  # first, because some speak when they are imported

from typing import Any

from trl import GRPOConfig, GRPOTrainer, ModelConfig, get_peft_config, get_quantization_config

from guard_reward import launch
from guard_reward.errors import clean_errors
from guard_reward.prompts import DataConfig, load_prompts


def main() -> None:
    """Parse, and train in a folder that no other run writes to."""
    configs = launch.parse(
        (
            launch.GuardRewardConfig,
            launch.StoppingConfig,
            launch.MonitorConfig,
            DataConfig,
            GRPOConfig,
            ModelConfig,
        ),
        __doc__,
    )
    with launch.own_output(configs[-2]):
        train(*configs)


def train(*configs: Any) -> None:
    """Load, train, save."""
    guard, stopping, watching, data, args, model = configs
    args.model_init_kwargs = launch.model_init_kwargs(model, args)
    if launch.is_finished(args, configs):
        return
    checkpoint = launch.find_checkpoint(args, configs)
    train_dataset, eval_dataset = load_prompts(data, args)
    reward = launch.build_reward(
        guard, launch.read_policy(model, args), labelled="harmful" in train_dataset.column_names
    )
    stop = launch.build_stopping(stopping, [reward.guard, reward.shadow])
    launch.check_guard(args, reward, stop)
    monitor = launch.build_monitor(watching, reward)
    args.resume_from_checkpoint = checkpoint
    trainer = GRPOTrainer(
        model=launch.policy_source(model),
        reward_funcs=reward,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        rollout_func=stop,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=launch.watching_callbacks(monitor),
    )
    launch.watch(trainer)
    launch.write_record(trainer, reward, configs)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.save_state()
    if args.push_to_hub:
        trainer.push_to_hub()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    with clean_errors():
        main()
