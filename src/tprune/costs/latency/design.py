"""Which plans a latency table times: many things cut at once, each plan another mixture.

A plan that cuts one thing saves a few microseconds of a sentence that takes milliseconds and varies by some per cent; a
model adds up dozens of such savings, with their errors. A plan that cuts everything says as much of every one of them,
and of their sum. So the sizes of every place are varied independently of each other, around levels that go from hardly
cut to nearly gone.

Where a runtime takes seconds to lower a graph, plans are fewer (`coarse`), and each two of a model with an encoder cut
all that its graph holds alike, so that this graph is lowered once for both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import torch

from tprune.core.kinds import COVERING, INNER, WHOLE_BLOCK, WIDTH, rule_of
from tprune.core.model import Model
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best, lines_of
from tprune.core.sites import ENCODER
from tprune.core.sublayers import Sublayer, sublayers_of
from tprune.families.registry import couplings, family_of
from tprune.support.texts import check_list

GOLDEN = 0.618034  # multiples of it, less their whole part, fill the unit interval evenly however many there are
LEVELS = (0.15, 0.9)
AROUND = 0.35  # how far a place's sizes lie from the level of the plan
LEAST_SHARE = 0.08  # of its lines that a coupling keeps
EIGHTHS = 8  # sizes that budgets choose from; every other plan takes any size
WIDTHS = (0.5, 0.75, 0.625, 0.875)
NARROW = (1, 2)  # of four plans, these take the next of the widths
PLANS, FEWER = 10, 4  # beside two for each kind; with a runtime that lowers slowly
REMOVED = 0.3  # in so many of the plans some layers of a place lose it


def plans_for(
    model: Model,
    kinds: Sequence[str] = ("ffn", "heads"),
    removal: bool = True,
    even: Sequence[str] = (),
    coarse: bool = False,
) -> Iterator[Plan]:
    """The plans to time for a budget over these kinds of couplings.

    `10 + 2 · kinds`, or `4 + 2 · kinds` coarse ones, less those that would cut nothing.

    Args:
        model: the dense model.
        kinds: of couplings.
        removal: whether sublayers may also be left with nothing, as with kind `sublayer`. Of what reads the source some
            layer stays.
        even: kinds of which all sublayers of a stack keep equally many; no sublayer is removed then.
        coarse: for a runtime that lowers slowly; see the module.

    Raises:
        InputError: the model has no coupling of a kind.
    """
    check_list(kinds, "kinds of couplings")
    if not kinds:
        return
    inside = [kind for kind in kinds if kind not in (WHOLE_BLOCK, WIDTH)]
    blocks = any(coupling.kind == WHOLE_BLOCK for coupling in couplings(model))
    removes = WHOLE_BLOCK in kinds or (removal and not even and blocks and bool(set(COVERING) & set(inside)))
    used = [*inside, *([WHOLE_BLOCK] if removes else []), *([WIDTH] if WIDTH in kinds else [])]
    plan = make_plan(model, family_of(model).name, couplings(model, used))
    lines = {groups.coupling.name: lines_of(groups.norms) for groups in plan.bind(model)}
    shapes = {entry.coupling.name: entry.groups for entry in plan.entries}
    residual = [coupling.name for coupling in plan.couplings if coupling.kind == WIDTH]
    sublayers = sublayers_of(plan)
    shared = _of_encoder(sublayers) if coarse else ()
    others = [s for s in sublayers if s not in shared]
    for number in range((FEWER if coarse else PLANS) + 2 * len(kinds)):
        pair = number // 2 if shared else number
        left = lines | _evened(_sizes(pair, shared, removes) | _sizes(number, others, removes), sublayers, even)
        if pair % 4 in NARROW:
            left |= {name: round(WIDTHS[pair // 4 % len(WIDTHS)] * lines[name]) for name in residual}
        if left != lines:
            yield plan.with_kept({name: keep_best(torch.ones(shapes[name]), k) for name, k in left.items()}, {}, {})


def _of_encoder(sublayers: Sequence[Sublayer]) -> Sequence[Sublayer]:
    """Those of which the graph of an encoder holds something; none where that is the whole model, or there is none."""
    found = [s for s in sublayers if s.site.stack == ENCODER or s.site.reads_source]
    return found if len(found) < len(sublayers) else ()


def _sizes(number: int, sublayers: Sequence[Sublayer], removes: bool) -> dict[str, int]:
    """Lines that stay, by coupling: one share for each kind at each place, the same in all its layers."""
    rng = random.Random(number)
    level = LEVELS[0] + (LEVELS[1] - LEVELS[0]) * (number * GOLDEN % 1)
    places = {place: [s for s in sublayers if s.place == place] for place in dict.fromkeys(s.place for s in sublayers)}
    left: dict[str, int] = {}
    for members in places.values():
        removable = [s for s in members if WHOLE_BLOCK in s.couplings or not removes]  # some are needed by others
        most = max(0, len(removable) - members[0].site.reads_source)
        count = rng.randint(1, most) if rng.random() < REMOVED and removes and most else 0
        gone = removable[len(removable) - count :]
        kinds = list(dict.fromkeys(kind for s in members for kind in s.couplings))
        nested = [kind for kind in kinds if _nests(kind)]
        for kind in kinds:
            share = min(1.0, max(LEAST_SHARE, level + rng.uniform(-AROUND, AROUND)))
            share = share**0.5 if len(nested) > 1 and kind in nested else share  # heads and their dimensions multiply
            if number % 2 == 0:
                share = max(1, round(EIGHTHS * share)) / EIGHTHS
            for s in (s for s in members if s not in gone and kind in s.couplings):
                left[s.couplings[kind]] = s.whole[kind] if kind == WHOLE_BLOCK else max(1, round(share * s.whole[kind]))
        left |= {s.couplings[WHOLE_BLOCK]: 0 for s in gone}
    return left


def _evened(left: Mapping[str, int], sublayers: Sequence[Sublayer], even: Sequence[str]) -> dict[str, int]:
    """Of an even kind all sublayers of a stack as many as the first of them."""
    first: dict[tuple[str, str], int] = {}
    found = dict(left)
    for s in sublayers:
        for kind in [kind for kind in s.couplings if kind in even]:
            count = first.setdefault((s.site.stack, kind), found[s.couplings[kind]])
            found[s.couplings[kind]] = min(count, s.whole[kind])
    return found


def _nests(kind: str) -> bool:
    """Whether groups of a kind lie within those of another, or hold them."""
    return rule_of(kind).balanced or bool(INNER.get(kind))
