from .demo import run_demo as run_demo
from .guard import build_tiny_guard as build_tiny_guard
from .guard import load_tiny_guard as load_tiny_guard
from .policy import build_tiny_policy as build_tiny_policy
