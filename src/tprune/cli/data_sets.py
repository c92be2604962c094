"""The data that options name, whatever the task: sentence pairs where its models write sentences, else what the task
reads.
"""

from __future__ import annotations

from typing import Any

from tprune.cli.given import Given
from tprune.core.known_tasks import writes_sentences
from tprune.data.parallel import Corpus
from tprune.data.splits import Splits
from tprune.recipe.schema import Data as DataSection
from tprune.run.translation import TRAINED


def splits_of(task: str, given: Given, spec: DataSection, needed: tuple[str, ...], seed: int = 0) -> Splits[Any]:
    """A training, a validation and a test set.

    Args:
        task: its name.
        given: by options.
        spec: the recipe's `data`.
        needed: sets that must be given; without test data the validation data is scored.
        seed: of the draw where there is more data than the recipe's `data.limit`.

    Raises:
        InputError: an option of another task, a set that is missing, or data that cannot be read.
    """
    given.check_task(task, *needed)
    if writes_sentences(task) and (task == TRAINED or not given.files):
        from tprune.cli.sentences import corpus_of

        return corpus_of(given, spec, needed, seed)
    from tprune.core.data import sampled
    from tprune.core.known_tasks import TASKS

    given.check_files(needed)
    found: dict[str, Any] = {}
    for name, files in given.files.items():
        data: Any = TASKS.named(task).read(files, given.names)
        most = {**spec.limit}.get(name)  # type: ignore[call-overload]  # its keys are literals
        found[name] = data if most is None else data.picked(sampled(len(data), most, seed))
    sets = found.get("train", found["valid"]), found["valid"], {"test": found.get("test", found["valid"])}
    return Corpus(*sets) if writes_sentences(task) else Splits(*sets)
