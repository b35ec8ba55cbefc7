"""The interpreter and the guarded arrays (programs.py) serve several test files."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="native code needs the extra `fast`")
sys.path.insert(0, str(Path(__file__).parent))
