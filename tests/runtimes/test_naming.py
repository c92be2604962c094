"""Constants have the names of the model's parameters, whatever the exporter makes of them."""

import numpy as np

from small_models import small_model
from tprune.core.known_tasks import task_of
from tprune.families.graphs.encoder_decoder import ENCODER_DECODER
from tprune.families.graphs.origins import first_names, origins
from tprune.runtimes.naming import naming


def test_origins_of_fused_short_and_transposed_tensors() -> None:
    model = small_model("marian").float()
    encoder, decoder = ENCODER_DECODER.graphs(model, task_of(model), {}, "onnx23", (0, 1, 5))
    found = {name: origin.parameters for name, origin in origins(decoder.module).items()}
    self_attention = "model.decoder.layers.1.self_attn"
    assert found["own.1.fused.weight"] == tuple(f"{self_attention}.{part}_proj.weight" for part in "qkv")
    assert found["queries.0.fused.bias"] == ("model.decoder.layers.0.encoder_attn.q_proj.bias",)
    assert found["words.weight"] == found["output"] == ("model.shared.weight",)
    names = naming(encoder.module)
    fused = encoder.module.own[0].fused.weight.detach().numpy()  # type: ignore[union-attr, index]
    expected = tuple(f"model.encoder.layers.0.self_attn.{part}_proj.weight" for part in "qkv")
    assert names("val_7", np.ascontiguousarray(fused.T)) == expected
    assert names("val_7", fused.T * 2) == ("val_7",)
    assert names("val_8", np.array([2])) == ("val_8",)
    assert first_names(decoder.module, ["model.decoder.embed_tokens.weight"]) == {"model.shared.weight"}
