"""Every example runs as its first lines say, and shows what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SHOWN = {
    # Four devices with a quarter each, gradients summed across them, and the losses of both runs alike.
    "data_parallel_jax": r"4, 256 examples each\n.*program +[1-9]\n.*NumPy +(\S+ -> \S+)\n.*data-parallel +\1\n",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    run = subprocess.run([sys.executable, path], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert re.search(SHOWN[path.stem], run.stdout), run.stdout
