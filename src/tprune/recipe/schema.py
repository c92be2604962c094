"""What a recipe holds: a whole experiment, key by key. `tprune.recipe.reader` reads one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tprune.core.kinds import BY_DEFAULT, STOCK, kinds_known
from tprune.core.known_methods import METHODS
from tprune.core.known_tasks import TASKS
from tprune.core.objectives import DEFAULT, Objective
from tprune.core.precision import AUTO, INT8, NUMBERS, Precision
from tprune.core.units import LEAST_SIZE, MEMORY, SIZES, TIMES
from tprune.recipe.restrictions import evened, not_run, unlearnt
from tprune.support.errors import InputError

Pair = tuple[str, str]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(_Section):
    """Where sentences come from: the built-in grammar, files (under `--data` where that is given), or the hub.

    Attributes:
        grammar: the built-in one, of the demo.
        hub: id of a data set with splits train, validation and test.
        source: its column of sentences, by language.
        target: its column of translations.
        files: pairs of source and target file; several of a split are joined, test sets scored together.
        limit: so many sentences of a split, drawn at random by `seed`; all if not given.
        long_lines: what becomes of sentences with more tokens than the model has positions: left out, cropped, or
            refused.
        long_share: of a set's sentences that may be so long; a run with more of them stops.
    """

    grammar: bool = False
    hub: str | None = None
    source: str = "en"
    target: str = "de"
    files: dict[Literal["train", "valid", "test"], list[Pair]] = Field(default_factory=dict)
    limit: dict[Literal["train", "valid", "test"], int] = Field(default_factory=dict)
    long_lines: Literal["skip", "crop", "fail"] = "skip"
    long_share: float = Field(0.01, ge=0, le=1)


class Model(_Section):
    """The dense model to train, where none is given.

    Attributes:
        family: of the architecture.
        d_model: width of the residual.
        layers: of encoder and decoder.
        heads: in every attention.
        ffn: units of every feed-forward sublayer.
        vocabulary: tokens of source and target together.
        dropout: while it trains.
        positions: the longest sentence, in tokens.
    """

    family: Literal["marian"] = "marian"
    d_model: int = Field(256, ge=2)
    layers: tuple[int, int] = (3, 3)
    heads: int = Field(8, ge=1)
    ffn: int = Field(1024, ge=1)
    vocabulary: int = Field(4000, ge=8)
    dropout: float = Field(0.2, ge=0, lt=1)
    positions: int = Field(128, ge=8)


class Train(_Section):
    """How one stage trains.

    Attributes:
        steps: of the optimiser; 0 leaves the stage out.
        lr: the learning rate after warm-up; it falls along a cosine.
        warmup: steps in which it rises; at most half of all.
        batch_tokens: positions in a batch, padding included: tokens of source and target, or of texts; of images their
            number.
        label_smoothing: of the loss.
        eval_every: steps between looks at the validation loss; the best weights are kept. 0: none.
        patience: looks without gain after which training ends; 0: never.
    """

    steps: int = Field(ge=0)
    lr: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0)
    batch_tokens: int = Field(2048, ge=64)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    eval_every: int = Field(0, ge=0)
    patience: int = Field(0, ge=0)


class Distilled(Train):
    """A stage with the dense model as teacher.

    Attributes:
        distill: the weight of its word distributions in the loss.
        hidden_distillation: the weight of its hidden states, beside the loss.
        sequence_distillation: the share of training sentences whose target is its translation instead of the reference.
        rewind: replay the end of a learning-rate schedule of so many steps (the dense training's, with its `lr` and
            `warmup`).
        dropout: of the model while it trains here, where it has any; as it is if not given. A smaller one needs less.
    """

    distill: float = Field(0.5, ge=0, le=1)
    hidden_distillation: float = Field(0.0, ge=0)
    sequence_distillation: float = Field(0.0, ge=0, le=1)
    rewind: int = Field(0, ge=0)
    dropout: float | None = Field(None, ge=0, lt=1)

    @field_validator("rewind")
    @classmethod
    def _long_enough(cls, rewind: int, info: ValidationInfo) -> int:
        steps = info.data.get("steps", 0)
        if rewind and rewind < steps:
            raise ValueError(f"a schedule of {rewind} steps has no last {steps}; expected 0 or at least steps")
        return rewind

    @property
    def translates(self) -> bool:
        """Whether the teacher's translations of the training sentences are needed."""
        return bool(self.steps and self.sequence_distillation)


class Analyze(_Section):
    """BSSL: proximal group lasso over both axes of every block, at `strength` times each number of `path` in turn.

    Without steps there is no analysis.

    Attributes:
        steps: of the optimiser, shared by all strengths.
        lr: the learning rate, constant.
        strength: of the penalty, over the gradient of the task.
        path: factors of the strength, rising.
        blocks: whole matrices, or the slices of attention projections that belong to one head.
        batch_tokens: tokens in a batch.
    """

    steps: int = Field(150, ge=0)
    lr: float = Field(5e-4, gt=0)
    strength: float = Field(0.7, gt=0)
    path: tuple[PositiveFloat, ...] = Field((0.25, 0.5, 0.75, 1.0, 1.25), min_length=1)
    blocks: Literal["matrix", "heads"] = "matrix"
    batch_tokens: int = Field(2048, ge=64)

    @field_validator("path")
    @classmethod
    def _rising(cls, path: tuple[float, ...]) -> tuple[float, ...]:
        if list(path) != sorted(set(path)):
            raise ValueError("the strengths of a path rise from one to the next")
        return path


def _fraction_or_number(value: float) -> float:
    if value > 1 and value < LEAST_SIZE:
        raise ValueError(f"expected a fraction of the dense model in (0, 1], or a number of at least {LEAST_SIZE}")
    return value


def _one_of(names: Callable[[], Iterable[str]]) -> AfterValidator:
    """Refuses a name that is not among these, asked for when a recipe is checked, since plugins enter some."""

    def known(name: str) -> str:
        if name not in (found := list(names())):
            raise ValueError(f"expected one of {', '.join(found)}")
        return str(name)  # of an enumeration of the command line, too

    return AfterValidator(known)


def _runtimes() -> list[str]:
    from tprune.runtimes.runtime import runtimes  # here, because numpy takes a moment

    return [runtime.name for runtime in runtimes()]


def _tokenizers() -> Iterable[str]:
    from tprune.tasks.metrics.bleu_tokenizer import NAMES  # here, because sacrebleu takes a moment

    return NAMES


KindName = Annotated[str, _one_of(kinds_known)]
SizeAsked = Annotated[float, Field(gt=0), AfterValidator(_fraction_or_number)]


class Prune(Distilled):
    """Regularised training, then the cut to a size, time or memory.

    `macs`, `params` (or `parameters`) and `bytes` are fractions of the dense model up to 1, numbers above. `allocation`
    says how sublayers share a size: by the loss they add (`loss`), by the BSSL analysis, or alike (`uniform`); a time
    or memory is always shared by loss. Losses do not add up; so `search` selections are measured as a whole. Without
    `steps` it is one shot.

    Attributes:
        kinds: of couplings that may be cut.
        method: that drives groups to zero; one of ours, or of a plugin.
        method_options: fields of the method's class, such as `share: 0.75` of `gradual_magnitude`; as the class has
            them if not given.
        mode: how it reaches the weights.
        strength: of the penalty, over the gradient of the task.
        macs: target, multiplications.
        params: target, parameters.
        bytes: target, of the weights.
        memory_mb: target, peak memory of the process that runs it, in 10⁶ bytes.
        speedup: target, times faster on a sentence.
        latency_ms: target, milliseconds a sentence.
        allocation: how sublayers share a size.
        objective: what is measured where a size, time or memory is shared by loss: the loss on references, or the
            divergence of the outputs' distributions from the dense model's, which uses references only as decoder
            input.
        search: selections measured as a whole.
        expected_recovery: share of the loss of a kind that training wins back.
        floor: share of every coupling that stays.
        floors: likewise for single kinds, where it differs.
        multiple: what numbers of groups are rounded to.
        output_vocabulary: most tokens that the pruned model writes; words with others are spelled with shorter ones.
            All if not given.
        stock: only what a stock configuration expresses.
        even: kinds of which all blocks of a stack keep equally many groups; those that the runtime needs are added.
    """

    kinds: list[KindName] = Field(list(BY_DEFAULT), min_length=1)
    method: Annotated[str, _one_of(lambda: sorted(METHODS))] = "paced_hoyer_square"
    method_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    mode: Literal["gradient", "decoupled", "proximal"] = "proximal"
    strength: float = Field(0.5, ge=0)
    macs: SizeAsked | None = None
    params: SizeAsked | None = None
    bytes: SizeAsked | None = None
    memory_mb: float | None = Field(None, gt=0)
    speedup: float | None = Field(None, gt=1)
    latency_ms: float | None = Field(None, gt=0)
    allocation: Literal["loss", "analysis", "uniform"] = "analysis"
    objective: Objective = DEFAULT
    search: int = Field(40, ge=0, le=100_000)
    expected_recovery: dict[KindName, Annotated[float, Field(ge=0, lt=1)]] = Field(default_factory=dict)
    floor: float = Field(0.1, ge=0, lt=1)
    floors: dict[KindName, Annotated[float, Field(ge=0, lt=1)]] = Field(default_factory=dict)
    multiple: dict[KindName, PositiveInt] = Field(default_factory=dict)
    output_vocabulary: int | None = Field(None, ge=1)
    stock: bool = False
    even: list[KindName] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _stock_kinds(cls, data: Any) -> Any:
        """A stock checkpoint expresses FFN units alone, so they are what it prunes where nothing else is said."""
        if isinstance(data, dict) and data.get("stock") and "kinds" not in data:
            return {**data, "kinds": list(STOCK)}
        return data

    @model_validator(mode="before")
    @classmethod
    def _longer_name(cls, data: Any) -> Any:
        """`parameters` is `params`; both, with different values, are a slip."""
        if not isinstance(data, dict) or "parameters" not in data:
            return data
        rest = {key: value for key, value in data.items() if key != "parameters"}
        given = [value for value in (rest.get("params"), data["parameters"]) if value is not None]
        if len(given) == 2 and given[0] != given[1]:
            raise ValueError("params and parameters are the same; give one of them")
        return {**rest, "params": given[0]} if given else rest

    @model_validator(mode="after")
    def _method_takes_options(self) -> Prune:
        if self.method_options:
            from tprune.core.method_json import made  # here, because torch takes a moment

            made(self.method, self.method_options, "method_options")
        return self

    def target(self) -> tuple[str, float]:
        """The one size, time or memory asked for. Raises `InputError` unless there is exactly one."""
        units = (*SIZES, *TIMES, *MEMORY)
        asked = [(unit, getattr(self, unit)) for unit in units if getattr(self, unit) is not None]
        if len(asked) != 1:
            given = " and ".join(f"{unit} {value}" for unit, value in asked) or "none"
            raise InputError(
                f"prune: give exactly one of {', '.join(SIZES)} (a fraction of the dense model, or a number of at "
                f"least {LEAST_SIZE}), {', '.join((*TIMES, *MEMORY))}, in the recipe or as an option such as --speedup "
                f"2; got {given}"
            )
        return asked[0]

    @property
    def timed(self) -> bool:
        """Whether something is asked for that must be measured on this machine: a time, or the memory of a process."""
        return any(getattr(self, unit) is not None for unit in (*TIMES, *MEMORY))

    @property
    def by_loss(self) -> bool:
        """Whether the budget is shared by the loss that each coupling adds, which must be measured."""
        return self.timed or self.allocation == "loss"


class Recover(Distilled):
    """Fine-tuning of the cut model."""


class Bench(_Section):
    """How speed is measured.

    Attributes:
        threads: of the runtime.
        batch: sentences at once.
        sentences: of the test set that are timed.
        rounds: in which both sides take turns; an even number.
        runtime: what the models are exported to, scored and timed with.
        precision: in which the pruned model is to be used: a time that is asked for is of it. With `auto` every
            sublayer takes int8 or fp32, whichever costs less loss for the time or memory that is asked for. Both models
            are scored and timed in fp32 and int8 too, where the runtime has them.
        exceptions: names of weights that stay in single precision.
        max_int8_loss: nats per output that int8 may add to the loss of a model on validation data; where it adds more,
            the weights that add most stay in single precision. No limit if not given.
    """

    threads: int = Field(1, ge=1)
    batch: int = Field(1, ge=1)
    sentences: int = Field(50, ge=1)
    rounds: int = Field(16, ge=4, multiple_of=2)
    runtime: Annotated[str, _one_of(_runtimes)] = "onnxruntime"
    precision: Annotated[str, _one_of(lambda: (*NUMBERS, AUTO))] = "fp32"
    exceptions: tuple[str, ...] = ()
    max_int8_loss: float | None = Field(None, ge=0)

    @property
    def numbers(self) -> Precision:
        """The precision as a value; `auto` is int8, before anything is chosen to stay fp32."""
        named = INT8 if self.auto else Precision(self.precision)
        return named if named.exact else Precision(named.name, self.exceptions)

    @property
    def auto(self) -> bool:
        """Whether every sublayer chooses between int8 and fp32."""
        return self.precision == AUTO


class Recipe(_Section):
    """A whole experiment.

    Attributes:
        task: what the model is for; what a given model is made for, else translation, if not given.
        num_beams: of the search when translations are scored.
        bleu_tokenize: sacreBLEU's tokeniser for BLEU; the one that fits the script of the references if not given.
        seed: of weights, batches and dropout.
        train_precision: of training; auto is bf16 where the processor multiplies matrices in it (AMX, GPUs), else fp32.
    """

    task: Annotated[str, _one_of(lambda: TASKS)] | None = None
    data: Data
    model: Model = Model()
    train: Train
    analyze: Analyze = Analyze()
    prune: Prune
    recover: Recover
    bench: Bench = Bench()
    num_beams: int = Field(4, ge=1)
    bleu_tokenize: Annotated[str, _one_of(_tokenizers)] | None = None
    seed: int = Field(0, ge=0, lt=2**32)
    train_precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _even_for_the_runtime(cls, data: Any) -> Any:
        return evened(data)

    @model_validator(mode="after")
    def _is_sound(self) -> Recipe:
        if slip := not_run(self.bench.runtime, self.prune.kinds):
            raise ValueError(slip)
        if slip := unlearnt(self.prune, self.recover):
            raise ValueError(slip)
        return self
