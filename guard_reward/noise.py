"""What libraries write and no user of a command or recipe can change, switched off by their own means.

Only these messages: all others of the same libraries are shown.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings

__all__ = ["quiet_libraries"]

_LOGGED = {
    "torchao": "Failed to load ",  # kernels for other machines
    "torch.utils._pytree": "%s is an Enum subclass and is now natively supported",  # how torchao registers its classes
    "DeepSpeed": "Setting accelerator to CPU.",  # where there is nothing else
}
_WARNED: tuple[tuple[type[Warning], str], ...] = (
    # transformers about its own name in TRL's code, at every step; the older name is the one that all versions know.
    (FutureWarning, "`is_gradient_checkpointing` is deprecated"),
    (FutureWarning, "`gradient_checkpointing` is deprecated"),
    (FutureWarning, "`gradient_checkpointing_kwargs` is deprecated"),
    (FutureWarning, "`gradient_checkpointing_enable` is deprecated"),
    (FutureWarning, "`gradient_checkpointing_disable` is deprecated"),
    (UserWarning, "'pin_memory' argument is set as true but no accelerator is found"),
)
# Bars of downloads, of "Loading weights" and of "Generating train split"; in a file they are garbage.
_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


def quiet_libraries() -> None:
    """Set the switches. Before the libraries are imported; imports none of them. What the user has set stays."""
    for name, beginning in _LOGGED.items():
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Without) for one in logger.filters):
            logger.addFilter(_Without(beginning))
    for category, beginning in _WARNED:
        # Behind the filters that there are: those of -W and PYTHONWARNINGS come first.
        warnings.filterwarnings("ignore", re.escape(beginning), category, append=True)
    if not sys.stderr.isatty():
        for name in _BARS:
            os.environ.setdefault(name, "1")


class _Without(logging.Filter):
    """Leaves out the records whose unformatted message begins so."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._beginning)
