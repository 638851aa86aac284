from .config import GuardRewardConfig as GuardRewardConfig
from .config import build_reward as build_reward
from .parsing import parse as parse
from .policy import model_init_kwargs as model_init_kwargs
from .policy import read_policy as read_policy
from .record import write_record as write_record
from .resume import find_checkpoint as find_checkpoint
