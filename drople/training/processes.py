"""Several processes, a GPU each, that train one model as a single process would.

Each runs the image tower on its part of every batch. Features are gathered before the loss, so the
objective, in-batch terms included, is that of the whole batch, and so are all draws: the same
command learns the same prompts on any number of processes, up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from drople.devices import pick_device
from drople.errors import SettingsError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Processes:
    """Which of how many this process is; by default the only one."""

    rank: int = 0
    count: int = 1

    @classmethod
    def started(cls, device: str) -> Processes:
        """Those that `accelerate launch` or `torchrun` started, joined; else this one alone.

        Raises:
            SettingsError: there are several, and the package accelerate is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        try:
            from accelerate import PartialState
        except ImportError:
            raise SettingsError(
                "Training in several processes needs the package accelerate: pip install accelerate"
            ) from None
        state = PartialState(cpu=pick_device(device) == "cpu")
        return cls(state.process_index, state.num_processes)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def main_first(self) -> AbstractContextManager[None]:
        """The others wait until the main one is through: they read what it has kept."""
        if self.count == 1:
            return nullcontext()
        from accelerate import PartialState

        return PartialState().main_process_first()

    def rows(self, batch: int) -> Tensor:
        """This process's rows (R,) of a batch; equally many for all, so the last may repeat."""
        each = -(-batch // self.count)
        return (self.rank * each + torch.arange(each)).clamp_max(batch - 1)

    def whole(self, mine: Tensor, batch: int) -> Tensor:
        """The whole batch (B, ...) from the parts (R, ...) of all processes.

        Gradients flow to this process's part, `count` times as large: every process works out the
        same loss, and `average` divides by `count` what they find.
        """
        if self.count == 1:
            return mine
        from accelerate.utils import gather

        parts = list(gather(mine.detach().contiguous()).chunk(self.count))
        if mine.requires_grad:
            mine = mine.view_as(mine)  # the hook is on a tensor of our own
            mine.register_hook(lambda gradient: gradient * self.count)
        parts[self.rank] = mine
        return torch.cat(parts)[:batch]

    def agreed(self, value: Kind) -> Kind:
        """The main process's value, for all."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Gives all processes the mean of their gradients."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = reduce(parameter.grad, "mean")


ALONE = Processes()
