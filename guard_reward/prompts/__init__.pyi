from .mixing import load_prompts as load_prompts
from .mixing import mix as mix
from .sets import DataConfig as DataConfig
from .sets import PromptSet as PromptSet
