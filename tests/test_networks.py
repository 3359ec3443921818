import copy
from dataclasses import replace

import pytest
import torch

from diffusion101 import Denoiser, lora, schedules
from diffusion101.milestones import MILESTONES
from diffusion101.networks import Labels, Level, Tokens, UNet, UNetConfig
from diffusion101.networks.attention import PixelBlock
from diffusion101.networks.blocks import Grow, Modulation, ResBlock, Shrink, Up
from diffusion101.networks.embeddings import sinusoidal
from diffusion101.scoring.score import cost

M8 = MILESTONES["M8"]
DEAF = replace(M8, condition=None, levels=tuple(replace(level, cross=False) for level in M8.levels))
M10 = MILESTONES["M10"]
STILL = replace(M10, levels=tuple(replace(level, attention=False) for level in M10.levels))
SHALLOW = replace(M10, levels=M10.levels[:1])
CONFIGS = MILESTONES | {"M8 deaf": DEAF, "M10 still": STILL, "M10 shallow": SHALLOW}

# Law 3's chain, and what the names of each addition's tensors have in common. LoRA is M6 with adapters. No earlier
# weights fit M8 and M10, which are in colour: they are compared with themselves without what they add.
CHAIN = {
    ("M1", "M2"): ("time.", ".modulate."),
    ("M2", "M3"): (".shrink.", ".inner.", ".grow."),
    ("M3", "M4"): (),  # the same network
    ("M4", "M5"): ("condition.", ".hear.1."),
    ("M4", "M6"): ("condition.", "_ask."),
    ("M8 deaf", "M8"): ("condition.", "_ask.", ".hear.1."),
    ("M10 shallow", "M10"): (".shrink.", ".inner.", ".grow."),
    ("M10 still", "M10"): ("_look.",),
    ("M6", "LoRA"): (".adapters.",),
}
STEPS = {("M2", "M3"): 4, ("M10 shallow", "M10"): 6}  # until all that is new is heard; elsewhere 2


def awake(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values everywhere, so that nothing is the identity by being unborn."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.1)
    return module


def inputs(config: UNetConfig, size: int = 16):
    g = torch.Generator().manual_seed(1)
    x, t = torch.randn(3, config.channels, size, size, generator=g), torch.tensor([1, 400, 1000])
    return x, t, config.condition.spread(10)[[0, 3, 9]] if config.condition else None


def grown(before: str, after: str) -> tuple[UNet, UNet, list[str]]:
    """A network, the next one started from its weights, and the names of the parameters that are new."""
    old = awake(UNet(CONFIGS[before]))
    if after == "LoRA":
        new = lora.wrap(copy.deepcopy(old), rank=4)
        kept = old.state_dict().keys()
        return old, new, [key for key in new.state_dict() if key.replace(".base.", ".") not in kept]
    new = UNet(CONFIGS[after])
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected
    return old, new, missing


@pytest.mark.parametrize("before, after", CHAIN, ids=str)
def test_every_addition_is_born_the_identity(before, after):
    """Law 3: started from the milestone before, the output is the same, and only new modules lack weights."""
    old, new, missing = grown(before, after)
    parts = CHAIN[before, after]
    assert all(any(part in f".{key}" for part in parts) for key in missing), missing
    assert all(any(part in f".{key}" for key in missing) for part in parts), f"nothing new in one of {parts}"
    x, t, cond = inputs(new.config)
    known = cond if old.config.condition else None
    torch.testing.assert_close(new(x, t, cond), old(x, t, known), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("before, after", [pair for pair in CHAIN if CHAIN[pair]], ids=str)
def test_every_addition_is_heard_at_once(before, after):
    """Law 3: a zero only in the path's last layer, so that all of it has a gradient after one step.

    Smaller resolutions lie inside each other, and each block in them ends in a zero of its own.
    """
    _, new, missing = grown(before, after)
    waiting = {key: p for key, p in new.named_parameters() if key in missing}
    optimizer = torch.optim.SGD([p for p in new.parameters() if p.requires_grad], lr=0.01)
    x, t, cond = inputs(new.config)
    for _ in range(STEPS.get((before, after), 2)):
        optimizer.zero_grad()
        (new(x, t, cond) - 1).square().mean().backward()
        waiting = {key: p for key, p in waiting.items() if p.grad is None or not p.grad.any()}
        optimizer.step()
    assert not waiting, f"no gradient yet: {[*waiting]}"


def test_a_label_table_at_zero_is_never_heard():
    """Why tables are drawn N(0, 1): zero behind zero has no gradient."""
    _, new, _ = grown("M4", "M5")
    torch.nn.init.zeros_(new.condition.weight)
    x, t, cond = inputs(new.config)
    (new(x, t, cond) - 1).square().mean().backward()
    hear = [p for key, p in new.named_parameters() if ".hear.1.weight" in key]
    assert hear and not new.condition.weight.grad.any() and not any(p.grad.any() for p in hear)


def test_a_fresh_network_answers_zero():
    for config in MILESTONES.values():
        x, t, cond = inputs(config)
        assert (UNet(config)(x, t, cond) == 0).all()


@pytest.mark.parametrize("name", MILESTONES)
def test_every_parameter_learns(name):
    """No module is left out of the forward pass."""
    net = awake(UNet(MILESTONES[name]))
    x, t, cond = inputs(MILESTONES[name])
    net(x, t, cond).square().sum().backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_time_and_condition_are_felt():
    for name in MILESTONES:
        net = awake(UNet(MILESTONES[name]))
        x, t, cond = inputs(MILESTONES[name])
        assert torch.equal(net(x, t, cond), net(x, t + 3, cond)) == (name == "M1")
        if cond is not None:
            other = net.config.condition.spread(10)[[0, 3, 8]]
            changed = (net(x, t, cond) - net(x, t, other)).abs().amax((1, 2, 3)) > 1e-4
            assert changed.tolist() == [False, False, True], "each picture hears its own condition"


def test_receptive_field_grows_with_depth():
    """How far one pixel's change is felt: 6 convolutions reach 6 pixels, three resolutions see all of a digit."""
    reach = {}
    for name in ("M2", "M3"):
        net = awake(UNet(MILESTONES[name])).double()
        for module in net.modules():  # statistics over the whole picture would be felt everywhere
            if isinstance(module, torch.nn.GroupNorm):
                module.forward = lambda h: h
        x = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
        y = x.clone()
        y[0, 0, 24, 24] = 1
        t = torch.tensor([500])
        net.time.forward = lambda t: torch.zeros(1, 128, dtype=torch.float64)
        felt = (net(y, t) - net(x, t))[0, 0].abs() > 0
        reach[name] = felt.any(0).sum().item()
    assert reach["M2"] == 2 * 6 + 1 and reach["M3"] >= 28, reach


@pytest.mark.parametrize("size", [4, 8, 28, 44])
def test_any_size_the_depth_divides(size):
    net = UNet(MILESTONES["M3"])
    assert net(torch.zeros(1, 1, size, size + 4), torch.ones(1, dtype=torch.int64)).shape == (1, 1, size, size + 4)


def test_levels_are_built_as_they_say():
    """Blocks, attention and channels as lists; the first level is the largest picture; colour goes through."""
    levels = (Level(16), Level(32, blocks=3), Level(48, blocks=2, cross=True))
    net = UNet(UNetConfig(levels, channels=3, time=32, condition=Tokens(10, 2), heads=3))
    for depth, level in enumerate(levels):
        stage = net.body
        for _ in range(depth):
            stage = stage.inner
        assert len(stage.down) == len(stage.up) == level.blocks
        assert {block.conv2.out_channels for block in (*stage.down, *stage.up)} == {level.width}
        assert (stage.down_ask is not None) == (stage.up_ask is not None) == level.cross
    assert len(stage.down_ask) == len(stage.up_ask) == 2 and stage.inner is None
    assert net(*inputs(net.config)).shape == (3, 3, 16, 16)


def test_bad_inputs_are_told():
    net, t = UNet(MILESTONES["M3"]), torch.ones(1, dtype=torch.int64)
    for shape in ((1, 1, 30, 28), (1, 1, 28, 30), (1, 1, 0, 28)):
        with pytest.raises(ValueError, match=r"\(1, 1, .*divisible by 4"):
            net(torch.zeros(shape), t)
    for shape in ((1, 3, 28, 28), (28, 28)):
        with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
            net(torch.zeros(shape), t)
    with pytest.raises(ValueError, match="takes no condition"):
        net(torch.zeros(1, 1, 28, 28), t, t)
    with pytest.raises(ValueError, match=r"cond is \(1, 3\); it must be \(B,\) or \(B, L\) with L up to 2"):
        UNet(MILESTONES["M6"])(torch.zeros(1, 1, 8, 8), t, torch.zeros(1, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(levels=()), "1 to 10 levels and 1 to 64 channels"),
        (dict(levels=(Level(16),) * 11), "1 to 10 levels"),
        (dict(channels=0), "1 to 64 channels"),
        (dict(time=7), "time is 7; it must be an even width"),
        (dict(time=-2), "time is -2"),
        (dict(dropout=1.0), "dropout is 1.0"),
        (dict(dropout=-0.1), "dropout is -0.1"),
        (dict(condition=Labels(10)), "labels are heard where the time is heard"),
        (dict(condition=Tokens(10)), "tokens and cross-attention go together"),
        (dict(levels=(Level(16, cross=True),)), "tokens and cross-attention go together"),
        (dict(levels=(Level(16, cross=True),), time=8, condition=Labels(10)), "tokens and cross-attention go together"),
        (dict(levels=(Level(18, cross=True),), condition=Tokens(10)), "4 heads do not divide"),
        (dict(levels=(Level(16, cross=True),), condition=Tokens(10), heads=0), "0 heads do not divide"),
        (dict(levels=(Level(18, attention=True),)), "4 heads do not divide"),
        (dict(levels=(Level(6, cross=True),), condition=Tokens(10), heads=2), "widths divisible by 4, .* not 6"),
        (dict(answers=0), "answers is 0; it must be 1, or 2 to learn the variance"),
        (dict(answers=3), "answers is 3"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**options)


@pytest.mark.parametrize("bad", [dict(width=0), dict(width=5000), dict(width=8, blocks=0), dict(width=8, blocks=99)])
def test_a_level_that_cannot_be_built_is_refused(bad):
    with pytest.raises(ValueError, match="a level needs a width from 1 to 4096 and 1 to 64 blocks"):
        Level(**bad)


@pytest.mark.parametrize("name", ["M5", "M6", "M8", "M10"])
def test_no_condition_is_the_empty_one(name):
    net = awake(UNet(MILESTONES[name]))
    x, t, cond = inputs(MILESTONES[name])
    assert torch.equal(net(x, t), net(x, t, net.config.condition.empty(3)))
    assert not torch.equal(net(x, t), net(x, t, cond))


def test_sinusoidal():
    e = sinusoidal(torch.arange(1001), 128)
    assert e.shape == (1001, 128) and torch.equal(e[0], torch.cat([torch.ones(64), torch.zeros(64)]))
    torch.testing.assert_close(e.norm(dim=1), torch.full((1001,), 8.0))
    near, far = (e[500] - e[501]).norm(), (e[500] - e[700]).norm()
    assert near < far / 3
    with pytest.raises(ValueError, match="width is 7"):
        sinusoidal(torch.arange(3), 7)


def test_res_block_is_born_the_identity():
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(ResBlock(32, 32, Modulation([16], 32))(x, [torch.randn(2, 16)]), x)


def test_a_picture_shrinks_and_grows_inside_a_block():
    """Brock et al. 2019, figure 15: resized between the activation and the first convolution, and on the way around."""
    x, emb, silu = torch.randn(2, 16, 6, 4), [torch.randn(2, 8)], torch.nn.functional.silu
    shrink, grow = (awake(kind(16, 32, Modulation([8], 32))) for kind in (Shrink, Grow))
    halves = x.view(2, 16, 3, 2, 2, 2).mean((3, 5))
    active = silu(shrink.norm1(x)).view(2, 16, 3, 2, 2, 2).mean((3, 5))
    h = silu(shrink.modulate(shrink.norm2(shrink.conv1(active)), emb))
    torch.testing.assert_close(shrink(x, emb), shrink.skip(halves) + shrink.conv2(h))
    active = silu(grow.norm1(x)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    h = silu(grow.modulate(grow.norm2(grow.conv1(active)), emb))
    twice = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(grow(x, emb), grow.skip(twice) + grow.conv2(h))


def test_every_pixel_asks_every_pixel():
    """One pixel's change is felt in all places; places count for nothing: moved pixels have moved answers."""
    block, h = awake(PixelBlock(16, 4)), torch.randn(1, 16, 4, 3)
    order = torch.randperm(12)
    moved = h.flatten(2)[:, :, order].view_as(h)
    torch.testing.assert_close(block(moved).flatten(2), block(h).flatten(2)[:, :, order])
    other = h.clone()
    other[0, 3, 1, 2] += 1
    assert ((block(other) - block(h)).abs().amax(1) > 0).all()
    assert torch.equal(PixelBlock(16, 4)(h), h)


def test_a_second_answer_leaves_the_first_as_it_was():
    one, two = (awake(UNet(replace(M10, answers=answers))) for answers in (1, 2))
    state = one.state_dict()
    state["conv_out.weight"] = torch.cat([state["conv_out.weight"], torch.ones_like(state["conv_out.weight"])])
    state["conv_out.bias"] = torch.cat([state["conv_out.bias"], torch.ones(3)])
    two.load_state_dict(state)
    x, t, cond = inputs(M10)
    torch.testing.assert_close(two(x, t, cond)[:, :3], one(x, t, cond))
    assert two(x, t, cond).shape == (3, 6, 16, 16)


def test_colour_fits_its_file_and_costs_no_more_than_planned():
    """Under 16 MB in float16, and at most six times lesson 05's arithmetic on pictures of the same size.

    It was twice until M10 became twice as wide, which costs 1.6 times the time (benchmarks/LOG.md).
    """
    m5, m10 = (Denoiser(UNet(MILESTONES[name]), schedules.cosine()) for name in ("M5", "M10"))
    assert sum(p.numel() for p in m10.parameters()) < 8_000_000
    assert cost(m10, 32) <= 6 * cost(m5, 32)


def test_modulation_scales_and_shifts_by_the_sum_of_what_is_heard():
    modulate, h = awake(Modulation([16, 8], 4)), torch.randn(2, 4, 3, 3)
    embs = [torch.randn(2, 16), torch.randn(2, 8)]
    scale, shift = sum(hear(torch.nn.functional.silu(e)) for hear, e in zip(modulate.hear, embs)).chunk(2, 1)
    expected = h * (1 + scale[..., None, None]) + shift[..., None, None]
    torch.testing.assert_close(modulate(h, embs), expected)


def test_up_is_each_pixel_four_times():
    up, h = awake(Up(8, 4)), torch.randn(1, 8, 3, 5)
    y = up(h)
    assert y.shape == (1, 4, 6, 10) and torch.equal(y[..., ::2, ::2], y[..., 1::2, 1::2])
    torch.testing.assert_close(y[..., ::2, ::2], up.conv(h))


def test_dropout_acts_in_training_only():
    net = awake(UNet(UNetConfig((Level(16),), dropout=0.5)))
    x, t, _ = inputs(net.config)
    assert not torch.equal(net(x, t), net(x, t))
    net.eval()
    assert torch.equal(net(x, t), net(x, t))
