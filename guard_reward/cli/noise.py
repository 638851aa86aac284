"""What libraries write on standard error and no user of a command can change, switched off by their own means."""

from __future__ import annotations

import logging
import os
import sys
import warnings

__all__ = ["quiet_libraries"]

# torchao warns about kernels for other machines, and torch about how torchao registers its classes.
_LOGGERS = ("torchao", "torch.utils._pytree")
# Bars of downloads, of "Loading weights" and of "Generating train split"; in a file they are garbage.
_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


def quiet_libraries() -> None:
    """Set the switches. Before the libraries are imported; imports none of them. What the user has set stays."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # transformers about its own functions' names, in every evaluation of a training.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    if not sys.stderr.isatty():
        for name in _BARS:
            os.environ.setdefault(name, "1")
