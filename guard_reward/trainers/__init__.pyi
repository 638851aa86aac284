from .ppo import PPOTrainer as PPOTrainer
from .ppo_config import PPOConfig as PPOConfig
