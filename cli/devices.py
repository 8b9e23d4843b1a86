"""``espalier devices``: the devices that can be named, and what is known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption
from .output import UNKNOWN, print_json, show_table

if TYPE_CHECKING:
    from ..evaluators.hardware.device import Device
    from ..evaluators.hardware.speeds import Quantity

_COLUMNS = ("device", "runtime", "threads", "precisions", "channels", "flash", "RAM", "latency", "trust")


def devices(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this device in full; a YAML file also works.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices, or show one with the source of every number."""
    from ..evaluators.hardware import device_names, load_device

    if name is not None:
        device = load_device(name)
        print_json(device.model_dump(mode="json")) if as_json else print(device.to_yaml(), end="")
        return
    known = [load_device(each) for each in device_names()]
    if as_json:
        print_json([device.model_dump(mode="json") for device in known])
    else:
        show_table(_COLUMNS, [_row(device) for device in known])


def _row(device: Device) -> tuple[str, ...]:
    return (
        device.name,
        f"{device.runtime} {device.runtime_version}",
        str(device.threads),
        " ".join(device.precisions),
        " ".join(f"{precision}:{multiple}" for precision, multiple in device.channel_multiple.items()),
        _bytes(device.limits.flash_bytes),
        _bytes(device.limits.ram_bytes),
        "measured here" if device.reachable else device.cost_model,
        trust(device),
    )


def trust(device: Device) -> str:
    """Return in words how far a device's latencies may be trusted: what its stored error is of, and the interval."""
    if not device.fit:
        return "measured" if device.cost_model == "measured" else "its calibration's error"
    fit = next(iter(device.fit.values()))
    kinds = {
        "held-out": "networks held out",
        "leave-one-out": "each network left out",
        "leave-network-out": "each network left out on all boards",
        "nominal": "NOT MEASURED, error of other devices",
    }
    ranks = "" if fit.spearman is None else f", rank correlation {fit.spearman:.2f}"
    share = "all" if fit.held_out < 10 else "90 %"
    return f"{kinds[fit.method]}: {share} within \u00b1{fit.interval_90:.0%}{ranks}"


def _bytes(limit: Quantity | None) -> str:
    from ..reports import formatting as fmt

    return UNKNOWN if limit is None else fmt.metric("size_bytes", limit.value)
