"""A search space's parameters in Optuna's terms."""

from __future__ import annotations

import random
from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ..errors import InputError, describe
from ..spaces.search_space import Parameter, SearchSpace, Value


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return one distribution for each parameter of ``space``, by name."""
    return {parameter.name: _distribution(parameter) for parameter in space.parameters}


def check_values(values: Mapping[str, Value], space: SearchSpace) -> dict[str, Value]:
    """Return ``values`` as they are, if the space's parameters can take them and none is missing.

    Optuna itself accepts enqueued values outside a distribution.

    Raises:
        InputError: a value is missing, unknown or outside its range.
    """
    parameters = {p.name: p for p in space.parameters}
    for name in (*values, *parameters):
        known = parameters.get(name)
        if known is None or not known.holds(values.get(name)):
            raise InputError(
                describe(
                    f"value {values.get(name)!r} of {name!r}",
                    expected=f"a value of {known}" if known else "a parameter of the search space",
                    remedy="Take the values from SearchSpace.values.",
                )
            )
    return dict(values)


def draw(space: SearchSpace, generator: random.Random) -> dict[str, Value]:
    """Return values drawn uniformly, one for each parameter."""
    return {p.name: _draw(p, generator) for p in space.parameters}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    return IntDistribution(parameter.low, parameter.high, step=parameter.step)


def _draw(parameter: Parameter, generator: random.Random) -> Value:
    if parameter.kind == "categorical":
        return generator.choice(parameter.choices)
    return generator.randrange(parameter.low, parameter.high + 1, parameter.step)
