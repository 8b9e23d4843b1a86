"""A device: what a network runs on, with what, and how fast that is. One YAML file each; every number has a source.

A cost belongs to device x runtime x version x threads x precision, never to a device alone, so that is a device's key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ...errors import InputError, describe, unknown_name
from ..onnx.quantisation_scheme import DEFAULT_SCHEME, SCHEMES, QuantisationScheme, scheme_called
from .speeds import Efficiencies, FitError, Overheads, Quantity, Speeds, Strict, Tile

_PATTERN = re.compile(r"[1-9]\d*:[1-9]\d*")
FOLDER = Path(__file__).parent / "devices"


class Limits(Strict):
    """What must hold a network; ``None`` is no limit."""

    flash_bytes: Quantity | None = None
    """For the parameters."""
    ram_bytes: Quantity | None = None
    """For the activations."""


class VelaOptions(Strict):
    """What Arm's compiler for Ethos-U is told of the system; see its configuration file."""

    accelerator: str = Field(pattern=r"^ethos-u(55|65|85)-\d+$")
    """Such as ``ethos-u55-128``: the processor and its MACs per cycle."""
    system_config: str = Field(pattern=r"^\w+$")
    """Clock and memories, by their name in the compiler's file."""
    memory_mode: str = Field(pattern=r"^\w+$")
    """Which memory holds what."""


class Device(Strict):
    """A device x runtime x version x threads x precision, its limits and its speeds."""

    version: Literal[1] = 1
    name: str
    description: str
    runtime: str
    runtime_version: str
    threads: int = Field(ge=1)
    precisions: tuple[str, ...] = Field(min_length=1)
    """What runs on the device."""
    deployed_as: dict[str, str] = Field(default_factory=dict)
    """A precision that may be asked for, to the one that its costs are told at: ``{fp32: int8}`` on a device that runs
    int8 only. Accuracy is then measured at the precision asked for; latency, size, memory and energy are of the one
    deployed."""
    int8_scheme: str = DEFAULT_SCHEME.name
    """How int8 files for it are stored: one of :data:`~espalier.evaluators.onnx.quantisation_scheme.SCHEMES`. The
    default is right on every processor."""
    int8_scheme_source: str = ""
    """Why another scheme is right on the device."""
    fuses: bool = True
    """Whether the runtime fuses operators into kernels at all; eager execution does not."""
    fuses_additions: bool = True
    """Whether the runtime joins a residual addition to the convolution before it."""
    in_place: tuple[str, ...] = ()
    """Precisions at which it writes elementwise results, such as a residual sum, over an operand not read again."""
    in_place_source: str = ""
    channel_multiple: dict[str, int]
    """Per precision, the channel multiple worth searching on."""
    channel_multiple_source: str = Field(min_length=8)
    sparse_kernels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Per precision, the zeros that the runtime's kernels skip: ``weight`` for any, or patterns such as ``2:4``."""
    sparse_kernels_source: str = ""
    limits: Limits = Limits()
    runtime_flash_bytes: Quantity | None = None
    """Code and constants of the runtime, in flash beside the parameters."""
    runtime_ram_bytes: Quantity | None = None
    """What the runtime itself keeps in RAM beside the activations."""
    cost_model: Literal["measured", "learned", "roofline", "vela"] = "roofline"
    vela: VelaOptions | None = None
    """What the cost model ``vela`` compiles for."""
    calibration: str | None = None
    """The CSV file of measurements that the model ``learned`` is fitted to when the device is loaded; a relative path
    starts at the folder of the device's file."""
    reachable: bool = False
    """Whether it is the machine that this process runs on, so that networks can be measured."""
    speeds: dict[str, Speeds] = Field(default_factory=dict)
    """Per precision; what the roofline needs."""
    power_w: Quantity | None = None
    """Mean power during inference."""
    fit: dict[str, FitError] = Field(default_factory=dict)
    """Per precision, how well the speeds predict."""

    @field_validator("sparse_kernels")
    @classmethod
    def _known_kernels(cls, kernels: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in (name for names in kernels.values() for name in names):
            if name != "weight" and not _PATTERN.fullmatch(name):
                raise ValueError(f"sparse kernel {name!r}; expected weight, or a pattern such as 2:4")
        return kernels

    @field_validator("int8_scheme")
    @classmethod
    def _known_scheme(cls, name: str) -> str:
        if name not in SCHEMES:
            raise ValueError(f"int8 scheme {name!r}; expected one of {', '.join(SCHEMES)}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        if self.sparse_kernels and len(self.sparse_kernels_source) < 8:
            raise ValueError("sparse_kernels without a sparse_kernels_source")
        if self.int8_scheme != DEFAULT_SCHEME.name and len(self.int8_scheme_source) < 8:
            raise ValueError("an int8_scheme other than the default without an int8_scheme_source")
        if self.in_place and len(self.in_place_source) < 8:
            raise ValueError("in_place without an in_place_source")
        for precision in self.precisions:
            if precision not in self.channel_multiple:
                raise ValueError(f"channel_multiple lacks {precision}, which is among the precisions")
            if self.cost_model == "roofline" and (precision not in self.speeds or precision not in self.fit):
                raise ValueError(f"speeds and fit lack {precision}, which the roofline needs")
        if self.cost_model == "vela" and (self.vela is None or "int8" not in self.precisions):
            raise ValueError("vela and the precision int8 are needed by the cost model vela")
        if self.cost_model == "learned" and self.calibration is None:
            raise ValueError("calibration is missing, which the cost model learned is fitted to")
        for limit, own in (
            (self.limits.flash_bytes, self.runtime_flash_bytes),
            (self.limits.ram_bytes, self.runtime_ram_bytes),
        ):
            if limit is not None and own is not None and own.value >= limit.value:
                raise ValueError(f"the runtime takes {own.value:g} bytes of the {limit.value:g} that there are")
        for asked, deployed in self.deployed_as.items():
            if deployed not in self.precisions or asked in self.precisions:
                raise ValueError(f"deployed_as maps {asked} to {deployed}; map what does not run to what runs")
        return self

    @property
    def key(self) -> str:
        """Device, runtime, version, threads and precisions, as one text."""
        precisions = ",".join(self.precisions)
        return f"{self.name} x {self.runtime} {self.runtime_version} x {self.threads} thread(s) x {precisions}"

    def deployed_precision(self, precision: str) -> str | None:
        """Return the precision that costs are told at where ``precision`` is asked for; ``None`` if it cannot be."""
        return precision if precision in self.precisions else self.deployed_as.get(precision)

    @property
    def quantisation_scheme(self) -> QuantisationScheme:
        """How int8 files for the device are stored."""
        return scheme_called(self.int8_scheme)

    def alignment(self, precision: str = "fp32") -> int:
        """Return the channel multiple worth searching on; 1 for a precision that the device does not know."""
        return self.channel_multiple.get(self.deployed_precision(precision) or precision, 1)

    def kernels_for(self, pruning_type: str) -> tuple[str, ...]:
        """Return the sparse kernels that gain from a pruning type, with their precisions; empty where none does."""
        return tuple(
            f"{name} at {precision}"
            for precision, names in self.sparse_kernels.items()
            for name in names
            if (pruning_type == "nm" and name != "weight") or (pruning_type == "weight" and name == "weight")
        )

    def note(self, precision: str = "fp32") -> str:
        """Return what a reader of this device's numbers must know; empty if they are what they seem."""
        deployed = self.deployed_precision(precision)
        if deployed in (None, precision):
            return ""
        return (
            f"{self.name} runs {deployed}: latency, size, peak memory and energy are of the network deployed as "
            f"{deployed}; accuracy is measured at {precision}"
        )

    def room(self) -> Limits:
        """Return what the limits leave for a network: the runtime's own flash and RAM are taken off."""
        return Limits(
            flash_bytes=_less(self.limits.flash_bytes, self.runtime_flash_bytes),
            ram_bytes=_less(self.limits.ram_bytes, self.runtime_ram_bytes),
        )

    def excess(self, *, size_bytes: int, peak_memory_bytes: int) -> dict[str, int]:
        """Return by how many bytes a network exceeds ``flash`` and ``RAM``; empty where it fits."""
        room = self.room()
        needs = {"flash": (size_bytes, room.flash_bytes), "RAM": (peak_memory_bytes, room.ram_bytes)}
        return {
            name: math.ceil(need - limit.value)
            for name, (need, limit) in needs.items()
            if limit is not None and need > limit.value
        }

    def fits(self, *, size_bytes: int, peak_memory_bytes: int) -> bool:
        """Return whether a network's parameters and activations are within the limits, the runtime beside them."""
        return not self.excess(size_bytes=size_bytes, peak_memory_bytes=peak_memory_bytes)

    def to_yaml(self) -> str:
        """Return the text that :func:`load_device` reads back as an equal device."""
        data = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)

    @classmethod
    def from_yaml(cls, text: str, *, origin: str = "the text given") -> Device:
        """Return the device that a YAML text describes.

        Raises:
            InputError: it is no YAML, a field is missing, unknown or out of its range.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise _malformed(origin, f"no YAML ({error})") from error
        if not isinstance(data, Mapping):
            raise _malformed(origin, f"a {type(data).__name__}, no mapping")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _malformed(origin, _faults(error)) from error


def _less(limit: Quantity | None, own: Quantity | None) -> Quantity | None:
    if limit is None or own is None:
        return limit
    return Quantity(value=limit.value - own.value, source=f"{limit.source}; less the runtime's: {own.source}")


def device_names() -> tuple[str, ...]:
    """Return the names of the devices that Espalier ships."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_device(name_or_path: str | Path) -> Device:
    """Return a shipped device by its name, or the device that a YAML file describes.

    Raises:
        UnknownNameError: no device has that name; near names are suggested.
        InputError: the file is absent or malformed.
    """
    text = str(name_or_path)
    path = FOLDER / f"{text}.yaml"
    if text in device_names():
        return _read(path, origin=path.name)
    if not text.endswith((".yaml", ".yml")):
        raise unknown_name("device", text, device_names())
    path = Path(text)
    if not path.is_file():
        remedy = "Check the path, or use a device's name."
        raise InputError(describe(f"no file {text}", expected="a device's YAML file", remedy=remedy))
    return _read(path, origin=text)


def _read(path: Path, *, origin: str) -> Device:
    device = Device.from_yaml(path.read_text(encoding="utf-8"), origin=origin)
    if device.calibration is None:
        return device
    return device.model_copy(update={"calibration": str((path.parent / device.calibration).resolve())})


def _malformed(origin: str, fault: str) -> InputError:
    remedy = "Compare it with a shipped one: espalier devices host."
    return InputError(describe(f"{origin} is {fault}", expected="the YAML of a device", remedy=remedy))


def _faults(error: ValidationError) -> str:
    faults: list[str] = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "the whole"
        faults.append(f"{place}: {_fault(item)}")
    return "malformed at " + "; ".join(faults)


def _fault(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return str(unknown_name("field", str(item["loc"][-1]), _field_names()))
    return f"{item['msg']} (got {item.get('input')!r})"


def _field_names() -> set[str]:
    models = (Device, Speeds, Limits, VelaOptions, Quantity, Efficiencies, Overheads, Tile, FitError)
    return {name for model in models for name in model.model_fields}
