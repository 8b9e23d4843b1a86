"""Which optimiser a network is fine-tuned by where the task says nothing."""

from __future__ import annotations

from torch import nn


def needs_adamw(model: nn.Module) -> str | None:
    """Return the kind of layer for which a network is fine-tuned by AdamW; ``None`` where SGD does.

    Attention is known by PyTorch's own layer, or by its name in timm, transformers and the like: weights of a
    convolution inside tell the channel and spatial attention of convolutional networks apart from it.
    """
    for module in model.modules():
        kind = type(module).__name__
        if isinstance(module, (nn.MultiheadAttention, nn.LayerNorm)) or "RMSNorm" in kind or "LayerNorm" in kind:
            return kind
        if "Attention" in kind and not any(p.dim() > 2 for p in module.parameters()):
            return kind
    return None
