"""The papers' tables as a plan: which protocol on which data with which recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from drople.devices import Precision
from drople.errors import SettingsError
from drople.evaluation.protocols import Setting
from drople.evaluation.published import ACROSS_ORDER
from drople.evaluation.runs import FROZEN, Result, evaluate, frozen_config
from drople.models.backbone import Backbone
from drople.training.config import TrainConfig
from drople.training.data import Task
from drople.training.processes import ALONE, Processes
from drople.training.recipes import recipe_of

SOURCE = "imagenet"
DOMAINS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
ELEVEN = (SOURCE, *ACROSS_ORDER)


@dataclass(frozen=True)
class PaperTable:
    """A table of the papers: a protocol, carried out on each of some data sets."""

    protocol: str  # a key of PROTOCOLS
    data: tuple[str, ...]
    targets: tuple[str, ...] = ()


TABLES = {
    "base-to-novel": PaperTable("base-to-novel", ELEVEN),
    "few-shot": PaperTable("few-shot", ELEVEN),
    "cross-dataset": PaperTable("cross-dataset", (SOURCE,), ACROSS_ORDER),
    "domain": PaperTable("cross-dataset", (SOURCE,), DOMAINS),
    "long-tail": PaperTable("long-tail", ACROSS_ORDER),  # the released code has no ImageNet there
}
METHODS_OF_THE_PAPERS = (FROZEN, "promptsrc", "mpl", "drople-code")


@dataclass(frozen=True)
class Planned:
    """One row of one table: a method and seed on a data set."""

    table: str  # a key of TABLES
    data: str
    targets: tuple[str, ...]
    config: TrainConfig

    @property
    def protocol(self) -> str:
        return TABLES[self.table].protocol

    def with_precision(self, precision: Precision) -> Planned:
        return replace(self, config=replace(self.config, precision=precision))

    def setting(
        self, backbone: Backbone, tasks: dict[str, Task], processes: Processes = ALONE
    ) -> Setting:
        """Where it is carried out; `tasks` by the data sets' names."""
        targets = tuple(tasks[name] for name in self.targets)
        return Setting(backbone, tasks[self.data], "test", targets, processes)


def plan_runs(
    tables: Sequence[str], methods: Sequence[str], seeds: Sequence[int], *,
    data: Sequence[str] = (), epochs: int | None = None,
) -> list[Planned]:  # fmt: skip
    """Everything that is to be run, in the order of the tables; the frozen branch has one seed.

    Args:
        data: the only data sets to learn from and test on; all where it is empty.
        epochs: in place of the recipes', to try the plan out.

    Raises:
        SettingsError: no such table or data set, a method without a recipe, or nothing is left.
    """
    wanted = data or (*ELEVEN, *DOMAINS)
    for kind, names, known in (
        ("table", tables, TABLES),
        ("data set of the papers", wanted, (*ELEVEN, *DOMAINS)),
    ):
        if unknown := [name for name in names if name not in known]:
            raise SettingsError(f"No {kind} is called {unknown[0]!r}; known: {', '.join(known)}.")
    planned: dict[Planned, None] = {}
    for name in tables:
        table = TABLES[name]
        targets = tuple(one for one in table.targets if one in wanted)
        learnt = [one for one in table.data if one in wanted and (targets or not table.targets)]
        for one, method, seed in product(learnt, methods, seeds):
            config = replace(recipe_of(method, name, one), seed=seed)
            if epochs is not None:
                config = replace(config, epochs=epochs)
            if not config.learns():
                config = frozen_config(config)
            planned[Planned(name, one, targets, config)] = None
    if not planned:
        raise SettingsError(
            f"Nothing is left to run of {', '.join(tables)} on {', '.join(wanted)}: cross-dataset "
            f"and domain need {SOURCE} and one more, and long-tail has no {SOURCE}."
        )
    return [*planned]


def data_of(planned: Sequence[Planned]) -> list[str]:
    """Every data set that is needed, once."""
    return [*dict.fromkeys(name for one in planned for name in (one.data, *one.targets))]


def carry_out(
    one: Planned, backbone: Backbone, tasks: dict[str, Task], *,
    runs: Path, processes: Processes = ALONE,
) -> Result:  # fmt: skip
    """Runs it, or reads what came out before."""
    return evaluate(
        one.protocol, one.setting(backbone, tasks, processes), one.config, runs=runs,
        data_option=one.data, targets_option=",".join(one.targets),
    )  # fmt: skip
