"""Speech recognition in one pass: a token or a blank for each frame, as wav2vec 2.0 with CTC says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2CTCTokenizer

from tprune.core.labels import IGNORED
from tprune.core.model import Outputs
from tprune.core.task import Batch, Predictions, States
from tprune.core.words import Words
from tprune.data.sounds import Recordings
from tprune.realise.checkpoint import load_tokenizer
from tprune.support.errors import InputError
from tprune.tasks.alignment import aligned, spoken
from tprune.tasks.encoded_speech import checked_lengths
from tprune.tasks.encoded_waves import EncodedWaves as EncodedWaves
from tprune.tasks.frames import Convolutions
from tprune.tasks.of_recordings import OfRecordings
from tprune.tasks.one_pass import evaluating, logits_of
from tprune.tasks.one_stack import OneStack, check_data, is_for, settings
from tprune.tasks.padding import padded
from tprune.tasks.speech_processor import SpeechProcessor

WAVES, MASK = "input_values", "attention_mask"
LONGEST = 30  # seconds


@dataclass(frozen=True)
class CtcRecognition(OfRecordings, OneStack):
    """A recording to its transcript, in one pass.

    A batch has `input_values` and `attention_mask` (batch, samples), and `labels` (batch, frames): the tokens of the
    likeliest path of the model that encodes the data through the transcript, so that the loss is one of frames.

    Attributes:
        frames: of the recording whose operations are counted.
    """

    frames: int = 500
    name: ClassVar[str] = "speech-recognition-ctc"
    words: ClassVar[Words] = Words(
        "a recording", "recordings", "transcripts", "Recording", "a recording of 500 frames", "frame"
    )

    def matches(self, model: nn.Module) -> bool:
        """Whether a model says a token for each frame of a signal."""
        return is_for(model, "ForCTC") and getattr(model, "main_input_name", "") == WAVES

    def example(self, model: nn.Module) -> Batch:
        """One recording."""
        one = next(model.parameters())
        waves = torch.zeros(1, Convolutions.of(model).samples(self.frames), dtype=one.dtype, device=one.device)
        labels = torch.zeros(1, self.frames, dtype=torch.long, device=one.device)
        return {WAVES: waves, MASK: torch.ones_like(waves, dtype=torch.long), "labels": labels}

    def random(self, model: nn.Module) -> Batch:
        """Two random recordings, the second a shorter one."""
        chance, sizes = torch.Generator().manual_seed(0), Convolutions.of(model)
        classes = int(settings(model).vocab_size)
        return self.collate(
            [
                {
                    WAVES: torch.randn(sizes.samples(frames), generator=chance),
                    "labels": torch.randint(classes, (frames,), generator=chance).tolist(),
                }
                for frames in (12, 9)
            ],
            0,
        )

    def processor(self, folder: str | Path) -> SpeechProcessor:
        """The feature extractor and the tokeniser beside a model."""
        return SpeechProcessor.load(folder)

    def exported_processor(self, folder: Path, tokenizer: Any) -> SpeechProcessor:
        """The feature extractor and the tokeniser of an exported folder."""
        return SpeechProcessor.beside(folder, tokenizer or load_tokenizer(folder))

    def encode(self, data: Recordings, processor: SpeechProcessor, model: nn.Module) -> EncodedWaves:
        """Decodes all recordings once, and aligns transcripts to their frames by the model.

        Of recordings that are longer than 30 seconds the beginning stays. What only stands for a model (that of an
        exported folder) aligns nothing.

        Raises:
            InputError: recordings that cannot be decoded or are too short for one frame, named and counted; or other
                data.
        """
        check_data(data, Recordings, self.name)
        found, sizes, longest = checked_lengths(data, processor), Convolutions.of(model), LONGEST * processor.rate
        if short := [index for index, samples in enumerate(found) if sizes.frames(samples) < 1]:
            raise InputError(
                f"{data.name}: {len(short)} of {len(data):,} recordings are too short, such as {data.place(short[0])}, "
                f"of {found[short[0]]} samples; expected at least {sizes.samples(1)}"
            )
        frames = [sizes.frames(min(samples, longest)) for samples in found]
        cut = sum(samples > longest for samples in found)
        notes = (f"{data.name}: {cut:,} of {len(data):,} recordings are cut to {LONGEST} seconds",) * (cut > 0)
        examples = EncodedWaves(data, tuple([0] * count for count in frames), longest, processor, notes)
        return self._aligned(examples, model) if any(True for _ in model.parameters()) else examples

    def _aligned(self, examples: EncodedWaves, model: nn.Module) -> EncodedWaves:
        """The examples with the tokens of the model's likeliest paths; what it says itself where they do not fit."""
        data, blank = examples.recordings, _blank(model)
        rows = examples.processor.tokenizer(_cased(data.texts, examples.processor.tokenizer), verbose=False).input_ids
        labels, unfit = list[list[int]](), 0
        with evaluating(model):
            for index, row in enumerate(rows):
                batch = self.collate([examples[index]], blank)
                said = logits_of(self, model, batch)[0].log_softmax(-1).numpy()
                path = aligned(said, row, blank)
                unfit += path is None
                labels.append(said.argmax(-1).tolist() if path is None else path)
        more = (
            f"{data.name}: {unfit:,} of {len(data):,} transcripts have more tokens than their recordings have frames; "
            "what the model says is expected of these",
        )
        notes = (*examples.notes, *more * (unfit > 0))
        return EncodedWaves(data, tuple(labels), examples.longest, examples.processor, notes)

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of recordings, filled up with silence; nothing is expected of padding."""
        waves = [torch.as_tensor(row[WAVES], dtype=torch.float32) for row in rows]
        mask = padded([[1] * len(wave) for wave in waves], 0)
        filled = nn.utils.rnn.pad_sequence(waves, batch_first=True)
        return {WAVES: filled, MASK: mask, "labels": padded([row["labels"] for row in rows], IGNORED)}

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, frames, tokens). Models whose first norm is over time get no mask, as they were trained."""
        callable_model: Any = model
        given = {WAVES: batch[WAVES].to(next(model.parameters()).dtype)}
        if _masks(model):
            given[MASK] = batch[MASK]
        found: Outputs = callable_model(**given, **({"output_hidden_states": True} if hidden else {}))
        return found

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """The frames that are of no padding."""
        return batch["labels"] != IGNORED

    def heard(self, model: nn.Module, batch: Batch) -> Tensor:
        """The frames that are of no padding, of inputs alone."""
        sizes, mask = Convolutions.of(model), batch[MASK]
        frames = torch.arange(sizes.frames(mask.shape[1]), device=mask.device)
        return frames[None] < sizes.frames_of(mask.sum(1))[:, None]

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """What the layers give (without the embeddings)."""
        found: Any = outputs
        return [States(found.hidden_states[1:], self.positions(batch, ""))]

    def predict(self, model: Any, examples: EncodedWaves, pad: int = 0) -> Predictions:
        """Transcripts by the likeliest token of each frame, one recording at a time: silence beside it would count.

        Args:
            model: a module, which is left as it was, or a session with `logits`.
            examples: of the task.
            pad: the token that says nothing.
        """
        tokenizer, texts = examples.processor.tokenizer, list[str]()
        how = {"group_tokens": False} if isinstance(tokenizer, Wav2Vec2CTCTokenizer) else {}
        with evaluating(model):
            for index in range(len(examples)):
                said = logits_of(self, model, self.collate([examples[index]], pad))[0].argmax(-1)
                texts.append(tokenizer.decode(spoken(said.tolist(), pad), skip_special_tokens=True, **how))
        return Predictions(np.array(texts, object))


def _masks(model: Any) -> bool:
    """Whether a model was trained with masks: its first norm is over channels, and padding does not count there."""
    return str(settings(model).feat_extract_norm) == "layer"


def _blank(model: Any) -> int:
    """The token that says nothing."""
    return int(settings(model).pad_token_id)


def _cased(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """Texts in capitals where a tokeniser has no other letters, in small ones where it has no capitals."""
    letters = [token for token in tokenizer.get_vocab() if len(token) == 1 and token.isalpha()]
    if letters and not any(letter.islower() for letter in letters):
        return [text.upper() for text in texts]
    return [text if any(letter.isupper() for letter in letters) else text.lower() for text in texts]


CTC_RECOGNITION = CtcRecognition()
