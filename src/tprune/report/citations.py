"""BibTeX of what a run used, so that whoever writes about it can say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ENTRIES = {
    "tprune": """@article{mao2021tprune,
  title = {{TPrune}: Efficient Transformer Pruning for Mobile Devices},
  author = {Mao, Jiachen and Yang, Huanrui and Li, Ang and Li, Hai and Chen, Yiran},
  journal = {ACM Transactions on Cyber-Physical Systems}, volume = {5}, number = {3}, year = {2021},
  doi = {10.1145/3446640}
}""",
    "hoyer": """@inproceedings{yang2020deephoyer,
  title = {{DeepHoyer}: Learning Sparser Neural Network with Differentiable Scale-Invariant Sparsity Measures},
  author = {Yang, Huanrui and Wen, Wei and Li, Hai},
  booktitle = {International Conference on Learning Representations}, year = {2020}
}""",
    "lasso": """@article{yuan2006model,
  title = {Model Selection and Estimation in Regression with Grouped Variables},
  author = {Yuan, Ming and Lin, Yi},
  journal = {Journal of the Royal Statistical Society: Series B}, volume = {68}, number = {1}, pages = {49--67}, year = {2006}
}""",
    "surgeon": """@inproceedings{hassibi1993second,
  title = {Second Order Derivatives for Network Pruning: Optimal Brain Surgeon},
  author = {Hassibi, Babak and Stork, David G.},
  booktitle = {Advances in Neural Information Processing Systems 5}, year = {1993}
}
@inproceedings{kurtic2023ziplm,
  title = {{ZipLM}: Inference-Aware Structured Pruning of Language Models},
  author = {Kurtic, Eldar and Frantar, Elias and Alistarh, Dan},
  booktitle = {Advances in Neural Information Processing Systems 36}, year = {2023}
}""",
    "sequence_distillation": """@inproceedings{kim2016sequence,
  title = {Sequence-Level Knowledge Distillation},
  author = {Kim, Yoon and Rush, Alexander M.},
  booktitle = {Proceedings of EMNLP}, year = {2016}
}""",
    "distill": """@article{hinton2015distilling,
  title = {Distilling the Knowledge in a Neural Network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  journal = {arXiv preprint arXiv:1503.02531}, year = {2015}
}""",
    "rewind": """@inproceedings{renda2020comparing,
  title = {Comparing Rewinding and Fine-tuning in Neural Network Pruning},
  author = {Renda, Alex and Frankle, Jonathan and Carbin, Michael},
  booktitle = {International Conference on Learning Representations}, year = {2020}
}""",
    "bleu": """@inproceedings{post2018call,
  title = {A Call for Clarity in Reporting {BLEU} Scores},
  author = {Post, Matt},
  booktitle = {Proceedings of the Third Conference on Machine Translation: Research Papers}, year = {2018}
}
@inproceedings{koehn2004statistical,
  title = {Statistical Significance Tests for Machine Translation Evaluation},
  author = {Koehn, Philipp},
  booktitle = {Proceedings of EMNLP}, year = {2004}
}""",
}


def citations(recipe: Mapping[str, Any], by_plan: bool) -> list[str]:
    """BibTeX entries of the methods that a recipe's stages used.

    Args:
        recipe: as in `run.json`.
        by_plan: whether what is kept came from a plan made before.
    """
    return [ENTRIES[name] for name in dict.fromkeys(_used(recipe, by_plan))]


def _used(recipe: Mapping[str, Any], by_plan: bool) -> Iterator[str]:
    prune, recover = recipe["prune"], recipe["recover"]
    yield "tprune"
    if recipe["analyze"]["steps"] or (prune["steps"] and prune["method"] == "group_lasso"):
        yield "lasso"
    if prune["steps"] and "hoyer" in prune["method"]:
        yield "hoyer"
    if not prune["steps"] or (not by_plan and prune["allocation"] == "loss"):
        yield "surgeon"
    for stage in (prune, recover):
        if stage["steps"]:
            yield from (key for key in ("sequence_distillation", "distill", "rewind") if stage[key])
    yield "bleu"
