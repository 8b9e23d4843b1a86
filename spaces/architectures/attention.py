"""PyTorch's multi-head attention with any number of its heads.

``nn.MultiheadAttention`` insists that its heads together are as wide as the stream they read, so no head can leave it.
Here the width inside is whatever the projections make. Vaswani et al., "Attention Is All You Need", NeurIPS 2017,
arXiv:1706.03762.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.freeze_reasons import FreezeReason
from ..graph.groups import Group


class HeadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` whose heads may be fewer than its stream is wide; parameters have the same names.

    It is not built but made, by :func:`free_heads_`, of an attention that exists. It never takes the fused kernel for
    inference, which knows the equal widths only.
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what is attended to, and the weights where wanted; arguments are those of ``nn.MultiheadAttention``.

        Args:
            query: shape ``(L, N, E)``, with ``batch_first`` ``(N, L, E)``, or ``(L, E)``.
            key: the same with length ``S`` and width ``kdim``.
            value: the same with length ``S`` and width ``vdim``.
            key_padding_mask: shape ``(N, S)``; true, or what is added to the scores.
            need_weights: whether the weights are returned, too.
            attn_mask: shape ``(L, S)`` or ``(N * heads, L, S)``; true, or what is added to the scores.
            average_attn_weights: whether the weights are the mean over heads.
            is_causal: a remark on ``attn_mask``, which says the same.

        Raises:
            RuntimeError: ``is_causal`` comes without ``attn_mask``.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a remark on attn_mask, which is missing")
        batched = query.dim() == 3
        query, key, value = self._batch_first(query, key, value)
        keys_hidden = key_padding_mask if batched or key_padding_mask is None else key_padding_mask.unsqueeze(0)
        queries, keys, values = (self._by_head(x) for x in self._projected(query, key, value))
        if self.add_zero_attn:
            keys, values = (F.pad(x, (0, 0, 0, 1)) for x in (keys, values))
        mask = self._mask(keys_hidden, attn_mask, like=queries, length=keys.shape[2], batch=query.shape[0])
        mixed, weights = self._mixed(queries, keys, values, mask, need_weights=need_weights)
        output = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _batch_first(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return the inputs with the batch in front; those that are one tensor stay one, and are projected at once."""
        if self.batch_first and inputs[0].dim() == 3:
            return list(inputs)
        turned: dict[int, torch.Tensor] = {}
        for x in inputs:
            turned.setdefault(id(x), x.unsqueeze(0) if x.dim() == 2 else x.transpose(0, 1))
        return [turned[id(x)] for x in inputs]

    def _projected(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> list[torch.Tensor]:
        inputs, weight, bias = (query, key, value), self.in_proj_weight, self.in_proj_bias
        if weight is None:
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            projected = [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]
        elif query is key is value:
            projected = list(F.linear(query, weight, bias).chunk(3, -1))
        else:
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            projected = [F.linear(x, w, b) for x, w, b in zip(inputs, weight.chunk(3), biases, strict=True)]
        if self.bias_k is not None and self.bias_v is not None:
            for i, extra in ((1, self.bias_k), (2, self.bias_v)):
                projected[i] = torch.cat([projected[i], extra.expand(key.shape[0], -1, -1)], 1)
        return projected

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(
        self,
        keys_hidden: torch.Tensor | None,
        mask: torch.Tensor | None,
        *,
        like: torch.Tensor,
        length: int,
        batch: int,
    ) -> torch.Tensor | None:
        """Return what is added to the scores, of a shape that broadcasts to ``(N, heads, L, S)``."""
        parts = []
        if mask is not None:
            by_head = mask.dim() == 3
            parts.append(mask.view(batch, self.num_heads, *mask.shape[1:]) if by_head else mask[None, None])
        if keys_hidden is not None:
            parts.append(keys_hidden[:, None, None])
        added = [self._added(part, like) for part in parts]
        # What was put after the keys (bias_k, a zero) is hidden from nobody.
        added = [F.pad(part, (0, length - part.shape[-1])) for part in added]
        return sum(added[1:], added[0]) if added else None

    @staticmethod
    def _added(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        if mask.dtype != torch.bool:
            return mask
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -torch.inf)

    def _mixed(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        need_weights: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return F.scaled_dot_product_attention(queries, keys, values, mask, dropout), None
        scores = (queries * self.head_dim**-0.5) @ keys.transpose(-2, -1)
        weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
        return weights @ values, weights


def free_heads_(module: nn.Module) -> None:
    """Make an ``nn.MultiheadAttention`` one that computes the same with whatever heads its parameters have, in place.

    Its class alone changes, so that whoever holds it, and its hooks, hold the same module. Classes derived from
    PyTorch's may compute something else and stay what they are.
    """
    if not isinstance(module, nn.MultiheadAttention) or type(module) not in (nn.MultiheadAttention, HeadAttention):
        return
    module.__class__ = HeadAttention
    packed = module.in_proj_weight
    query = packed if packed is not None else module.q_proj_weight
    module.embed_dim = query.shape[1]
    module.kdim, module.vdim = (
        (query.shape[1],) * 2 if packed is not None else (module.k_proj_weight.shape[1], module.v_proj_weight.shape[1])
    )
    module.num_heads = query.shape[0] // (3 if packed is not None else 1) // module.head_dim
    # What PyTorch's transformer layers ask before they take the fused kernel.
    module._qkv_same_embed_dim = False


def with_free_heads(model: nn.Module) -> nn.Module | None:
    """Return a copy whose attention computes the same by :class:`HeadAttention`; ``None`` if there is none to free."""
    if not any(type(module) is nn.MultiheadAttention for module in model.modules()):
        return None
    freed = copy.deepcopy(model)
    for module in freed.modules():
        free_heads_(module)
    update_transformers_(freed)
    return freed


def with_proved_heads(
    model: nn.Module, groups: Sequence[Group], objection: Callable[[Sequence[Group]], FreezeReason | None]
) -> list[Group]:
    """Return ``groups``, those of heads verified exactly where they can be.

    The mean of the weights over heads mixes them, and is made and thrown away by most callers.
    """
    found = []
    for group in groups:
        attends = any(isinstance(model.get_submodule(layer), nn.MultiheadAttention) for layer in group.layers)
        exact = replace(group, verification="exact")
        proved = attends and group.verification == "shape" and objection([exact]) is None
        found.append(exact if proved else group)
    return found


def without_attention_(network: nn.Module, name: str, attention: nn.MultiheadAttention, stand_in: nn.Module) -> None:
    """Let PyTorch's transformers, in place, take ``stand_in`` for their attention called ``name``.

    They ask it for more than its output, and must take the fused kernel no more.
    """
    vars(stand_in).update(batch_first=attention.batch_first, in_proj_bias=None, num_heads=attention.num_heads)
    for end in range(1, name.count(".") + 1):
        around = network.get_submodule(name.rsplit(".", end)[0])
        if isinstance(around, nn.TransformerEncoder):
            around.use_nested_tensor = False


def update_transformers_(network: nn.Module) -> None:
    """Tell PyTorch's transformers around freed attention what changed, in place.

    Encoders must not hand it nested tensors, which only the fused kernel reads; ``nn.Transformer`` keeps a width.
    """
    for module in [m for m in network.modules() if isinstance(m, nn.TransformerEncoder | nn.Transformer)]:
        freed = next((m for m in module.modules() if isinstance(m, HeadAttention)), None)
        if freed is not None and isinstance(module, nn.Transformer):
            module.d_model = freed.embed_dim
        elif freed is not None and isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
