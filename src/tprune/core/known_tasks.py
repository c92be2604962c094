"""The tasks by name, and which one a model is for. Nothing heavy is imported before one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tprune.support.errors import InputError
from tprune.support.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from tprune.core.task import Task


def fault(task: object) -> str | None:
    """The members of the protocol that what is entered as a task lacks; None where it has all.

    Args:
        task: what is entered.
    """
    from tprune.core.task import missing_members

    if missing := missing_members(task):
        return f"{type(task).__name__} has no {', '.join(missing)}; expected all members of tprune.core.task.Task"
    return None


TASKS: Registry[Task] = Registry(
    "task",
    "tprune.tasks",
    {
        "translation": "tprune.tasks.translation.task:TRANSLATION",
        "language-modelling": "tprune.tasks.language_modelling:LANGUAGE_MODELLING",
        "image-classification": "tprune.tasks.image_classification:IMAGE_CLASSIFICATION",
        "text-classification": "tprune.tasks.text_classification:TEXT_CLASSIFICATION",
        "token-classification": "tprune.tasks.token_classification:TOKEN_CLASSIFICATION",
        "sentence-similarity": "tprune.tasks.sentence_similarity:SENTENCE_SIMILARITY",
        "summarisation": "tprune.tasks.summarisation:SUMMARISATION",
        "speech-recognition": "tprune.tasks.speech_recognition:SPEECH_RECOGNITION",
        "speech-recognition-ctc": "tprune.tasks.ctc_recognition:CTC_RECOGNITION",
    },
    fault,
)


WRITE_SENTENCES = frozenset(
    {"translation", "summarisation"}
)  # those of ours that are a `WritesSentences`, known without an import
HEADS = {  # by the ends of the names that transformers gives its classes
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForCausalLM": "language-modelling",
    "GPT2LMHeadModel": "language-modelling",
    "ForImageClassification": "image-classification",
    "WhisperForConditionalGeneration": "speech-recognition",
    "ForCTC": "speech-recognition-ctc",
}


def has_plugins() -> bool:
    """Whether there are tasks beside ours, which may be made for the same classes of models."""
    return not set(TASKS) <= set(TASKS.ours)


def writes_sentences(name: str) -> bool:
    """Whether a task is a `tprune.core.task.WritesSentences`, by its name; none of ours is imported for this.

    Args:
        name: of a task; one that is not known writes none.

    Example:
        >>> writes_sentences("translation"), writes_sentences("text-classification")
        (True, False)
    """
    if name in TASKS.ours or name not in TASKS:
        return name in WRITE_SENTENCES
    from tprune.core.task import WritesSentences

    return isinstance(TASKS[name], WritesSentences)


def task_of_config(config: Mapping[str, object]) -> str | None:
    """The name of the task that a model is made for, by its configuration alone; None where only its class could tell.

    Args:
        config: the content of `config.json`.

    Example:
        >>> task_of_config({"architectures": ["BertForSequenceClassification"]}), task_of_config({})
        ('text-classification', None)
    """
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    found = next((task for head, task in HEADS.items() if first.endswith(head)), None)
    return found or ("translation" if config.get("is_encoder_decoder") is True else None)


def task_of(model: nn.Module, name: str | None = None) -> Task:
    """The task that a model is made for.

    Args:
        model: any module.
        name: the task that it is wanted for; whatever it is made for if not given.

    Raises:
        InputError: it is made for no known task, or for another than `name`; says for which.
    """
    if name is not None and TASKS.named(name).matches(model):
        return TASKS[name]
    names = sorted(TASKS, key=lambda each: each in TASKS.ours)  # ours last: they match whole classes of models
    made_for = next((TASKS[each] for each in names if TASKS[each].matches(model)), None)
    if made_for is None:
        raise InputError(f"{type(model).__name__} is made for no known task; known are: {', '.join(TASKS)}")
    if name is not None:
        raise InputError(f"{type(model).__name__} is for {made_for.name}; expected a model for {name}")
    return made_for
