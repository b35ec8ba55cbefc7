"""The networks that are derived serve several test files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
