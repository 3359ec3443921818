"""The training loop: what it shows, what it averages, what it keeps; and that what a recipe asks for takes effect."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from diffusion101 import checkpoint, lora
from diffusion101.data import handwriting
from diffusion101.data.numbers import Numbers
from diffusion101.networks import Labels, Tokens, UNet
from diffusion101.training import loop, tasks
from diffusion101.training.fit import fit
from diffusion101.training.loop import OPTIMIZERS, Run, has_bf16, learning_rate, train
from diffusion101.training.muon import Muon


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def build(recipe):
    return tasks.task(recipe).build()


def but(recipe, **changes):
    """The recipe with fields of its training, or of its network, replaced."""
    network = {key: changes.pop(key) for key in ("condition", "dropout") if key in changes}
    model = replace(recipe.model, network=replace(recipe.model.network, **network))
    return replace(recipe, model=model, train=replace(recipe.train, **changes))


@pytest.fixture
def here(monkeypatch, pictures):
    """Every task finds the small data set."""
    monkeypatch.setattr("diffusion101.training.tasks.load", lambda *a, **k: pictures)
    return pictures


def test_loss_falls(tiny, pictures):
    tiny = replace(but(tiny, batch=16, lr=0.005), total=40 * 16)
    losses = [step.loss for step in train(build(tiny), pictures, tiny)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_equals_uninterrupted(tiny, pictures, tmp_path, optimizer):
    """Bit for bit, dropout and label dropout included, through a file."""
    tiny = but(tiny, condition=Labels(10), dropout=0.3, drop=0.5, optimizer=optimizer)
    straight = build(tiny)
    *_, end = train(straight, pictures, tiny)
    run = Run(build(tiny), tiny)
    steps = train(run.model, pictures, tiny, run)
    for _ in range(3):
        next(steps)
    torch.save(run.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)  # whatever happens in between
    other = Run(build(tiny), tiny)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    *_, again = train(other.model, pictures, tiny, other)
    assert again.step == end.step == 6 and again.loss == end.loss
    assert torch.equal(weights(other.model), weights(straight))
    assert torch.equal(weights(again.run.ema), weights(end.run.ema))


def test_seeded(tiny, pictures):
    a, b, c = (build(but(tiny, seed=seed)) for seed in (1, 1, 2))
    for model, seed in ((a, 1), (b, 1), (c, 2)):
        list(train(model, pictures, but(tiny, seed=seed)))
    assert torch.equal(weights(a), weights(b)) and not torch.equal(weights(a), weights(c))


class Spy(torch.nn.Module):
    """Notes what the loop shows it; its loss has a gradient of zero everywhere."""

    def __init__(self, condition=None):
        super().__init__()
        self.condition, self.shown = condition, []
        self.matrix = torch.nn.Parameter(torch.full((4, 4), 2.0))
        self.bias = torch.nn.Parameter(torch.full((4,), 2.0))

    def loss(self, x0, cond, generator):
        self.shown.append((x0, cond, self.training))
        return 0 * (self.matrix.sum() + self.bias.sum())


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("condition", [Labels(10), Tokens(10, 2)], ids=repr)
def test_labels_are_dropped_at_the_recipes_rate(tiny, pictures, rate, condition):
    recipe, model = but(tiny, drop=rate, batch=50), Spy(condition)
    list(train(model, pictures, replace(recipe, total=60 * 50)))
    shown = torch.cat([cond for _, cond, _ in model.shown]).view(3000, -1)
    labels = torch.cat([pictures.batch(step, 50, recipe.train.seed)[1] for step in range(60)])
    empty = (shown == 10).all(1)
    assert abs(empty.float().mean().item() - rate) <= 4 * (rate * (1 - rate) / 3000) ** 0.5  # four deviations
    assert torch.equal(shown[~empty, 0], labels[~empty]), "the others are told as they are"


def test_the_loop_shows_each_batch_once_in_training_mode(tiny, pictures):
    model = Spy()
    model.eval()
    rows = list(train(model, pictures, but(tiny, seed=5)))
    assert [row.step for row in rows] == list(range(1, 7)) and [row.images for row in rows] == list(range(8, 56, 8))
    for step, (x0, cond, training) in enumerate(model.shown):
        want, labels = pictures.batch(step, 8, seed=5)
        assert torch.equal(x0, want) and torch.equal(cond, labels) and training


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_shrinks_what_has_no_gradient(tiny, pictures, optimizer):
    recipe = but(tiny, weight_decay=0.5, lr=0.1, decay=False, warmup=0.0, optimizer=optimizer)
    model = Spy()
    list(train(model, pictures, recipe))
    torch.testing.assert_close(model.matrix.data, torch.full((4, 4), 2 * (1 - 0.1 * 0.5) ** 6))
    assert (model.bias < 1.9).all(), "at its own rate"
    still = Spy()
    list(train(still, pictures, but(recipe, weight_decay=0.0)))
    assert (weights(still) == 2).all()


def test_ema_by_hand(tiny, pictures):
    tiny = but(tiny, ema=0.3, lr=0.05)  # (1 + n) / (10 + n) passes 0.3 at the fourth step
    model = build(tiny)
    expected = None
    for n, step in enumerate(train(model, pictures, tiny)):
        d = min(0.3, (1 + n) / (10 + n))
        expected = weights(model) if expected is None else d * expected + (1 - d) * weights(model)
    torch.testing.assert_close(weights(step.run.ema.module), expected)
    assert not torch.equal(expected, weights(model))


def test_what_is_written_is_the_average(tiny, here, tmp_path, monkeypatch):
    """The weight file holds run.ema, to half precision, and not the last step's weights."""
    monkeypatch.setattr(tasks.DenoiserTask, "preview", lambda self, model: None)
    tiny = replace(but(tiny, lr=0.02), score=replace(tiny.score, samples=0))
    about = fit(tiny, tmp_path / "run")
    _, state = checkpoint.read(tmp_path / "run" / "model.safetensors", "denoiser")
    *_, end = train(build(tiny), here, tiny)
    average, last = (m.network.state_dict() for m in (end.run.ema.module, end.run.model))
    assert all(torch.equal(state[key], average[key].half().float()) for key in average)
    assert any(not torch.equal(average[key].half(), last[key].half()) for key in last)
    assert about["images"] == 48 and about["parameters"] == sum(p.numel() for p in end.run.model.parameters())


def test_ema_does_not_wait_for_the_device():
    averages, new, count = [torch.zeros(2)], [torch.ones(2)], torch.zeros((), device="meta")  # which cannot be read
    loop._ema(0.9, SimpleNamespace(step=3))(averages, new, count)
    assert averages[0].tolist() == pytest.approx([1 - 4 / 13] * 2)


def test_ema_leaves_buffers_alone(tiny, pictures):
    model = build(tiny)
    model.register_buffer("counter", torch.tensor(0))
    steps = train(model, pictures, tiny)
    for n in range(3):
        model.counter.fill_(10 * n)
        step = next(steps)
    assert step.run.ema.module.counter == 20  # an average would be some 7


def test_learning_rate(tiny):
    how = replace(tiny.train, warmup=0.1, lr=1.0)
    rates = [learning_rate(how, 1000, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and rates[99] == rates[100] == 1.0 and rates[-1] < 1e-4
    assert rates[550] == pytest.approx(0.5, abs=0.01)
    assert learning_rate(replace(how, decay=False), 1000, 999) == 1.0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_follows_the_rate(tiny, pictures, optimizer):
    """Each keeps its share of the rate, whatever the step; the first has all of it."""
    tiny, shares = but(tiny, optimizer=optimizer), []
    for step in train(build(tiny), pictures, tiny):
        assert step.lr == learning_rate(tiny.train, 6, step.step - 1)
        shares.append([round(o.param_groups[0]["lr"] / step.lr, 6) for o in step.run.optimizers])
    assert shares == [shares[0]] * 6 and shares[0][0] == 1 and min(shares[0]) > 0.1


def test_gradients_are_clipped(tiny, pictures):
    model = build(tiny)
    for step in train(model, pictures, but(tiny, clip=1e-3)):
        total = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        assert step.grad_norm > 1e-3 and total <= 1.01e-3


def test_who_is_trained_by_what():
    """Muon: the weights inside the network. AdamW: tables, biases, norms, and the first and last layer."""
    model = build_m6()
    names = {id(p): name for name, p in model.named_parameters()}
    inside, rest = OPTIMIZERS["muon"](model, 1e-3, 0.0)
    by_muon, by_adamw = ({names[id(p)] for group in o.param_groups for p in group["params"]} for o in (inside, rest))
    assert isinstance(inside, Muon) and isinstance(rest, torch.optim.AdamW)
    assert not by_muon & by_adamw and by_muon | by_adamw == set(names.values())
    for name in by_adamw:
        flat = model.get_parameter(name).ndim == 1
        assert flat or name.startswith(("conv_in.", "conv_out.", "condition.")), f"{name} is inside"
    assert {"conv_in.weight", "conv_out.weight", "condition.what.weight", "condition.where.weight"} <= by_adamw
    assert any("to_q" in name for name in by_muon) and any(".hear.0" in name for name in by_muon)
    [everything] = OPTIMIZERS["adamw"](model, 1e-3, 0.0)
    assert len(everything.param_groups[0]["params"]) == len(names)


def build_m6() -> UNet:
    from diffusion101.milestones import M6

    return UNet(M6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_adapters_of_a_wrapped_model_are_trained(optimizer):
    model = lora.wrap(build_m6(), rank=2)
    trained = {id(p) for o in OPTIMIZERS[optimizer](model, 1e-3, 0.1) for g in o.param_groups for p in g["params"]}
    assert trained == {id(p) for name, p in model.named_parameters() if ".adapters." in name}


def test_a_loss_that_is_no_number_stops(tiny, pictures):
    model = build(tiny)
    with torch.no_grad():
        model.network.conv_in.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="loss is nan at step 1: lower the learning rate"):
        list(train(model, pictures, tiny))


@pytest.mark.parametrize("amp", [True, False])
def test_amp_keeps_float32_weights(tiny, pictures, amp):
    model = build(but(tiny, amp=amp))
    *_, step = train(model, pictures, but(tiny, amp=amp))
    assert weights(model).dtype == torch.float32 and isinstance(has_bf16(torch.device("cpu")), bool)


# What a recipe asks for takes effect: the tasks.


def test_a_warm_start_is_used(tiny):
    """Every tensor of the file is in the new model, bit for bit; only new modules have values of their own."""
    _, state = checkpoint.read("03-scales", "denoiser")
    job = tasks.task(replace(tiny, model=replace(tiny.model, network=None, milestone="M5", start="03-scales")))
    model = job.build()
    own = model.network.state_dict()
    assert job.export(model)[1]["start"] == checkpoint.origin("03-scales")
    assert all(torch.equal(own[key], state[key]) for key in state)
    assert {key.split(".")[0] for key in own.keys() - state.keys()} == {"condition", "body"}
    fresh = build(replace(tiny, model=replace(tiny.model, network=None, milestone="M5"))).network.state_dict()
    assert any(not torch.equal(fresh[key], state[key]) for key in state)


@pytest.mark.parametrize("kind", handwriting.HANDWRITINGS)
def test_another_handwriting_is_trained_on(tiny, here, kind):
    job = tasks.task(replace(tiny, data=replace(tiny.data, handwriting=kind, shots=30)))
    shown, wanted = job.images("train"), handwriting.write(here, kind, 30)
    assert torch.equal(shown.images, wanted.images) and len(shown) <= 30
    assert torch.equal(job.stream(shown).batch(0, 8)[0], shown.batch(0, 8)[0])
    plain = tasks.task(tiny).images("train")
    assert plain is here


def test_hidden_numbers_are_streamed(tiny, here):
    job = tasks.task(replace(tiny, data=replace(tiny.data, hidden=50)))
    assert job.stream(here) == Numbers(here, 50) and tasks.task(tiny).stream(here) is here


def test_the_network_and_its_loss_are_the_recipes(tiny):
    schedule = {"kind": "cosine", "T": 30}
    process = replace(tiny.process, predict="x0", loss="huber", weight="time", schedule=schedule)
    model = build(replace(but(tiny, dropout=0.4), process=process))
    assert (model.predict, model.loss_name, model.weight, model.schedule.T) == ("x0", "huber", "time", 30)
    dropouts = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts and set(dropouts) == {0.4} and model.schedule.spec["kind"] == "cosine"


class Faint(torch.nn.Module):
    """One layer, whose loss has a gradient of this size; in float16 what lies under 6e-8 is nothing."""

    def __init__(self, size: float):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.size = torch.nn.Linear(4, 4), size

    def loss(self, x0, cond, generator):
        answer = self.layer(x0.flatten(1)[:, 300:304])
        assert answer.dtype == torch.float16 or not torch.is_autocast_enabled("cpu")
        return answer.float().square().mean() * self.size


@pytest.fixture
def no_bfloat16(monkeypatch):
    """As on a GPU that is faster in float16 and has no bfloat16."""
    monkeypatch.setattr(loop, "precision", lambda device: torch.float16)


@pytest.mark.parametrize("size", [1e-7, 1.0])
def test_float16_trains_as_float32_does(tiny, pictures, no_bfloat16, size):
    ends = []
    for amp in (True, False):
        model = Faint(size)
        list(train(model, pictures, but(tiny, amp=amp, optimizer="adamw", clip=1e9)))
        ends.append(weights(model))
    assert not torch.equal(ends[1], weights(Faint(size)))
    torch.testing.assert_close(ends[0], ends[1], rtol=0.02, atol=1e-3)


def test_a_step_too_large_for_float16_is_left_out(tiny, pictures, no_bfloat16, tmp_path):
    """The scale is halved until the gradients fit; it is kept with the run."""
    recipe, model = replace(but(tiny, optimizer="adamw"), total=8 * 30), Faint(1e3)
    run, began = Run(model, recipe), weights(model)
    steps = train(model, pictures, recipe, run)
    next(steps)
    assert torch.equal(weights(model), began) and run.scaler.get_scale() == 2**15
    for _ in steps:
        pass
    assert weights(model).isfinite().all() and not torch.equal(weights(model), began)
    torch.save(run.state_dict(), tmp_path / "state.pt")
    other = Run(Faint(1e3), recipe)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.scaler.get_scale() == run.scaler.get_scale() < 2**15


def test_precision_is_chosen_by_the_device(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(loop, "has_bf16", lambda device: False)
    assert loop.precision(cpu) is None and loop.precision(cuda) == torch.float16
    monkeypatch.setattr(loop, "has_bf16", lambda device: True)
    assert loop.precision(cpu) == loop.precision(cuda) == torch.bfloat16
