"""The pipe that an answer goes through, kept clean. Travels to other machines."""

from __future__ import annotations

import os
from typing import BinaryIO


def claim_output() -> BinaryIO:
    """Standard output, which from now on is this file's alone: what else is printed goes to standard
    error. Runtimes print as they please."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own
