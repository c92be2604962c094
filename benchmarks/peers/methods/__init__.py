"""The methods, by the name they have in tables and on the command line. One file each."""

from benchmarks.peers.job import Method
from benchmarks.peers.methods.dense import dense_more, fewer_tokens
from benchmarks.peers.methods.fisher import fisher
from benchmarks.peers.methods.group_lasso import group_lasso
from benchmarks.peers.methods.hard_concrete import hard_concrete
from benchmarks.peers.methods.layer_drop import layer_drop
from benchmarks.peers.methods.magnitude import magnitude
from benchmarks.peers.methods.michel import michel
from benchmarks.peers.methods.ours import (
    ours,
    ours_faded,
    ours_fewer_tokens,
    ours_regain,
    ours_regain_inside,
    ours_two_kinds,
)
from benchmarks.peers.methods.paper_tprune import paper_tprune
from benchmarks.peers.methods.repaired import repaired
from benchmarks.peers.methods.scratch import as_long_as_dense, from_references, from_translations, narrower, student
from benchmarks.peers.methods.sparse import block_lasso, deep_hoyer, staying_zero
from benchmarks.peers.methods.torch_pruning import torch_pruning

METHODS: dict[str, Method] = {
    "dense-more": Method(dense_more, timed=False),
    "fewer-tokens": Method(fewer_tokens, timed=False),
    "ours": Method(ours, aimed=True),
    "ours-regain": Method(ours_regain, aimed=True),
    "ours-regain-inside": Method(ours_regain_inside, aimed=True),
    "ours-1500-tokens": Method(ours_fewer_tokens(1500), aimed=True),
    "ours-faded": Method(ours_faded),
    "second-order": Method(ours_two_kinds),
    "tprune-paper": Method(paper_tprune),
    "group-lasso": Method(group_lasso),
    "magnitude": Method(magnitude),
    "hard-concrete": Method(hard_concrete),
    "fisher": Method(fisher, aimed=True),
    "michel": Method(michel, aimed=True),
    "fisher-repaired": Method(repaired(fisher), aimed=True),
    "michel-repaired": Method(repaired(michel)),
    "magnitude-repaired": Method(repaired(magnitude)),
    "torch-pruning": Method(torch_pruning),
    "narrower": Method(narrower, from_references, shaped=True),
    "student": Method(student, from_translations, shaped=True),
    "student-more": Method(student, as_long_as_dense, shaped=True),
    "layer-drop": Method(layer_drop, shaped=True),
    "block-lasso": Method(block_lasso, staying_zero),
    "deep-hoyer": Method(deep_hoyer, staying_zero),
}
