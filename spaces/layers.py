"""Which tensors of a layer hold its channels along which dimension, and how a layer is told its new size."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

NORMALISED_ACROSS_CHANNELS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


class UnsupportedLayerError(ValueError):
    """A layer whose channels cannot be cut; the message is the reason that the user is shown."""


def channel_dimensions(module: nn.Module, *, produces: bool) -> tuple[tuple[str, int], ...]:
    """Return the (tensor name, dimension) pairs along which ``module`` holds the channels of one side.

    Raises:
        UnsupportedLayerError: no cut of this kind of layer is known to be sound.
    """
    if isinstance(module, _ConvNd):
        return _convolution(module, produces)
    if isinstance(module, nn.Linear):
        return _present(module, ("weight", 0), ("bias", 0)) if produces else (("weight", 1),)
    if isinstance(module, _BatchNorm | _InstanceNorm):
        return _present(module, ("weight", 0), ("bias", 0), ("running_mean", 0), ("running_var", 0))
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) == 1:
        return _present(module, ("weight", 0), ("bias", 0))
    if isinstance(module, nn.PReLU):
        return (("weight", 0),) if module.num_parameters > 1 else ()
    if isinstance(module, nn.Embedding):
        return (("weight", 1),)
    raise UnsupportedLayerError(f"its channels reach a {type(module).__name__} layer, which has no known sound cut")


def _convolution(module: _ConvNd, produces: bool) -> tuple[tuple[str, int], ...]:
    if is_depthwise(module):
        return _present(module, ("weight", 0), ("bias", 0))
    if module.groups > 1:
        raise UnsupportedLayerError(
            f"its channels reach a convolution in {module.groups} groups, which must stay equal"
        )
    out, inputs = (1, 0) if isinstance(module, _ConvTransposeNd) else (0, 1)
    return _present(module, ("weight", out), ("bias", 0)) if produces else (("weight", inputs),)


def is_depthwise(module: nn.Module) -> bool:
    """Return whether ``module`` is a convolution with one filter for each channel."""
    return (
        isinstance(module, _ConvNd) and module.groups > 1 and module.groups == module.in_channels == module.out_channels
    )


def _present(module: nn.Module, *entries: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((name, dim) for name, dim in entries if getattr(module, name, None) is not None)


def update_sizes(module: nn.Module) -> None:
    """Make the size attributes of ``module`` agree with the shapes of its tensors."""
    if isinstance(module, _ConvNd):
        _update_convolution(module)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm | _InstanceNorm):
        first = next(t for t in (module.weight, module.running_mean) if t is not None)
        module.num_features = first.shape[0]
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]


def _update_convolution(module: _ConvNd) -> None:
    depthwise = is_depthwise(module)
    first, second = module.weight.shape[:2]
    if depthwise:
        module.groups = module.in_channels = module.out_channels = first
    elif isinstance(module, _ConvTransposeNd):
        module.in_channels, module.out_channels = first, second
    else:
        module.out_channels, module.in_channels = first, second
