"""Finding a task by its name, by a file and a name in it, or by a module and a name in it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ...errors import EspalierError, TaskError, describe, unknown_name
from .task import Task
from .task_reference import absolute_reference, split_reference

BUILT_IN_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "digits": "digits:task",
        "cifar10-resnet8": "cifar10:resnet8_task",
        "cifar10-resnet20": "cifar10:resnet20_task",
        "cifar10-vit": "cifar10_vit:task",
        "cifar10-vgg": "cifar10_vgg:task",
    }
)
"""Names of tasks to the functions of the package's examples that make them; imported only when asked for."""


def is_built_in(reference: str | None) -> bool:
    """Return whether ``reference`` names a task of Espalier's own, whose code is not somebody else's."""
    return reference in BUILT_IN_TASKS


def load_task(reference: str, *, data: Path | None = None) -> Task:
    """Return the task that ``reference`` names.

    Args:
        reference: a built-in name, ``path/to/file.py:name`` or ``package.module:name``, where the name is a task or a
            function that returns one. It may be left out where the module holds exactly one task.
        data: folder of the data, passed to functions that take ``data``.

    Raises:
        UnknownNameError: no built-in task has that name; near names are suggested.
        TaskError: the file or module cannot be imported, or has no such task.
    """
    if reference in BUILT_IN_TASKS:
        module_name, _, attribute = BUILT_IN_TASKS[reference].partition(":")
        module = importlib.import_module(f"{__name__.split('.')[0]}.examples.{module_name}")
        return _finished(getattr(module, attribute), reference, data)
    location, attribute = split_reference(reference)
    if not location.endswith(".py") and ":" not in reference:
        raise unknown_name("task", reference, BUILT_IN_TASKS)
    if not location.endswith(".py"):
        return _finished(_attribute(_from_package(location), attribute, location), reference, data)
    module = _from_file(Path(location).expanduser())
    return _finished(_attribute(module, attribute, location), absolute_reference(reference), data)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(describe(f"no task file {path}", expected="a Python file", remedy="Check the path."))
    name = f"espalier_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise TaskError(describe(f"{path} is no Python module", expected="a .py file", remedy="Check the path."))
    module = importlib.util.module_from_spec(spec)
    # Registered, so that what the file defines can be sent to worker processes by reference to its module.
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit, GeneratorExit) as error:
        del sys.modules[name]
        raise _import_failure(str(path), error) from error
    finally:
        sys.path.pop(0)
    return module


def _from_package(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit, GeneratorExit) as error:
        raise _import_failure(name, error) from error
    finally:
        sys.path.pop(0)


def _import_failure(location: str, error: BaseException) -> TaskError:
    last = traceback.format_exception_only(error)[-1].strip()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    where = f" (line {frames[-1].lineno} of {frames[-1].filename})" if frames else ""
    return TaskError(
        describe(
            f"{location} fails on import{where}: {last}", expected="a module that imports", remedy="Mend it first."
        )
    )


def _attribute(module: ModuleType, attribute: str, location: str) -> Any:
    tasks = [name for name, value in vars(module).items() if isinstance(value, Task)]
    if not attribute and len(tasks) == 1:
        return getattr(module, tasks[0])
    if not attribute:
        raise TaskError(
            describe(
                f"{location} holds {len(tasks)} tasks ({', '.join(tasks) or 'none'})",
                expected="FILE.py:NAME",
                remedy="Name the task, or the function that returns it, after a colon.",
            )
        )
    if not hasattr(module, attribute):
        own = [n for n, v in vars(module).items() if not n.startswith("_") and (callable(v) or isinstance(v, Task))]
        raise unknown_name(f"task in {location}", attribute, own)
    return getattr(module, attribute)


def _finished(found: Any, reference: str, data: Path | None) -> Task:
    if not isinstance(found, Task) and callable(found):
        takes_data = "data" in inspect.signature(found).parameters
        try:
            found = found(data=data) if takes_data else found()
        except EspalierError:
            raise
        except (Exception, SystemExit, GeneratorExit) as error:
            raise _import_failure(reference, error) from error
    if not isinstance(found, Task):
        raise TaskError(
            describe(
                f"{reference} is {type(found).__name__}",
                expected="a Task or a function returning one",
                remedy="Return it.",
            )
        )
    return dataclasses.replace(found, reference=reference)
