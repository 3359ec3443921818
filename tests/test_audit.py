"""Every bug of the museum is caught by its invariant, and right code by none: ours, and diffusers' in ten lines."""

import copy
import re
from functools import partial

import pytest
import torch
from torch import nn

from diffusion101 import bugs, check, guidance, load, lora, samplers, schedules
from diffusion101.check.audit import Audit
from diffusion101.check.invariants import INVARIANTS
from diffusion101.core.denoiser import Denoiser
from diffusion101.core.process import Denoised
from diffusion101.data import synthetic
from diffusion101.data.images import Images
from diffusion101.networks import Labels, Level, UNet, UNetConfig
from diffusion101.training.loop import Run
from diffusion101.training.recipe import Model, Recipe

CONFIG = UNetConfig(levels=(Level(16), Level(16)), time=16, condition=Labels(10))
SAMPLERS = {
    "ddpm-beta": partial(samplers.ddpm, variance="beta"),
    "ddim-half": partial(samplers.ddim, eta=0.5),
    **samplers.SAMPLERS,
}


def average(module: nn.Module, steps) -> nn.Module:
    """What a run of ours averages."""
    run = Run(module, Recipe(model=Model("M1")))
    for _ in steps:
        run.ema.update_parameters(module)
        run.step += 1
    return run.ema.module


def ours(kind="cosine", predict="v", sampler=samplers.ddpm, shape=(1, 8, 8), **more) -> Audit:
    """All of the package, built and asked now; the network's weights are random, none of them zero."""
    s = schedules.make(kind)
    torch.manual_seed(3)
    fresh, network = UNet(CONFIG), UNet(CONFIG)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    images = Images("synthetic", *synthetic.dataset(20, seed=3), "")
    denoiser = guidance.clip(Denoiser(network, s, predict).eval(), s)
    parts = dict(
        shape=shape,
        loss=lambda network, x0: Denoiser(network, s, predict).loss(x0),
        data=images.pictures(),
        guide=guidance.guide,
        ema=average,
        lora=lambda model, rank, alpha: lora.wrap(model, rank, alpha, match=""),
        network=fresh,
        cond=torch.arange(4),
    )
    return check.audit(s, denoiser, sampler, **(parts | more))


def bad(audit: Audit) -> list[str]:
    """The rows that do not pass."""
    assert audit.passed == all(row.verdict in ("passes", "not asked") for row in audit.rows)
    return [str(row) for row in audit.rows if row.verdict in ("suspicion", "stopped")]


def test_all_is_asked_of_ours_and_all_holds():
    audit = ours()
    assert bad(audit) == [] == audit.suspicions and {row.verdict for row in audit.rows} == {"passes"}
    assert len(audit.rows) == len(INVARIANTS)


@pytest.mark.parametrize("kind, predict", [("linear", "eps"), ("linear", "v"), ("cosine", "x0")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_right_code_raises_no_suspicion(kind, predict, sampler):
    audit = ours(kind, predict, SAMPLERS[sampler], ema=None, lora=None, network=None)
    assert bad(audit) == []


@pytest.mark.parametrize("name", ["03-scales", "05-guidance"])
def test_the_committed_models_raise_no_suspicion(name):
    model = load(name)
    audit = check.audit(model.schedule, guidance.clip(model, model.schedule), samplers.dpmpp_2m)
    assert bad(audit) == []


SEEN_WITH = {"no clipping with eps": ("linear", "eps")}  # the others: cosine, v
AS_WELL = {  # what else one of these bugs makes suspicious, and rightly so
    "uniform noise": {"variance for standard deviation"},
    "time along the batch axis": {
        "x0 and eps that contradict each other",
        "uniform noise",
        "variance for standard deviation",
    },
    "betas one off": {"a table that does not fall"},
    "dropout in evaluation": {"time along the batch axis"},
}


@pytest.mark.parametrize("name", bugs.BUGS)
def test_each_bug_is_caught_and_named(name):
    with bugs.bug(name):
        audit = ours(*SEEN_WITH.get(name, ()))
    assert name in audit.suspicions and not audit.passed
    assert set(audit.suspicions) <= {name} | AS_WELL.get(name, set()), audit
    assert "stopped" not in {row.verdict for row in audit.rows}, audit


def test_every_bug_has_an_invariant():
    assert set(bugs.BUGS) <= {invariant.suspicion for invariant in INVARIANTS}
    names = [invariant.asserts for invariant in INVARIANTS]
    assert len(set(names)) == len(names)


def late(denoise, x, s, steps):
    """Evenly spaced, but never at T, as "leading" spacing does."""
    for t in [s.T * i // steps + 1 for i in reversed(range(steps))]:
        x0, eps = denoise(x, torch.full((len(x),), t))
        r = t - s.T // steps if t > s.T // steps else 0
        x = s.signal[r] * x0 + s.noise[r] * eps
        yield r, x, x0


def halfway(*a, **k):
    yield from list(samplers.ddim(*a, **k))[:-1]


def from_variance(network, x0):
    """q_sample with 1 - alpha_bar in the place of its root."""
    s, t = schedules.cosine(), torch.randint(1, 1001, (len(x0),))
    at = t.view(-1, 1, 1, 1)
    network(s.signal[at] * x0 + s.noise[at] ** 2 * torch.randn_like(x0), t)


def from_zero(network, x0):
    """t from 0 to T - 1."""
    s, t = schedules.cosine(), torch.randint(0, 1000, (len(x0),))
    at = t.view(-1, 1, 1, 1)
    network(s.signal[at] * x0 + s.noise[at].clamp(min=1e-6) * torch.randn_like(x0), t)


def born_random(model, rank, alpha):
    lora.wrap(model, rank, alpha, match="")
    for layer in lora.layers(model).values():
        nn.init.ones_(layer.adapters["default"].up.weight)
    return model


def first_of(module, steps):
    """An average that never moves."""
    start = copy.deepcopy(module)
    for _ in steps:
        start.table.copy_(module.table)
    nn.init.zeros_(start.weight)
    return start


@pytest.mark.parametrize(
    "suspicion, parts",
    [
        ("a sampler that starts too late", {"sampler": late}),
        ("noise at the last step", {"sampler": halfway}),
        ("variance for standard deviation", {"loss": from_variance}),
        ("times of training that miss some", {"loss": from_zero}),
        ("an adapter that is not born the identity", {"lora": born_random}),
        ("normalisation to [0, 1]", {"data": torch.linspace(0, 255, 100)}),
        ("cold average", {"ema": first_of}),
    ],
)
def test_other_mistakes_are_named(suspicion, parts):
    audit = ours(**parts)
    assert suspicion in audit.suspicions, audit


def plain(s=None, denoiser=None, sampler=samplers.ddim, **more) -> Audit:
    """Only what must be given; the denoiser of a world that is black."""
    s = s or schedules.cosine()

    def black(x, t):
        x0 = -torch.ones_like(x)
        signal, noise = (table[t].view(-1, 1, 1, 1) for table in (s.signal, s.noise))
        return Denoised(x0, (x - signal * x0) / noise)

    return check.audit(s, denoiser or black, sampler, **({"shape": (1, 4, 4)} | more))


def test_a_schedule_that_ends_too_early_and_one_that_rises():
    assert plain(schedules.linear(T=100)).suspicions == ["a schedule that ends too early"]
    rising = schedules.linear()
    rising.alpha_bar[500] = rising.alpha_bar[400]
    assert {"a table that does not fall", "betas one off"} <= set(plain(rising).suspicions)


def test_what_is_missing_is_not_asked():
    audit = plain()
    left = {row.invariant.asserts: row.found for row in audit.rows if row.verdict == "not asked"}
    assert audit.passed and left["data reaches from -1 to 1"] == "needs data"
    assert set(left) == {
        i.asserts for i in INVARIANTS if set(i.needs) & {"loss", "data", "guide", "ema", "lora", "network"}
    }


def test_a_table_alone_is_a_schedule_and_eps_alone_an_answer():
    s = schedules.linear()

    def ddim(denoise, x, table, steps):
        times = s.times(steps)
        for t, r in zip(times, times[1:]):
            eps = denoise(x, torch.full((len(x),), t))
            x0 = ((x - (1 - table[t]).sqrt() * eps) / table[t].sqrt()).clamp(-1, 1)
            x = table[r].sqrt() * x0 + (1 - table[r]).sqrt() * eps
            yield r, x, x0

    audit = check.audit(s.alpha_bar, lambda x, t: 0.9 * x, ddim, shape=(1, 4, 4))
    assert bad(audit) == []
    (row,) = [row for row in audit.rows if row.found == "needs schedule.beta"]
    assert row.verdict == "not asked"


def test_code_that_stops_is_no_suspicion_and_no_pass():
    def guide(model, cond, scale):
        raise RuntimeError("no such\nthing")

    audit = plain(guide=guide)
    assert not audit.passed and audit.suspicions == []
    assert [row.found for row in audit.rows if row.verdict == "stopped"] == ["RuntimeError: no such thing"] * 3


def test_the_table_is_aligned():
    with bugs.bug("noise at the last step"):
        text = repr(plain(sampler=samplers.ddpm))
    lines = text.splitlines()
    assert len(lines) == len(INVARIANTS) and all(len(line) <= 140 for line in lines)
    (told,) = [line for line in lines if line.startswith("suspicion")]
    assert "noise at the last step: noise of 0." in told
    assert len({re.match(r"(suspicion|passes|not asked) +", line).end() for line in lines}) == 1
    starts = {line.index("needs ") for line in lines if "needs " in line}
    assert starts == {told.index("noise at the last step: ")}


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"s": torch.ones(3, 3)}, r"alpha_bar is \(3, 3\); it must be \(T\+1,\)"),
        ({"s": torch.tensor([1.0, torch.nan])}, "numbers from clean data to noise"),
        ({"steps": 0}, "steps is 0; it must lie from 1 to T = 1000"),
        ({"steps": 1001}, "steps is 1001"),
        ({"shape": ()}, "it must be that of one picture"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        check.audit(given.pop("s", schedules.cosine()), None, None, **given)


def test_random_numbers_outside_and_the_network_are_left_as_they_were():
    network = UNet(CONFIG)
    before, kept = torch.get_rng_state(), copy.deepcopy(network.state_dict())
    ours(network=network)
    torch.manual_seed(3)  # by `ours` itself
    assert all(torch.equal(kept[key], value) for key, value in network.state_dict().items())
    torch.set_rng_state(before)
    plain()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def unet():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    options = dict(in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(16, 32), norm_num_groups=8)
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    return diffusers.UNet2DModel(sample_size=8, down_block_types=down, up_block_types=up, **options)


class Theirs(nn.Module):
    """A network of diffusers, called as ours."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t):
        return self.unet(x, t - 1).sample


def their_sampler(scheduler):
    """A scheduler of diffusers in our notation; its t is ours minus one."""

    def sampler(denoise, x, schedule, steps):
        scheduler.set_timesteps(steps)
        times = [int(t) + 1 for t in scheduler.timesteps] + [0]
        for t, r in zip(times, times[1:]):
            out = scheduler.step(denoise(x, torch.full((len(x),), t)), t - 1, x)
            x = out.prev_sample
            yield r, x, out["pred_original_sample"] if len(out) > 1 else scheduler.model_outputs[-1]

    return sampler


def their_loss(scheduler):
    def loss(network, x0):
        eps, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),))
        return (network(scheduler.add_noise(x0, eps, t), t + 1) - eps).square().mean()

    return loss


SCHEDULERS = {
    "DDPMScheduler": {},
    "DDIMScheduler": {},
    "DPMSolverMultistepScheduler": {"thresholding": True},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_diffusers_raise_no_suspicion(unet, name):
    import diffusers

    scheduler = getattr(diffusers, name)(timestep_spacing="trailing", **SCHEDULERS[name])
    table = torch.cat([torch.ones(1), scheduler.alphas_cumprod])
    network = Theirs(unet).eval()
    parts = dict(shape=(1, 8, 8), loss=their_loss(diffusers.DDPMScheduler()), network=network)
    audit = check.audit(table, network, their_sampler(scheduler), **parts)
    assert bad(audit) == []
    assert sum(row.verdict == "passes" for row in audit.rows) >= 15


@pytest.mark.parametrize(
    "options, suspicion",
    [
        ({"timestep_spacing": "leading"}, "a sampler that starts too late"),
        ({"timestep_spacing": "trailing", "clip_sample": False}, "no clipping with eps"),
        ({"timestep_spacing": "trailing", "set_alpha_to_one": False}, "noise at the last step"),
        ({"timestep_spacing": "trailing", "beta_schedule": "squaredcos_cap_v2"}, "eps from pure noise in few steps"),
    ],
)
def test_known_traps_of_diffusers_are_named(unet, options, suspicion):
    """Lin et al. 2023 describe the first; the third is right for networks that were trained to end so."""
    import diffusers

    scheduler = diffusers.DDIMScheduler(**options)
    table = torch.cat([torch.ones(1), scheduler.alphas_cumprod])
    audit = check.audit(table, Theirs(unet).eval(), their_sampler(scheduler), shape=(1, 8, 8))
    assert audit.suspicions == [suspicion], audit


def test_their_average_raises_no_suspicion(unet):
    from diffusers.training_utils import EMAModel

    def ema(module, steps):
        kept = EMAModel(module.parameters())
        for _ in steps:
            kept.step(module.parameters())
        kept.copy_to(module.parameters())
        return module

    assert bad(plain(ema=ema)) == []
