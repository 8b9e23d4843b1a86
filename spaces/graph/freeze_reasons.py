"""Why channels may not be removed: a code that programs read, words that people read, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_SIZES = "Take sizes from the tensors (x.shape[1]), not from numbers written into forward."
_RULE = "Use standard operations, or give the operation a rule: see CONTRIBUTING.md."


class FreezeCode(StrEnum):
    """What keeps channels in place. The value is what JSON holds; members carry their words and a remedy."""

    words: str
    """What is said of the channels, with places for details in braces."""
    remedy: str
    """What to do about it."""

    def __new__(cls, value: str, words: str, remedy: str) -> FreezeCode:
        """Make a member of a value, words and a remedy."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.words, member.remedy = words, remedy
        return member

    INPUT = "input", "its channels meet the network's input", "Nothing to do: inputs keep their shape."
    OUTPUT = "output", "its channels are an output of the network", "Nothing to do: outputs keep their shape."
    OUTPUT_SHAPE = (
        "output_shape",
        "its channels are an output of the network: pruning them changes its shape ({objection})",
        "Nothing to do: outputs keep their shape.",
    )
    TASK = "task", "the task freezes {layers}", "Take the layer out of the task's freeze=."
    INDEX = (
        "index",
        "they are told by their number ({operation}), which changes for all that come after one that is removed",
        "Nothing to do where indices are results, such as class numbers; else use the values instead of their indices.",
    )
    ORDER = (
        "order",
        "{operation} runs over them one after another, so that each one's place counts",
        "Nothing to do, unless the operation can run over space or time instead of channels.",
    )
    POSITION = (
        "position",
        "each stands beside a number made for its position ({operation} with values that are no parameter or buffer)",
        "Register the values as a buffer, which is cut along with the channels, where they belong to channels.",
    )
    FIXED_CHANNELS = (
        "fixed_channels",
        "it meets values of a fixed number of channels",
        "Make constants of one channel, or parameters, which are cut along.",
    )
    SCALAR = (
        "scalar",
        "one value of it acts on many channels",
        "Nothing to do in the task; a rule for it may be added: see CONTRIBUTING.md.",
    )
    UNKNOWN_OPERATION = (
        "unknown_operation",
        "its channels reach the operation {operation}, of which no cut is known",
        _RULE,
    )
    UNKNOWN_LAYOUT = "unknown_layout", "it meets a weight in an unknown layout", _RULE
    COMPUTED_WEIGHT = (
        "computed_weight",
        "it meets a convolution whose weight is computed",
        "Merge what computes the weight into it before pruning.",
    )
    UNFOLLOWED = (
        "unfollowed",
        "its weights are used in a way in which no channels can be told",
        _RULE,
    )
    UNKNOWN_ARGUMENTS = (
        "unknown_arguments",
        "its channels reach the operation {operation} in a way that is not known",
        _RULE,
    )
    TANGLED = (
        "tangled",
        "its channels meet all of another layer's in one dimension, so that no cut is known",
        "Nothing to do, unless the two kinds of channels can stay in dimensions of their own.",
    )
    REPEATED_WEIGHT = (
        "repeated_weight",
        "it meets a convolution in groups whose weight is repeated",
        "Give every group a weight of its own.",
    )
    COORDINATES = (
        "coordinates",
        "its channels are coordinates at which values are sampled",
        "Nothing to do: there is one channel for each coordinate.",
    )
    SCATTERED = (
        "scattered",
        "its channels lie along the dimension that values are scattered over",
        "Scatter over another dimension than that of channels.",
    )
    SCATTER_PLACES = (
        "scatter_places",
        "its channels say where values are scattered to",
        "Nothing to do: there is one channel for each place.",
    )
    SPARSE = "sparse", "a sparse matrix mixes its channels", "Multiply with a dense weight, or over another dimension."
    PACKED = (
        "packed",
        "its channels change along a sequence that is packed",
        "Nothing to do in the task; a rule for it may be added: see CONTRIBUTING.md.",
    )
    PROJECTED = (
        "projected",
        "an LSTM with projections needs more hidden units than projected ones, however many of these stay",
        "Nothing to do, unless the layer can do without proj_size=.",
    )
    ZERO_PADDED = (
        "zero_padded",
        "a shortcut adds a fixed number of channels of zeros to it, which would no longer fit",
        "Nothing to do, unless the shortcut can be a convolution.",
    )
    INSEPARABLE = (
        "inseparable",
        "all its channels depend on one another, so none can go alone",
        "Nothing to do, unless the layer can have more heads or convolution groups.",
    )
    DOES_NOT_RUN = "does_not_run", "the pruned network does not run ({fault})", _SIZES
    NOT_FINITE = (
        "not_finite",
        "the pruned network's outputs are not finite",
        "Look for divisions and logarithms of what can become zero.",
    )
    DIFFERS = (
        "differs",
        "the pruned network differs from its masked twin by {difference} of the largest output",
        "Nothing to do, unless forward uses sizes or channel indices of its own.",
    )
    TOGETHER = (
        "together",
        "together with other groups, {clash}",
        "Nothing to do: the other groups can be pruned.",
    )
    DECISION = (
        "decision",
        "its values become a number that Python decides by",
        "Nothing to do, unless the number is not needed: decide by tensors (torch.where).",
    )
    UNREAD = (
        "unread",
        "forward decides by values what runs; what layers read that never ran on an example ({layers}) is not known",
        "Give example inputs that run them (example_input=[...]), or remove them.",
    )
    RANDOM = (
        "random",
        "the random numbers that it meets are as many as its channels, and cannot be compared",
        "Draw random numbers whose shape does not hold the number of channels, as dropout over samples does.",
    )
    UNOBSERVED = (
        "unobserved",
        "no output was seen to depend on it, so that a cut of it cannot be compared",
        "Give an example input on which an output depends on the layer, or remove the layer.",
    )
    NOTHING_COMPARED = (
        "nothing_compared",
        "no output holds a number by which a cut could be compared",
        "Return tensors that hold at least one number on the example input.",
    )
    NEVER_RUN = (
        "never_run",
        "it never runs on the example input",
        "Give an example input that reaches the layer, or take the layer out of the network.",
    )

    @property
    def is_output(self) -> bool:
        """Whether the channels are what the network returns: that these stay is no news."""
        return self in (FreezeCode.OUTPUT, FreezeCode.OUTPUT_SHAPE)

    def because(self, **details: str) -> FreezeReason:
        """Return the reason with ``details`` put into its words."""
        return FreezeReason(self, self.words.format(**details))


@dataclass(frozen=True)
class FreezeReason:
    """A code, and the words for one case of it."""

    code: FreezeCode
    words: str
