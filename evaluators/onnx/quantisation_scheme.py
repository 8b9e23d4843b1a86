"""The integers of an int8 file, and the processors on which its sums of products come out right.

An x86 processor without VNNI multiplies uint8 by int8 in pairs and sums each pair in 16 bits (``pmaddubsw``): what lies
beyond 32,767 is cut, and ONNX Runtime's kernels then compute something else. Weights of 7 bits cannot get there: two
products of 255 and 64 sum up to 32,640. See docs/int8.md for what each scheme costs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import describe
from ...registry import Registry

LARGEST_SAFE_WEIGHT = 64
"""No pair of products with a uint8 leaves 16 bits: 2 x 255 x 64 = 32,640."""


@dataclass(frozen=True)
class QuantisationScheme:
    """How activations and weights are stored, and where that is right."""

    name: str
    """As device files, manifests and runs call it: types and bits of activations and weights."""
    activations: str
    """``uint8``, or ``int8`` about zero."""
    weights: str
    """``int8`` or ``uint8``, symmetric about zero or about 128."""
    largest_weight: int
    """No weight is stored further from its zero than this."""
    right_on: str
    """The processors on which ONNX Runtime sums the products right, in words."""

    def __post_init__(self) -> None:
        for what in (self.activations, self.weights):
            if what not in ("uint8", "int8"):
                raise ValueError(describe(f"type {what!r}", expected="uint8 or int8", remedy="Choose one of these."))

    @property
    def can_saturate(self) -> bool:
        """Whether a processor that sums pairs of products in 16 bits computes something else.

        Activations of int8 are no way out: on x86 ONNX Runtime 1.31 makes them uint8 before it multiplies.
        """
        return self.weights == "int8" and self.largest_weight > LARGEST_SAFE_WEIGHT

    @property
    def activation_words(self) -> str:
        """What a reader needs to know of the activations."""
        return f"{self.activations} per tensor, {'asymmetric' if self.activations == 'uint8' else 'symmetric'}"

    @property
    def weight_words(self) -> str:
        """What a reader needs to know of the weights."""
        return f"{self.weights} per output channel, symmetric, at most {self.largest_weight} from zero"


SCHEMES: Registry[QuantisationScheme] = Registry("int8 scheme")
_EVERY = "every processor"

U8S7 = SCHEMES.add("u8s7", QuantisationScheme("u8s7", "uint8", "int8", 64, _EVERY))
U8S8 = SCHEMES.add(
    "u8s8",
    QuantisationScheme(
        "u8s8",
        "uint8",
        "int8",
        127,
        "x86 with VNNI (AVX-VNNI, AVX-512 VNNI or AMX-INT8), Arm, Cortex-M and Ethos-U, not x86 without VNNI",
    ),
)
U8U8 = SCHEMES.add("u8u8", QuantisationScheme("u8u8", "uint8", "uint8", 128, _EVERY))
DEFAULT_SCHEME = U8S7


def scheme_called(name: str) -> QuantisationScheme:
    """Return a registered scheme.

    Raises:
        UnknownNameError: none has that name; near names are suggested.
    """
    return SCHEMES.get(name)
