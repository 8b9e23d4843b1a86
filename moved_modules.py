"""Modules that have moved: they are still imported by the name that they had, with a warning.

Code of users, and pickles of nobody, name them. What ``import`` gives is the module itself, by both names.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "evaluators.batch_norm": "evaluators.training.batch_norm",
    "evaluators.data": "evaluators.task.data",
    "evaluators.data_checks": "evaluators.task.data_checks",
    "evaluators.dynamic_axes": "evaluators.task.dynamic_axes",
    "evaluators.dynamic_export": "evaluators.onnx.dynamic_export",
    "evaluators.example_input": "evaluators.task.example_input",
    "evaluators.example_inputs": "evaluators.task.example_inputs",
    "evaluators.export_check": "evaluators.onnx.export_check",
    "evaluators.export_probes": "evaluators.onnx.export_probes",
    "evaluators.fidelity": "evaluators.training.fidelity",
    "evaluators.fine_tune": "evaluators.training.fine_tune",
    "evaluators.fine_tuned": "evaluators.training.fine_tuned",
    "evaluators.folding": "evaluators.onnx.folding",
    "evaluators.int8_check": "evaluators.onnx.int8_check",
    "evaluators.int8_notice": "evaluators.onnx.int8_notice",
    "evaluators.int8_products": "evaluators.onnx.int8_products",
    "evaluators.linear_fusion": "evaluators.onnx.linear_fusion",
    "evaluators.losses": "evaluators.task.losses",
    "evaluators.measure": "evaluators.task.measure",
    "evaluators.metrics": "evaluators.task.metrics",
    "evaluators.mixed_precision": "evaluators.training.mixed_precision",
    "evaluators.named_tensors": "evaluators.onnx.named_tensors",
    "evaluators.onnx_export": "evaluators.onnx.onnx_export",
    "evaluators.onnx_graph": "evaluators.onnx.onnx_graph",
    "evaluators.onnx_network": "evaluators.onnx.onnx_network",
    "evaluators.onnx_pinning": "evaluators.onnx.onnx_pinning",
    "evaluators.optimizers": "evaluators.training.optimizers",
    "evaluators.output_check": "evaluators.onnx.output_check",
    "evaluators.own_elements": "evaluators.task.own_elements",
    "evaluators.pad_folding": "evaluators.onnx.pad_folding",
    "evaluators.program_export": "evaluators.onnx.program_export",
    "evaluators.quantisation": "evaluators.onnx.quantisation",
    "evaluators.quantisation_masks": "evaluators.onnx.quantisation_masks",
    "evaluators.quantisation_scheme": "evaluators.onnx.quantisation_scheme",
    "evaluators.quiet_export": "evaluators.onnx.quiet_export",
    "evaluators.ranking_samples": "evaluators.task.ranking_samples",
    "evaluators.schedules": "evaluators.training.schedules",
    "evaluators.scored_network": "evaluators.training.scored_network",
    "evaluators.scoring": "evaluators.training.scoring",
    "evaluators.slower": "evaluators.latency_inversions",
    "evaluators.step_clock": "evaluators.training.step_clock",
    "evaluators.task_checks": "evaluators.task.task_checks",
    "evaluators.task_loading": "evaluators.task.task_loading",
    "evaluators.task_measure": "evaluators.task.task_measure",
    "evaluators.task_reference": "evaluators.task.task_reference",
    "evaluators.threads": "evaluators.training.threads",
    "evaluators.training_checks": "evaluators.training.training_checks",
    "evaluators.training_recipe": "evaluators.training.training_recipe",
    "evaluators.trust": "evaluators.task.trust",
    "evaluators.zero_folding": "evaluators.onnx.zero_folding",
    "reports.misses": "reports.violations",
    "reports.reach": "reports.pruning_potential",
    "search.audit": "search.cost_filter_audit",
    "search.audit_record": "search.run_folder.audit_record",
    "search.baseline_record": "search.run_folder.baseline_record",
    "search.descent": "search.sensitivity.nested_levels",
    "search.effort": "search.budget.training_budget",
    "search.event_log": "search.run_folder.event_log",
    "search.finished_networks": "search.run_folder.finished_networks",
    "search.heritage": "search.checkpoints",
    "search.journal": "search.run_folder.journal",
    "search.last_step": "search.refinement_plan",
    "search.lasting_loss": "search.sensitivity.recovery",
    "search.ledger": "search.archive",
    "search.new_folder": "search.run_folder.new_folder",
    "search.origin": "search.run_folder.origin",
    "search.path_training": "search.budget.path_training",
    "search.patience": "search.early_stopping",
    "search.recovery": "search.interrupted_trials",
    "search.run_info": "search.run_folder.run_info",
    "search.screen": "search.cost_filter",
    "search.sensitivity_table": "search.sensitivity.table",
    "search.shrinking_path": "search.sensitivity.nested_path",
    "search.spending": "search.run_folder.used_budget",
    "search.subject": "search.problem",
    "search.timer": "search.budget.timer",
    "search.trial_record": "search.run_folder.trial_record",
    "spaces.activations": "spaces.importance.activations",
    "spaces.attention": "spaces.architectures.attention",
    "spaces.attributes": "spaces.graph.attributes",
    "spaces.branches": "spaces.architectures.branches",
    "spaces.candidates": "spaces.graph.candidates",
    "spaces.closures": "spaces.graph.closures",
    "spaces.comparison": "spaces.graph.comparison",
    "spaces.computed_weights": "spaces.graph.computed_weights",
    "spaces.copying": "spaces.graph.copying",
    "spaces.coupling": "spaces.graph.coupling",
    "spaces.criteria": "spaces.importance.criteria",
    "spaces.cuts": "spaces.graph.cuts",
    "spaces.evidence": "spaces.importance.statistics",
    "spaces.faults": "spaces.graph.faults",
    "spaces.fingerprint": "spaces.graph.fingerprint",
    "spaces.fisher": "spaces.importance.fisher",
    "spaces.flow": "spaces.graph.liveness",
    "spaces.following": "spaces.graph.following",
    "spaces.freeze_reasons": "spaces.graph.freeze_reasons",
    "spaces.graph_literals": "spaces.graph.graph_literals",
    "spaces.groups": "spaces.graph.groups",
    "spaces.head_dims": "spaces.architectures.head_dims",
    "spaces.held_objects": "spaces.graph.held_objects",
    "spaces.kinds": "spaces.graph.kinds",
    "spaces.layers": "spaces.graph.layers",
    "spaces.masked_twins": "spaces.graph.masked_twins",
    "spaces.outcomes": "spaces.graph.outcomes",
    "spaces.output_shapes": "spaces.graph.output_shapes",
    "spaces.outputs": "spaces.graph.outputs",
    "spaces.passes": "spaces.graph.passes",
    "spaces.plain_network": "spaces.graph.plain_network",
    "spaces.probes": "spaces.graph.probes",
    "spaces.quantisation_aware": "spaces.graph.quantisation_aware",
    "spaces.random_numbers": "spaces.graph.random_numbers",
    "spaces.rankings": "spaces.importance.rankings",
    "spaces.recurrent": "spaces.architectures.recurrent",
    "spaces.samples": "spaces.importance.samples",
    "spaces.slicing": "spaces.graph.slicing",
    "spaces.stages": "spaces.graph.stages",
    "spaces.stand_ins": "spaces.architectures.stand_ins",
    "spaces.trace": "spaces.graph.trace",
    "spaces.unlisted": "spaces.graph.unlisted",
    "spaces.unmixed": "spaces.graph.unmixed",
    "spaces.usage": "spaces.graph.parameter_usage",
    "spaces.verification": "spaces.graph.verification",
    "spaces.weights": "spaces.graph.weights",
}
"""Old name to new, both without ``espalier.``; what lies inside of a package moved with it."""
_ROOT = "espalier."


class MovedModules(MetaPathFinder, Loader):
    """Finds a module by its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that gives the module as it is called now; ``None`` for every other name."""
        return None if new_name(fullname) is None else ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module by its new name."""
        name = str(new_name(spec.name))
        warnings.warn(f"{spec.name} is {name} now; import it from there.", DeprecationWarning, stacklevel=3)
        module = importlib.import_module(name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is: it was executed under its new name, and keeps that name's spec."""
        given = module.__spec__
        if given is not None and isinstance(given.loader_state, ModuleSpec):
            module.__spec__ = given.loader_state


def new_name(fullname: str) -> str | None:
    """Return what a module is called now; ``None`` where it has not moved."""
    rest = fullname.removeprefix(_ROOT)
    parts = rest.split(".") if rest != fullname else []
    for count in range(len(parts), 0, -1):
        found = MOVED.get(".".join(parts[:count]))
        if found is not None:
            return ".".join([_ROOT + found, *parts[count:]])
    return None


def install() -> None:
    """Let old names be imported; once."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
