"""The model card of an export: a README.md that says what the network is, what was done to it and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..evaluators.objectives import Constraint
from ..evaluators.onnx.quantisation import scheme_of_recipe
from ..evaluators.task.task_loading import is_built_in
from ..spaces.policy import Choice, Policy
from ..spaces.pruning_types import PRUNING_TYPES
from . import formatting as fmt
from .export_shapes import sizes_in_words
from .formats import FORMATS
from .int8 import recorded_agreement
from .manifest import (
    CARD,
    MANIFEST,
    ONNX_FIXED,
    ONNX_INT8,
    ONNX_INT8_FIXED,
    POLICY,
    RANKINGS,
    WEIGHTS,
    Manifest,
)
from .parity import TOLERANCE
from .precision import costs_precision

_METRICS = (
    "accuracy",
    "test_accuracy",
    "latency_ms",
    "size_bytes",
    "dense_size_bytes",
    "macs",
    "params",
    "peak_memory_bytes",
    "energy_mj",
)


def model_card(manifest: Manifest, policy: Policy, input_names: tuple[str, ...]) -> str:
    """Return the model card as Markdown.

    Args:
        manifest: the manifest of the export.
        policy: what was removed.
        input_names: names of the ONNX model's inputs.
    """
    parts = (
        _introduction(manifest),
        _numbers(manifest),
        _removed(policy),
        _usage(manifest, input_names),
        _files(manifest),
        _limits(manifest),
        _licence(manifest),
    )
    return "\n".join(parts)


def _introduction(m: Manifest) -> str:
    named = [f"`{fmt.constraint(Constraint.parse(text), m.measure)}`" for text in m.constraints]
    constraints = f" within {', '.join(named)}" if named else ""
    return f"""# {m.task}, pruned for {m.device}

A smaller version of the network of the task `{m.task}`, made by Espalier {m.versions.get("espalier", "")}:
configuration `{m.pick}` (trial {m.trial}) of a search for the device `{m.device}`{constraints}. Inputs and outputs are
those of the dense network.

Export it from its run again, or make the run again:

```
{m.command}
{m.search_command}
```
"""


def _numbers(m: Manifest) -> str:
    rows = [
        f"| {fmt.label(name, m.measure)} | {_shown(m, name, m.dense)} | {_shown(m, name, m.claimed)} | "
        f"{fmt.change(name, m.claimed.get(name), m.dense.get(name), m.measure)} | {_shown(m, name, m.measured)} |"
        for name in _METRICS
        if m.claimed.get(name) is not None and (name != "dense_size_bytes" or _encoded(m))
    ]
    source = "measured again on the exported network" if m.claimed_by == "export" else "the final numbers of the search"
    extra = f", then {fmt.plural(m.fine_tune_epochs, 'epoch')} more for this export" if m.fine_tune_epochs else ""
    return f"""## Numbers

| metric | dense | this network | change | measured at export |
|---|---|---|---|---|
{chr(10).join(rows)}

- What is claimed ("this network") is {source}; `espalier verify` checks it.
- {_title(m)}, latency, size and memory are of `{m.claims_of}`, at {_told(m, m.precision)}; the dense network's are at
  {_told(m, "fp32")}.
- Latency: {m.latency_source} for `{m.device}`, {fmt.plural(m.threads, "thread")}, batch of 1, stated error
  ±{100 * m.latency_error:.1f} %; `espalier verify` allows that error.
- Fidelity: fine-tuned on {fmt.plural(m.samples, "training sample")} after pruning{extra}.
- The score: {m.measure.words}. On validation data it steered the search; on test data it was read afterwards.
"""


def _told(m: Manifest, precision: str) -> str:
    """Return the precision of the score and, where the device runs another, of costs."""
    costs = costs_precision(precision, m.device_told)
    if costs == precision:
        return precision
    return f"{precision} ({m.measure.name}) and {costs} (latency, size, memory and energy, as `{m.device}` runs it)"


def _shown(m: Manifest, name: str, metrics: Mapping[str, float | None]) -> str:
    return fmt.metric(name, metrics.get(name), m.measure)


def _title(m: Manifest) -> str:
    return f"{m.measure.name[:1].upper()}{m.measure.name[1:]}"


def _encoded(m: Manifest) -> bool:
    return m.claimed.get("dense_size_bytes") != m.claimed.get("size_bytes")


def _removed(policy: Policy) -> str:
    rows = [f"| `{name}` | {_kept(choice)} | {choice.criterion or '-'} |" for name, choice in policy.choices.items()]
    return f"""## What was removed

What is kept of each group of coupled layers (named after its first layer), precision {policy.precision}:

| group | kept | ranked by |
|---|---|---|
{chr(10).join(rows)}
{_zeros(policy)}"""


def _kept(choice: Choice) -> str:
    return PRUNING_TYPES.get(choice.type).words(choice)


def _zeros(policy: Policy) -> str:
    if not any(PRUNING_TYPES.get(choice.type).zeroes for choice in policy.choices.values()):
        return ""
    return """
Where single weights are kept, the others are zeros. The files here store them like any other number; the size above is
that of an encoding that leaves them out (docs/numbers.md of Espalier), the dense size that of storing all.
"""


def _usage(m: Manifest, input_names: tuple[str, ...]) -> str:
    argument = ", task=task)  # the task object that the search was given"
    if is_built_in(m.task_reference):
        argument = ")"
    elif m.task_reference is not None:
        argument = f", task=espalier.load_task({json.dumps(m.task_reference)}))"
    parts = [
        f"""## How to load it

In PyTorch at fp32, without pickle (needs the task, whose network is pruned anew and given the weights):

```python
import espalier

model = espalier.load("."{argument}
```
"""
    ]
    if m.int8 is not None and "onnx" not in m.formats:
        parts.append(FORMATS.get("onnx").usage(ONNX_INT8, input_names))
    for name in m.formats:
        file = ONNX_INT8 if name == "onnx" and m.int8 is not None else FORMATS.get(name).file
        parts.append(FORMATS.get(name).usage(file, input_names))
    return "\n".join(parts)


_DESCRIPTIONS = {
    ONNX_INT8: "the network for ONNX Runtime and other runtimes, at int8",
    ONNX_FIXED: "the same network as `model.onnx` at one size, for runtimes that take no other",
    ONNX_INT8_FIXED: "the same network as `model.int8.onnx` at one size, for runtimes that take no other",
    WEIGHTS: "parameters and buffers of the pruned network",
    POLICY: "what is kept of each group",
    RANKINGS: "the order in which channels were kept",
    CARD: "this card",
}


def _files(m: Manifest) -> str:
    programs = {FORMATS.get(name).file: FORMATS.get(name).description for name in FORMATS}
    described = {**programs, **_DESCRIPTIONS}
    lines = "\n".join(f"- `{name}`: {text}" for name, text in described.items() if name in m.files or name == CARD)
    return f"""## Files

{lines}
- `{MANIFEST}`: the numbers above as JSON, versions, and the SHA-256 of each file
"""


def _limits(m: Manifest) -> str:
    measured = (
        "Latency was measured on one machine; another, or the same under load, differs. Where the machine drifted,\n"
        "  `espalier verify` compares the ratio to the dense network's latency instead."
        if m.latency_source == "measured"
        else f"Latency is predicted ({m.latency_source}), not measured on the device."
    )
    parities = "; ".join(f"{name}: {p['relative']:.1e}" for name, p in m.parity.items()) or "nothing else was exported"
    return f"""## Limits

- {measured}
{_sizes(m)}- Latency was measured at a batch of 1 of the example's size, every axis held to it.
- Largest difference to PyTorch, relative to the largest output (tolerance {TOLERANCE:.0e}): {parities}.
{_int8_limits(m)}- {_title(m)} is that of the task's own data and metric. Pruning can harm some classes or groups
  of people more than the mean shows: evaluate it on what matters to you before using it.
"""


def _sizes(m: Manifest) -> str:
    return "".join(f"- {line}\n" for line in sizes_in_words(m.shapes))


def _int8_limits(m: Manifest) -> str:
    if m.int8 is None:
        return ""
    found, recipe = recorded_agreement(m.int8), m.int8["recipe"]
    share = "" if found.same_predictions is None else f" predicts the same as fp32 on {found.words} of them, and"
    validated = fmt.plural(found.samples, "validation sample")
    return f"""- `{ONNX_INT8}` was quantised after training: weights {recipe["weights"]};
  activations {recipe["activations"]}, their ranges by {recipe["calibration"]} on {recipe["samples"]} training samples
  (seed {recipe["seed"]}). On {validated} it{share} differs by at most {found.relative:.1e} of the largest output.
  {_right_on(m)}
"""


def _right_on(m: Manifest) -> str:
    recipe, products = (m.int8 or {})["recipe"], (m.int8 or {}).get("products")
    if "right_on" not in recipe:
        return "On x86 processors without VNNI, sums of its products may saturate and accuracy be lower: verify there."
    here = "" if products is None else f" (on that of the export: {_products(products)})"
    if scheme_of_recipe(recipe).can_saturate:
        return (
            f"**Its sums of products are right on {recipe['right_on']}{here}.**\n"
            "  Elsewhere they saturate, and outputs are others: `espalier verify` tells."
        )
    return f"Its sums of products cannot saturate: it computes the same on {recipe['right_on']}{here}."


def _products(products: Mapping[str, Any]) -> str:
    return f"{products['compared'] - len(products['wrong'])} of {products['compared']} products exact"


def _licence(m: Manifest) -> str:
    return f"""## Licence

Pruning does not change who owns a network: the licence of the dense network of `{m.task}`, and the terms of the data
that it was trained on, apply to this one. Espalier's own licence (Apache-2.0) covers the tool, not what it exports.
"""
