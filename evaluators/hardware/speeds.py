"""The speeds of a device, as the roofline needs them: each with its source, and with how well it foretells.

Williams et al., "Roofline: an insightful visual performance model", CACM 2009.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ...errors import unknown_name
from .operations import KINDS

FALLBACKS = {
    "pointwise_conv": "conv",
    "grouped_conv": "conv",
    "depthwise_conv": "conv",
    "transposed_conv": "conv",
    "linear": "conv",
    "matmul": "linear",
    "attention": "linear",
    "recurrent": "linear",
}
"""The kind whose efficiency stands in where a device states none; kinds without MACs fall back to ``elementwise``."""


class Strict(BaseModel):
    """A frozen record that takes no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Quantity(Strict):
    """A number and where it comes from."""

    value: float = Field(gt=0)
    source: str = Field(min_length=8)


class _ByKind(Strict):
    """A number for each kind of kernel."""

    values: dict[str, float]
    source: str = Field(min_length=8)

    @field_validator("values")
    @classmethod
    def _known_kinds(cls, values: dict[str, float]) -> dict[str, float]:
        for kind in values:
            if kind not in KINDS:
                raise ValueError(str(unknown_name("kernel kind", kind, KINDS)))
        return values


class Efficiencies(_ByKind):
    """What each kind of kernel reaches: of the peak where it has MACs, of the bandwidth where it has none."""

    @field_validator("values")
    @classmethod
    def _in_range(cls, values: dict[str, float]) -> dict[str, float]:
        for kind, value in values.items():
            if not 0 < value <= 4:
                raise ValueError(f"efficiency of {kind} is {value}; expected one in (0, 4]")
        missing = {"conv", "elementwise"} - set(values)
        if missing:
            raise ValueError(f"efficiencies lack {', '.join(sorted(missing))}, which others fall back to")
        return values

    def of(self, kind: str) -> float:
        """Return the efficiency of ``kind``, or of the kind that stands in for it."""
        while kind not in self.values:
            kind = FALLBACKS.get(kind, "elementwise")
        return self.values[kind]


class Overheads(_ByKind):
    """Microseconds that one kernel of each kind takes beside its work; kinds not named take the general overhead."""

    @field_validator("values")
    @classmethod
    def _in_range(cls, values: dict[str, float]) -> dict[str, float]:
        for kind, value in values.items():
            if value <= 0:
                raise ValueError(f"overhead of {kind} is {value}; expected one above 0")
        return values


class Tile(Strict):
    """Channels that the kernels compute at a time: a layer pays for whole tiles."""

    input: int = Field(ge=1)
    output: int = Field(ge=1)
    source: str = Field(min_length=8)


class Speeds(Strict):
    """The roofline of one precision: per kernel, max(MACs / (peak x efficiency), bytes / bandwidth) + overhead, and
    + weights / weight bandwidth where weights are read from a slow memory."""

    peak_macs_per_s: Quantity
    bandwidth_bytes_per_s: Quantity
    overhead_us: Quantity
    """Per kernel."""
    overheads_us: Overheads | None = None
    """Per kernel of a kind, where kinds differ."""
    start_us: Quantity | None = None
    """Per network."""
    weight_bytes_per_s: Quantity | None = None
    """What streams weights beside the computing, not behind it: a microcontroller's flash."""
    tile: Tile
    efficiency: Efficiencies

    def overhead_of(self, kind: str) -> float:
        """Return the microseconds that a kernel of ``kind`` takes beside its work."""
        own = {} if self.overheads_us is None else self.overheads_us.values
        return own.get(kind, self.overhead_us.value)


class FitError(Strict):
    """How far the fitted roofline is from measurements that it was not fitted to."""

    source: str = Field(min_length=8)
    """The measurements."""
    command: str
    """What repeats the fit."""
    fitted: int = Field(ge=0)
    """Measured networks that the speeds were fitted to; 0 where the method is ``nominal``."""
    held_out: int = Field(ge=1)
    """Measured networks that the error is of."""
    method: Literal["held-out", "leave-one-out", "leave-network-out", "nominal"]
    """``leave-network-out``: a network is held out on every board that shares the fit. ``nominal``: the device was not
    measured. Its speeds come from data sheets, and the error is the one that this method makes on other devices that
    were measured."""
    median_relative_error: float = Field(ge=0)
    share_within_10_percent: float = Field(ge=0, le=1)
    spearman: float | None = Field(ge=-1, le=1, default=None)
    """Rank correlation; ``None`` where all networks are told alike."""
    interval_90: float = Field(gt=0)
    """Half-width, as a fraction of the prediction, that holds 90 % of the measurements held out (all, if under ten)."""
    known_network_error: float | None = None
    """Largest relative error on a measurement held out alone, its network fitted on other boards with this runtime."""

    @model_validator(mode="after")
    def _fitted_unless_nominal(self) -> FitError:
        if (self.fitted == 0) != (self.method == "nominal"):
            raise ValueError(f"fitted is {self.fitted} with method {self.method}; nominal speeds are fitted to none")
        return self
