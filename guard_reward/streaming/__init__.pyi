from .intervention import SafeGeneration as SafeGeneration
from .intervention import generate_safely as generate_safely
from .rollouts import StopUnsafe as StopUnsafe
from .stopping import UnsafeStoppingCriteria as UnsafeStoppingCriteria
from .text_feed import TextFeed as TextFeed
