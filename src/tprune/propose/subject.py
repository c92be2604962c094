"""What a first family is proposed for: the model that is traced and verified, its inputs, and its name."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.known_tasks import task_of
from tprune.propose.inputs import small_inputs, small_model
from tprune.propose.text import Named
from tprune.propose.trace import Run
from tprune.propose.verify import Judge, first_tensor
from tprune.support.errors import InputError
from tprune.support.reporting import Report
from tprune.testing import check_agrees
from tprune.testing.common import in_double, randomise_

LARGE = 4_000_000  # parameters above which a model of transformers is not traced itself
Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def small_copy(model: nn.Module, report: Report) -> nn.Module:
    """A small copy of a large model of transformers, with random weights; another model as it is.

    Args:
        model: any.
        report: is told of the copy.
    """
    if not isinstance(model, PreTrainedModel) or sum(p.numel() for p in model.parameters()) <= LARGE:
        return model
    made: nn.Module = small_model(type(model), model.config)
    report(f"traced is a copy with {sum(p.numel() for p in made.parameters()):,} parameters and random weights")
    return made


def judge_of(model: nn.Module, inputs: Inputs | None, report: Report) -> Judge:
    """What a family of a model is judged by: a copy in double precision, and how it is run.

    Args:
        model: any.
        inputs: what it is called with; those of its task, or random ones, if not given.
        report: is told which inputs are taken, where they are not those of its task.

    Raises:
        InputError: no inputs are known, or the model does not agree with itself.
    """
    twin: nn.Module = in_double(model)
    randomise_(twin)
    if inputs is not None:
        return Judge(twin, _runner(inputs))
    if not isinstance(twin, PreTrainedModel):
        raise InputError(
            f"{type(model).__name__} is no model of transformers; expected the inputs that it is called with"
        )
    return _by_task(twin, report) or Judge(twin, _runner(small_inputs(twin)))


def _by_task(twin: PreTrainedModel, report: Report) -> Judge | None:
    """A judge by the model's task; None, which is reported, where there is none or the model does not take its inputs.

    Raises `InputError` where the model does not agree with itself.
    """
    kind = type(twin).__name__
    try:
        task = task_of(twin)
        batch = task.random(twin)
        check_agrees(twin, twin, batch, task=task)
    except InputError as error:
        report(f"random inputs are taken, since no task fits {kind}: {error}")
        return None
    except AssertionError as error:
        raise InputError(f"{kind} disagrees with itself, so nothing can be verified by it ({error})") from error
    except Exception as error:  # of a stranger's model, which has another signature than its task expects
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        report(f"random inputs are taken, since {kind} does not run on those of its task ({said})")
        return None
    return Judge(twin, lambda of: task.run(of, batch).logits, task, batch)


def eager(model: nn.Module) -> nn.Module:
    """A copy whose attentions are computed operator by operator.

    Args:
        model: any.
    """
    twin = copy.deepcopy(model)
    if isinstance(twin, PreTrainedModel):
        twin.set_attn_implementation("eager")
    return twin


def _runner(inputs: Inputs) -> Run:
    def wide(x: Tensor) -> Tensor:
        return x.double() if x.is_floating_point() else x

    if isinstance(inputs, Mapping):
        by_name = {name: wide(x) for name, x in inputs.items()}
        return lambda model: first_tensor(model(**by_name))
    listed = [wide(x) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    return lambda model: first_tensor(model(*listed))


def named_of(model: nn.Module) -> Named:
    """What the family of a model is called, and what its models are.

    Args:
        model: any.

    Raises:
        InputError: the type of the model is no name.
    """
    kind: type[nn.Module] = getattr(type(model), "dense_class", type(model))
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__)
    if isinstance(model, PreTrainedModel):
        name = str(model.config.model_type).removeprefix("tprune_")
    if not re.fullmatch(r"[\w-]+", name):  # it is written into code
        raise InputError(f"model_type is {name!r:.80}; expected letters, digits, - and _")
    imported = getattr(transformers, kind.__name__, None) is kind
    passing = kind.__module__ == "__main__" or kind.__module__.startswith("transformers_modules.")  # other names later
    return Named(name.lower(), kind.__qualname__, "" if passing else kind.__module__, imported)
