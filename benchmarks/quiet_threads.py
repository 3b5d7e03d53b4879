"""Threads that wait sleep, as in the command ``pushforward``; to be imported before torch.

Spinning, as by default, two threads are ten times slower than one wherever something else runs on
the same cores. Every library of a comparison that runs in this process gains alike.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
