from .loading import load_guard as load_guard
from .served_guard import ServedGuard as ServedGuard
from .stream_guard import StreamGuard as StreamGuard
from .transformers_guard import TransformersGuard as TransformersGuard
from .vllm_guard import VLLMGuard as VLLMGuard
