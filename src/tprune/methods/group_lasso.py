"""Group lasso: the sum of group norms, weighted by √(group size)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tprune.core.coupling import Groups
from tprune.core.method import State, Update
from tprune.support.papers import Papers

YUAN_LIN = """@article{yuan2006model,
  title = {Model Selection and Estimation in Regression with Grouped Variables},
  author = {Yuan, Ming and Lin, Yi},
  journal = {Journal of the Royal Statistical Society: Series B}, volume = {68}, number = {1},
  pages = {49--67}, year = {2006}
}"""


@dataclass(frozen=True)
class GroupLasso:
    """`R = Σ_g √s_g · n_g`, slope `√s_g`, with s_g the number of elements of group g.

    On one-element groups it is the l1 norm. Its proximal step sets groups exactly to zero (soft thresholding of norms).

    Example:
        >>> import torch
        >>> from tprune.core.coupling import Coupling, groups_of, producer
        >>> g = groups_of(Coupling("rows", (producer("w", "o i -> o"),)), {"w": torch.tensor([[3.0, 4.0], [0.0, 0.0]])})
        >>> round(GroupLasso().update(g, {}, 0)[0].value.item(), 4)  # √2 · (5 + 0)
        7.0711

    References:
        Yuan and Lin, Model selection and estimation in regression with grouped variables, 2006;
        Wen et al., Learning structured sparsity in deep neural networks, 2016.
    """

    papers: ClassVar[Papers] = (YUAN_LIN,)

    def init(self, groups: Groups) -> State:
        """No state."""
        return {}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        """Value and slopes in closed form."""
        norms = groups.norms
        weights = groups.sizes.to(norms.device, norms.dtype).sqrt()
        return Update((weights * norms).sum(), weights), state
