"""LLVM: from the text of a module to machine code in memory."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _llvm() -> Any:
    """llvmlite's binding, made ready for the machine that this process runs on."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise ImportError("native code needs llvmlite: pip install 'tinygrad_notes[fast]'") from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def vector_bytes() -> int:
    """The size of this machine's widest vectors. Where it has those of AVX-512, it also has twice the registers."""
    return 64 if _llvm().get_host_cpu_features().get("avx512f") else 32


def _machine() -> Any:
    """A code generator. An engine takes it over, so each needs its own."""
    llvm = _llvm()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=1,  # 2 takes longer and runs no faster; 0 is several times slower at run time
        jit=True,
    )


def _module(ir: str, machine: Any) -> Any:
    """The module of a text.

    A function costs LLVM as much time as fifty lines, so those that say so become part of what calls them.
    """
    llvm = _llvm()
    module = llvm.parse_assembly(ir)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0)))
    return module


class MachineCode:
    """A compiled module. Functions live as long as this object does."""

    def __init__(self, ir: str) -> None:
        llvm = _llvm()
        self.ir = ir
        machine = _machine()
        self._engine = llvm.create_mcjit_compiler(_module(ir, machine), machine)
        self._engine.finalize_object()

    def address(self, function: str) -> int:
        """Where a function begins."""
        return int(self._engine.get_function_address(function))

    def variable(self, name: str) -> int:
        """Where a global variable is."""
        return int(self._engine.get_global_value_address(name))

    @property
    def assembly(self) -> str:
        """The machine's instructions, as text."""
        machine = _machine()
        return str(machine.emit_assembly(_module(self.ir, machine)))
