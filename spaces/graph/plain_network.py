"""Networks whose modules or tensors no cut can be made in: refused by name, with the way out, before anything runs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ...errors import InputError, describe

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule")


def check_plain(model: nn.Module, *, scripted_parts: bool = True) -> None:
    """Refuse a network that cannot be copied, cut or computed as it is.

    Args:
        model: left as it is.
        scripted_parts: whether modules in it may be scripted; they are frozen when it is traced.

    Raises:
        InputError: a module is scripted, compiled, quantised or spread over devices, or a parameter is not initialised
            yet, without values, sparse or quantised.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and scripted_parts and module is not model:
            continue
        found = _of_module(module)
        if found is None:
            tensors = (*module._parameters.items(), *module._buffers.items())
            found = next((f for key, t in tensors if t is not None and (f := _of_tensor(key, t)) is not None), None)
        if found is not None:
            what, expected, remedy = found
            where = f"module {name!r} ({type(module).__name__})" if name else f"the network ({type(module).__name__})"
            raise InputError(describe(f"{where} {what}", expected=expected, remedy=remedy))


def _of_module(module: nn.Module) -> tuple[str, str, str] | None:
    if isinstance(module, torch.jit.ScriptModule):
        return _as_before("is scripted (torch.jit)", "script what comes out of pruning")
    # By name, as importing what compiles, quantises or distributes takes seconds.
    kinds = {f"{kind.__module__}.{kind.__qualname__}": kind.__name__ for kind in type(module).__mro__}
    if any(path.startswith("torch._dynamo.") for path in kinds):
        return _as_before("is compiled (torch.compile)", "compile what comes out of pruning")
    if any(path.startswith("torch.") and kind in _WRAPPERS for path, kind in kinds.items()):
        return "spreads a network over devices", "the network itself", "Give its .module, and wrap what comes out."
    quantised = any(path.startswith(("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")) for path in kinds)
    if quantised and not {"FloatFunctional", "FXFloatFunctional"}.intersection(kinds.values()):
        return _as_before("is quantised", "quantise what comes out of pruning (precision int8)")
    return None


def _as_before(what: str, then: str) -> tuple[str, str, str]:
    return what, "a plain nn.Module", f"Give the network as it was before; {then}."


def _of_tensor(name: str, tensor: torch.Tensor) -> tuple[str, str, str] | None:
    if is_lazy(tensor):
        remedy = "Call model(example_input) once before."
        return f"holds {name}, which is not initialised yet", "a network that has run once", remedy
    if tensor.is_meta:
        remedy = "Load the weights, or use model.to_empty(device='cpu') and initialise it."
        return f"holds {name} on the meta device, without values", "tensors with values", remedy
    if tensor.is_quantized:
        return f"holds {name}, which is quantised", "floating-point numbers", "Give the network before quantisation."
    if tensor.layout is not torch.strided and isinstance(tensor, nn.Parameter):
        remedy = "Make it dense with .to_dense(), or register it as a buffer, which is left whole."
        return f"holds the parameter {name}, which is sparse", "dense parameters", remedy
    return None
