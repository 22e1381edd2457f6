"""The kernels of one graph built together: reading the compiler's headers takes longer than compiling most kernels.

This reaches into parts of PyTorch's compiler that may change with any release; `compile.py` asks for it only where it
was tried.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CDLL
from importlib import util
from typing import Any, ClassVar

import torch
import torch._inductor.codegen.triton  # it makes an object of AsyncCompile, for good, when it is first imported
from torch._inductor import async_compile
from torch._inductor.async_compile import AsyncCompile, get_compile_threads
from torch._inductor.codecache import CppCodeCache, CppPythonBindingsCodeCache
from torch._inductor.utils import clear_on_fresh_cache

_INCLUDE = re.compile(r"^[ \t]*#include[^\n]*\n", re.MULTILINE)
_NAME = re.compile(r"\bkernel\b")  # of the function that a kernel's source defines
_LOCK = threading.RLock()


@contextmanager
def built_together() -> Iterator[None]:
    """What PyTorch's compiler generates meanwhile in C++ becomes one file for each process that it compiles with."""
    with _LOCK:
        async_compile.AsyncCompile = _Together  # type: ignore[misc]
        try:
            yield
        finally:
            async_compile.AsyncCompile = AsyncCompile  # type: ignore[misc]


class _Kernel:
    """One that was asked for. argtypes: in C++. source: its headers, and a function `kernel` of these arguments."""

    def __init__(self, name: str, argtypes: list[str], source: str) -> None:
        self.name = name
        binding = CppPythonBindingsCodeCache.suffix_template.format(
            arg_len=len(argtypes),
            call_entry_func=f"{name}({_parsed(argtypes)}); Py_RETURN_NONE;",
            entry_func=name,
            extra_parse_arg="",
        )
        whole = _NAME.sub(name, source) + binding
        self.includes = _INCLUDE.findall(whole)
        self.code = f"namespace of_{name} {{\n{_INCLUDE.sub('', whole)}\n}}\n"


def _parsed(argtypes: list[str]) -> str:
    """The arguments of a call from Python, as C++."""
    return ", ".join(f"parse_arg<{one.replace('const ', '')}>(args, {index})" for index, one in enumerate(argtypes))


class _Together(AsyncCompile):
    """The code of a graph asks it for one kernel after another, and then waits for all."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[_Kernel] = []

    def cpp_pybinding(self, argtypes: list[str], source_code: str) -> Any:
        self._asked.append(_Kernel(f"kernel_{len(self._asked)}", argtypes, source_code))
        return self._asked[-1]

    def wait(self, scope: dict[str, Any]) -> None:
        count = get_compile_threads()
        count, submit = (count, self.submit) if count > 1 else (1, None)
        largest = sorted(self._asked, key=lambda one: len(one.code), reverse=True)
        try:
            files = [_started(largest[first::count], submit) for first in range(min(count, len(largest)))]
            functions = {kernel: function for built in files for kernel, function in built().items()}
        except BaseException:
            _Library.cache_clear()  # which remembers what failed too; another attempt may succeed
            raise
        scope.update({name: functions[one] for name, one in scope.items() if isinstance(one, _Kernel)})
        super().wait(scope)


def _started(kernels: list[_Kernel], submit: Callable[..., Any] | None) -> Callable[[], dict[_Kernel, Any]]:
    """Begin to build these with `submit`, or build them when asked; the result waits for them."""
    includes = dict.fromkeys(line for kernel in kernels for line in kernel.includes)
    library = _Library.load_async("".join([*includes, *[kernel.code for kernel in kernels]]), submit_fn=submit)
    return lambda: {kernel: _function(library(), kernel.name) for kernel in kernels}


@clear_on_fresh_cache
class _Library(CppCodeCache):
    """A shared library that is several modules of Python, each with one function of its name.

    The headers are not precompiled: for so few files that costs more than it saves, and takes 155 MB of disk.
    """

    cache: ClassVar[dict[str, Callable[[], Any]]] = {}  # type: ignore[misc]
    cache_clear = staticmethod(cache.clear)
    cpp_compile_command_flags = CppPythonBindingsCodeCache.cpp_compile_command_flags


def _function(library: CDLL, name: str) -> Any:
    address = torch._C._dynamo.guards._torchinductor_pyobject_tensor_data_ptr  # type: ignore[attr-defined]
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(address)  # where each module looks for it
    spec = util.spec_from_file_location(f"{library.key}.{name}", library._name)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)
