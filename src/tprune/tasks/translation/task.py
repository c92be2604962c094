"""Translation, as an encoder-decoder does it: how such a model is called, and what of its outputs counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tprune.core.data import Sources
from tprune.core.labels import IGNORED
from tprune.core.model import Outputs
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown, States
from tprune.core.words import Words
from tprune.data.parallel import Parallel
from tprune.support.papers import Papers, papers_of
from tprune.tasks.metrics.translation import quality, translation_measures
from tprune.tasks.one_stack import OverTokens, check_data, settings
from tprune.tasks.translation.encoding import Collate, EncodedPairs, encode, max_length, told
from tprune.tasks.translation.scoring import predictions as predicted
from tprune.tasks.translation.scoring import read_pairs
from tprune.tasks.translation.stepping import STACKS, first_layer_apart, side_by_side

SHORT = 7  # tokens


@dataclass(frozen=True)
class Translation(OverTokens):
    """Source tokens to target tokens. A batch has `input_ids`, `attention_mask` and `labels`.

    Attributes:
        source: tokens of the example whose operations are counted.
        target: likewise.
        beams: of the translations that are scored; as the model's generation settings have it if not given.
        tokenize: sacreBLEU's tokeniser for BLEU; the one that fits the script of the references if not given.
    """

    source: int = 25
    target: int = 25
    beams: int | None = None
    tokenize: str | None = None
    name: ClassVar[str] = "translation"
    words: ClassVar[Words] = Words("a sentence", "sentences", "translations", "Source", "25 + 25 tokens", "token")
    papers: ClassVar[Papers] = papers_of([quality])

    def searching(self, beams: int, tokenize: str | None) -> Translation:
        """With so many beams, scored with this tokeniser."""
        return replace(self, beams=beams, tokenize=tokenize)

    def matches(self, model: nn.Module) -> bool:
        """Whether it is an encoder-decoder that reads tokens and writes them."""
        given: Any = model
        writes = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False)) and given.can_generate()
        return writes and given.main_input_name == "input_ids"

    def example(self, model: nn.Module) -> Batch:
        """One sentence without padding."""
        device = next(model.parameters()).device
        limit = max_length(model)
        source, target = min(self.source, limit), min(self.target, limit)
        written = int(settings(model).pad_token_id == 0)  # an mBART looks for the last token that is no padding
        return {
            "input_ids": torch.zeros(1, source, dtype=torch.long, device=device),
            "attention_mask": torch.ones(1, source, dtype=torch.long, device=device),
            "labels": torch.full((1, target), written, dtype=torch.long, device=device),
        }

    def random(self, model: nn.Module) -> Batch:
        """Two short random sentences, the second padded."""
        chance, config = torch.Generator().manual_seed(0), settings(model)
        pad, vocabulary = int(config.pad_token_id), int(config.vocab_size)
        ids = torch.randint(vocabulary, (2, SHORT), generator=chance)
        ids[ids == pad] = (pad + 1) % vocabulary
        mask = torch.ones_like(ids)
        ids[1, -2:], mask[1, -2:] = pad, 0
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.roll(ids, 1, 1)}

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded pairs."""
        return Collate(pad)(rows)

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, target positions, tokens). The model computes no loss of its own, which nobody would read."""
        asks = {"output_hidden_states": True} if hidden else {}
        shifted = told(model, batch["labels"])
        found: Outputs = model(**self.prompt(batch), decoder_input_ids=shifted, use_cache=False, **asks)
        return found

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """Source tokens in the encoder, target tokens in the decoder."""
        return batch["attention_mask"].bool() if stack == "encoder" else batch["labels"] != IGNORED

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """Of encoder and decoder, what their layers give (without the embeddings)."""
        return [
            States(getattr(outputs, f"{stack}_hidden_states")[1:], self.positions(batch, stack)) for stack in STACKS
        ]

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """Layers of encoder and decoder."""
        config = settings(model)
        named = all(hasattr(config, f"{stack}_layers") for stack in STACKS)
        keys = [f"{stack}_layers" for stack in STACKS] if named else ["num_layers", "num_decoder_layers"]
        return {stack: int(getattr(config, key)) for stack, key in zip(STACKS, keys, strict=True)}

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> Parallel:
        """Sentence pairs: source and target files in turns, or tables with two columns."""
        return read_pairs(sources, columns)

    def encode(self, data: Parallel, processor: Any, model: nn.Module) -> EncodedPairs:
        """Tokenises both sides. Raises `InputError` for too long a sentence, by file and line, or other data."""
        check_data(data, Parallel, self.name)
        return encode(data, processor, max_length(model))

    def predict(self, model: Any, examples: EncodedPairs, pad: int = 0) -> Predictions:
        """Translations, by a module or by what has `translated`; beams as `beams` says."""
        return predicted(model, examples, pad, self.beams)

    def measures(self, predictions: Predictions, examples: EncodedPairs) -> Sequence[Measure]:
        """BLEU and chrF."""
        assert examples.pairs is not None
        return translation_measures(predictions.rows.tolist(), examples.pairs.target, self.tokenize)

    def baselines(self, train: EncodedPairs, test: EncodedPairs) -> Mapping[str, Predictions]:
        """None: frequencies translate nothing."""
        return {}

    def shown(self, predictions: Predictions, examples: EncodedPairs, index: int) -> Shown:
        """A sentence, its reference and its translation."""
        assert examples.pairs is not None
        source, target = examples.pairs[index]
        return Shown(source, target, predictions.rows[index])

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Greedy decoding by the first model; all step through the same tokens."""
        return side_by_side(models, self.prompt(batch), min(steps, max_length(models[0]) - 1))

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The first layer whose output differs."""
        return first_layer_apart([self.run(model, batch, hidden=True) for model in models], differs)


TRANSLATION = Translation()
