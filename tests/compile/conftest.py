"""The modules of this folder and the rows' sample inputs are found by their own names."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "ops")]
