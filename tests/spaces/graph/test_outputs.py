"""Outputs of every form: their tensors are outputs, or tracing sees none and says so; no comparison is no proof."""

from __future__ import annotations

from collections import deque, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import InputError
from espalier.spaces import Policy, prune, trace
from espalier.spaces.graph.comparison import difference, finite_alike, values_of
from espalier.spaces.graph.output_shapes import OutputShapes
from espalier.spaces.graph.outputs import found_in, output_tensors

Pair = namedtuple("Pair", "left right")
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@dataclass
class Prediction:
    scores: torch.Tensor
    more: Any = None


class Slotted:
    __slots__ = ("__hidden", "scores")

    def __init__(self, scores: torch.Tensor, hidden: Any) -> None:
        self.scores, self.__hidden = scores, hidden


class Circular:
    def __init__(self, scores: torch.Tensor) -> None:
        self.itself, self.held = self, [{"scores": scores}]


class Returning(nn.Module):
    """Two hidden layers and two heads; what the heads give is wrapped by ``form``."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form = form
        self.body, self.middle = nn.Linear(4, 12), nn.Linear(12, 10)
        self.head, self.second = nn.Linear(10, 5), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> Any:
        h = F.relu(self.middle(F.relu(self.body(x))))
        return self.form(self.head(h), self.second(h))


def _returning(form: Any) -> nn.Module:
    torch.manual_seed(0)
    return Returning(form).eval()


FORMS = {
    "dataclass": lambda a, b: Prediction(a, [Prediction(b), None]),
    "slots": Slotted,
    "an object that holds itself": lambda a, b: (Circular(a), {"b": b}),
    "named tuple": lambda a, b: Pair(a, {"right": deque([b])}),
    "set": lambda a, b: {a, b},
    "packed sequences": lambda a, b: [nn.utils.rnn.pack_sequence([t[:, None] for t in x]) for x in (a, b)],
    "distributions": lambda a, b: (
        torch.distributions.Categorical(logits=a),
        torch.distributions.Independent(torch.distributions.Normal(b, b.exp()), 1),
    ),
    "sparse and complex": lambda a, b: (a.to_sparse(), torch.view_as_complex(torch.stack([b, b], -1))),
    "truth values": lambda a, b: Prediction(a > 0, b.round().int()),
}


@pytest.mark.parametrize("form", FORMS)
def test_tensors_in_any_form_are_outputs_and_keep_their_shape(form):
    dense = _returning(FORMS[form])
    graph = trace(dense, X[:1])
    assert {g.name: g.channels for g in graph.groups} == {"body": 12, "middle": 10}
    assert {f.name for f in graph.frozen} == {"head", "second"}
    small = prune(dense, graph, Policy.uniform(graph, 0.5))
    assert OutputShapes.of(dense(X)).objection(small(X)) is None
    assert len(output_tensors(dense(X))) >= 2


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (lambda a, b: (t for t in (a, b)), "generator"),
        (lambda a, b: map(abs, [a, b]), "map"),
        (lambda a, b: [a, lambda: b], "function"),
        (lambda a, b: None, "NoneType"),
        (lambda a, b: a.sum().item(), "float"),
        (lambda a, b: (a[:0], {}), "without elements"),
        (lambda a, b: str(a), "str"),
    ],
)
def test_outputs_that_nobody_sees_are_refused_by_their_type(form, named):
    with pytest.raises(InputError, match=named):
        trace(_returning(form), X[:1])


@pytest.mark.parametrize(
    "form",
    [
        lambda a, b: torch.zeros(2),
        lambda a, b: a * 0,
        lambda a, b: a * float("nan"),
        lambda a, b: torch.full_like(a, 3).int(),
    ],
)
def test_outputs_that_depend_on_nothing_prove_nothing(form):
    graph = trace(_returning(form), X[:1])
    assert not graph.groups
    assert {"body", "middle"} <= {f.name for f in graph.frozen}


def test_a_layer_of_which_no_output_depends_is_frozen():
    graph = trace(_returning(lambda a, b: a), X[:1])
    assert {g.name for g in graph.groups} == {"body", "middle"}
    assert "no output" in next(f.reason for f in graph.frozen if f.name == "second")


def test_outputs_without_gradients_are_compared_all_the_same():
    dense = _returning(lambda a, b: (a.detach(), b.detach()))
    assert {g.name for g in trace(dense, X[:1]).groups} == {"body", "middle"}


def test_a_width_that_is_returned_as_a_number_stays():
    class Width(Returning):
        def forward(self, x):
            h = F.relu(self.body(x))
            return self.head(F.relu(self.middle(h))), h.shape[1]

    graph = trace(Width(None).eval(), X[:1])
    assert {g.name for g in graph.groups} == {"middle"}


def test_infinities_of_a_mask_are_no_fault():
    dense = _returning(lambda a, b: a.masked_fill(torch.arange(5) > 3, -torch.inf))
    assert {g.name for g in trace(dense, X[:1]).groups} == {"body", "middle"}


def test_found_names_places_numbers_and_what_cannot_be_seen():
    found = found_in({"a": Pair(torch.ones(2), 3), "b": iter(()), "c": Slotted(torch.ones(1), True)})
    assert [place for place, _ in found.tensors] == ["a.left", "c.scores"]
    assert found.numbers == [("a.right", 3.0), ("c._Slotted__hidden", 1.0)]
    assert found.unseen == [("b", "tuple_iterator")]


def test_shapes_leave_open_what_varies_and_tell_what_differs():
    shapes = OutputShapes.common(OutputShapes.of({"boxes": torch.zeros(n, 4)}) for n in (2, 5))
    assert shapes.objection({"boxes": torch.zeros(9, 4)}) is None
    assert "boxes of shape (9, 3)" in (shapes.objection({"boxes": torch.zeros(9, 3)}) or "")
    assert "int64" in (shapes.objection({"boxes": torch.zeros(9, 4).long()}) or "")
    assert "2 output tensors" in (shapes.objection({"boxes": torch.zeros(9, 4), "more": torch.zeros(1)}) or "")
    assert shapes.objection({"other": torch.zeros(9, 4)})


def test_differences_are_relative_to_each_output_and_nothing_compares_with_nothing():
    big, small = torch.tensor([1e3]), torch.tensor([1.0])
    assert difference(values_of([big, small]), values_of([big, small * 2])) == pytest.approx(0.5)
    assert difference([], []) is None
    assert difference(values_of(torch.zeros(0)), values_of(torch.zeros(0))) is None
    assert difference(values_of(torch.tensor([torch.inf, 1])), values_of(torch.tensor([torch.inf, 1]))) == 0
    assert difference(values_of(torch.tensor([torch.inf])), values_of(torch.tensor([1.0]))) == torch.inf
    assert not finite_alike(values_of(torch.tensor([torch.nan])), values_of(torch.tensor([torch.nan])))
