"""The networks of the zoo, with random weights: timm's by their names, those of Transformers from configurations."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.spaces.inputs import Inputs

HERE = Path(__file__).resolve().parent
TOKENS = 64
"""Length of the texts that language models are traced with."""


def timm_names() -> list[str]:
    """Return the architectures of zoo.txt."""
    lines = (HERE / "zoo.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def build(name: str, packages: Path) -> tuple[nn.Module, Inputs]:
    """Return a network and an example input; both follow from the name alone.

    Args:
        name: of timm or of :data:`CONFIGURED`.
        packages: the folder with ``common``, ``timm`` and ``transformers`` that ``make zoo`` sets up.
    """
    torch.manual_seed(0)
    if name in CONFIGURED:
        # Transformers looks for torchvision, so only one of the two folders is ever on the path.
        sys.path += [str(packages / "common"), str(packages / "transformers")]
        os.environ["HF_HUB_OFFLINE"] = "1"
        model, inputs = CONFIGURED[name](import_module("transformers"))
    else:
        sys.path += [str(packages / "common"), str(packages / "timm")]
        model = _timm().create_model(name, pretrained=False)
        inputs = torch.zeros(1, *model.default_cfg["input_size"])
    return _scrambled(model.eval()), inputs


def _timm() -> Any:
    """Import timm beside a torchvision whose operators, built for CUDA, do not load beside a CPU torch."""
    register_fake = torch.library.register_fake

    def lenient(name: Any, *args: Any, **options: Any) -> Any:
        if isinstance(name, str) and name.startswith("torchvision::"):
            return lambda function: function
        return register_fake(name, *args, **options)

    torch.library.register_fake = lenient
    try:
        return import_module("timm")
    finally:
        torch.library.register_fake = register_fake


def _scrambled(model: nn.Module) -> nn.Module:
    """Draw what is constant at the start, such as biases and layer scales: zeros would hide mistakes in pruning."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point() or tensor.numel() < 2 or bool((tensor != tensor.flatten()[0]).any()):
            continue
        if isinstance(tensor, nn.Parameter) or name.endswith(("running_mean", "running_var")):
            tensor.data += 0.1 * torch.rand_like(tensor)
    return model


def _text(*lengths: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randint(0, 1000, (1, length)) for length in lengths)


def _bert(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    return library.BertForSequenceClassification(config), {"input_ids": _text(TOKENS)[0]}


def _distilbert(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.DistilBertConfig(dim=256, n_layers=4, n_heads=4, hidden_dim=1024)
    return library.DistilBertForSequenceClassification(config), {"input_ids": _text(TOKENS)[0]}


def _vit(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.ViTConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768)
    return library.ViTForImageClassification(config), {"pixel_values": torch.zeros(1, 3, 224, 224)}


def _swin(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.SwinConfig(embed_dim=48, depths=[2, 2, 6, 2])
    return library.SwinForImageClassification(config), {"pixel_values": torch.zeros(1, 3, 224, 224)}


def _t5(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.T5Config(d_model=256, d_kv=32, d_ff=1024, num_layers=4, num_heads=8)
    ids, decoder_ids = _text(TOKENS, TOKENS // 2)
    return library.T5ForConditionalGeneration(config), {"input_ids": ids, "decoder_input_ids": decoder_ids}


def _llama(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.LlamaConfig(
        vocab_size=8000,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
    )
    return library.LlamaForCausalLM(config), {"input_ids": _text(TOKENS)[0]}


def _gpt2(library: Any) -> tuple[nn.Module, Inputs]:
    config = library.GPT2Config(n_embd=256, n_layer=4, n_head=4)
    return library.GPT2LMHeadModel(config), {"input_ids": _text(TOKENS)[0]}


CONFIGURED: dict[str, Callable[[Any], tuple[nn.Module, Inputs]]] = {
    "hf-bert": _bert,
    "hf-distilbert": _distilbert,
    "hf-vit": _vit,
    "hf-swin": _swin,
    "hf-t5": _t5,
    "hf-llama-gqa": _llama,
    "hf-gpt2": _gpt2,
}
"""Builders of the networks of Transformers, by the zoo's name for them."""
