"""Every method of benchmarks/peers on a tiny Marian: the speed it was asked for, the compute it was given."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peers.compute import affordable, share_of_macs, step_units
from benchmarks.peers.job import Job, Made, Method, Recovery, finish
from benchmarks.peers.methods import METHODS, scratch
from benchmarks.peers.speed import Faster, Speed
from sentence_times import sentence_times
from tprune.core.selection import Limits
from tprune.core.sites import Site
from tprune.costs.latency.table import LatencyTable, Price, TimingConfig
from tprune.counting.size import size
from tprune.recipe.schema import Recover
from tprune.tasks.translation.encoding import EncodedPairs, MarianSize, new_model, train_tokenizer
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData
from tprune.vocabulary.trim import write_only_

UNITS, TARGET = 40.0, 1.5
TEXTS = ("a cat sat on a mat", "the dogs ran", "two cats and a dog", "the mat is red")
TOKENIZER = train_tokenizer(TEXTS, vocabulary=40, max_length=24)
MORE_UNITS = {  # they read 150 to 250 losses, or fit matrices, before they train
    "ours": 900.0,
    "ours-1500-tokens": 900.0,
    "ours-regain": 900.0,
    "ours-regain-inside": 900.0,
    "ours-faded": 900.0,
    "second-order": 900.0,
    "fisher-repaired": 80.0,
    "michel-repaired": 80.0,
    "magnitude-repaired": 80.0,
}
SHARES = {
    "encoder.self_attn": (0.3, 0.0),
    "encoder.ffn": (0.5, 0.0),
    "decoder.self_attn": (0.0, 0.2),
    "decoder.encoder_attn": (0.05, 0.2),
    "decoder.ffn": (0.0, 0.25),
}


def fake_table(layers: int) -> LatencyTable:
    """Savings in proportion to what is cut, `SHARES` of the encoder's 1.3 ms and the decoder step's 0.34 ms in all
    layers.
    """
    prices = []
    for place, (encoder, step) in SHARES.items():
        kinds = {"ffn": 1.0} if place.endswith("ffn") else {"heads": 1.0, "qk": 0.5, "vo": 0.5}
        for kind, taken in {**kinds, "sublayer": 0.0}.items():
            prices.append(Price(place, kind, (taken * encoder * 1.3 / layers, taken * step * 0.34 / layers)))
    return LatencyTable("fake", TimingConfig(), sentence_times(1.3, 0.43, 8.395), 16.5, (), {}, 0, tuple(prices))


def pairs(n: int, seed: int) -> EncodedPairs:
    random = torch.Generator().manual_seed(seed)
    rows = [
        torch.randint(3, 40, (int(k),), generator=random).tolist() for k in torch.randint(3, 9, (n,), generator=random)
    ]
    return EncodedPairs(tuple([*row, 1] for row in rows), tuple([*row[::-1], 1] for row in rows))


@pytest.fixture(scope="module")
def dense() -> Any:
    torch.manual_seed(0)
    return new_model(MarianSize(32, (3, 3), 8, 128, 40, 0.1, 24), 40).eval()


def job_for(dense: Any, work: Path, units: float = UNITS, target: float = TARGET) -> Job:
    material = TrainingData(TRANSLATION, pairs(200, 1), pairs(16, 2), precision="fp32")
    whole = size(dense)

    def timer(model: Any) -> Faster:  # as fast as it is small
        share = (40 - len(model.generation_config.suppress_tokens or ()) / 4) / 40
        return Faster(*[whole.macs / size(model).macs / share] * 2)

    stage = Recover(steps=0, lr=1e-3, warmup=2, distill=0.5, batch_tokens=256)
    speed, limits = Speed(fake_table(3), timer), Limits({"ffn": 4}, 0.03)
    how = Recovery(stage, material)
    return Job(dense, material, material, speed, target, units, how, 0, TOKENIZER, TEXTS, work, limits=limits)


def test_units_are_forward_passes_of_the_dense_model(dense: Any) -> None:
    assert step_units(1.0, True) == 4 and step_units(0.5, False) == 1.5
    assert affordable(8.0, 1.0, True) == 2 and affordable(7.99, 1.0, True) == 1
    assert share_of_macs(dense, dense) == 1


QUICK = {"magnitude", "michel-repaired", "group-lasso"}  # one of each kind: at once, repaired, by a penalty
VARIANTS = {"ours-1500-tokens", "ours-regain", "ours-faded"}  # of what the others do; `make test-all` runs them


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.variants] if name in VARIANTS else [pytest.mark.slow] if name not in QUICK else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in METHODS])
def test_every_method_reaches_the_speed_and_spends_the_compute(
    name: str, dense: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "DENSE", UNITS)
    if name == "torch-pruning":
        pytest.importorskip("torch_pruning")
    units = MORE_UNITS.get(name, UNITS)
    job, method = job_for(dense, tmp_path, units), METHODS[name]
    before = {k: v.clone() for k, v in dense.state_dict().items()}
    made = method.make(job)
    if method.timed:
        assert abs(made.speedup / TARGET - 1) < 0.03 or any("granularity" in note for note in made.notes)
        if made.plan is not None:
            speed = job.speed if made.spelling is None else job.speed.with_output_vocabulary(dense, made.spelling)
            assert made.speedup == pytest.approx(speed.of_plan(made.plan))
            assert made.certificate is not None and made.certificate.forward < 1e-5
        elif made.speedup != 1.0:
            assert made.speedup == pytest.approx(job.speed.of_model(made.model))
    assert made.spent <= 0.7 * units
    how = method.recovery(job)
    model, steps, spent = finish(job, made, how)
    assert steps > 0 and 0.9 * units < spent - how.extra <= units
    assert how.extra == (UNITS if name == "student-more" else 0.0)
    assert torch.isfinite(model(**job.material.batch()).logits).all()
    after = dense.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before) and not dense.training


def test_a_plan_is_aimed_until_it_is_measured_as_asked(dense: Any, tmp_path: Path) -> None:
    from benchmarks.peers.run import CLOSE, aim_unit
    from tprune.support.errors import UnreachableError

    def job(measured: Any) -> Job:
        found = job_for(dense, tmp_path)
        return replace(found, speed=replace(found.speed, timer=lambda model: Faster(measured(model), measured(model))))

    asks = Method(lambda job: Made(job.target, job.target), aimed=True)  # a "model" that says what was asked
    found = aim_unit(job(lambda asked: 0.6 + 0.5 * asked), asks)
    assert 0.6 + 0.5 * found["aim"] == pytest.approx(TARGET, rel=CLOSE) and found["tried"][0] == (TARGET, 1.35)
    assert len(aim_unit(job(lambda asked: asked), asks)["tried"]) == 1

    def fast_enough(job: Job) -> Made:
        if job.target > 1.6:
            raise UnreachableError("too fast")
        return Made(job.target, job.target)

    found = aim_unit(job(lambda asked: 0.8 * asked), Method(fast_enough, aimed=True))
    assert found["aim"] == TARGET and found["failed"] == "too fast"


@pytest.mark.slow
def test_fewer_tokens_leave_all_but_the_reference(dense: Any, tmp_path: Path) -> None:
    twin = copy.deepcopy(dense)
    write_only_(twin, range(20))
    job = job_for(twin, tmp_path)
    never = {
        name: METHODS[name].make(job).model.generation_config.suppress_tokens
        for name in ("dense-more", "fewer-tokens", "magnitude", "student", "layer-drop")
    }
    assert never.pop("dense-more") is None and all(tokens == list(range(20, 40)) for tokens in never.values())
    assert replace(job.speed, faster=1.25).dense == pytest.approx(1.25 * job.speed.dense)


def test_a_speed_that_plans_cannot_reach_is_refused(dense: Any, tmp_path: Path) -> None:
    from tprune.support.errors import UnreachableError

    with pytest.raises(UnreachableError):
        METHODS["magnitude"].make(job_for(dense, tmp_path, target=4.0))


def test_dropped_layers_leave_the_others_as_they_were(dense: Any) -> None:
    from benchmarks.peers.methods.layer_drop import dropped

    batch = {"input_ids": torch.tensor([[5, 6, 7, 1]]), "decoder_input_ids": torch.tensor([[0, 8, 9]])}
    twin = dropped(dense, [0, 1, 2], [0, 1, 2])
    torch.testing.assert_close(twin(**batch).logits, dense(**batch).logits)
    small = dropped(dense, [0, 2], [0])
    assert size(small).macs < size(dense).macs
    first, second = dense.model.encoder.layers[2].fc1.weight, small.model.encoder.layers[1].fc1.weight
    assert torch.equal(first, second) and len(small.model.decoder.layers) == 1


def test_bisection_finds_the_largest_that_fits() -> None:
    from benchmarks.peers.methods.scratch import largest

    for bound in range(-1, 12):
        assert largest(range(10), lambda v, b=bound: v <= b) == (None if bound < 0 else min(bound, 9))


def test_mask_gradients_are_those_of_single_sentences_and_zero_masks_cut(marian_small: Any, batch: Any) -> None:
    """Against finite differences of the loss of one sentence alone, and against the masked model."""
    from benchmarks.peers.job import empty_plan
    from benchmarks.peers.masks import masked_by, sentence_gradients

    model, plan = marian_small, empty_plan(marian_small)
    found = sentence_gradients(model, plan.couplings, batch)

    def loss(row: int, masks: dict[str, torch.Tensor]) -> float:
        one = {k: v[row : row + 1] for k, v in batch.items()}
        with torch.no_grad(), masked_by(model, list(plan.couplings), ones | masks):
            return float(model(**one).loss * (one["labels"] != -100).sum())

    ones = {name: torch.ones(g.shape[1], dtype=torch.float64) for name, g in found.items()}
    for name in (
        plan.entries[0].coupling.name,
        plan.entries[-1].coupling.name,
        "model.decoder.layers.1.encoder_attn.heads",
    ):
        for row in range(len(batch["labels"])):
            step = torch.zeros_like(ones[name])
            step[1] = 1e-4
            slope = (loss(row, {name: ones[name] + step}) - loss(row, {name: ones[name] - step})) / 2e-4
            assert float(found[name][row, 1]) == pytest.approx(slope, rel=1e-3, abs=1e-6)
        from tprune.realise.mask import masked

        keep = torch.ones_like(ones[name], dtype=torch.bool)
        keep[1] = False
        with masked_by(model, list(plan.couplings), ones | {name: keep.double()}):
            hooked = model(**batch).logits
        torch.testing.assert_close(hooked, masked(model, plan.with_kept({name: keep}, {}, {}))(**batch).logits)


def test_importances_of_michel_and_fisher_by_hand() -> None:
    from benchmarks.peers.methods.fisher import curve, rearranged
    from benchmarks.peers.methods.michel import importances

    g = torch.tensor([[3.0, -1.0], [-3.0, 7.0]])
    torch.testing.assert_close(importances({"a": g})["a"], torch.tensor([0.6, 0.8]))
    found = curve("a", g.square().mean(0), "heads", Limits(floor=0.0))
    assert found.kept == (0, 1, 2) and found.losses == pytest.approx((17.0, 4.5, 0.0))
    torch.manual_seed(0)
    many = torch.randn(20, 6)
    start = torch.tensor([True, True, True, False, False, False])
    better = rearranged(many, start)
    assert better.sum() == 3
    cost = lambda keep: float(many[:, ~keep].sum(1).square().sum())  # noqa: E731
    assert cost(better) < cost(start)


def test_fisher_keeps_what_a_search_over_all_selections_keeps(dense: Any, tmp_path: Path) -> None:
    """Few options: every combination of how much each coupling keeps, against the dynamic programme."""
    from itertools import product

    from benchmarks.peers.job import empty_plan
    from benchmarks.peers.methods.fisher import curve
    from tprune.budget.latency import select_within

    job, plan = job_for(dense, tmp_path), empty_plan(dense)
    limits = Limits({"ffn": 128, "heads": 8}, 0.0)  # all or nothing
    torch.manual_seed(1)
    curves = tuple(curve(c.name, torch.rand(128 if c.kind == "ffn" else 8), c.kind, limits) for c in plan.couplings)
    chosen = select_within(dense, plan, job.speed.table, curves, job.milliseconds)
    loss = sum(c.losses[c.kept.index(len(e.kept or ()))] for c, e in zip(curves, chosen.entries, strict=True))
    saved = [
        sum(w * x for w, x in zip((1.0, 16.5), job.speed.table.saved(p, "sublayer", 0.0), strict=True))
        for p in (c.site.place for c in plan.couplings if c.site is not None)
    ]
    need = job.speed.dense - job.milliseconds
    best = min(
        sum(c.losses[0] for c, cut in zip(curves, cuts, strict=True) if cut)
        for cuts in product((False, True), repeat=len(curves))
        if sum(s for s, cut in zip(saved, cuts, strict=True) if cut) >= need
        and not all(cut for c, cut in zip(curves, cuts, strict=True) if "encoder_attn" in c.name)  # it reads its source
    )
    assert loss == pytest.approx(best, rel=1e-3)


def test_hard_concrete_gates_open_as_often_as_they_say() -> None:
    from benchmarks.peers.methods.hard_concrete import Gates, hard

    gates = Gates({"a": 3})
    with torch.no_grad():
        gates.locations[0].copy_(torch.tensor([-0.04, 0.0, 0.04]))
    z = hard(gates.logits()["a"].detach(), torch.rand(20000, 3))
    torch.testing.assert_close((z > 0).float().mean(0), gates.open()["a"].detach(), atol=0.015, rtol=0)
    assert z.min() == 0 and z.max() == 1


def test_the_lagrangian_brings_gates_to_the_time_asked_for(dense: Any, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from benchmarks.peers.methods.hard_concrete import Gates, Lagrangian

    job = job_for(dense, tmp_path)
    stacks = ("decoder", "encoder")
    sites = {f"{stack} {i}": Site(stack, i, "feed_forward") for stack in stacks for i in range(3)}
    gates = Gates(dict.fromkeys(sites, 32))
    wanted = 0.9 * job.speed.dense
    penalty = Lagrangian(gates, sites, job.speed.table, wanted, 100)
    optimizer = torch.optim.Adam(gates.parameters(), lr=1e-3)
    for step in range(150):
        optimizer.zero_grad()
        penalty.on_pre_optimizer_step(None, SimpleNamespace(global_step=step), None)
        optimizer.step()
    assert float(penalty.expected().detach()) == pytest.approx(wanted, rel=0.03)


def test_torch_pruning_takes_the_groups_with_the_least_group_norm(dense: Any) -> None:
    pytest.importorskip("torch_pruning")
    from benchmarks.peers.job import empty_plan
    from benchmarks.peers.methods.torch_pruning import pruned_by_package

    plan = empty_plan(dense)
    total = {e.coupling.name: e.groups[0] for e in plan.entries}
    found = pruned_by_package(dense, {name: n // 4 for name, n in total.items()}, total)
    for groups in plan.bind(dense):
        name, n = groups.coupling.name, len(groups.norms)
        least = set(groups.norms.argsort()[: n // 4].tolist())
        assert len(found[name]) == n // 4 and len(found[name] & least) >= 0.75 * (n // 4)  # it counts biases too


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep-hoyer", "block-lasso"])
def test_zeros_of_sparse_models_survive_recovery(name: str, dense: Any, tmp_path: Path) -> None:
    from benchmarks.peers.methods.sparse import kept_by_magnitude
    from tprune.families.registry import couplings

    job, method = job_for(dense, tmp_path), METHODS[name]
    made = method.make(job)
    params = {v.param for c in couplings(dense, ("lines",)) for v in c.views}
    zeros = {p: made.model.get_parameter(p).detach() == 0 for p in params}
    share = sum(float(z.sum()) for z in zeros.values()) / sum(z.numel() for z in zeros.values())
    assert share == pytest.approx(1 - kept_by_magnitude(job), abs=0.02)
    model, _, _ = finish(job, made, method.recovery(job))
    for p, zero in zeros.items():
        assert torch.equal(model.get_parameter(p).detach() == 0, zero), p


def test_models_of_earlier_calls_are_found_by_their_markers(tmp_path: Path) -> None:
    from benchmarks.peers.run import Spec, made_before

    (tmp_path / "done").mkdir()
    for name in (
        "train-fisher-2.5x-s1",
        "train-dense-more-1x-s0",
        "train-unknown-2x-s0",
        "deploy-ours-2x-s0",
        "train-ours-2x",
    ):
        (tmp_path / "done" / f"{name}.json").write_text("{}")
    assert set(made_before(tmp_path)) == {Spec("fisher", 2.5, 1), Spec("dense-more", 1.0, 0)}


def test_what_is_trained_from_scratch_starts_with_encoder_positions_apart(dense: Any) -> None:
    from benchmarks.peers.methods.scratch import untrained

    model = untrained(dense, (1, 1), 16, 32)
    embedding = model.get_input_embeddings()
    assert not embedding.weight[model.config.pad_token_id].any()
    assert float(embedding.weight.detach().std() * 16**0.5) == pytest.approx(1.0, rel=0.2)
    weight = model.model.encoder.layers[0].fc1.weight.detach()
    assert float(weight.abs().max()) <= (6 / (16 + 32)) ** 0.5 and float(weight.std()) == pytest.approx(
        (2 / 48) ** 0.5, rel=0.2
    )
    assert model.lm_head.weight is embedding.weight
