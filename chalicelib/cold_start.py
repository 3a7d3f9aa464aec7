"""Imported for its effect, before what is large: nothing is garbage while modules load, and to look for it takes time.

The collector goes on, it only waits for more objects: its usual 2,000 come together dozens of times in a cold start.
"""

import gc

gc.set_threshold(50_000)
