"""Which part of a sample goes into the network, and which is its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ....errors import TaskError, describe
from ....spaces.inputs import tensors_of
from .network_input import Loss, as_targets, one_example
from .values import as_tensors, is_text

TARGET_KEYS = ("labels", "label", "label_ids", "targets", "target", "y")
"""What the target is called in samples that are dicts, where the task does not say."""


@dataclass(frozen=True)
class Roles:
    """Splits the samples of one part of a task's data, be they single or in batches.

    A pair is ``(inputs, target)``. Of a longer tuple the last element is the target, where ``example_input`` is a tuple
    with as many elements as are left. Of a dict the target is what ``target_key`` names, else the only one of
    :data:`TARGET_KEYS`; the inputs are those that ``example_input`` names, or the arguments of the network's forward.
    """

    name: str
    """What the data are called in messages."""
    example_input: Any = None
    """``None`` where nothing is known of the network: inputs stay as they are."""
    target_key: str | Sequence[str] | None = None
    arguments: Callable[[], Sequence[str]] = tuple
    """The names of the forward's arguments, asked for where they decide."""
    loss: Loss | None = None
    """Decides what form targets take; they stay as they are where there is none."""

    def split(self, sample: Any, row: int | None = None) -> tuple[Any, Any]:
        """Return the inputs and the targets of a sample or batch, with tensors as their leaves.

        Raises:
            TaskError: it cannot be told which is which, or values are no numbers.
        """
        inputs, targets = self._parts(sample)
        if isinstance(inputs, Mapping):
            inputs = self._chosen(inputs)  # before anything else: names and paths may stand beside what is taken
        where = f"{self.name} data" if row is None else f"{self.name} sample {row}"
        inputs = self._arranged(as_tensors(inputs, f"{where}: its inputs"))
        return inputs, as_tensors(targets, f"{where}: its targets")

    def batch(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return a batch whose targets have the form that the loss takes."""
        return inputs, targets if self.loss is None else as_targets(targets, self.loss)

    def is_single(self, inputs: Any) -> bool:
        """Return whether ``inputs`` are those of one sample, without an axis for the batch."""
        wanted, given = tensors_of(one_example(self.example_input)), tensors_of(inputs)
        if not wanted or not given:
            return bool(given) and given[0].dim() == 0
        return given[0].dim() < wanted[0].dim()

    def _parts(self, sample: Any) -> tuple[Any, Any]:
        if hasattr(sample, "_asdict") and self._has_target(sample._fields):
            sample = sample._asdict()
        if isinstance(sample, Mapping):
            return self._of_dict(sample)
        if isinstance(sample, tuple | list) and len(sample) == 2:
            return sample[0], sample[1]
        if isinstance(sample, tuple | list) and len(sample) > 2:
            return self._of_tuple(sample)
        raise TaskError(
            describe(
                f"{self.name} samples are {_kind(sample)}, without a target",
                expected="(inputs, target) pairs, or dicts of named tensors",
                remedy="Pair each input with its target; a network that reproduces its input takes (x, x).",
            )
        )

    def _of_tuple(self, sample: Sequence[Any]) -> tuple[Any, Any]:
        example = one_example(self.example_input)
        inputs = len(example) if isinstance(example, tuple) else 1
        if len(sample) == inputs + 1 and isinstance(example, tuple):
            return tuple(sample[:-1]), sample[-1]
        takes = f"{inputs} input{'s' * (inputs != 1)}" if not isinstance(example, Mapping) else "named inputs"
        raise TaskError(
            describe(
                f"{self.name} samples are tuples of {len(sample)}, and by example_input the network takes {takes}",
                expected="(inputs, target) pairs, with a tuple of inputs where the network takes several",
                remedy="Return ((x1, x2), target), or a dict, and an example_input of the same form.",
            )
        )

    def _has_target(self, names: Sequence[str]) -> bool:
        wanted = TARGET_KEYS if self.target_key is None else self.target_key
        return any(name in names for name in ((wanted,) if isinstance(wanted, str) else wanted))

    def _of_dict(self, sample: Mapping[Any, Any]) -> tuple[Any, Any]:
        target = self._target_key(sample)
        taken = (target,) if isinstance(target, str) else target
        inputs = {key: value for key, value in sample.items() if key not in taken}
        named = one_example(self.example_input)
        if isinstance(named, Mapping):  # a network may take its targets too, and give its loss
            inputs |= {key: sample[key] for key in named if key in sample}
        if isinstance(target, str):
            return self._chosen(inputs), sample[target]
        return self._chosen(inputs), {key: sample[key] for key in target}

    def _target_key(self, sample: Mapping[Any, Any]) -> str | tuple[str, ...]:
        keys = ", ".join(map(repr, sample))
        if self.target_key is not None:
            wanted = (self.target_key,) if isinstance(self.target_key, str) else tuple(self.target_key)
            if missing := [key for key in wanted if key not in sample]:
                raise TaskError(
                    describe(
                        f"{self.name} samples are dicts with the keys {keys}, without the target_key {missing[0]!r}",
                        expected="a key that they have",
                        remedy="Correct the task's target_key.",
                    )
                )
            return self.target_key if isinstance(self.target_key, str) else wanted
        found = [key for key in TARGET_KEYS if key in sample]
        if len(found) == 1:
            return found[0]
        which = "none of which names a target" if not found else f"of which {' and '.join(found)} may be the target"
        raise TaskError(
            describe(
                f"{self.name} samples are dicts with the keys {keys}, {which}",
                expected=f"one of {', '.join(TARGET_KEYS)}",
                remedy="Name the target in the task: target_key='...'.",
            )
        )

    def _chosen(self, inputs: Mapping[Any, Any]) -> Any:
        """Return those of a dict's values that the network takes, in the form of ``example_input``."""
        example = one_example(self.example_input)
        if example is None:
            return dict(inputs)
        if isinstance(example, Mapping):
            # What is no tensor in the example, such as None or a flag, need not be in the data.
            if missing := [key for key, value in example.items() if key not in inputs and tensors_of(value)]:
                raise self._lacking(inputs, f"example_input names {missing[0]!r}")
            return {key: inputs[key] for key in example if key in inputs}
        count = len(example) if isinstance(example, tuple) else 1
        numbers = [value for value in inputs.values() if not is_text(value)]
        if count == len(numbers) == 1:
            found = tuple(numbers)
        else:
            names = tuple(self.arguments())[:count]
            if len(names) < count or any(name not in inputs for name in names):
                raise self._lacking(inputs, f"the network's forward takes {', '.join(names) or 'no named argument'}")
            found = tuple(inputs[name] for name in names)
        return found if isinstance(example, tuple) else found[0]

    def _lacking(self, inputs: Mapping[Any, Any], why: str) -> TaskError:
        return TaskError(
            describe(
                f"{self.name} samples are dicts with the inputs {', '.join(map(repr, inputs))}, and {why}",
                expected="inputs named as the network's arguments are",
                remedy="Rename the keys, or give example_input as a dict of those that the network takes.",
            )
        )

    def _arranged(self, inputs: Any) -> Any:
        """Return inputs in the form of ``example_input``: a tensor, a tuple or a dict."""
        example = one_example(self.example_input)
        if example is None:
            return inputs
        if isinstance(inputs, Mapping):
            return self._chosen(inputs)
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        if isinstance(example, torch.Tensor) and len(given) == 1:
            return given[0]
        if isinstance(example, tuple) and len(given) == len(example):
            return tuple(given)
        if isinstance(example, Mapping) and len(given) == len(example) == 1:
            return {next(iter(example)): given[0]}
        if not isinstance(example, torch.Tensor | tuple | Mapping):
            return inputs
        raise TaskError(
            describe(
                f"{self.name} samples have inputs of {_kind(inputs)}, example_input is {_kind(example)}",
                expected="inputs of the same form",
                remedy="Let data and example_input hold what the network takes: a tensor, a tuple or a dict of them.",
            )
        )


UNKNOWN = Roles("given")
"""Of data whose task is not known."""


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict with the keys {', '.join(map(repr, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"
