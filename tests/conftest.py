"""What every test process begins with."""

from __future__ import annotations

import os

# Two test processes share the cores, each with processes of its own; nothing here is large enough for a
# second thread to pay, and threads that wait for each other spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
