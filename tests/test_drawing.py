"""From a request to pictures, and pictures into grids."""

import pytest
import torch

from diffusion101 import Request, draw, drawing, guidance, pictures, samplers, schedules
from diffusion101.core.denoiser import Denoiser
from diffusion101.figures import files
from diffusion101.figures.tiling import tile
from diffusion101.networks import Labels, Level, Tokens, UNet, UNetConfig


def model(condition=None, seed=0) -> Denoiser:
    """A small network with random values everywhere; 8 x 8 pictures and larger go through."""
    cross = isinstance(condition, Tokens)
    network = UNet(UNetConfig((Level(8), Level(8, cross=cross)), time=8, condition=condition, heads=2))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.3)
    return Denoiser(network, schedules.cosine(T=40), "v").eval()


def noise(n, height, width, seed):
    return torch.randn(n, 1, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("sampler, spacing", list(zip(samplers.SAMPLERS, schedules.SPACINGS)))
def test_a_request_is_what_the_parts_would_do_by_hand(sampler, spacing, scale, clip):
    """Guidance, sampler, number of steps, spacing, seed and clipping all take effect."""
    m, cond = model(Labels(10)), torch.tensor([3, 7])
    path = dict(steps=4, spacing=spacing)
    request = Request(cond, guidance=scale, sampler=sampler, **path, seed=5, size=(8, 12), clip=clip)
    steps = list(draw(m, request))
    denoise = guidance.guide(m, cond, scale)
    if clip:
        denoise = guidance.clip(denoise, m.schedule)
    g = torch.Generator().manual_seed(5)
    x = torch.randn(2, 1, 8, 12, generator=g)
    expected = list(samplers.SAMPLERS[sampler](denoise, x, m.schedule, **path, generator=g))  # the same one goes on
    assert [step.t for step in steps] == [step.t for step in expected] == m.schedule.times(4, spacing)[1:]
    for a, b in zip(steps, expected):
        torch.testing.assert_close(a.x, b.x, rtol=1e-4, atol=1e-4)
    assert (max(step.x0.abs().max() for step in steps) <= 1) == clip
    torch.testing.assert_close(pictures(m, request), expected[-1].x.clamp(-1, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ends, calls", [((10, 30), 6), ((0, 40), 8), ((30, 31), 4), (None, 8)])
def test_guidance_in_an_interval(ends, calls):
    """Guided after low and up to high, plain elsewhere, in as many calls as that takes; steps at 40, 30, 20, 10."""
    m, cond, seen = model(Labels(10)), torch.tensor([3, 7]), []
    request = Request(cond, guidance=3.0, steps=4, size=(8, 12), clip=False, interval=ends)
    guided, plain = (guidance.guide(m, cond, w) for w in (3.0, 1.0))
    denoise = guidance.interval(guided, plain, *ends) if ends else guided
    *_, last = samplers.dpmpp_2m(denoise, noise(2, 8, 12, seed=0), m.schedule, 4)
    m.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    torch.testing.assert_close(pictures(m, request), last.x.clamp(-1, 1), rtol=1e-4, atol=1e-4)
    assert request.evaluations(m) == sum(seen) / 2 == calls


@pytest.mark.parametrize("cond, w", [(None, 3.0), (torch.tensor([3, 7]), 1.0), (torch.tensor([3, 7]), 0.0)])
def test_without_guidance_a_step_is_one_call(cond, w):
    assert Request(cond, 2, guidance=w, steps=4).evaluations(model(Labels(10))) == 4


def test_one_seed_one_picture_and_the_same_first_noise_as_by_hand():
    m = model()
    a, b, c = (pictures(m, Request(count=3, steps=2, seed=seed, size=(8, 8))) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    given = pictures(m, Request(noise=noise(3, 8, 8, seed=1), steps=2))
    assert torch.equal(a, given) and len(given) == 3


def test_prompts_and_labels_of_every_shape():
    m = model(Tokens(10, 2))
    rows = pictures(m, Request(torch.tensor([[4, 2], [7, 10]]), steps=2, size=(8, 16), guidance=2.0))
    assert rows.shape == (2, 1, 8, 16)
    conds = torch.tensor([7]), torch.tensor([[7, 10]])
    label, prompt = (pictures(m, Request(cond, steps=2, size=(8, 8))) for cond in conds)
    assert torch.equal(label, prompt), "a label is a prompt of one token"


@pytest.mark.parametrize("condition", [None, Labels(10), Tokens(10, 2)], ids=repr)
def test_memory_stays_bounded_and_the_answer_the_same(monkeypatch, condition):
    m, seen = model(condition), []
    cond = None if condition is None else condition.spread(7)
    request = Request(cond, 7, guidance=2.0, steps=3, size=(8, 8))
    whole = pictures(m, request)
    m.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    monkeypatch.setattr(drawing, "PIXELS_AT_ONCE", 2 * 64)
    torch.testing.assert_close(pictures(m, request), whole, rtol=1e-4, atol=1e-5)
    assert max(seen) == 2 and sum(seen) == 3 * 7 * (1 if condition is None else 2)


def test_the_bar_sees_every_step():
    seen = []

    def progress(steps, total):
        assert total == 4
        for step in steps:
            seen.append(step.t)
            yield step

    pictures(model(), Request(count=1, steps=4, size=(8, 8)), progress)
    assert seen == [30, 20, 10, 0]


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(sampler="euler"), "unknown sampler 'euler'; there are ddpm, ddim, dpmpp_2m, dpmpp_2m_sde"),
        (dict(spacing="linear"), "unknown spacing 'linear'; there are uniform, log_snr, karras, karras_cut"),
        (dict(guidance=float("nan")), "the guidance is nan"),
        (dict(guidance=float("inf")), "the guidance is inf"),
        (dict(interval=(500, 400)), "the interval is 500 to 400; it must be 0 <= low < high"),
        (dict(interval=(-1, 400)), "the interval is -1 to 400"),
        (dict(count=0), "the count of pictures is 0"),
        (dict(count=-1), "the count of pictures is -1"),
        (dict(cond=torch.zeros(0).long()), "the count of pictures is 0"),
        (dict(size=(0, 8)), "the size is 0 x 8"),
        (dict(size=(8, -8)), "the size is 8 x -8"),
        (dict(seed=2**63), "it must fit into 64 bits"),
        (dict(count=10**9), "too much"),
        (dict(size=(10**5, 10**5)), "too much"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Request(**options)


@pytest.mark.parametrize(
    "condition, options, message",
    [
        (None, dict(cond=torch.tensor([1])), "takes no condition"),
        (None, dict(steps=0), "steps is 0; it must be a whole number from 1 to T = 40"),
        (None, dict(steps=41), "from 1 to T = 40"),
        (None, dict(size=(9, 8)), "divisible by 2"),
        (None, dict(noise=torch.zeros(1, 3, 8, 8)), r"needs \(B, 1, H, W\)"),
        (Labels(10), dict(cond=torch.tensor([[1, 2]])), "a label per picture"),
        (Tokens(10, 2), dict(cond=torch.tensor([[1, 2, 3]])), "with L up to 2"),
    ],
)
def test_what_a_model_cannot_draw_is_told_before_the_first_step(condition, options, message):
    with pytest.raises(ValueError, match=message):
        draw(model(condition), Request(**{"size": (8, 8), "steps": 2} | options))


def numbered(n: int, channels: int = 1) -> torch.Tensor:
    """n pictures of 2 x 3 pixels that are all different: picture i holds i in its corner, and every pixel its place."""
    x = torch.arange(6.0).view(1, 1, 2, 3) / 1000 + torch.arange(float(n)).view(n, 1, 1, 1) / 100
    return x + torch.arange(channels).view(1, -1, 1, 1) / 10


@pytest.mark.parametrize("n, columns", [(6, 3), (7, 3), (2, 10), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_stand_row_by_row_and_upright(n, columns, channels):
    x = numbered(n, channels)
    tiled, columns = tile(x, columns), min(columns, n)
    assert tiled.shape == (channels, 2 * -(-n // columns), 3 * columns)
    for i in range(n):
        row, column = divmod(i, columns)
        assert torch.equal(tiled[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3], x[i])
    empty = -(-n // columns) * columns - n
    assert (tiled == -1).sum() == 6 * channels * empty, "places left over are black"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_file_shows_what_the_tensor_holds(channels):
    """Black is -1, white 1, colours in their order, each pixel scale x scale times."""
    x = torch.full((2, channels, 2, 3), -1.0)
    x[0, 0, 0, 2] = 1.0  # the first picture's upper right corner, red where there is colour
    image = files.grid(x, columns=2, scale=2)
    assert image.size == (12, 4) and image.mode == ("L" if channels == 1 else "RGB")
    white, black = (255, 0) if channels == 1 else ((255, 0, 0), (0, 0, 0))
    lit = {(i, j) for i in range(12) for j in range(4) if image.getpixel((i, j)) == white}
    assert lit == {(4, 0), (5, 0), (4, 1), (5, 1)} and image.getpixel((0, 0)) == black
