"""What learners write: right answers by other routes than ours, and wrong ones with the words that they should hear."""

import contextlib
import io
import math
import re
from dataclasses import replace
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffusion101 import check, lora, process, schedules
from diffusion101.core.guidance import guide
from diffusion101.core.process import Denoised
from diffusion101.networks import Level, UNet, UNetConfig, Words
from diffusion101.networks.attention import CrossAttention
from diffusion101.networks.blocks import Modulation, ResBlock
from diffusion101.networks.embeddings import sinusoidal

RIGHT, WRONG = {}, {}

# Lessons 01 and 01b


def noised(x0, t, eps, s, of_x0=lambda t, s: s.signal[t], of_eps=lambda t, s: s.noise[t]):
    return of_x0(t, s)[:, None, None, None] * x0 + of_eps(t, s)[:, None, None, None] * eps


def one_by_one(x0, t, eps, s):
    return torch.stack([s.signal[i] * x + s.noise[i] * e for x, i, e in zip(x0, t, eps)])


RIGHT["q_sample"] = [
    noised,
    one_by_one,
    lambda x0, t, eps, s: x0.mul_(process.at(s.alpha_bar.sqrt(), t, x0)).add_(process.at(s.noise, t, x0) * eps),
]
WRONG["q_sample"] = {
    "x0 is multiplied by its root": lambda *a: noised(*a, of_x0=lambda t, s: s.alpha_bar[t]),
    "eps is multiplied by its root": lambda *a: noised(*a, of_eps=lambda t, s: 1 - s.alpha_bar[t]),
    "by its root, signal_t. And: 1 - alpha_bar_t": lambda *a: noised(
        *a, lambda t, s: s.alpha_bar[t], lambda t, s: 1 - s.alpha_bar[t]
    ),
    "You left x0 as it is": lambda *a: noised(*a, of_x0=lambda t, s: torch.ones(len(t))),
    "You added all of eps": lambda *a: noised(*a, of_eps=lambda t, s: torch.ones(len(t))),
    "have changed places": lambda x0, t, eps, s: noised(eps, t, x0, s),
    "is not 1 - signal_t": lambda *a: noised(*a, of_eps=lambda t, s: 1 - s.signal[t]),
    "Plus, not minus": lambda x0, t, eps, s: noised(x0, t, -eps, s),
    "one step of noising": lambda *a: noised(
        *a, of_x0=lambda t, s: (1 - s.beta[t]).sqrt(), of_eps=lambda t, s: s.beta[t].sqrt()
    ),
    "each has its own": lambda x0, t, eps, s: s.signal[t[0]] * x0 + s.noise[t[0]] * eps,
    "off by one": lambda x0, t, eps, s: noised(x0, t - 1, eps, s),
    "by .view(-1, 1, 1, 1)": lambda x0, t, eps, s: s.signal[t] * x0 + s.noise[t] * eps,
    "[0, 0, 0, 0] should be": lambda x0, t, eps, s: x0 + eps * 0.5,
}


def scored(shown=lambda x0, x, eps: x, wanted=lambda x0, x, eps: eps, of=lambda off: off.square().mean(), late=0):
    def answer(network, x0, t, eps, s):
        x = one_by_one(x0, t, eps, s)
        return of(network(shown(x0, x, eps), t - late) - wanted(x0, x, eps))

    return answer


RIGHT["loss"] = [
    scored(),
    lambda network, x0, t, eps, s: torch.nn.functional.mse_loss(network(process.q_sample(x0, t, eps, s), t), eps),
    scored(of=lambda off: (off**2).flatten(1).mean(1).mean().item()),
]
WRONG["loss"] = {
    "compared with x0": scored(wanted=lambda x0, x, eps: x0),
    "compared with x;": scored(wanted=lambda x0, x, eps: x),
    "showed the network x0": scored(shown=lambda x0, x, eps: x0),
    "showed the network eps": scored(shown=lambda x0, x, eps: eps),
    "not t - 1": scored(late=1),
    "That is the sum": scored(of=lambda off: off.square().sum()),
    "absolute differences": scored(of=lambda off: off.abs().mean()),
    "up and down cancel": scored(of=lambda off: off.mean()),
    "take the root": scored(of=lambda off: off.square().mean().square()),
    "square it": scored(of=lambda off: off.square().mean().sqrt()),
    "one number, not of shape (4,)": scored(of=lambda off: off.square().mean((1, 2, 3))),
}


def cleaned(x, t, eps, s, noise=lambda t, s: s.noise[t], below=lambda t, s: s.signal[t]):
    return (x - process.at(noise(torch.arange(1001), s), t, x) * eps) / process.at(below(torch.arange(1001), s), t, x)


RIGHT["x0_guess"] = [
    cleaned,
    lambda x, t, eps, s: process.from_eps(eps, x, t, s).x0,
    lambda x, t, eps, s: x.div_(process.at(s.signal, t, x)).sub_(eps * process.at(1 / s.snr.sqrt(), t, x)),
]
WRONG["x0_guess"] = {
    "Minus, not plus": lambda x, t, eps, s: cleaned(x, t, -eps, s),
    "What is left is signal_t x0": lambda *a: cleaned(*a, below=lambda t, s: torch.ones(1001)),
    "not by alpha_bar_t": lambda *a: cleaned(*a, below=lambda t, s: s.alpha_bar),
    "You multiplied by signal_t": lambda *a: cleaned(*a, below=lambda t, s: 1 / s.signal),
    "not by 1 - alpha_bar_t": lambda *a: cleaned(*a, noise=lambda t, s: 1 - s.alpha_bar),
    "You took out all of eps": lambda *a: cleaned(*a, noise=lambda t, s: torch.ones(1001)),
    "set brackets": lambda x, t, eps, s: x / process.at(s.signal, t, x) - process.at(s.noise, t, x) * eps,
    "have changed places": lambda *a: cleaned(*a, lambda t, s: s.signal, lambda t, s: s.noise),
    "off by one": lambda x, t, eps, s: cleaned(x, t - 1, eps, s),
    "[0, 0, 0, 0] should be": lambda x, t, eps, s: x - eps / 2,
}

RIGHT["snr"] = [
    lambda t, s: s.alpha_bar[t] / (1 - s.alpha_bar[t]),
    lambda t, s: s.signal[t].div_(s.noise[t]).square_(),
    lambda t, s: [1 / (1 / s.exact[i].item() - 1) for i in t],
]
WRONG["snr"] = {
    "a ratio of powers: square it": lambda t, s: s.signal[t] / s.noise[t],
    "That is noise to signal: turn": lambda t, s: (1 - s.alpha_bar[t]) / s.alpha_bar[t],
    "noise to signal, and of amplitudes": lambda t, s: s.noise[t] / s.signal[t],
    "the signal's power alone": lambda t, s: s.alpha_bar[t],
    "by the noise's amplitude": lambda t, s: s.alpha_bar[t] / s.noise[t],
    "by the noise's power": lambda t, s: s.signal[t] / (1 - s.alpha_bar[t]),
    "useful later": lambda t, s: s.alpha_bar[t].log() - (1 - s.alpha_bar[t]).log(),
    "to base 10": lambda t, s: s.snr[t].log10(),
    "in decibels": lambda t, s: 20 * (s.signal[t] / s.noise[t]).log10(),
    "off by one": lambda t, s: s.snr[t - 1],
    "a power already": lambda t, s: (s.signal[t] / s.noise[t]) ** 4,
    "beta, the last step's": lambda t, s: s.alpha_bar[t] / s.beta[t],
    "of shape (4,), not of shape (1001,)": lambda t, s: s.snr,
}


def jumped(picture=0.5, noise=0.5, start=lambda r, t: (r, t)):
    def answer(x, r, t, eps, s):
        r, t = start(r, t)
        ratio = s.alpha_bar[t] / s.alpha_bar[r]
        return ratio**picture * x + (1 - ratio).abs() ** noise * eps

    return answer


def rest(formula):
    return lambda x, r, t, eps, s: s.signal[t] / s.signal[r] * x + formula(r, t, s) * eps


RIGHT["jump"] = [
    jumped(),
    lambda x, r, t, eps, s: x.mul_(s.signal[t] / s.signal[r]).add_(jumped()(0 * x, r, t, eps, s)),
    rest(lambda r, t, s: (1 - torch.prod(1 - s.beta[r + 1 : t + 1])).sqrt()),
]
WRONG["jump"] = {
    "Your variance is noise², did you mean noise": jumped(noise=1),
    "x needs the root.": jumped(picture=1),
    "eps is multiplied by the square root. And: alpha_bar_t": jumped(picture=1, noise=1),
    "the jump from x_0": lambda x, r, t, eps, s: process.q_sample(x, torch.full((len(x),), t), eps, s),
    "does not depend on t - r alone": jumped(start=lambda r, t: (0, t - r)),
    "the noise is too much": rest(lambda r, t, s: s.noise[t]),
    "amplitudes do not subtract": rest(lambda r, t, s: s.noise[t] - s.noise[r]),
    "you subtracted the variances": rest(lambda r, t, s: (s.noise[t] ** 2 - s.noise[r] ** 2) ** 0.5),
    "Plus, not minus": lambda x, r, t, eps, s: jumped()(x, r, t, -eps, s),
    "goes on to t": jumped(start=lambda r, t: (r, r + 1)),
    "starts at r": jumped(start=lambda r, t: (t - 1, t)),
    "from t to r": jumped(start=lambda r, t: (t, r)),
    "should be": lambda x, r, t, eps, s: x + eps,
    "of shape (3, 1, 4, 4), not of shape (1, 4, 4)": lambda x, r, t, eps, s: x[0],
}


def stepped(front=lambda t, s: (1 - s.beta[t]) ** 0.5, part=lambda t, s: s.beta[t] / s.noise[t], sigma=None):
    def posterior(t, s):
        return (s.beta[t] * (1 - s.alpha_bar[t - 1]) / (1 - s.alpha_bar[t])) ** 0.5

    return lambda x, eps, t, z, s: (x - part(t, s) * eps) / front(t, s) + (sigma or posterior)(t, s) * z


def through_x0(x, eps, t, z, s):
    now = torch.full((len(x),), t)
    mean, variance = process.q_posterior(process.from_eps(eps, x, now, s).x0, x, now, now - 1, s)
    return mean + variance.sqrt() * z


RIGHT["reverse_step"] = [stepped(), through_x0, lambda x, eps, t, z, s: x.copy_(stepped()(x, eps, t, z, s))]
WRONG["reverse_step"] = {
    "z is multiplied by sigma": stepped(sigma=lambda t, s: s.beta[t] * (s.noise[t - 1] / s.noise[t]) ** 2),
    "the paper's other choice": stepped(sigma=lambda t, s: s.beta[t] ** 0.5),
    "sigma z is missing": stepped(sigma=lambda t, s: 0),
    "upside down": stepped(sigma=lambda t, s: s.beta[t] ** 0.5 * s.noise[t] / s.noise[t - 1]),
    "not all t of them": stepped(front=lambda t, s: s.signal[t]),
    "lacks its root": stepped(front=lambda t, s: 1 - s.beta[t]),
    "forgot the fraction in front": stepped(front=lambda t, s: 1),
    "Minus, not plus": stepped(part=lambda t, s: -s.beta[t] / s.noise[t]),
    "Minus, not plus: the way back takes noise out.": lambda x, eps, t, z, s: stepped()(x, -eps, t, z, s),
    "Plus sigma z, not minus": lambda x, eps, t, z, s: stepped()(x, eps, t, -z, s),
    "its sign matters to nobody but this check). And: Minus, not plus": (
        lambda x, eps, t, z, s: stepped()(x, -eps, t, -z, s)
    ),
    "not by 1 - alpha_bar_t": stepped(part=lambda t, s: s.beta[t] / (1 - s.alpha_bar[t])),
    "all of the noise": stepped(part=lambda t, s: s.noise[t]),
    "is not enough": stepped(part=lambda t, s: s.beta[t]),
    "guess of x0: it is eps": lambda x, eps, t, z, s: stepped()(x, (x - s.noise[t] * eps) / s.signal[t], t, z, s),
    "the guess of x0 plus noise": lambda x, eps, t, z, s: (
        (x - s.noise[t] * eps) / s.signal[t] + stepped()(0 * x, 0 * x, t, z, s)
    ),
}


def weighed_bells(m1, v1, m2, v2):
    rest = v1 / (v1 + v2)
    return m1 + rest * (m2 - m1), rest * v2


def bells(mean=lambda *a: weighed_bells(*a)[0], variance=lambda *a: weighed_bells(*a)[1]):
    return lambda *a: (mean(*a), variance(*a))


RIGHT["product"] = [
    weighed_bells,
    lambda m1, v1, m2, v2: [((v2 * m1 + v1 * m2) / (v1 + v2)).item(), (v1 * v2 / (v1 + v2)).item()],
]
WRONG["product"] = {
    "as long as neither variance is 0": lambda m1, v1, m2, v2: (
        (m1 / v1 + m2 / v2) * (1 / (1 / v1 + 1 / v2)),
        1 / (1 / v1 + 1 / v2),
    ),
    "by its own variance": bells(mean=lambda m1, v1, m2, v2: (v1 * m1 + v2 * m2) / (v1 + v2)),
    "plain average": bells(mean=lambda m1, v1, m2, v2: (m1 + m2) / 2),
    "by the standard deviations": bells(
        mean=lambda m1, v1, m2, v2: (m1 * v2**0.5 + m2 * v1**0.5) / (v1**0.5 + v2**0.5)
    ),
    "to be divided by v1 + v2": bells(mean=lambda m1, v1, m2, v2: v2 * m1 + v1 * m2),
    "v1 + v2: a product of bells is narrower": bells(variance=lambda m1, v1, m2, v2: v1 + v2),
    "the average: a product of bells": bells(variance=lambda m1, v1, m2, v2: (v1 + v2) / 2),
    "how sharp the bell is": bells(variance=lambda m1, v1, m2, v2: (v1 + v2) / (v1 * v2)),
    "v1 v2: divide": bells(variance=lambda m1, v1, m2, v2: v1 * v2),
    "the standard deviation: the variance": bells(variance=lambda *a: weighed_bells(*a)[1].sqrt()),
    "plain average of the means: the narrow bell must count for more. And: Your variance is the average": bells(
        lambda m1, v1, m2, v2: (m1 + m2) / 2, lambda m1, v1, m2, v2: (v1 + v2) / 2
    ),
    "not 2 answers with a comma": lambda *a: weighed_bells(*a)[0],
}

# Lesson 02


def turned(k_times=1.0, power=lambda i, h: -i / h, base=10000.0, first=1, second=1, columns=False, order="halves"):
    def answer(e, k):
        i, h = torch.arange(e.shape[1] // 2), e.shape[1] // 2
        angle = k * k_times * base ** torch.as_tensor(power(i, h))
        cos, sin = (e[:, 0::2], e[:, 1::2]) if columns else (e[:, :h], e[:, h:])
        cos, sin = cos * angle.cos() - first * sin * angle.sin(), sin * angle.cos() + second * cos * angle.sin()
        halves = torch.cat([sin, cos] if order == "swapped" else [cos, sin], 1)
        return torch.stack([cos, sin], 2).flatten(1) if order == "columns" else halves

    return answer


def by_complex(e, k):
    h = e.shape[1] // 2
    z = torch.complex(e[:, :h], e[:, h:]) * torch.exp(1j * k * 10000 ** (-torch.arange(h) / h))
    return torch.cat([z.real, z.imag], 1)


RIGHT["later"] = [turned(), by_complex, lambda e, k: e.copy_(by_complex(e, k)), lambda e, k: turned()(e, k).numpy()]
WRONG["later"] = {
    "the wrong way": turned(-1),
    "in degrees": turned(math.pi / 180),
    "1/e": turned(base=math.e),
    "frequencies grow": turned(power=lambda i, h: i / h),
    "half the width": turned(power=lambda i, h: -i / (2 * h)),
    "frequencies are 1: //": turned(power=lambda i, h: -(i // h)),
    "1/10000 at once: //": turned(power=lambda i, h: -i // h),
    "not by h - 1": turned(power=lambda i, h: -i / (h - 1)),
    "a width of 128": turned(power=lambda i, h: -i / 64),
    "cos a cos b - sin": turned(first=-1),
    "sin a cos b + cos": turned(second=-1),
    "neighbouring columns": turned(columns=True, order="columns"),
    "their order is not": turned(order="columns"),
    "halves are swapped": turned(order="swapped"),
    "the wrong way: that is the embedding of t - k. And: The two halves": turned(-1, order="swapped"),
    "Adding k": lambda e, k: e + k,
    "Angles add up": lambda e, k: e + sinusoidal(torch.tensor([k]), e.shape[1]),
}


def hands(t, width, base=10000.0, power=lambda i, h: -i / h, unit=1):
    return [
        [unit * at * base ** power(i, width // 2) for i in range(width // 2)] for at in t.tolist()
    ]  # angles, in plain Python


def faced(*functions, columns=False, **how):
    def answer(t, width):
        rows = hands(t, width, **how)
        if columns:
            return [[f(a) for a in row for f in functions] for row in rows]
        return [[f(a) for f in functions for a in row] for row in rows]

    return answer


RIGHT["embed"] = [faced(math.cos, math.sin), sinusoidal, lambda t, width: sinusoidal(t, width).numpy()]
WRONG["embed"] = {
    "left the frequencies out": faced(math.cos, math.sin, power=lambda i, h: 0),
    "1/10000 at once": faced(math.cos, math.sin, power=lambda i, h: -i // h),
    "frequencies grow": faced(math.cos, math.sin, power=lambda i, h: i / h),
    "half the width": faced(math.cos, math.sin, power=lambda i, h: -i / (2 * h)),
    "not by h - 1": faced(math.cos, math.sin, power=lambda i, h: -i / (h - 1)),
    "10000 times slower": faced(math.cos, math.sin, power=lambda i, h: -i),
    "a width of 128": faced(math.cos, math.sin, power=lambda i, h: -i / 64),
    "1 to 1/e": faced(math.cos, math.sin, base=math.e),
    "in degrees": faced(math.cos, math.sin, unit=math.pi / 180),
    "without 2 pi": faced(math.cos, math.sin, unit=2 * math.pi),
    "not divided by 1000": faced(math.cos, math.sin, unit=1 / 1000),
    "turn backwards": faced(math.cos, math.sin, unit=-1),
    "halves are swapped": faced(math.sin, math.cos),
    "their order is not": faced(math.cos, math.sin, columns=True),
    "in turn": faced(math.sin, math.cos, columns=True),
    "Both halves are cosines": faced(math.cos, math.cos),
    "Both halves are sines": faced(math.sin, math.sin),
    "not of shape": lambda t, width: t[:, None] / 1000,
}


def filmed(
    act=F.silu, of=lambda h, scale, shift: h * (1 + scale) + shift, split=lambda both: both.chunk(2, -1), bias=1
):
    def answer(h, emb, W, b):
        scale, shift = split(F.linear(act(emb), W, bias * b))
        each = [
            [of(h[i, c], scale[i, c], shift[i, c]) for c in range(h.shape[1])] for i in range(len(h))
        ]  # picture by picture
        return torch.stack([torch.stack(row) for row in each])

    return answer


def by_package(h, emb, W, b):
    layer = Modulation([emb.shape[1]], h.shape[1])
    layer.hear[0].weight.data, layer.hear[0].bias.data = W, b
    return layer(h, [emb])


RIGHT["modulate"] = [filmed(), by_package, lambda h, emb, W, b: h.copy_(by_package(h, emb, W, b))]
WRONG["modulate"] = {
    "forgot the 1": filmed(of=lambda h, scale, shift: h * scale + shift),
    "forgot the SiLU": filmed(act=lambda a: a),
    "a ReLU": filmed(act=F.relu),
    "a sigmoid": filmed(act=torch.sigmoid),
    "not after it": filmed(act=lambda a: a, split=lambda both: F.silu(both).chunk(2, -1)),
    "forgot the bias": filmed(bias=0),
    "exchanged": filmed(split=lambda both: both.chunk(2, -1)[::-1]),
    "every second number": filmed(split=lambda both: (both[:, 0::2], both[:, 1::2])),
    "forgot the shift": filmed(of=lambda h, scale, shift: h * (1 + scale)),
    "forgot the scale": filmed(of=lambda h, scale, shift: h + shift),
    "it is added": filmed(of=lambda h, scale, shift: h * (1 + scale) - shift),
    "The scale has the wrong sign": filmed(of=lambda h, scale, shift: h * (1 - scale) + shift),
    "First stretch": filmed(of=lambda h, scale, shift: (h + shift) * (1 + scale)),
    "forgot the 1: h is stretched by 1 + scale, so that a scale of 0 changes nothing. And: You forgot the SiLU": filmed(
        act=lambda a: a, of=lambda h, scale, shift: h * scale + shift
    ),
}


def across(x):
    return (x[..., 1:] - x[..., :-1]).flatten(1)


def down(x):
    return (x[..., 1:, :] - x[..., :-1, :]).flatten(1)


def diagonal(x):
    return (x[..., 1:, 1:] - x[..., :-1, :-1]).flatten(1)


def middle(d):
    return d.abs().median(1).values


RIGHT["noise_level"] = [
    lambda x: middle(down(x)) / 0.6745 / 2**0.5,
    lambda x: middle(torch.cat([across(x), down(x)], 1)) / 0.6745 / 2**0.5,
    lambda x: middle(diagonal(x)) / 0.6745 / 2**0.5,
    lambda x: across(x).abs().quantile(0.5, dim=1) * 1.4826 / math.sqrt(2),
]
WRONG["noise_level"] = {
    "nearly cancel, to 0.954": lambda x: middle(across(x)),
    "its own median": lambda x: (across(x).abs().median() / 0.6745 / 2**0.5).expand(len(x)),
    "the whole picture": lambda x: x.flatten(1).std(1),
    "photographs have no black one": lambda x: (
        torch.cat([x[:, 0, [0, -1]], x[:, 0, 1:-1, [0, -1]].mT], 2).flatten(1).std(1)
    ),
    "A standard deviation hears": lambda x: down(x).std(1) / 2**0.5,
    "A standard deviation hears the few large differences at edges: a median does not. And: Too much by √2": (
        lambda x: down(x).square().mean(1).sqrt()
    ),
    "Too much by √2": lambda x: middle(down(x)) / 0.6745,
    "divide by that, too": lambda x: middle(down(x)) / 2**0.5,
    "not 2 times": lambda x: middle(down(x)) / 0.6745 / 2,
    "take the root": lambda x: (middle(down(x)) / 0.6745 / 2**0.5) ** 2,
    "of shape (4,), not one number": lambda x: x.std(),
    "your answer[0] should be": lambda x: torch.ones(len(x), dtype=torch.int64),
}


def counted(width, time, blocks):
    without = UNetConfig(levels=(Level(width, blocks),))
    count = [sum(p.numel() for p in UNet(config).parameters()) for config in (replace(without, time=time), without)]
    return count[0] - count[1]


RIGHT["new_parameters"] = [counted, lambda w, t, b: 2.0 * t * (t + 1) + 4 * b * (t + 1) * w]
WRONG["new_parameters"] = {
    "biases of the blocks' projections. And: You left out the biases of the MLP": lambda w, t, b: (
        2 * t * t + 4 * b * t * w
    ),
    "biases of the blocks": lambda w, t, b: 2 * t * (t + 1) + 4 * b * t * w,
    "Half is missing": lambda w, t, b: 2 * t * (t + 1) + 2 * b * (t + 1) * w,
    "A quarter is there": lambda w, t, b: 2 * t * (t + 1) + b * (t + 1) * w,
    "One projection is not enough": lambda w, t, b: 2 * t * (t + 1) + 2 * (t + 1) * w,
    "The blocks have parts in it too": lambda w, t, b: 2 * t * (t + 1),
    "You forgot the MLP": lambda w, t, b: 4 * b * (t + 1) * w,
    "two linear layers, not one": lambda w, t, b: t * (t + 1) + 4 * b * (t + 1) * w,
    "fixed, not learned": lambda w, t, b: 2 * t * (t + 1) + 4 * b * (t + 1) * w + t // 2,
    "new_parameters(16, 128, 1) should be 41280, and it is 2048, 0.04961 times": lambda w, t, b: w * t,
}

# Lesson 03


def field(layers, start=1, less=1, how=lambda step, stride: step * stride, late=False):
    r, step = start, 1
    for kernel, stride in layers:
        after = how(step, stride)
        r += (kernel - less) * (after if late else step)
        step = after
    return r


def emptied(layers):
    side, step = 1, 1
    while layers:
        kernel, stride = layers.pop(0)
        side, step = side + (kernel - 1) * step, step * stride
    return side


def by_gradient(layers):
    x = torch.zeros(1, 1, 201, requires_grad=True)
    y = x
    for kernel, stride in layers:
        y = nn.functional.conv1d(y, torch.ones(1, 1, kernel), stride=stride)
    y[0, 0, y.shape[2] // 2].backward()
    return int((x.grad != 0).sum())


RIGHT["receptive_field"] = [field, emptied, by_gradient, lambda layers: torch.tensor(float(field(layers)))]
WRONG["receptive_field"] = {
    "You left the strides out": lambda layers: field(layers, how=lambda step, stride: 1),
    "first widen the field, then the step": lambda layers: field(layers, late=True),
    "kernel - 1 steps, not kernel": lambda layers: field(layers, less=0),
    "One is missing": lambda layers: field(layers, start=0),
    "they multiply": lambda layers: field(layers, how=lambda step, stride: step + stride - 1),
    "Every stride so far counts": lambda layers: field(layers, how=lambda step, stride: stride),
    "should be 13, and it is 0, 0 times": lambda layers: 0,
}


def wired(push=lambda before, h: h, pop=lambda skips, h: skips.pop(), join=None, below=lambda h, grown: h + grown):
    join = join or (lambda h, skip: torch.cat([h, skip], 1))

    def answer(stage, h, embs):
        skips = []
        for block in stage.down:
            before, h = h, block(h, embs)
            skips.append(push(before, h))
        if stage.inner is not None:
            h = below(h, stage.grow(answer(stage.inner, stage.shrink(h), embs)))
        for block in stage.up:
            h = block(join(h, pop(skips, h)), embs)
        return h

    return answer


def in_one_line(stage, h, embs):
    ways = [h := block(h, embs) for block in stage.down]
    if stage.inner:
        h = h + stage.grow(stage.inner(stage.shrink(h), embs))
    for block, skip in zip(stage.up, ways[::-1]):
        h = block(torch.cat((h, skip), -3), embs=embs)
    return h


def without(what):
    def answer(stage, h, embs):
        part = replace(stage, **{what: None if what == "inner" else []})
        if stage.inner and what != "inner":
            part.inner = lambda h, embs: answer(stage.inner, h, embs)
        return in_one_line(part, h, embs)

    return answer


def hollow(stage, h, embs):
    return in_one_line(replace(stage, inner=(lambda h, embs: h) if stage.inner else None), h, embs)


def early(stage, h, embs):
    h = h + stage.grow(early(stage.inner, stage.shrink(h), embs)) if stage.inner else h
    return without("inner")(stage, h, embs)


RIGHT["stage"] = [wired(), in_one_line, lambda stage, h, embs: stage(h, embs)]
WRONG["stage"] = {
    "first h, then the skip": wired(join=lambda h, skip: torch.cat([skip, h], 1)),
    "the one pushed last is popped first": wired(pop=lambda skips, h: skips.pop(0)),
    "one skip again and again": wired(pop=lambda skips, h: skips[-1]),
    "h itself": wired(pop=lambda skips, h: h),
    "push what it answers": wired(push=lambda before, h: before),
    "h got lost": wired(below=lambda h, grown: grown),
    "reads h and a skip side by side": wired(join=lambda h, skip: h + skip),
    "what grow answers is added": wired(below=lambda h, grown: torch.cat([h, grown], 1)),
    "was not told the time": lambda stage, h, embs: stage.down[0](h),
    "the same tensor": wired(below=lambda h, grown: h.add_(grown)),
    "The smaller stage is left out": without("inner"),
    "The way up is missing": without("up"),
    "The smaller stage comes too early": early,
    "nothing happens between": hollow,
    "differ in shape": lambda stage, h, embs: (h, embs),
}


def cost(a, b, k, side, level, root=None):
    return k * k * a * b * (side // 2**level if root is None else root) ** 2


RIGHT["macs"] = [cost, lambda a, b, k, s, n: k**2 * a * b * (s / 2**n) ** 2, lambda *a: torch.tensor(cost(*a))]
WRONG["macs"] = {
    "divide the side before you square it": lambda a, b, k, s, n: k * k * a * b * s * s / 2**n,
    "square the side": lambda a, b, k, s, n: k * k * a * b * (s >> n),
    "You left the level out": lambda a, b, k, s, n: cost(a, b, k, s, 0),
    "not by 2 * level": lambda a, b, k, s, n: cost(a, b, k, s, n, s // (2 * n) if n else s),
    "kernel ** 2 places": lambda a, b, k, s, n: cost(a, b, k, s, n) / k,
    "all `a` input channels": lambda a, b, k, s, n: cost(1, b, k, s, n),
    "one multiply-add is one of each": lambda a, b, k, s, n: 2 * cost(a, b, k, s, n),
    "Those are the layer's weights": lambda a, b, k, s, n: k * k * a * b,
    "macs(32, 32, 3, 28, 0) should be 7225344, and it is 7231847, 1.001 times": lambda *a: round(1.0009 * cost(*a)),
}
RIGHT["up_inputs"] = [
    lambda w, s: [(2 * c, s >> k) for k, c in enumerate(w)],
    lambda w, s: torch.tensor([[2 * c, s / 2**k] for k, c in enumerate(w)]),
    lambda w, s: tuple([2 * c, s // 2**k] for k, c in enumerate(w)),
]
WRONG["up_inputs"] = {
    "You forgot the skip": lambda w, s: [(c, s >> k) for k, c in enumerate(w)],
    "`grow` has already": lambda w, s: [(a + b, s >> k) for k, (a, b) in enumerate(zip(w, [*w[1:], w[-1]]))],
    "pops a skip too": lambda w, s: [(2 * c if k < len(w) - 1 else c, s >> k) for k, c in enumerate(w)],
    "the side halves with every level": lambda w, s: [(2 * c, s) for c in w],
    "Right, but upside down": lambda w, s: [(2 * c, s >> k) for k, c in enumerate(w)][::-1],
    "not what the level above it pushed": lambda w, s: [(a + b, s >> k) for k, (a, b) in enumerate(zip(w, [w[0], *w]))],
    "each row runs backwards": lambda w, s: [(s >> k, 2 * c) for k, c in enumerate(w)],
    "of shape (3, 2), not of shape (3,)": lambda w, s: [2 * c for c in w],
    "there is a zip in": lambda w, s: zip(w, w),
}

# Lesson 04


def curve(T, s, power=2, turn=math.pi / 2, whole=True):
    return torch.cos((torch.arange(T + 1) / T + s) / (1 + whole * s) * turn).double() ** power


def scaled(T, s, _, **wrong):
    return curve(T, s, **wrong) / curve(T, s, **wrong)[0]


def table(T, s, max_beta, **wrong):
    alpha_bar, f = [1.0], curve(T, s, **wrong)
    for t in range(1, T + 1):
        alpha_bar.append(alpha_bar[-1] * (1 - min((1 - f[t] / f[t - 1]).item(), max_beta)))
    return alpha_bar


def betas(T, s, max_beta):
    f = curve(T, s)
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


RIGHT["cosine_alpha_bar"] = [table, lambda *a: schedules.cosine(*a).alpha_bar, lambda *a: torch.tensor(table(*a))]
WRONG["cosine_alpha_bar"] = {
    "You forgot the square": lambda *a: table(*a, power=1),
    "Half a turn is too much": lambda *a: table(*a, turn=math.pi),
    "You forgot to divide by 1 + s": lambda *a: table(*a, whole=False),
    "You forgot to clip": scaled,
    "divide by f(0), and clip": lambda T, s, _: curve(T, s),
    "the cosine itself is signal. And: You forgot to clip": lambda *a: scaled(*a, power=1),
    "itself is signal. And: alpha_bar[0] must be 1": lambda T, s, _: curve(T, s, power=1),
    "not at π. And: You forgot to clip": lambda *a: scaled(*a, turn=math.pi),
    "You clipped alpha_bar": lambda T, s, m: scaled(T, s, m).clamp(min=1 - m),
    "Those are the betas": betas,
    "You multiplied up the betas": lambda *a: torch.cat([torch.ones(1), betas(*a).cumprod(0)]),
    "A running product, not a sum": lambda *a: [1.0, *(1 - betas(*a).cumsum(0)).tolist()],
    "Those are the roots": lambda *a: torch.tensor(table(*a)) ** 0.5,
    "You left s out": lambda T, s, m: table(T, 0.0, m),
    "You wrote 0.008 for s": lambda T, s, m: table(T, 0.008, m),
    "You wrote 0.999 for max_beta": lambda T, s, m: table(T, s, 0.999),
    "One entry is missing": lambda *a: table(*a)[1:],
    "cosine_alpha_bar(400, 0.008, 0.999)[": lambda *a: torch.ones(a[0] + 1),
    "should be of shape (401,), not one number": lambda *a: 1.0,
}


def eps(x0, x, signal, noise):
    return (x - signal * x0) / noise


RIGHT["v_target"] = [
    lambda x0, e, a, b: a * e - b * x0,
    lambda x0, e, a, b: e.mul_(a).sub_(b * x0),
    lambda x0, e, a, b: torch.atan2(b, a).cos() * e - torch.atan2(b, a).sin() * x0,
]
WRONG["v_target"] = {
    "That is x itself": lambda x0, e, a, b: a * x0 + b * e,
    "The sign is swapped": lambda x0, e, a, b: b * x0 - a * e,
    "A plus should be a minus": lambda x0, e, a, b: a * e + b * x0,
    "signal and noise are swapped": lambda x0, e, a, b: b * e - a * x0,
    "x0 and eps are swapped": lambda x0, e, a, b: a * x0 - b * e,
    "You left both as they are": lambda x0, e, a, b: e - x0,
    "your answer[0, 0, 0, 0] should be": lambda x0, e, a, b: a * e,
}
RIGHT["v_from_x0"] = [
    lambda x0, x, a, b: (a * x - x0) / b,
    lambda x0, x, a, b: x.sub_(a * x0).div_(b).mul_(a).sub_(b * x0),
    lambda x0, x, a, b: a * eps(x0, x, a, b) - b * x0,
]
WRONG["v_from_x0"] = {
    "The sign is swapped": lambda x0, x, a, b: b * x0 - a * eps(x0, x, a, b),
    "That is eps": eps,
    "You put x where eps belongs": lambda x0, x, a, b: a * x - b * x0,
    "A plus should be a minus": lambda x0, x, a, b: b * x0 + a * eps(x0, x, a, b),
    "signal and noise are swapped": lambda x0, x, a, b: b * eps(x0, x, a, b) - a * x0,
    "divide by noise before": lambda x0, x, a, b: a * (x - a * x0) - b * x0,
    "Nearly": lambda x0, x, a, b: a * x - x0,
    "you divided by signal": lambda x0, x, a, b: x - a * x0 - b * x0,
    "your answer[0, 0, 0, 0] should be": lambda x0, x, a, b: x0 + x,
}
RIGHT["x0_from_v"] = [lambda v, x, a, b: a * x - b * v, lambda v, x, a, b: x.mul_(a).sub_(v.mul_(b))]
WRONG["x0_from_v"] = {
    "You turned on": lambda v, x, a, b: a * x + b * v,
    "That is eps": lambda v, x, a, b: b * x + a * v,
    "the formula for an eps-model": lambda v, x, a, b: (x - b * v) / a,
    "signal and noise are swapped": lambda v, x, a, b: b * x - a * v,
    "The sign is swapped": lambda v, x, a, b: b * v - a * x,
    "the last pictures have no signal": lambda v, x, a, b: (x - b * (b * x + a * v)) / a,
    "that is what v is for": lambda v, x, a, b: (a * x - b * v) / a,
}

# Lesson 05


def written_into(labels, null, rate, u):
    labels[u < rate] = null
    return labels


def steer(formula, part="eps"):
    def answer(model, x, t, wanted, unwanted, w):
        c, a, n = (getattr(model(x, t, y), part) for y in (wanted, unwanted, model.condition.empty(len(wanted))))
        return formula(c, a, n, w)

    return answer


def whole(model, x, t, wanted, unwanted, w):
    c, a = model(x, t, wanted), model(x, t, unwanted)
    return Denoised(a.x0 + w * (c.x0 - a.x0), a.eps + w * (c.eps - a.eps))


def towards(formula, part="x0", null=None):
    def answer(model, x, t, y, w):
        nothing = model.condition.empty(len(y)) if null is None else torch.full_like(y, null)
        return formula(getattr(model(x, t, y), part), getattr(model(x, t, nothing), part), w)

    return answer


def each_alone(model, x, t, y, w):
    rows = [
        towards(lambda c, u, w: (1 - w) * u + w * c)(model, *(part[i : i + 1] for part in (x, t, y)), w)[0]
        for i in range(len(y))
    ]
    return torch.stack(rows)


RIGHT["drop"] = [
    lambda y, null, rate, u: torch.where(u < rate, null, y),
    lambda y, null, rate, u: [null if p < rate else int(label) for label, p in zip(y, u)],
    lambda y, null, rate, u: y.masked_fill(u < rate, null).float(),
    written_into,
]
WRONG["drop"] = {
    "You dropped the wrong ones": lambda y, null, rate, u: torch.where(u > rate, null, y),
    "One coin for the whole batch": lambda y, null, rate, u: y if u[0] > rate else torch.full_like(y, null),
    "but 0 is a digit": lambda y, null, rate, u: y * (u >= rate),
    "That is the mask": lambda y, null, rate, u: u < rate,
    "You threw the dropped ones out": lambda y, null, rate, u: y[u >= rate],
    "draw no random numbers of its own": lambda y, null, rate, u: torch.where(torch.rand(len(y)) < rate, null, y),
    "You wrote 10": lambda y, null, rate, u: torch.where(u < rate, 10, y),
    "You dropped one in ten": lambda y, null, rate, u: torch.where(u < 0.1, null, y),
    "You dropped none": lambda y, null, rate, u: y,
}
RIGHT["away"] = [steer(lambda c, a, n, w: (1 - w) * a + w * c), steer(lambda c, a, n, w: torch.lerp(a, c, w)), whole]
WRONG["away"] = {
    "plain guidance from the null label": lambda model, x, t, y, _, w: guide(model, y, w)(x, t).eps,
    "Swapped": steer(lambda c, a, n, w: w * a + (1 - w) * c),
    "You walk the wrong way": steer(lambda c, a, n, w: a - w * (c - a)),
    "the paper's w": steer(lambda c, a, n, w: c + w * (c - a)),
    "The difference alone": steer(lambda c, a, n, w: w * c - w * a),
    "You start from the null label": steer(lambda c, a, n, w: n + w * (c - a)),
    "must sum to 1": steer(lambda c, a, n, w: c - w * a),
    "You guided the guess of x0": steer(lambda c, a, n, w: a + w * (c - a), "x0"),
    "for the wanted label alone": steer(lambda c, a, n, w: c),
    "the weight 1 - w": steer(lambda c, a, n, w: w * c),
    "for the unwanted label alone": steer(lambda c, a, n, w: a),
}
RIGHT["guided"] = [
    towards(lambda c, u, w: u + w * (c - u)),
    towards(lambda c, u, w: torch.lerp(u, c, w)),
    lambda model, x, t, y, w: guide(model, y, w)(x, t).x0,
    each_alone,
]
WRONG["guided"] = {
    "ask once more with the null label": lambda model, x, t, y, w: model(x, t, y).x0,
    "That is the answer to the null label": towards(lambda c, u, w: u),
    "You walk the wrong way": towards(lambda c, u, w: u - w * (c - u)),
    "You start at c": towards(lambda c, u, w: (1 + w) * c - w * u),
    "Swapped": towards(lambda c, u, w: (1 - w) * c + w * u),
    "The difference alone": towards(lambda c, u, w: w * (c - u)),
    "That is w times c": towards(lambda c, u, w: w * c),
    "You added w c to u": towards(lambda c, u, w: u + w * c),
    "must sum to 1": towards(lambda c, u, w: c - w * u),
    "You wrote c + u": towards(lambda c, u, w: u + w * (c + u)),
    "but 0 is a digit": towards(lambda c, u, w: u + w * (c - u), null=0),
    "You wrote 10 for the null label": towards(lambda c, u, w: u + w * (c - u), null=10),
    "You guided eps": towards(lambda c, u, w: u + w * (c - u), "eps"),
    "You returned both guesses": lambda model, x, t, y, w: guide(model, y, w)(x, t),
}
RIGHT["scale_at"] = [
    lambda t, w, low, high: torch.where((t > low) & (t <= high), w, 1.0),
    lambda t, w, low, high: [w if low < now <= high else 1 for now in t.tolist()],
    lambda t, w, low, high: 1 + (w - 1) * ((low < t) & (t <= high)).float(),
]
WRONG["scale_at"] = {
    "0 forgets the label": lambda t, w, low, high: w * ((low < t) & (t <= high)),
    "Inside and outside are exchanged": lambda t, w, low, high: torch.where((low < t) & (t <= high), 1.0, w),
    "low itself is outside: low < t": lambda t, w, low, high: torch.where((low <= t) & (t <= high), w, 1.0),
    "high itself is inside: t <= high": lambda t, w, low, high: torch.where((low < t) & (t < high), w, 1.0),
    "Both ends are the wrong way round": lambda t, w, low, high: torch.where((low <= t) & (t < high), w, 1.0),
    "You forgot high": lambda t, w, low, high: torch.where(low < t, w, 1.0),
    "You forgot low": lambda t, w, low, high: torch.where(t <= high, w, 1.0),
    "join them with &": lambda t, w, low, high: torch.where((low < t) | (t <= high), w, 1.0),
    "return w there, and 1 elsewhere": lambda t, w, low, high: (low < t) & (t <= high),
    "Boolean value of Tensor": lambda t, w, low, high: w if low < t <= high else 1,
}

# Lesson 06


def by_the_package(q, k, v):
    attend = CrossAttention(q.shape[1], q.shape[1], 1)
    attend.keep = True
    with torch.no_grad():
        for layer in (attend.to_q, attend.to_k):
            layer.weight.copy_(torch.eye(q.shape[1]))
        attend(q[None], k[None])
    return attend.maps[0, 0] @ v


def attended(q, k, v, root=lambda d: d**0.5, over=1):
    return torch.softmax(q @ k.T / root(q.shape[1]), over) @ v


def in_place(q, k, v):
    q /= q.shape[1] ** 0.5
    w = (q @ k.T).exp_()
    w /= w.sum(1, keepdim=True)
    return w @ v


def pixel_by_pixel(q, k, v):
    found = []
    for asking in q:
        scores = [math.exp(sum(a * b for a, b in zip(asking.tolist(), key.tolist())) / len(asking) ** 0.5) for key in k]
        found.append(sum(score / sum(scores) * value for score, value in zip(scores, v)))
    return found


def halves_by_loops(height, width):
    return [[1, 0] if column < width // 2 else [0, 1] for _ in range(height) for column in range(width)]


def painted(height, width):
    canvas = torch.zeros(height, width, 2, dtype=torch.bool)
    canvas[:, : width // 2, 0] = True
    canvas[:, width // 2 :, 1] = True
    return canvas.flatten(0, 1)


def alive(least, keep=False):
    def count(width, context):
        attend = CrossAttention(width, context, 2)
        attend.keep = keep  # PyTorch's fused softmax leaves rounding errors where zeros should be
        nn.init.normal_(attend.to_out.weight)  # born zero, it would keep to_v asleep for one step
        attend(torch.randn(2, 5, width), torch.randn(2, 1, context)).square().sum().backward()
        return sum(int(p.grad.abs().max() > least) * p.numel() for p in attend.parameters())

    return count


RIGHT["attention"] = [
    attended,
    by_the_package,
    in_place,
    pixel_by_pixel,
    lambda q, k, v: F.scaled_dot_product_attention(q[None], k[None], v[None])[0],
]
WRONG["attention"] = {
    "You forgot sqrt(d)": lambda *a: attended(*a, root=lambda d: 1),
    "You divided by d": lambda *a: attended(*a, root=lambda d: d),
    "You multiplied by sqrt(d)": lambda *a: attended(*a, root=lambda d: d**-0.5),
    "the number of keys": lambda q, k, v: attended(q, k, v, root=lambda d: len(k) ** 0.5),
    "the number of queries": lambda q, k, v: attended(q, k, v, root=lambda d: len(q) ** 0.5),
    "the width of a value": lambda q, k, v: attended(q, k, v, root=lambda d: v.shape[1] ** 0.5),
    "ran over the pixels": lambda *a: attended(*a, over=0),
    "turns hard. And: The softmax ran over the pixels": lambda *a: attended(*a, root=lambda d: 1, over=0),
    "One softmax over everything": lambda q, k, v: (s := (q @ k.T / q.shape[1] ** 0.5).exp()) / s.sum() @ v,
    "you mixed with the scores": lambda q, k, v: q @ k.T / q.shape[1] ** 0.5 @ v,
    "divide each row by its sum": lambda q, k, v: (q @ k.T / q.shape[1] ** 0.5).exp() @ v,
    "You divided the scores by their sum": lambda q, k, v: (s := q @ k.T) / s.sum(1, keepdim=True) @ v,
    "All from the best token": lambda q, k, v: v[(q @ k.T).argmax(1)],
    "Each token counts the same": lambda q, k, v: v.mean(0).expand(len(q), -1),
    "Those are the weights": lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1),
    "You mixed the keys": lambda q, k, v: attended(q, k, k),
    "but transposed": lambda *a: attended(*a).T,
    "your answer[0, 0] should be": lambda q, k, v: attended(q, k, v) + 1,
    "stopped with RuntimeError": lambda q, k, v: q @ k @ v,
}
RIGHT["own_half"] = [halves_by_loops, painted, lambda h, w: torch.eye(2).repeat_interleave(w // 2, 0).repeat(h, 1)]
WRONG["own_half"] = {
    "Mirrored": lambda h, w: painted(h, w).flip(1),
    "top from bottom": lambda h, w: [[2 * row < h, 2 * row >= h] for row in range(h) for _ in range(w)],
    "column by column": lambda h, w: painted(h, w).view(h, w, 2).transpose(0, 1).flatten(0, 1),
    "is the first of the right half": lambda h, w: [[c <= w // 2, c > w // 2] for _ in range(h) for c in range(w)],
    "as a picture": lambda h, w: painted(h, w).view(h, w, 2),
    "in a second column": lambda h, w: painted(h, w)[:, 0],
    "listen to both tokens alike": lambda h, w: torch.ones(h * w, 2) / 2,
    "but transposed": lambda h, w: painted(h, w).T,
    "own_half(7, 14)[0, 0] should be 1, and it is 0": lambda h, w: torch.zeros(h * w, 2),
}
RIGHT["learning_with_one_key"] = [lambda w, c: w * c + w * w + w, alive(1e-3), alive(0, keep=True)]
WRONG["learning_with_one_key"] = {
    "1e-12 is rounding": lambda w, c: 2 * w * c + 2 * w * w + w,
    "The keys are as dead": lambda w, c: 2 * w * c + w * w + w,
    "The queries are as dead": lambda w, c: w * c + 2 * w * w + w,
    "has a bias too": lambda w, c: w * c + w * w,
    "to_out sees": lambda w, c: w * c,
    "to_v turns the token": lambda w, c: w * w + w,
    "to_v reads tokens": lambda w, c: 2 * w * w + w,
    "learning_with_one_key(64, 48) should be 7232, and it is 1,": lambda w, c: 1,
}

# Lesson 07


def merged(A, B, alpha):
    adapter = lora.Adapter(nn.Linear(A.shape[1], len(B)), len(A), alpha)
    with torch.no_grad():
        adapter.down.weight.copy_(A)
        adapter.up.weight.copy_(B)
        return adapter.delta()


def newborn(n_in, n_out, rank):
    adapter = lora.Adapter(nn.Linear(n_in, n_out), rank, rank)
    return adapter.down.weight, adapter.up.weight


def weighed(shapes, rank):
    layers = [nn.Conv2d(s[1], s[0], s[2:]) if s[2:] else nn.Linear(s[1], s[0]) for s in shapes]
    return sum(p.numel() for layer in layers for p in lora.Adapter(layer, rank, rank).parameters())


def total(formula):
    return lambda shapes, rank: sum(formula(rank, *shape[:2], prod(shape[2:])) for shape in shapes)


def corrected(x, W, A, B, scale):
    layer = nn.Linear(W.shape[1], len(W), bias=False)
    with torch.no_grad():
        layer.weight.copy_(W)
    model = lora.wrap(nn.Sequential(layer), len(A), scale * len(A), "0")
    adapter = model[0].adapters["default"]
    with torch.no_grad():
        adapter.down.weight.copy_(A)
        adapter.up.weight.copy_(B)
    return model(x)


RIGHT["low_rank"] = [
    corrected,
    lambda x, W, A, B, scale: x @ (W + scale * B @ A).T,
    lambda x, W, A, B, scale: torch.stack([W @ row + scale * B @ (A @ row) for row in x]),
    lambda x, W, A, B, scale: F.linear(x, W).add_(F.linear(F.linear(x, A), B).mul_(scale)),
]
WRONG["low_rank"] = {
    "W x is missing": lambda x, W, A, B, scale: scale * x @ A.T @ B.T,
    "The correction is missing": lambda x, W, A, B, scale: x @ W.T,
    "The scale is missing: it": lambda x, W, A, B, scale: x @ (W + B @ A).T,
    "You divided by the scale": lambda x, W, A, B, scale: x @ (W + B @ A / scale).T,
    "counts once": lambda x, W, A, B, scale: x @ (W + (scale * B) @ (scale * A)).T,
    "Plus, not minus": lambda x, W, A, B, scale: x @ (W - scale * B @ A).T,
    "You scaled W x as well": lambda x, W, A, B, scale: scale * x @ (W + B @ A).T,
    "x @ W has W turned": lambda x, W, A, B, scale: x @ W + scale * x @ A.T @ B.T,
    "x @ B @ A has": lambda x, W, A, B, scale: x @ W.T + scale * x @ B @ A,
    "The scale is missing: it multiplies the correction. And: x @ W has": (
        lambda x, W, A, B, scale: x @ W + x @ A.T @ B.T
    ),
    "x @ W has W turned round: W is (out, in) and x is a row, so it is x @ W.T. And: x @ B @ A": (
        lambda x, W, A, B, scale: x @ (W + scale * B @ A)
    ),
    "went through W": lambda x, W, A, B, scale: (x + scale * x @ A.T @ B.T) @ W.T,
    "W x is missing: the frozen layer goes on answering. And: The scale": lambda x, W, A, B, scale: x @ (B @ A).T,
    "should be": lambda x, W, A, B, scale: x @ W.T + 1,
    "stopped with RuntimeError": lambda x, W, A, B, scale: x @ W.T + scale * x @ A @ B,
    "of shape (5, 8), not of shape (8, 8)": lambda x, W, A, B, scale: W + scale * B @ A,
}
RIGHT["update"] = [merged, lambda A, B, alpha: (A.T @ B.T).T * (alpha / A.shape[0])]
WRONG["update"] = {
    "The scale is missing": lambda A, B, alpha: B @ A,
    "You scaled by alpha": lambda A, B, alpha: alpha * B @ A,
    "You multiplied by the rank": lambda A, B, alpha: alpha * len(A) * B @ A,
    "alpha is missing": lambda A, B, alpha: B @ A / len(A),
    "Upside down": lambda A, B, alpha: len(A) / alpha * B @ A,
    "the layer's width": lambda A, B, alpha: alpha / len(B) * B @ A,
    "That is A B: A comes": lambda A, B, alpha: alpha / len(A) * A @ B,
    "That is A B, and the scale": lambda A, B, alpha: A @ B,
    "but transposed": lambda A, B, alpha: alpha / len(A) * A.T @ B.T,
    "All zero": lambda A, B, alpha: torch.zeros(len(B), A.shape[1]),
    "your answer[0, 0] should be": lambda A, B, alpha: B @ A + 1,
    "not of shape (2, 16)": lambda A, B, alpha: (B @ A)[:2],
}
RIGHT["born"] = [
    newborn,
    lambda n, m, r: [torch.rand(r, n) - 0.5, torch.zeros(m, r).tolist()],
    lambda n, m, r: (torch.eye(r, n), torch.zeros(m, r, dtype=torch.int64)),
]
WRONG["born"] = {
    "Both are zero": lambda n, m, r: (torch.zeros(r, n), torch.zeros(m, r)),
    "Both are random": lambda n, m, r: (torch.randn(r, n), torch.randn(m, r)),
    "would do as well": lambda n, m, r: (torch.zeros(r, n), torch.randn(m, r)),
    "The rows of A repeat": lambda n, m, r: (torch.randn(1, n).expand(r, n), torch.zeros(m, r)),
    "The shapes are turned": lambda n, m, r: (torch.randn(n, r), torch.zeros(r, m)),
    "You returned B, A": lambda n, m, r: (torch.zeros(m, r), torch.randn(r, n)),
    "part 1 of born(6, 5, 2) should be of shape (2, 6), not of shape (2, 2)": (
        lambda n, m, r: (torch.randn(r, r), torch.zeros(m, r))
    ),
    "should be of shape (2, 6), not of shape (6, 2)": lambda n, m, r: (torch.randn(n, r), torch.zeros(m, r)),
    "not 2 answers with a comma": lambda n, m, r: torch.randn(r, n),
    "returned a tuple, not 2": lambda n, m, r: (torch.randn(r, n), torch.zeros(m, r), 1.0),
    "holds what is no number": lambda n, m, r: (torch.full((r, n), torch.nan), torch.zeros(m, r)),
    "not of shape (0, 6)": lambda n, m, r: (torch.zeros(0, n), torch.zeros(m, 0)),
}
RIGHT["learns"] = [weighed, lambda shapes, rank: sum(rank * (prod(s[1:]) + s[0]) for s in shapes)]
WRONG["learns"] = {
    "has the kernel too": total(lambda r, out, n, k: r * n + r * out),
    "two sides": total(lambda r, out, n, k: r * n * round(k**0.5) + r * out),
    "you added 3 + 3": lambda shapes, rank: rank * sum(map(sum, shapes)),
    "B of a convolution is": total(lambda r, out, n, k: r * n * k + r * out * k),
    "you counted a linear layer. And: B of a convolution": total(lambda r, out, n, k: r * n + r * out * k),
    "B is missing": total(lambda r, out, n, k: r * n * k),
    "A is missing": total(lambda r, out, n, k: r * out),
    "Those are the frozen weights": total(lambda r, out, n, k: out * n * k),
    "Those are A, B and": total(lambda r, out, n, k: out * n * k + r * n * k + r * out),
    "no bias of their own": total(lambda r, out, n, k: r * n * k + r * out + out),
    "Once per rank": total(lambda r, out, n, k: n * k + out),
    "learns([(64, 48)], 4) should be 448, and it is 1,": lambda shapes, rank: 1,
    "B is missing: it learns as well. And: A is missing": lambda shapes, rank: 0,
}

# Lesson 08


def looked_up(prompt, vocabulary, length, start=1, fill=None, low=True, part=re.compile("[a-z]+").findall):
    nothing = len(vocabulary) if fill is None else fill
    row = [nothing] * start
    row += [vocabulary.index(word) for word in part(prompt.lower() if low else prompt) if word in vocabulary]
    return row + [nothing] * (length - len(row))


def by_words(prompt, vocabulary, length):
    return Words(vocabulary, ("two",), length=length, width=4).parse([prompt])[0]


def letter_by_letter(prompt, vocabulary, length):
    row, word, number = [len(vocabulary)], "", {word: i for i, word in enumerate(vocabulary)}
    for letter in prompt + " ":
        if letter.isalpha():
            word += letter.lower()
        elif word:
            row.append(number[word])
            word = ""
    while len(row) < length:
        row.append(len(vocabulary))
    return row


RIGHT["word_numbers"] = [
    looked_up,
    by_words,
    letter_by_letter,
    lambda *a: torch.tensor(looked_up(*a)).float(),
    lambda p, v, n: looked_up(p.translate(str.maketrans("", "", ",:!")), v, n, part=str.split),
]
WRONG["word_numbers"] = {
    "A row begins with": lambda *a: looked_up(*a, start=0),
    "0 is a word": lambda *a: looked_up(*a, fill=0),
    "no row of a table": lambda *a: looked_up(*a, fill=-1),
    "is the last word": lambda p, v, n: looked_up(p, v, n, fill=len(v) - 1),
    "here words begin at 0": lambda p, v, n: [k + 1 if k < len(v) else 0 for k in looked_up(p, v, n)],
    "counted the words from 1": lambda p, v, n: [k + (k < len(v)) for k in looked_up(p, v, n)],
    "Fill the row up": lambda p, v, n: looked_up(p, v, 0),
    "One too long": lambda p, v, n: looked_up(p, v, n + 1),
    "A row begins with the number that says nothing: so there is always something to read. And: Fill": (
        lambda p, v, n: looked_up(p, v, 0, start=0)
    ),
    "RED is the word red": lambda *a: looked_up(*a, low=False, part=re.compile(r"\w+").findall),
    "a comma": lambda *a: looked_up(*a, part=str.split),
    "stopped with KeyError: 'seven,'": lambda p, v, n: [dict(zip(v, range(9)))[word] for word in p.split()],
    "You sorted the words": lambda p, v, n: [9, *sorted(looked_up(p, v, 0)[1:]), *[9] * 20][:n],
    "belong behind the words": lambda p, v, n: [9] * (n - len(looked_up(p, v, 0))) + looked_up(p, v, 0),
    "there is a str in what": lambda p, v, n: p.lower().split(),
}
RIGHT["masked_softmax"] = [
    lambda z, there: z.masked_fill(~there, -1e9).softmax(1),
    lambda z, there: (e := z.exp() * there) / e.sum(1, keepdim=True),
    lambda z, there: z.sub_(torch.where(there, 0.0, torch.inf)).softmax(-1),
    lambda z, there: z.masked_fill_(~there, -torch.inf).softmax(-1).numpy(),
]
WRONG["masked_softmax"] = {
    "The mask is missing": lambda z, there: z.softmax(1),
    "exp(0) is 1": lambda z, there: (z * there).softmax(1),
    "Turned round": lambda z, there: z.masked_fill(there, -torch.inf).softmax(1),
    "before the softmax": lambda z, there: z.softmax(1) * there,
    "over those who ask": lambda z, there: z.masked_fill(~there, -torch.inf).softmax(0),
    "threw the columns out": lambda z, there: z[:, there].softmax(1),
    "0 times infinity": lambda z, there: (z + (1 - there.float()) * -torch.inf).softmax(1),
    "their softmax is missing": lambda z, there: torch.where(there, z, -torch.inf),
    "divide each row": lambda z, there: z.masked_fill(~there, -torch.inf).exp(),
    "That is a mean": lambda z, there: torch.where(there, 0.0, -torch.inf).softmax(0).repeat(len(z), 1),
    "exp(-1) is heard": lambda z, there: z.masked_fill(~there, -1).softmax(1),
    "your answer[0, 0] should be": lambda z, there: z,
}
RIGHT["bag"] = [
    lambda v, there: torch.einsum("blw,bl->bw", v, there.float()) / there.sum(1)[:, None].sqrt(),
    lambda v, there: torch.stack([row[here].sum(0) / len(row[here]) ** 0.5 for row, here in zip(v, there)]),
    lambda v, there: v.mul_(there[..., None]).sum(1) / there.sum(1, keepdim=True) ** 0.5,
]
WRONG["bag"] = {
    "That is a mean": lambda v, there: (v * there[..., None]).sum(1) / there.sum(1, keepdim=True),
    "That is the sum": lambda v, there: (v * there[..., None]).sum(1),
    "multiplied by the root": lambda v, there: (v * there[..., None]).sum(1) * there.sum(1, keepdim=True) ** 0.5,
    "the mean over all places": lambda v, there: v.mean(1),
    "empty places too": lambda v, there: v.sum(1) / there.sum(1, keepdim=True) ** 0.5,
    "empty places too: only what is there counts. And: You divided by the root of the row": (
        lambda v, there: v.sum(1) / v.shape[1] ** 0.5
    ),
    "a long sentence would shout; divide by the root of the count. And: You summed": lambda v, there: v.sum(1),
    "of the whole batch": lambda v, there: (v * there[..., None]).sum(1) / there.sum() ** 0.5,
    "root of the width": lambda v, there: (v * there[..., None]).sum(1) / v.shape[2] ** 0.5,
    "the row's length": lambda v, there: (v * there[..., None]).sum(1) / v.shape[1] ** 0.5,
    "over the width": lambda v, there: (v * there[..., None]).sum(-1),
    "the same length": lambda v, there: nn.functional.normalize((v * there[..., None]).sum(1), dim=1),
    "a bag is a sum": lambda v, there: torch.where(there[..., None], v, -torch.inf).max(1).values,
    "of shape (3, 4), not of shape (3, 6, 4)": lambda v, there: v,
}

# The page of notations

RIGHT["sigma"] = [
    lambda a: ((1 - a) / a).sqrt(),
    lambda a: (1 / a - 1) ** 0.5,
    lambda a: [math.tan(math.acos(value.item() ** 0.5)) for value in a],
]
WRONG["sigma"] = {
    "take the root.": lambda a: 1 / a - 1,
    "Upside down": lambda a: a.sqrt() / (1 - a).sqrt(),
    "lesson 01's ratio": lambda a: a / (1 - a),
    "beside a shrunken x0. EDM's": lambda a: (1 - a).sqrt(),
    "our noise squared": lambda a: 1 - a,
    "the factor from our x": lambda a: a**-0.5,
    "The numerator": lambda a: (1 - a) / a.sqrt(),
    "The denominator": lambda a: (1 - a).sqrt() / a,
    "the signal's square": lambda a: (1 / a**2 - 1).sqrt(),
    "not the root minus 1": lambda a: (1 / a).sqrt() - 1,
    "what EDM tells its network": lambda a: ((1 - a) / a).sqrt().log() / 4,
    "the logarithm of sigma": lambda a: ((1 - a) / a).sqrt().log(),
    "1 - tau of flow matching": lambda a: 1 - 1 / (1 + ((1 - a) / a).sqrt()),
    "whose tangent": lambda a: (1 - a).sqrt().asin(),
    "of shape (27,), not one number": lambda a: 1.0,
}


def straight(line):
    return lambda eps, x, a, b: line((x - b * eps) / a, eps, x, a, b)


RIGHT["velocity"] = [
    straight(lambda x0, eps, x, a, b: x0 - eps),
    lambda eps, x, a, b: (x - (a + b) * eps) / a,
    lambda eps, x, a, b: (x / (a + b) - eps) / (a / (a + b)),
    lambda eps, x, a, b: x.sub_(b * eps).div_(a).sub_(eps),
]
WRONG["velocity"] = {
    "Turned over": straight(lambda x0, eps, x, a, b: eps - x0),
    "plus eps is no speed": straight(lambda x0, eps, x, a, b: x0 + eps),
    "where the line ends": straight(lambda x0, eps, x, a, b: x0),
    "is a mixture, not x0": lambda eps, x, a, b: x - eps,
    "is signal times x0": lambda eps, x, a, b: x - b * eps - eps,
    "took eps out whole": lambda eps, x, a, b: (x - eps) / a - eps,
    "forgot to take": lambda eps, x, a, b: x / a - eps,
    "added noise eps": lambda eps, x, a, b: (x + b * eps) / a - eps,
    "divided by noise": lambda eps, x, a, b: x / b - eps - eps,
    "are swapped": lambda eps, x, a, b: (x - a * eps) / b - eps,
    "the speed along the circle": straight(lambda x0, eps, x, a, b: a * eps - b * x0),
    "you put in x": lambda eps, x, a, b: (x - eps) / (a / (a + b)),
    "so their difference": straight(lambda x0, eps, x, a, b: (x0 - eps) / (a + b)),
    "begins at eps itself": straight(lambda x0, eps, x, a, b: x0 - b * eps),
    "should be": straight(lambda x0, eps, x, a, b: 2 * x0 - eps),
    "Turned over, from data to noise: here data is at time 1, so it is x0 minus eps. And: That is v": (
        straight(lambda x0, eps, x, a, b: b * x0 - a * eps)
    ),
}


# Lesson 11


def last_step(judge):
    """Judges a sampler by its last step."""

    def answer(sampler, denoise, x, s):
        *_, last = sampler(denoise, x, s, steps=5)
        return judge(last)

    return answer


def by_norm(sampler, denoise, x, s):
    last = list(sampler(denoise, x.clone(), s, steps=5))[-1]
    return torch.linalg.norm(last.x - last.x0) < 0.01


RIGHT["suspects"] = [lambda: [8, 7, 9, 5], lambda: torch.tensor([8, 7, 9, 5]), lambda: (8.0, 7.0, 9.0, 5.0)]
WRONG["suspects"] = {
    "None of the four yet": lambda: [1, 2, 3, 4],
    "None of the four yet: ask": lambda: [8, 8, 8, 5][::-1],
    "One of the four is right": lambda: [8, 5, 8, 7],
    "B: under the grain the strokes are not those": lambda: [8, 5, 9, 5],
    "And: D: under the grain each digit is that": lambda: [8, 5, 9, 7],
    "C: these are the digits that were asked for": lambda: [8, 7, 8, 5],
    "A: with w against 1 + w": lambda: [9, 7, 9, 5],
    "A: not number 16": lambda: [16, 7, 9, 5],
    "D: not number 2; look at the row once more": lambda: [8, 7, 9, 2],
    "should be of shape (4,), not of shape (3,)": lambda: [8, 7, 9],
    "there is a dict": lambda: {"A": 8},
}
RIGHT["ends_clean"] = [
    last_step(lambda last: last.t == 0 and torch.allclose(last.x, last.x0, atol=1e-3)),
    last_step(lambda last: (last.x - last.x0).square().mean() < 1e-6),
    by_norm,
]
WRONG["ends_clean"] = {
    "Too strict": last_step(lambda last: torch.equal(last.x, last.x0)),
    "Too lax": last_step(lambda last: bool((last.x - last.x0).abs().mean() < 0.1)),
    "Plus and minus cancel": last_step(lambda last: bool((last.x - last.x0).sum().abs() < 0.1)),
    "A difference below zero": last_step(lambda last: (last.x - last.x0).mean() < 1e-3),
    "That t ends at 0 is not enough": last_step(lambda last: last.t == 0),
    "Turned over": last_step(lambda last: last.t > 0 or (last.x - last.x0).abs().max() > 1e-3),
    "Yours finds every sampler right": lambda sampler, denoise, x, s: True,
    "Yours finds every sampler broken": lambda sampler, denoise, x, s: (
        first := next(sampler(denoise, x, s, steps=5))
    ).x.allclose(first.x0),
    "stopped with TypeError": lambda sampler, denoise, x: True,
}


def ask(name, yours):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return getattr(check, name)(yours), out.getvalue()


# Lesson 09


def danced(sigma=None, left=lambda noise, sigma: (noise**2 - sigma**2).clamp(min=0).sqrt(), fresh=lambda v: v, to=None):
    """A step of the family, with one of its parts exchanged."""

    def answer(x0, eps, z, t, r, eta, s):
        size = eta * s.noise[r] / s.noise[t] * (1 - s.exact[t] / s.exact[r]).sqrt()
        size = sigma(eta, size, t, r, s) if sigma else size
        end = t if to == "t" else r
        return (s.signal[end] * x0 + left(s.noise[r], size) * eps + fresh(size) * z).float()

    return answer


def through_posterior(x0, eps, z, t, r, eta, s):
    """At eta = 1 the posterior; elsewhere the formula."""
    if eta < 1:
        return danced()(x0, eps, z, t, r, eta, s)
    now = torch.full((len(x0),), t)
    mean, variance = process.q_posterior(x0, process.q_sample(x0, now, eps, s), now, now - (t - r), s)
    return mean + variance.sqrt() * z


RIGHT["ddim_step"] = [danced(), through_posterior]
WRONG["ddim_step"] = {
    "you subtracted sigma": danced(left=lambda noise, v: (noise**2 - v) ** 0.5),
    "Amplitudes do not subtract": danced(left=lambda noise, v: noise - v),
    "is a variance: eps": danced(left=lambda noise, v: noise**2 - v**2),
    "Too much noise": danced(left=lambda noise, v: noise),
    "sigma z is missing": danced(fresh=lambda v: 0),
    "multiplied it by sigma²": danced(fresh=lambda v: v**2),
    "the signal at t": danced(to="t"),
    "its root": lambda x0, eps, z, t, r, eta, s: (
        danced()(x0, eps, z, t, r, eta, s) + (s.alpha_bar[r] - s.signal[r]) * x0
    ),
    "You ignored eta": danced(sigma=lambda eta, v, t, r, s: danced_size(t, r, s)),
    "eta itself": danced(
        sigma=lambda eta, v, t, r, s: torch.tensor(eta), left=lambda n, v: (n**2 - v**2) ** 0.5 if v <= n else math.nan
    ),
    "not of its square": danced(sigma=lambda eta, v, t, r, s: eta**0.5 * danced_size(t, r, s)),
    "lacks its root": danced(sigma=lambda eta, v, t, r, s: v * (1 - s.exact[t] / s.exact[r]).sqrt()),
    "in sigma is missing": danced(
        sigma=lambda eta, v, t, r, s: eta * (1 - s.exact[t] / s.exact[r]).sqrt(),
        left=lambda n, v: (n**2 - v**2) ** 0.5 if v <= n else math.nan,
    ),
    "changed places": lambda x0, eps, z, t, r, eta, s: danced()(x0, z, eps, t, r, eta, s),
    "The part of eps is missing": danced(left=lambda noise, v: 0),
    "Right but for the sign": lambda *case: -danced()(*case),
}


def danced_size(t, r, s):
    return s.noise[r] / s.noise[t] * (1 - s.exact[t] / s.exact[r]).sqrt()


def solved(share=lambda h, b: h / b / 2, lam=lambda s: (s.signal / s.noise).log(), weight=None, of_x=1):
    def answer(x, x0, x0_before, before, t, r, s):
        place = lam(s)
        h, b = place[r] - place[t], place[t] - place[before]
        guess = x0 + share(h, b) * (x0 - x0_before)
        of_guess = weight(h, s.signal[t], s.signal[r]) if weight else s.signal[r] * (1 - (-h).exp())
        return (s.noise[r] / s.noise[t]) ** of_x * x + of_guess * guess

    return answer


def integrated(x, x0, x0_before, before, t, r, s):
    """x / noise grows by the guess times the growth of e^lam."""
    k, lam = s.signal / s.noise, (s.signal / s.noise).log()
    middle = torch.lerp(x0_before, x0, 1 + (lam[r] - lam[t]) / (lam[t] - lam[before]) / 2)
    return s.noise[r] * (x / s.noise[t] + (k[r] - k[t]) * middle)


def in_t(x, x0, x0_before, before, t, r, s):
    return solved(share=lambda h, b: (t - r) / (before - t) / 2)(x, x0, x0_before, before, t, r, s)


RIGHT["second_order_step"] = [solved(), integrated]
WRONG["second_order_step"] = {
    "That is DDIM's step": solved(share=lambda h, b: 0),
    "Half of h": solved(share=lambda h, b: h / b),
    "leans the wrong way": solved(share=lambda h, b: -h / b / 2),
    "upside down: h over": solved(share=lambda h, b: b / h / 2),
    "lengths are missing": solved(share=lambda h, b: 0.5),
    "not in t": in_t,
    "it starts at x0": lambda x, x0, x0_before, before, t, r, s: solved(share=lambda h, b: h / b / 2 - 1)(
        x, x0, x0_before, before, t, r, s
    ),
    "twice that": solved(lam=lambda s: s.snr.log()),
    "one of the two has the wrong sign": solved(lam=lambda s: -(s.signal / s.noise).log()),
    "1 - exp(-h), not exp(-h) - 1": solved(weight=lambda h, a, b: b * torch.expm1(-h)),
    "one of the two has": solved(weight=lambda h, a, b: b * (1 - h.exp())),
    "short steps only": solved(weight=lambda h, a, b: b * h),
    "where you arrive": solved(weight=lambda h, a, b: a * (1 - (-h).exp())),
    "The signal at r is missing": solved(weight=lambda h, a, b: 1 - (-h).exp()),
    "The noise shrinks": solved(of_x=-1),
    "x needs the factor": solved(of_x=0),
}
RIGHT["order"] = [
    lambda n, e, m, f: math.log2(e / f) / math.log2(m / n),
    lambda n, e, m, f: (math.log10(e) - math.log10(f)) / (math.log10(m) - math.log10(n)),
]
WRONG["order"] = {
    "take the logarithm": lambda n, e, m, f: e / f,
    "Right if the steps double": lambda n, e, m, f: math.log2(e / f),
    "how much more was spent": lambda n, e, m, f: math.log(e / f),
    "divide logarithms": lambda n, e, m, f: e * n / (f * m),
    "straight line's slope": lambda n, e, m, f: (e - f) / (m - n),
    "m / n, not m - n": lambda n, e, m, f: math.log(e / f) / (m - n),
    "Right but for the sign": lambda n, e, m, f: math.log(e / f) / math.log(n / m),
    "turn the fraction over": lambda n, e, m, f: math.log(m / n) / math.log(e / f),
}


def noisy(clean=lambda s, t, r: s.signal[t], noise=lambda s, t, r: s.noise[t], **parts):
    def answer(x, guess, z, t, r, eta, s):
        return danced(**parts)(guess, (x - clean(s, t, r) * guess) / noise(s, t, r), z, t, r, eta, s)

    return answer


def in_lam(x, guess, z, t, r, eta, s):
    """At eta = 0 and 1 as the paper has it, in h = lam_r - lam_t; elsewhere the formula."""
    if eta not in (0, 1):
        return noisy()(x, guess, z, t, r, eta, s)
    lam, ratio = (s.signal / s.noise).log(), s.noise[r] / s.noise[t]
    h = lam[r] - lam[t]
    if eta == 0:
        return ratio * x + s.signal[r] * (1 - (-h).exp()) * guess
    fresh = s.noise[r] * (1 - (-2 * h).exp()).sqrt() * z
    return ratio * (-h).exp() * x + s.signal[r] * (1 - (-2 * h).exp()) * guess + fresh


RIGHT["sde_step"] = [noisy(), in_lam]
WRONG["sde_step"] = {
    "x is not noise alone": noisy(clean=lambda s, t, r: 0),
    "as much as x holds of it": noisy(clean=lambda s, t, r: 1),
    "not signal_r": noisy(clean=lambda s, t, r: s.signal[r]),
    "divide by noise_t": noisy(noise=lambda s, t, r: 1),
    "not noise_r": noisy(noise=lambda s, t, r: s.noise[r]),
    "sigma z is missing": noisy(fresh=lambda v: 0),
    "Too much noise": noisy(left=lambda noise, v: noise),
    "You ignored eta": noisy(sigma=lambda eta, v, t, r, s: danced_size(t, r, s)),
    "changed places": lambda x, guess, z, t, r, eta, s: danced()(
        guess, z, (x - s.signal[t] * guess) / s.noise[t], t, r, eta, s
    ),
}


# Lesson 10


def blocked(inside=lambda h, resize: h, after=lambda h: F.silu(h), around=lambda x, norm: x, early=True, late=F.silu):
    """A residual block with one of its parts exchanged; inside: what happens to x before the first norm."""

    def answer(x, norm1, conv1, norm2, conv2, skip, resize):
        h = after(norm1(inside(x, resize)))
        h = conv1(resize(h)) if early else resize(conv1(h))
        return skip(resize(around(x, norm1))) + conv2(late(norm2(h)))

    return answer


def resized_behind(x, norm1, conv1, norm2, conv2, skip, resize):
    return skip(resize(x)) + resize(conv2(F.silu(norm2(conv1(F.silu(norm1(x)))))))


def by_the_packages_block(x, norm1, conv1, norm2, conv2, skip, resize):
    block = ResBlock(x.shape[1], skip.out_channels)
    block.norm1, block.conv1, block.norm2, block.conv2, block.skip, block.resize = (
        norm1,
        conv1,
        norm2,
        conv2,
        skip,
        resize,
    )
    return block(x)


class Here(nn.Module):
    def __init__(self, resize):
        super().__init__()
        self.forward = resize


RIGHT["resizing_block"] = [
    blocked(),
    lambda x, n1, c1, n2, c2, skip, resize: by_the_packages_block(x, n1, c1, n2, c2, skip, Here(resize)),
    lambda x, n1, c1, n2, c2, skip, resize: resize(skip(x)) + c2(F.silu(n2(c1(resize(F.silu(n1(x))))))),
]
WRONG["resizing_block"] = {
    "not after it": blocked(early=False),
    "the mean of SiLUs": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(F.silu(n2(c1(F.silu(r(n1(x))))))),
    "only on the way around": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(F.silu(n2(c1(F.silu(n1(r(x))))))),
    "you did it at its end": resized_behind,
    "The way around is missing": lambda x, n1, c1, n2, c2, skip, r: c2(F.silu(n2(c1(r(F.silu(n1(x))))))),
    "must not be normalised": blocked(around=lambda x, norm: norm(x)),
    "The first SiLU is missing": blocked(after=lambda h: h),
    "The second SiLU is missing": blocked(late=lambda h: h),
    "The first norm is missing": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(F.silu(n2(c1(r(F.silu(x)))))),
    "The second norm is missing": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(F.silu(c1(r(F.silu(n1(x)))))),
    "Both norms are missing": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(F.silu(c1(r(F.silu(x))))),
    "you exchanged the two": lambda x, n1, c1, n2, c2, skip, r: skip(r(x)) + c2(n2(F.silu(c1(r(n1(F.silu(x))))))),
    "stopped with RuntimeError": lambda x, n1, c1, n2, c2, skip, r: x + c2(F.silu(n2(c1(r(F.silu(n1(x))))))),
    "Right but for the sign": lambda *case: -blocked()(*case),
}


def grouped(h, scale, shift, groups, over=(2, 3, 4), one=1, unbiased=False, divide=lambda var: var.sqrt()):
    parts = h.unflatten(1, (groups, -1))  # (B, groups, C / groups, H, W)
    size = divide(parts.var(over, keepdim=True, unbiased=unbiased) + 1e-5)
    h = ((parts - parts.mean(over, keepdim=True)) / size).flatten(1, 2)
    return h * (one + scale[:, :, None, None]) + shift[:, :, None, None]


def normed(h, groups):
    return F.group_norm(h, groups)


RIGHT["adaptive_norm"] = [
    grouped,
    lambda h, a, b, g: normed(h, g) * (1 + a[:, :, None, None]) + b[:, :, None, None],
    lambda h, a, b, g: normed(h, g).mul_((1 + a)[..., None, None]).add_(b[..., None, None]),
    lambda h, a, b, g: torch.stack([F.group_norm(one[None], g, 1 + s, t)[0] for one, s, t in zip(h, a, b)]),
]
WRONG["adaptive_norm"] = {
    "over the whole picture": lambda h, a, b, g: grouped(h, a, b, 1),
    "every channel by itself": lambda h, a, b, g: grouped(h, a, b, h.shape[1]),
    "over the batch": lambda h, a, b, g: grouped(h, a, b, g, over=(0, 2, 3, 4)),
    "not by the variance": lambda h, a, b, g: grouped(h, a, b, g, divide=lambda var: var),
    "the mean of the group stays": lambda h, a, b, g: grouped(h, a, b, g) + (1 + a)[..., None, None] * means(h, g),
    "but the spread is what it was": lambda h, a, b, g: (
        (h - means(h, g)) * (1 + a)[..., None, None] + b[..., None, None]
    ),
    "1 + scale, not scale": lambda h, a, b, g: grouped(h, a, b, g, one=0),
    "have changed places": lambda h, a, b, g: grouped(h, b, a, g),
    "Multiply first": lambda h, a, b, g: (normed(h, g) + b[..., None, None]) * (1 + a)[..., None, None],
    "The shift is missing": lambda h, a, b, g: grouped(h, a, 0 * b, g),
    "The scale is missing": lambda h, a, b, g: grouped(h, 0 * a, b, g),
    "before the norm": lambda h, a, b, g: normed(h * (1 + a)[..., None, None] + b[..., None, None], g),
    "not by one less": lambda h, a, b, g: grouped(h, a, b, g, unbiased=True),
    "stopped with RuntimeError": lambda h, a, b, g: normed(h, g) * (1 + a) + b,
}


def means(h, groups):
    return (
        h.unflatten(1, (groups, -1))
        .mean((2, 3, 4), keepdim=True)
        .expand(-1, -1, h.shape[1] // groups, 1, 1)
        .flatten(1, 2)
    )


RIGHT["variance_between"] = [
    lambda share, beta, tilde: (share * math.log(beta) + (1 - share) * math.log(tilde)).exp(),
    lambda share, beta, tilde: beta**share * tilde ** (1 - share),
    lambda share, beta, tilde: tilde * (beta / tilde) ** share,
]
WRONG["variance_between"] = {
    "Half way in the logarithm": lambda share, beta, tilde: share * beta + (1 - share) * tilde,
    "mixed the roots": lambda share, beta, tilde: (share * beta**0.5 + (1 - share) * tilde**0.5) ** 2,
    "exp is missing": lambda share, beta, tilde: share * math.log(beta) + (1 - share) * math.log(tilde),
    "The ends are exchanged": lambda share, beta, tilde: beta ** (1 - share) * tilde**share,
    "the variance is its square": lambda share, beta, tilde: (beta**share * tilde ** (1 - share)) ** 0.5,
    "exp undoes log": lambda share, beta, tilde: 10 ** (share * math.log(beta) + (1 - share) * math.log(tilde)),
    "add them": lambda share, beta, tilde: (share * math.log(beta) * (1 - share) * math.log(tilde)).exp(),
    "[0] should be 0.005, and it is 0.01, 2 times as much": lambda share, beta, tilde: (
        2 * beta**share * tilde ** (1 - share)
    ),
}


def mirrored(shown=lambda x: x.flip(-1), told=lambda x: x.flip(-1), mix=lambda a, b: (a + b) / 2):
    return lambda guess, x: mix(guess(x), told(guess(shown(x))))


RIGHT["both_sides"] = [
    mirrored(),
    lambda guess, x: guess(x).lerp(guess(x[..., torch.arange(x.shape[3] - 1, -1, -1)]).flip(3), 0.5),
    lambda guess, x: torch.stack([guess(x), guess(x.flip(-1)).flip(-1)]).mean(0),
]
WRONG["both_sides"] = {
    "mirror the second answer back": mirrored(told=lambda x: x),
    "must be shown the mirrored picture": mirrored(shown=lambda x: x),
    "That is the sum": mirrored(mix=lambda a, b: a + b),
    "not up and down": mirrored(lambda x: x.flip(2), lambda x: x.flip(2)),
    "turns the picture upside down": mirrored(lambda x: x.rot90(2, (2, 3)), lambda x: x.rot90(2, (2, 3))),
    "turned the batch round": mirrored(lambda x: x.flip(0), lambda x: x.flip(0)),
    "exchanged the colours": mirrored(lambda x: x.flip(1), lambda x: x.flip(1)),
    "the mirrored way alone": mirrored(mix=lambda a, b: b),
    "the mirrored one is missing": lambda guess, x: guess(x),
    "you want the mean": mirrored(mix=lambda a, b: a - b),
    "your answer[0, 0, 0, 0] should be": lambda guess, x: x,
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_by_any_route(name):
    assert set(RIGHT) == set(WRONG) == {name for names in lessons().values() for name in names}
    for number, yours in enumerate(RIGHT[name]):
        verdict, said = ask(name, yours)
        assert verdict is True and said.startswith("Correct"), (number, said)


@pytest.mark.parametrize("name, words", [(name, words) for name in WRONG for words in WRONG[name]])
def test_wrong_answers_hear_what_is_wrong(name, words):
    verdict, said = ask(name, WRONG[name][words])
    assert verdict is False and words in said, said


def lessons() -> dict[str, list[str]]:
    return {name: getattr(check, name).__all__ for name in dir(check) if name.startswith(("lesson", "notation"))}


def test_writing_into_the_labels_is_right_and_remarked_on():
    assert "But you wrote into `labels` itself" in ask("drop", written_into)[1]
    assert "wrote" not in ask("drop", RIGHT["drop"][0])[1]


def test_what_the_sentences_claim():
    assert cost(32, 32, 3, 28, 0) == cost(64, 64, 3, 28, 1)
    assert field([(3, 1), (3, 2), (3, 1), (3, 1)]) == 1 + 2 + 2 + 4 + 4
    x, s = check.noise_level.cases()[0][0], schedules.linear()
    torch.testing.assert_close(check.noise_level.right(x), s.noise[[20, 100, 300, 700]], rtol=0.02, atol=0)
