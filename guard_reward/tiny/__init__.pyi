from .demo import run_demo as run_demo
from .guard import build_tiny_guard as build_tiny_guard
from .guard import load_tiny_guard as load_tiny_guard
from .policy import build_tiny_policy as build_tiny_policy
from .stream_guard import build_tiny_stream_guard as build_tiny_stream_guard
from .stream_guard import load_tiny_stream_guard as load_tiny_stream_guard
