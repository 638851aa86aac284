"""The one error of the pipeline's rooms that users are meant to read."""

from __future__ import annotations

__all__ = ["PipelineError"]


class PipelineError(ValueError):
    """What was asked cannot be done; the message names the file or field and the fix. Shown without a traceback."""
