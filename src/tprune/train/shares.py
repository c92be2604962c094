"""One batch on several processes: each has some of its rows, and the loss of all of them is that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as group
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import TrainerCallback

from tprune.core.task import Batch, Examples
from tprune.train.one_process import processes

OWN = "tprune_own"  # of a batch: whether its rows are this process's; else they stand in for rows that it has none of
Collate = Callable[[Sequence[Any]], Batch]


@dataclass
class RowShares(Sampler[list[int]]):
    """This process's rows of every batch: each `size`-th, from `rank` on.

    Of a batch with fewer rows than processes, a process without one gets the first as its complement, `-1 - row`: all
    processes have to take every step.

    Example:
        >>> list(RowShares([[4, 7, 9], [2]], 1, 2))
        [[7], [-3]]
    """

    batches: Any
    rank: int
    size: int

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch[self.rank :: self.size] or [-1 - batch[0]]


@dataclass(frozen=True)
class StandIns(Dataset[tuple[Any, bool]]):
    """Examples by their number, or its complement, and whether they count."""

    data: Examples

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, bool]:
        return (self.data[index], True) if index >= 0 else (self.data[-1 - index], False)


@dataclass(frozen=True)
class Shares:
    """This process among those that train together.

    Attributes:
        rank: of this process.
        size: how many there are.
        device: of tensors that are summed over them.
    """

    rank: int
    size: int
    device: torch.device

    def loader(self, data: Examples, batches: Any, collate: Collate) -> DataLoader[Any]:
        """A loader of this process's rows of every batch."""

        def own(rows: Sequence[tuple[Any, bool]]) -> dict[str, Tensor]:
            return {**collate([row for row, _ in rows]), OWN: torch.tensor(rows[0][1])}

        loader: DataLoader[Any] = DataLoader(
            StandIns(data), batch_sampler=RowShares(batches, self.rank, self.size), collate_fn=own
        )
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def sum(self, values: Tensor) -> Tensor:
        """The sum of what all processes have, without gradients."""
        total = values.detach().clone().to(self.device)
        group.all_reduce(total)
        return total

    def weight(self, count: Tensor) -> Tensor:
        """What the mean over this process's outputs counts, so that the mean over processes is that over all outputs.

        `w = size · count / Σ count`

        Args:
            count: of outputs that this process has.
        """
        count = count.double().to(self.device)
        return self.size * count / self.sum(count).clamp_min(1)


def shares(device: torch.device) -> Shares | None:
    """This process among several that train together; None where it is alone."""
    return Shares(group.get_rank(), processes(), device) if processes() > 1 else None


class OwnDropout(TrainerCallback):
    """Gives every process but the first random numbers of its own, lest all drop the same units."""

    def __init__(self, mine: Shares) -> None:
        self.mine = mine

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A resumed training takes up its numbers after this."""
        if self.mine.rank:
            torch.manual_seed(args.seed + self.mine.rank)
