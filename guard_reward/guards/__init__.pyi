from .loading import load_guard as load_guard
from .transformers_guard import TransformersGuard as TransformersGuard
