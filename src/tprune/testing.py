"""The conformance check for methods, structures, couplings, model families and runtimes, ours and others'; needs no test runner.

Every check raises `AssertionError` with a message that names what disagrees, and returns nothing. Models are compared
in double precision, where a correct cut agrees to about 1e-15 and a mistake does not.
"""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tprune.checkpoint import load, save
from tprune.coupling import Coupling, Groups, Role, bias, consumer, groups_of, producer, tensors_of
from tprune.errors import CertificateError, InputError
from tprune.methods import Method, Update
from tprune.models import couplings, family_of
from tprune.plan import Mode, Plan, make_plan
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.regularise import Regulariser
from tprune.runtimes.runtime import Runtime
from tprune.select import keep_best, lines_of
from tprune.structure import Shape, Structure

TOLERANCE = 1e-10


@torch.no_grad()
def randomise_(model: nn.Module, seed: int = 0) -> None:
    """Gives all that initialisation leaves at 0 or 1 (biases, norms, logit biases, running statistics) random values.

    Fresh models hide every mistake about biases and norms. Vectors called `weight` (norms) and running variances lie
    in 0.5 to 1.5, away from 0; linear maps get a spread of 1/√inputs, so that attention is not nearly uniform.

    Example:
        >>> norm = nn.LayerNorm(3)
        >>> randomise_(norm)
        >>> bool((norm.bias != 0).all() and (norm.weight >= 0.5).all())
        True
    """
    random = torch.Generator().manual_seed(seed)
    scaled = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    parameters = {id(parameter) for parameter in model.parameters()}
    saved = model.state_dict()  # tensors that are computed, not saved, are no weights
    for name, tensor in {id(t): (n, t) for n, t in tensors_of(model).items() if n in saved}.values():
        if not tensor.is_floating_point() or tensor.ndim == 0 or tensor.numel() == 0:
            continue
        if id(tensor) in scaled and tensor.ndim == 2 and bool(tensor.std() > 0):
            tensor.div_(tensor.std() * tensor.shape[1] ** 0.5)
        elif (tensor.ndim == 1 and id(tensor) in parameters) or bool((tensor == tensor.flatten()[0]).all()):
            noise = torch.rand(tensor.shape, generator=random, dtype=torch.float64)
            positive = tensor.ndim == 1 and name.endswith(("weight", "var"))
            tensor.copy_(noise + 0.5 if positive else 2 * noise - 1)


def check_method(method: Method, *, exact: bool = True, seed: int = 0) -> None:
    """A method's value, slopes, zero groups, determinism and state.

    Args:
        method: the method.
        exact: its slopes are the gradient of its value; if not (a rescaled step), they only have the gradient's signs.
        seed: of the weights it is tried on.

    Raises:
        AssertionError: it breaks the protocol.

    Example:
        >>> from tprune.methods.group_lasso import GroupLasso
        >>> check_method(GroupLasso())
    """
    groups, name = _example(seed), type(method).__name__
    _, update, _ = _run(method, groups)
    _require(update.value.shape == (), f"{name}: the value is no scalar")
    _require(update.slope.shape == groups.norms.shape, f"{name}: expected one slope per group")
    _require(_finite(update), f"{name}: not finite where one group is zero")

    for tensor in groups.tensors.values():
        tensor.requires_grad_(True)
    value = method.update(groups.refresh(), method.init(groups), 0)[0].value
    expected = torch.autograd.grad(value, [groups.tensors[p] for p in ("up", "down")], allow_unused=True)
    model = _Holder(groups.tensors)
    plan = make_plan(model, "", [groups.coupling], method=method, mode=Mode.GRADIENT, strengths=1.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Regulariser(model, plan).before_step()
    for param, gradient in zip(("up", "down"), expected, strict=True):
        applied, wanted = model.get_parameter(param).grad, torch.zeros(()) if gradient is None else gradient
        assert applied is not None
        zero = groups.tensors[param] == 0
        _require(bool((applied[zero] == 0).all()), f"{name}: a group that is zero is moved")
        if exact:
            _require(_off(wanted, applied) < TOLERANCE, f"{name}: slopes are not the gradient of the value")
        else:
            _require(bool((applied.sign() == wanted.sign()).all()), f"{name}: slopes against the gradient of the value")

    empty = Groups(groups.coupling, {param: torch.zeros_like(tensor) for param, tensor in groups.tensors.items()})
    nothing = _run(method, empty)[1]
    _require(_finite(nothing), f"{name}: not finite where all groups are zero")
    _check_state(method, name, seed)


def _check_state(method: Method, name: str, seed: int) -> None:
    groups = _example(seed)
    before = {param: tensor.clone() for param, tensor in groups.tensors.items()}
    state, first, after = _run(method, groups, steps=3)
    same = _run(method, _example(seed), steps=3)[1]
    _require(_equal(first, same), f"{name}: not deterministic")
    _require(all(torch.equal(before[p], t) for p, t in groups.tensors.items()), f"{name}: update changes the weights")
    _require(all(isinstance(v, Tensor) for v in after.values()), f"{name}: the state holds more than tensors")
    file = io.BytesIO()
    torch.save(dict(after), file)
    read = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    kept = {key: tensor.clone() for key, tensor in after.items()}
    a, b = method.update(groups.refresh(), after, 3)[0], method.update(groups.refresh(), read, 3)[0]
    _require(_equal(a, b), f"{name}: a saved state does not resume")
    _require(all(torch.equal(kept[key], after[key]) for key in kept), f"{name}: update changes the state it is given")
    _require(set(state) == set(after), f"{name}: init and update give states with different tensors")


def _finite(update: Update) -> bool:
    return bool(update.value.isfinite() & update.slope.isfinite().all())


def _equal(a: Update, b: Update) -> bool:
    return torch.equal(a.value, b.value) and torch.equal(a.slope, b.slope)


def _run(method: Method, groups: Groups, steps: int = 1) -> tuple[Mapping[str, Tensor], Update, Mapping[str, Tensor]]:
    first = state = method.init(groups)
    for step in range(steps):
        update, state = method.update(groups.refresh(), state, step)
    return first, update, state


def _example(seed: int) -> Groups:
    """Five units of unequal norms, the third of them zero."""
    random = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 0.3, 0.0, 2.0, 0.01], dtype=torch.float64)
    up = torch.randn(5, 3, generator=random, dtype=torch.float64) * scale[:, None]
    down = torch.randn(4, 5, generator=random, dtype=torch.float64) * scale
    views = (producer("up", "u i -> u"), bias("shift", "u -> u"), consumer("down", "o u -> u"))
    return groups_of(Coupling("example", views), {"up": up, "shift": scale.clone(), "down": down})


class _Holder(nn.Module):
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor.detach().clone()))


def check_structure(structure: Structure, shape: Shape, *, seed: int = 0) -> None:
    """Norms, mask and cut of one structure on one tensor shape agree with its index map, element by element.

    Raises:
        AssertionError: they do not, or a group set to zero has a norm above zero.

    Example:
        >>> check_structure(Structure("(h d) i -> h", {"h": 2}), (6, 3))
    """
    random, where = torch.Generator().manual_seed(seed), f"pattern {structure.pattern!r} on {shape}"
    w = torch.randn(shape, generator=random, dtype=torch.float64)
    layout = structure.layout(shape)
    index, count = layout.index(), int(torch.tensor(layout.groups).prod())
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, index.flatten(), w.flatten().square())
    off = _off(sums.sqrt().reshape(layout.groups), structure.norms(w))
    _require(off < TOLERANCE, f"{where}: norms differ from brute force")
    sizes = torch.bincount(index.flatten(), minlength=count).reshape(layout.groups)
    _require(torch.equal(sizes, structure.counts(shape)), f"{where}: counts differ from brute force")
    numbers = torch.arange(count).reshape(layout.groups)
    _require(torch.equal(structure.expand(numbers, w), index), f"{where}: expand differs from the index map")

    keep = torch.rand(layout.groups, generator=random) > 0.5
    part = w.clone()
    structure.scale_(part, keep.double())
    _require(torch.equal(part, w * structure.expand(keep, w)), f"{where}: scale_ differs from expand")
    added = w.clone()
    structure.add_scaled_(added, w, keep.double())
    _require(torch.equal(added, w + part), f"{where}: add_scaled_ differs from expand")
    norms = structure.norms(part)
    _require(bool((norms[~keep] == 0).all()), f"{where}: a zero group's norm is not exactly zero")
    _require(bool((norms[keep & (sizes > 0)] > 0).all()), f"{where}: a group with weights has norm zero")

    lines = [torch.rand(size, generator=random) > 0.4 for size in layout.groups]
    product = torch.ones(layout.groups, dtype=torch.bool)
    for axis, line in enumerate(lines):
        product &= line.reshape([-1 if a == axis else 1 for a in range(len(lines))])
    try:
        stays = structure.axis_keep(shape, product)
    except InputError:
        stays = None  # nothing is left of one axis but not of another
    if stays is not None:
        mask, taken = structure.expand(product, w), structure.take(w, product)
        _require(torch.equal(taken.flatten(), w[mask]), f"{where}: take keeps other elements than expand marks")
        left = tuple(int(stays[axis].sum()) if axis in stays else size for axis, size in enumerate(shape))
        _require(tuple(taken.shape) == left, f"{where}: take leaves {tuple(taken.shape)}, axis_keep says {left}")


@torch.no_grad()
def check_coupling(
    model: nn.Module, coupling: Coupling, run: Callable[[nn.Module], Tensor], *, silent: bool = True, seed: int = 0
) -> None:
    """Closedness by perturbation: in half of the groups, zero producers silence consumers and, if `silent`, vice versa.

    Args:
        model: any model; randomise its biases first. It is left as it is.
        coupling: a closed coupling of it.
        run: the model's output on some input.
        silent: whether zero consumers silence the producers too; not so for a width, whose norms mix dimensions.
        seed: which groups.

    Raises:
        AssertionError: the coupling misses a member, or `run` does not depend on it.
    """
    _require(coupling.closed, f"coupling {coupling.name} is open: nothing follows from its groups")
    twin = copy.deepcopy(model)
    groups = groups_of(coupling, tensors_of(twin))
    random = torch.Generator().manual_seed(seed)
    dropped = torch.zeros(groups.norms.numel(), dtype=torch.bool)
    dropped[torch.randperm(len(dropped), generator=random)[: max(1, len(dropped) // 2)]] = True
    dropped = dropped.reshape(groups.shape)
    saved = {param: tensor.clone() for param, tensor in groups.tensors.items()}
    roles = {Role.PRODUCER, Role.CONSUMER, Role.BIAS}
    dense = run(twin)

    def outputs(zeroed: set[Role], perturbed: set[Role]) -> tuple[Tensor, Tensor]:
        found = []
        for amount in (0.0, 1.0):
            for param, tensor in groups.tensors.items():
                tensor.copy_(saved[param])
            for view in coupling.views:
                if view.role in perturbed and amount:
                    w = view.of(groups.tensors[view.param])
                    noise = torch.rand(w.shape, generator=random, dtype=torch.float64).to(w) + 0.5
                    w.add_(noise * view.structure.expand(dropped, w))
            for view in coupling.views:  # last: a tied or overlapping element that should be zero stays zero
                if view.role in zeroed:
                    view.structure.scale_(view.of(groups.tensors[view.param]), (~dropped).to(saved[view.param].dtype))
            found.append(run(twin))
        return found[0], found[1]

    where = f"coupling {coupling.name}"
    _require(_off(dense, outputs(set(), roles)[1]) > TOLERANCE, f"{where}: the output does not depend on it")
    a, b = outputs({Role.PRODUCER, Role.BIAS}, {Role.CONSUMER})
    _require(_off(a, b) < TOLERANCE, f"{where}: once producers and biases are zero, something is still read")
    if silent and any(view.role is Role.CONSUMER for view in coupling.views):
        a, b = outputs({Role.CONSUMER, Role.BIAS}, {Role.PRODUCER})
        _require(_off(a, b) < TOLERANCE, f"{where}: once consumers are zero, producers are still read")


def random_kept(model: nn.Module, plan: Plan, *, share: float = 0.6, seed: int = 0) -> Plan:
    """The plan with a random share of the groups kept, at least one of each coupling; of sublayers about a third go.

    Raises:
        InputError: the plan is for another model.
    """
    random, kept = torch.Generator().manual_seed(seed), {}
    first = int(torch.randint(3, (), generator=random))
    for number, groups in enumerate(plan.bind(model)):
        scores = torch.rand(groups.shape, generator=random)
        count = int((number + first) % 3 > 0) if not groups.shape else max(1, int(share * lines_of(scores)))
        kept[groups.coupling.name] = keep_best(scores, count)
    return plan.with_kept(kept, {}, {})


def check_family(
    model: Any,
    batch: Mapping[str, Tensor],
    kinds: Sequence[str] | None = None,
    *,
    seed: int = 0,
    realise: Callable[[Any, Plan], Any] = shrink,
) -> None:
    """For every kind of coupling and for all together, the shrunk model does what the masked one does, even loaded.

    Args:
        model: a small model of the family; a copy is used in double precision, evaluating.
        batch: `input_ids`, `attention_mask` (with padding) and `labels`.
        kinds: of couplings; all if not given.
        seed: which groups stay.
        realise: what makes the smaller model.

    Raises:
        AssertionError: a kind disagrees; says where.
    """
    twin = copy.deepcopy(model).double().eval()
    family = family_of(twin).name
    known = list(dict.fromkeys(coupling.kind for coupling in couplings(twin)))
    wanted = list(kinds) if kinds is not None else known
    for chosen in [[kind] for kind in wanted] + ([wanted] if len(wanted) > 1 else []):
        plan = random_kept(twin, make_plan(twin, family, couplings(twin, chosen)), seed=seed)
        where = f"{family}, {' + '.join(chosen)}"
        try:
            small = realise(twin, plan)
        except Exception as error:
            raise AssertionError(f"{where}: cannot be realised ({type(error).__name__}: {error})") from error
        check_agrees(masked(twin, plan), small, batch, where)
        check_saved(small, plan, batch, where)


@torch.no_grad()
def check_runtime(runtime: Runtime, model: Any, tokenizer: Any, sentences: Sequence[str]) -> None:
    """What a runtime computes is what PyTorch computes, through an exported folder.

    Args:
        runtime: to check.
        model: a model that can be exported, in evaluation mode, float32.
        tokenizer: its own.
        sentences: source sentences of unequal lengths; at least two.

    Raises:
        AssertionError: naming what disagrees.

    Example: see `docs/add-your-own.md`.
    """
    from tprune.runtimes.export import export
    from tprune.runtimes.translate import Translator

    _require(len(sentences) > 1, "a runtime is checked on at least two sentences")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        try:
            export(model, tokenizer, out, sentences, runtime)
        except CertificateError as error:
            raise AssertionError(f"{runtime.name}: {error}") from error
        translator = Translator.load(out)
        _require(translator.layout.runtime == runtime.name, f"{runtime.name}: the folder names another runtime")
        first, ids = translator.layout.decoding.decoder_start_token_id, translator.encode(sentences[:2])
        tokens = np.array([first, first], np.int64)
        state = translator.start(ids)
        state.peek(tokens)
        told = state.logits(tokens)
        _require(
            np.array_equal(told, translator.start(ids).logits(tokens)), f"{runtime.name}: peek() changes the state"
        )
        both, swapped, alone = translator.start(ids), translator.start(ids), np.array([1, 0])
        swapped.take(alone)
        _require(
            np.allclose(swapped.logits(tokens), both.logits(tokens)[alone], atol=1e-5),
            f"{runtime.name}: take() does not reorder sources",
        )
        swapped.take(alone[:1])
        _require(len(swapped.logits(tokens[:1])) == 1, f"{runtime.name}: take() does not drop rows")


def check_agrees(reference: Any, small: Any, batch: Mapping[str, Tensor], where: str = "model", beams: int = 3) -> None:
    """Two encoder-decoders agree: a padded forward pass, cached decoding step by step, and beam search.

    Raises:
        AssertionError: they do not; says in what.
    """
    source = {key: batch[key] for key in ("input_ids", "attention_mask")}
    target = reference.prepare_decoder_input_ids_from_labels(batch["labels"])
    expected = reference(**source, decoder_input_ids=target).logits
    off = _off(expected, small(**source, decoder_input_ids=target).logits)
    _require(off < TOLERANCE, f"{where}: a forward pass is off by {off:.2g}")
    encoded, cache = small.get_encoder()(**source), None
    for step in range(target.shape[1]):
        out = small(
            encoder_outputs=encoded, attention_mask=source["attention_mask"],
            decoder_input_ids=target[:, step : step + 1], past_key_values=cache, use_cache=True,
        )  # fmt: skip
        cache, off = out.past_key_values, _off(expected[:, step], out.logits[:, -1])
        _require(off < TOLERANCE, f"{where}: cached decoding is off by {off:.2g} at step {step + 1}")
    a, b = (_beams(model, source, beams) for model in (reference, small))
    _require(torch.equal(a.sequences, b.sequences), f"{where}: beam search gives other translations")
    _require(_off(a.sequences_scores, b.sequences_scores) < TOLERANCE, f"{where}: beam search gives other scores")


@torch.no_grad()
def check_saved(small: Any, plan: Plan, batch: Mapping[str, Tensor], where: str = "model") -> None:
    """A model comes back from disk bit for bit, and its plan from JSON.

    Raises:
        AssertionError: it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = save(small, Path(folder, "saved"), plan=plan)
        again, read = load(out).eval(), Plan.load(out / "plan.json")
    _require(read == plan, f"{where}: the plan changes on its way through JSON")
    a, b = (model(**batch) for model in (small, again))
    _require(a.logits.dtype == b.logits.dtype, f"{where}: saved in {a.logits.dtype}, loaded in {b.logits.dtype}")
    _require(torch.equal(a.logits, b.logits), f"{where}: logits change on the way through disk")


def _beams(model: Any, source: Mapping[str, Tensor], beams: int) -> Any:
    return model.generate(
        **source, num_beams=beams, num_return_sequences=beams, min_new_tokens=6, max_new_tokens=10, do_sample=False,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip


def _off(expected: Tensor, got: Tensor) -> float:
    """The largest difference relative to the largest value; infinite where shapes differ or a value is not finite."""
    if expected.ndim and (expected.shape != got.shape or not bool(got.isfinite().all())):
        return float("inf")
    return float((expected - got).abs().max() / expected.abs().max().clamp_min(1e-30))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
