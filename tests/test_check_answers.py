"""What learners write: right answers by other routes than ours, and wrong ones with the words that they should hear."""

import contextlib
import io
import math
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn

from diffusion101 import check, lora, process, schedules
from diffusion101.core.guidance import guide
from diffusion101.core.process import Denoised
from diffusion101.networks import Labels, Level, UNet, UNetConfig
from diffusion101.networks.attention import CrossAttention
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
    "You gave the precision": bells(variance=lambda m1, v1, m2, v2: (v1 + v2) / (v1 * v2)),
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


RIGHT["shift"] = [turned(), by_complex, lambda e, k: e.copy_(by_complex(e, k)), lambda e, k: turned()(e, k).numpy()]
WRONG["shift"] = {
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


def passed(n, steps, w):
    """Counted where they pass."""
    seen = []

    def model(x, t, cond):
        seen.append(len(x))
        return Denoised(x, x)

    model.condition = Labels(10)
    denoise = guide(model, torch.zeros(n, dtype=torch.int64), w)
    for _ in range(steps):
        denoise(torch.zeros(n, 1), torch.ones(n, dtype=torch.int64))
    return sum(seen)


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
RIGHT["pictures_through"] = [passed, lambda n, steps, w: n * steps * (2 - (w in (0, 1)))]
WRONG["pictures_through"] = {
    "one of the two answers has no weight": lambda n, steps, w: 2 * n * steps,
    "batching them saves calls, not pictures": lambda n, steps, w: n * steps,
    "Between 0 and 1": lambda n, steps, w: n * steps * (1 + (w > 1)),
    "At w = 1 only c is left": lambda n, steps, w: n * steps * (1 + (w != 0)),
    "At w = 0 only u is left": lambda n, steps, w: n * steps * (1 + (w != 1)),
    "each call takes a whole batch": lambda n, steps, w: steps,
    "not w of them": lambda n, steps, w: n * steps * w,
    "one for each answer": lambda n, steps, w: steps * (2 - (w in (0, 1))),
    "multiply by steps": lambda n, steps, w: n * (2 - (w in (0, 1))),
}

# Lesson 06


def by_the_package(q, k):
    attend = CrossAttention(q.shape[1], k.shape[1], 1)
    attend.keep = True
    with torch.no_grad():
        for layer in (attend.to_q, attend.to_k):
            layer.weight.copy_(torch.eye(q.shape[1]))
        attend(q[None], k[None])
    return attend.maps[0, 0]


def in_place(q, k):
    q /= q.shape[1] ** 0.5
    w = (q @ k.T).exp_()
    w /= w.sum(1, keepdim=True)
    return w


def shown(prompts):
    return {(a, b) for a, b in prompts.tolist() if a < 10 and b < 10}


def alive(least, keep=False):
    def count(width, context):
        attend = CrossAttention(width, context, 2)
        attend.keep = keep  # PyTorch's fused softmax leaves rounding errors where zeros should be
        nn.init.normal_(attend.to_out.weight)  # born zero, it would keep to_v asleep for one step
        attend(torch.randn(2, 5, width), torch.randn(2, 1, context)).square().sum().backward()
        return sum(int(p.grad.abs().max() > least) * p.numel() for p in attend.parameters())

    return count


RIGHT["attention_weights"] = [lambda q, k: (q @ k.T / q.shape[1] ** 0.5).softmax(-1), by_the_package, in_place]
WRONG["attention_weights"] = {
    "You forgot sqrt(d)": lambda q, k: torch.softmax(q @ k.T, -1),
    "You divided by d": lambda q, k: torch.softmax(q @ k.T / q.shape[1], -1),
    "You multiplied by sqrt(d)": lambda q, k: torch.softmax(q @ k.T * q.shape[1] ** 0.5, -1),
    "the number of keys": lambda q, k: torch.softmax(q @ k.T / k.shape[0] ** 0.5, -1),
    "ran over the pixels": lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, 0),
    "Queries and keys are exchanged": lambda q, k: torch.softmax(k @ q.T / q.shape[1] ** 0.5, -1),
    "but transposed": lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1).T,
    "One softmax over everything": lambda q, k: (s := (q @ k.T / q.shape[1] ** 0.5).exp()) / s.sum(),
    "Those are the scores": lambda q, k: q @ k.T / q.shape[1] ** 0.5,
    "All on the best token": lambda q, k: nn.functional.one_hot((q @ k.T).argmax(1), len(k)),
    "your answer[0, 0] should be": lambda q, k: torch.full((len(q), len(k)), 0.5),
    "stopped with RuntimeError": lambda q, k: q @ k,
}
RIGHT["never_shown"] = [
    lambda p: 100 - len(shown(p)),
    lambda p: int((torch.bincount((p @ torch.tensor([11, 1])), minlength=121).view(11, 11)[:10, :10] == 0).sum()),
]
WRONG["never_shown"] = {
    "however often": lambda p: 100 - sum(a < 10 and b < 10 for a, b in p.tolist()),
    "A prompt with token 10": lambda p: 100 - len(set(map(tuple, p.tolist()))),
    "the left token only": lambda p: 100 - len({tuple(row) for row in p.tolist() if row[0] < 10}),
    "the right token only": lambda p: 100 - len({tuple(row) for row in p.tolist() if row[1] < 10}),
    "10 a + b": lambda p: 100 - len({10 * a + b for a, b in p.tolist()}),
    "mind the order": lambda p: 100 - len({tuple(sorted(pair)) for pair in shown(p)}),
    "That is how many were shown": lambda p: len(shown(p)),
    "There are 100 numbers": lambda p: 90 - len(shown(p)),
    "Those are the prompts that are left": lambda p: 100 - len(p),
    "your answer should be": lambda p: 30,
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


def ask(name, yours):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return getattr(check, name)(yours), out.getvalue()


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_by_any_route(name):
    assert set(RIGHT) == set(WRONG) == {name for lesson in range(1, 8) for name in lessons()[lesson]}
    for number, yours in enumerate(RIGHT[name]):
        verdict, said = ask(name, yours)
        assert verdict is True and said.startswith("Correct"), (number, said)


@pytest.mark.parametrize("name, words", [(name, words) for name in WRONG for words in WRONG[name]])
def test_wrong_answers_hear_what_is_wrong(name, words):
    verdict, said = ask(name, WRONG[name][words])
    assert verdict is False and words in said, said


def lessons() -> dict[int, list[str]]:
    return {lesson: getattr(check, f"lesson0{lesson}").__all__ for lesson in range(1, 8)}


def test_writing_into_the_labels_is_right_and_remarked_on():
    assert "But you wrote into `labels` itself" in ask("drop", written_into)[1]
    assert "wrote" not in ask("drop", RIGHT["drop"][0])[1]


def test_what_the_sentences_claim():
    assert cost(32, 32, 3, 28, 0) == cost(64, 64, 3, 28, 1)
    assert field([(3, 1), (3, 2), (3, 1), (3, 1)]) == 1 + 2 + 2 + 4 + 4
    x, s = check.noise_level.cases()[0][0], schedules.linear()
    torch.testing.assert_close(check.noise_level.right(x), s.noise[[20, 100, 300, 700]], rtol=0.02, atol=0)
