"""What is found before a search, on the data, the network, the loss and one step of training."""

from __future__ import annotations

import copy
import functools
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from espalier import Task
from espalier.errors import EvaluationError, TaskError
from espalier.evaluators.task.task_checks import check_task
from espalier.evaluators.training.fine_tune import fine_tune, training_batch

from ..data_forms import CLASSES, COUNT, Mapped, X, Y, plain_network


def task_of(**change) -> Task:
    given = {"model": plain_network, "example_input": X[:1], "train": (X, Y), "validation": (X, Y), "batch_size": 8}
    return Task(name="mine", **{**given, **change})


def with_value(value: float, row: int = 17) -> torch.Tensor:
    return torch.where((torch.arange(COUNT) == row)[:, None], torch.tensor(value), X)


def squares(outputs, targets):
    return ((outputs[:, 0] - targets) ** 2).mean()


def frozen(*names: str) -> nn.Module:
    network = plain_network()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (name in names or not names))
    return network


REGRESSION = {"loss": squares, "metric": lambda outputs, targets: -float(squares(outputs, targets))}
REFUSED = {
    "NaN in tensors": ({"train": (with_value(float("nan")), Y)}, r"train sample 17: its inputs hold nan \(6 of 6"),
    "an infinity": ({"train": (with_value(float("inf"), 3), Y)}, "train sample 3: its inputs hold inf"),
    "NaN in validation": ({"validation": (with_value(float("nan")), Y)}, "validation sample 17: its inputs"),
    "NaN in a data set": (
        {"validation": Mapped(lambda i: (with_value(float("nan"), 35)[i], Y[i]))},
        "validation sample 35: its inputs hold nan",
    ),
    "NaN in a loader": (
        {"train": DataLoader(Mapped(lambda i: (with_value(float("nan"))[i], Y[i])), batch_size=4, collate_fn=None)},
        "train sample 17: its inputs hold nan",
    ),
    "NaN in targets": ({"train": (X, with_value(float("nan"))[:, 0]), **REGRESSION}, "train sample 17: its targets"),
    "NaN in validation's targets": (
        {"train": (X, X[:, 0]), "validation": (X, with_value(float("nan"))[:, 0]), **REGRESSION},
        "validation sample 17: its targets hold nan",
    ),
    "classes from 1": ({"train": (X, Y + 1)}, "train sample 4 is of class 5, the network has 5 outputs.*from 0 to 4"),
    "classes from 1 in validation": ({"validation": (X, Y + 1)}, "validation sample 4 is of class 5"),
    "a negative class": ({"train": (X, Y - 1)}, "train sample 0 is of class -1"),
    "a class too many in a data set": (
        {"train": Mapped(lambda i: (X[i], 7 if i == 30 else int(Y[i])))},
        "train sample 30 is of class 7",
    ),
    "one-hot targets": (
        {"train": (X, torch.eye(CLASSES)[Y])},
        r"train targets are float32 of shape .samples, 5.*argmax",
    ),
    "one-hot whole numbers": ({"train": (X, torch.eye(CLASSES).long()[Y])}, r"train targets are int64.*argmax\(1\)"),
    "floating classes": ({"train": (X, Y.float())}, r"train targets are float32 of shape .samples,.*\.long\(\)"),
    "an accuracy of columns": (
        {"train": (X, Y[:, None]), "loss": lambda outputs, targets: F.cross_entropy(outputs, targets[:, 0])},
        r"of shape .samples, 1.*squeeze",
    ),
    "an example without an axis for the batch": (
        {"example_input": X[0]},
        r"shape .samples, 6.*an axis for the batch.*x\[:1\]",
    ),
    "an example of one axis more": ({"example_input": X[:1, None]}, "as many axes in both"),
    "double precision in the network": (
        {"model": lambda: plain_network().double(), "example_input": X[:1].double()},
        r"weights of float64 .*\.float\(\)",
    ),
    "half precision in the network": ({"model": lambda: plain_network().half()}, "weights of float16"),
    "double precision in the example": ({"example_input": X[:1].double()}, r"example_input .* is float64"),
    "no gradient anywhere": ({"model": frozen}, r"none of the 6 parameters .*requires_grad_\(True\)"),
    "a fine_tune that returns nothing": ({"fine_tune": lambda *_: None}, "returned nothing; expected the trained net"),
    "a fine_tune that returns weights": ({"fine_tune": lambda m, *_: m.state_dict()}, "returned OrderedDict"),
    "a fine_tune that wraps": ({"fine_tune": lambda m, *_: nn.Sequential(m)}, r"another 0.0.bias.*unwrap"),
    "a fine_tune that fails": ({"fine_tune": lambda *_: 1 / 0}, "fails: ZeroDivisionError"),
    "a loss for each sample": ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"a tensor of shape \(32,\)"),
    "a loss that is a number": ({"loss": lambda o, t: F.cross_entropy(o, t).item()}, "gave float; .*has a gradient"),
    "a loss without gradient": ({"loss": lambda o, t: F.cross_entropy(o, t).detach()}, "does not require grad"),
    "a root at zero": ({"loss": lambda o, t: (o * 0).sqrt().mean()}, "the gradient of .* is not finite"),
    "one sample and BatchNorm": ({"train": (X[:1], Y[:1])}, "more than 1 value per channel.*as many samples"),
    "batches of one and BatchNorm": ({"batch_size": 1}, "batch_size of 2 or more"),
    "a batch size of 0": ({"batch_size": 0}, "batch_size=0; expected a whole number of 1 or more"),
    "a batch size that is none": ({"batch_size": 8.0}, r"batch_size=8\.0"),
    "no number of samples": ({"train_samples": 0}, "train_samples=0"),
    "no train data": ({"train": None}, "no train data"),
    "an empty list": ({"validation": []}, "validation data is empty"),
    "data of another layout": ({"train": (torch.zeros(COUNT, 7), Y)}, r"training samples of shape \(32, 7\).*fails"),
}


@pytest.mark.filterwarnings("ignore:example_input of task")
@pytest.mark.parametrize("case", REFUSED)
def test_a_fault_is_told_by_what_it_is(case):
    change, words = REFUSED[case]
    with pytest.raises(TaskError, match=words):
        check_task(task_of(**change))


TAKEN = {
    "missing targets that the loss leaves out": {
        "train": (X, with_value(float("nan"))[:, 0]),
        "loss": lambda o, t: ((o[:, 0] - torch.nan_to_num(t)) ** 2).mean(),
        "metric": lambda o, t: 0.5,
    },
    "places that are ignored": {"train": (X, torch.where(Y == 2, -100, Y))},
    "places ignored by a number": {
        "train": (X, torch.where(Y == 2, 255, Y)),
        "loss": nn.CrossEntropyLoss(ignore_index=255),
    },
    "places ignored by a partial": {
        "train": (X, torch.where(Y == 2, 255, Y)),
        "loss": functools.partial(F.cross_entropy, ignore_index=255),
    },
    "soft labels with a metric for them": {
        "train": (X, torch.eye(CLASSES)[Y]),
        "validation": (X, torch.eye(CLASSES)[Y]),
        "metric": lambda o, t: float((o.argmax(1) == t.argmax(1)).float().mean()),
    },
    "regression in double precision": {
        "train": (X, X[:, 0].double()),
        "validation": (X, X[:, 0].double()),
        **REGRESSION,
    },
    "a frozen network that its own loop thaws": {
        "model": frozen,
        "fine_tune": lambda model, *_: model.requires_grad_(True),
    },
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_no_fault_passes(case):
    task = task_of(**TAKEN[case])
    check_task(task)
    fine_tune(task.model(), task, 20, torch.Generator().manual_seed(0))


def test_infinities_pass_where_the_example_has_some():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

        def forward(self, x, mask):
            return self.head(torch.softmax(self.layer(x) + mask, 1))

    mask = torch.zeros(COUNT, 6)
    mask[:, 5] = -torch.inf
    data = ((X, mask), Y)
    check_task(task_of(model=Masked, example_input=(X[:1], mask[:1]), train=data, validation=data))


def test_the_check_leaves_the_network_and_the_generators_as_they_were():
    network = plain_network()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    check_task(task_of(model=lambda: network))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_notes_say_what_is_done_differently():
    notes = check_task(task_of(train=(X.double(), Y), batch_size=1000, model=lambda: frozen("0.weight")))
    text = "; ".join(notes)
    assert "the train inputs are float64: they are cast to float32" in text
    assert "batch_size is 1000, and there are 40 training samples" in text
    assert "1 of 6 parameters require no gradient (0.weight)" in text
    assert check_task(task_of()) == ()


def test_a_batch_larger_than_the_data_keeps_the_schedule():
    task = task_of(batch_size=1000)
    assert training_batch(task) == COUNT
    rates = []

    network = nn.Sequential(nn.Linear(6, CLASSES))
    schedule = torch.optim.lr_scheduler.LambdaLR
    original = schedule.step

    def step(self, *arguments):
        original(self, *arguments)
        rates.append(self.get_last_lr()[0])

    schedule.step = step
    try:
        fine_tune(network, task, 10 * COUNT, torch.Generator().manual_seed(0))
    finally:
        schedule.step = original
    rates = rates[-10:]
    assert rates == sorted(rates, reverse=True)  # it fell to zero once, and did not rise again
    assert rates[-1] == pytest.approx(0, abs=1e-3)


def test_missing_values_that_come_up_in_training_are_told_from_divergence():
    task = task_of(train=(X, with_value(float("nan"))[:, 0]), **REGRESSION)
    with pytest.raises(EvaluationError, match="targets that are NaN or infinite"):
        fine_tune(task.model(), task, COUNT, torch.Generator())
    with pytest.raises(EvaluationError, match="no parameter of the network requires a gradient"):
        fine_tune(frozen(), task_of(), COUNT, torch.Generator())


def test_slow_data_are_not_waited_for():
    def slow(row: int):
        time.sleep(0.05)
        return X[row], Y[row]

    data, other = Mapped(slow), Mapped(slow)
    begin = time.perf_counter()
    check_task(task_of(train=data, validation=other))
    # Reading all of it twice, as a check without limits would, takes 8 s.
    assert len(data.reads) + len(other.reads) < 2 * 2 * COUNT
    assert time.perf_counter() - begin < 60
