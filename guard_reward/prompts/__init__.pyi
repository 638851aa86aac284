from .sets import DataConfig as DataConfig
from .sets import PromptSet as PromptSet
from .sets import load_prompts as load_prompts
