"""ELECTRA: BERT's blocks; the embeddings may be narrower than the stream, and are then cut by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import (
    ElectraForCausalLM,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
)
from transformers.models.electra.modeling_electra import ElectraPreTrainedModel

from tprune.families.encoder_heads import Head, head_of, root_of
from tprune.families.encoder_only import blocks, embeddings_of, inside, stream
from tprune.families.residual import narrow_embeddings
from tprune.families.rows import Row
from tprune.families.table import Table

NARROW = Head(readers=("generator_predictions.dense",))  # a map into the dimensions of the embeddings
HEADS: Mapping[type[nn.Module], Head] = {
    ElectraModel: Head(),
    ElectraForSequenceClassification: Head(readers=("classifier.dense",)),
    ElectraForTokenClassification: Head(readers=("classifier",)),
    ElectraForQuestionAnswering: Head(readers=("qa_outputs",)),
    ElectraForPreTraining: Head(readers=("discriminator_predictions.dense",)),
    ElectraForMaskedLM: NARROW,
    ElectraForCausalLM: NARROW,
}
WORDS = Head(("generator_lm_head",), NARROW.readers, ("generator_predictions.LayerNorm",))


def rows(model: ElectraPreTrainedModel) -> Iterator[Row]:
    """Two rows a layer, and where the head is known the residual stream and narrower embeddings."""
    yield from blocks(model)
    head, words = head_of(model, HEADS), WORDS if hasattr(model, "generator_lm_head") else Head()
    if head is None:
        return
    if not hasattr(model.base_model, "embeddings_project"):
        yield stream(model, head + words)
        return
    project, norm = f"{root_of(model)}embeddings_project", f"{root_of(model)}embeddings.LayerNorm"
    yield inside(model, head, writers=(project,))
    yield narrow_embeddings(embeddings_of(model), (norm, *words.norms), words.writers, (project, *words.readers))


ELECTRA = Table("electra", lambda model: isinstance(model, ElectraPreTrainedModel), rows)
