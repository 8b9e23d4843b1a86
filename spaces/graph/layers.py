"""How layers of PyTorch are told their new sizes."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from ..architectures.attention import free_heads_
from ..architectures.recurrent import update_recurrent_


def update_sizes(module: nn.Module) -> None:
    """Make the size attributes of ``module`` agree with the shapes of its tensors.

    The groups of a convolution are expected to be right already.
    """
    if isinstance(module, _ConvTransposeNd):
        module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, _ConvNd):
        module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm | _InstanceNorm | nn.GroupNorm):
        _update_norm(module)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.Bilinear):
        module.out_features, module.in1_features, module.in2_features = module.weight.shape
    elif isinstance(module, nn.MultiheadAttention):
        free_heads_(module)
    elif isinstance(module, nn.RNNBase):
        update_recurrent_(module)
    elif isinstance(module, nn.RNNCellBase):
        module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]


def _update_norm(module: _BatchNorm | _InstanceNorm | nn.GroupNorm) -> None:
    size = next(t for t in (module.weight, getattr(module, "running_mean", None)) if t is not None).shape[0]
    if isinstance(module, nn.GroupNorm):
        module.num_channels = size
    else:
        module.num_features = size
