"""Make v3: a well-trained network behind a handler with two faults. See broken_handler.py for what they are.

Usage: python train_broken.py OUT_DIR       writes OUT_DIR/model.mar
"""

import sys
from pathlib import Path

from train_torch import HERE, archive, fit

if __name__ == "__main__":
    network, share = fit(images=1297, epochs=12)
    path = archive(network, HERE / "broken_handler.py", "3.0", Path(sys.argv[1]))
    print(f"{path}: {share:.1%} of the held-out digits right, before its handler spoils them")
