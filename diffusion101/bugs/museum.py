"""The exhibits, numbered from 1 in this order: the schedule and its noise, the sampler, what is asked for, training.

A new bug is a new value at the end; diffusion101.check.audit holds the invariant that catches it.
"""

from contextlib import AbstractContextManager

from .. import lora
from ..core import guidance, process, samplers, schedules
from ..core.denoiser import Denoiser
from ..data.images import Images
from ..networks.blocks import ResBlock
from ..networks.conditions import Labels
from ..training import loop
from .switch import Bug, Edit

_GUIDED = "Denoised(u0 + scale * (c0 - u0), u + scale * (c - u))"

_ALL = [
    Bug(
        "uniform noise",
        "DDPM's pictures are white from edge to edge.",
        "torch.rand where torch.randn was meant: one letter. Its numbers lie in [0, 1], so their mean is 1/2 and their "
        "deviation 0.29. Every step adds light and too little noise; the network expects neither.",
        ("training", "sampling"),
        (
            Edit(Denoiser.loss, "torch.randn(", "torch.rand("),
            Edit(samplers.draw_noise, "torch.randn(", "torch.rand("),
        ),
        "asked of a tutorial in github.com/acids-ircam/diffusion_models, issue 8",
    ),
    Bug(
        "betas one off",
        "Nothing, with T = 1,000; the smaller T is, the more of the first step's noise stays on finished pictures.",
        "alpha_bar lacks its leading 1: index 0 is the first noisy step, as in libraries that count from 0, and the "
        "code reads it as clean data. Every t means one step more than the network was told.",
        ("training", "sampling"),
        (Edit(schedules.Schedule.__init__, "torch.cumprod(1 - beta, dim=0)", "torch.cumprod(1 - beta.roll(-1), 0)"),),
    ),
    Bug(
        "no clipping with eps",
        "On a cosine schedule hard black and white, from numbers in the thousands; on the linear one hardly anything.",
        "x0 = (x - noise eps) / signal. At T signal is 0.006 on the linear schedule and 0.00005 on the cosine one, so "
        "an error of 0.02 in eps is one of 3, or of 400, in a picture that lives in [-1, 1]. Clip the guess, and "
        "derive eps from it again.",
        ("sampling",),
        (Edit(guidance.clip, "from_x0(guess.x0.clamp(low, high), x, t, s)", "guess"),),
        "clip_denoised in Ho et al. 2020's code; Saharia et al. 2022 (Imagen), section 2.3, on thresholding",
    ),
    Bug(
        "eps from pure noise in few steps",
        "Specks and grain that no later step removes: bad in 5 steps, gone in 100.",
        "At t = T there is no picture in x, and whoever predicts eps there has said nothing about x0: dividing by a "
        "signal near 0 makes a random guess of it. A long first step believes that guess. Predict v, or take more "
        "steps.",
        ("training",),
        (Edit(Denoiser.__init__, "= network, s, predict, loss, weight", '= network, s, "eps", loss, weight'),),
        "Salimans & Ho 2022, section 4; Lin et al. 2023, section 3.2",
    ),
    Bug(
        "noise at the last step",
        "Fine grain over finished pictures: not to be seen after 1,000 steps, coarser the fewer they are.",
        "Every step of DDPM adds noise but the last: there is nothing left to go back to. The posterior's variance is "
        "0 there by itself; whoever takes beta, or the logarithm of a clipped variance, has to say so.",
        ("sampling",),
        (
            Edit(samplers.ancestral, "if r > 0:", "if True:"),
            Edit(samplers.ancestral, '(var if variance == "posterior"', '(var if r > 0 and variance == "posterior"'),
        ),
        "the line that prevents it: Ho et al. 2020, algorithm 2, z = 0 if t = 1",
    ),
    Bug(
        "variance for standard deviation",
        "Hardly anything: digits a little smoother and more alike than they should be.",
        "The noise was multiplied by its variance, not by the root of it. Variances are below 1, so that is too "
        "little: x_t holds less noise than the network is told, and what it takes for noise and removes is picture.",
        ("sampling",),
        (Edit(samplers.ancestral, ") ** 0.5 * draw_noise", ") * draw_noise"),),
    ),
    Bug(
        "dropout in evaluation",
        "Greyer strokes, and grain over all; the same seed gives another picture each time.",
        "F.dropout(h) has training=True by default and does not know of .eval(); nn.Dropout does.",
        ("sampling", "evaluation"),
        (Edit(ResBlock.forward, "self.dropout(F.silu(h))", "F.dropout(F.silu(h), 0.1)"),),
        "PyTorch's documentation of torch.nn.functional.dropout",
    ),
    Bug(
        "guidance with the wrong sign",
        "Good pictures of anything but what was asked for; the more guidance, the less of it.",
        "u + w (u - c) walks from what the label adds away from it. At w = 0 nothing is wrong to be seen.",
        ("sampling",),
        (Edit(guidance.guide, _GUIDED, "Denoised(u0 + scale * (u0 - c0), u + scale * (u - c))"),),
    ),
    Bug(
        "w against 1 + w",
        "Right digits, but bolder than the paper's at the same w: what guidance does, good and bad, comes one w early.",
        "Two conventions: c + w (c - u) counts from the condition, u + w (c - u) from no condition, so the same number "
        "means one more. Ho & Salimans write the first, Imagen and most code the second.",
        ("sampling",),
        (Edit(guidance.guide, _GUIDED, "Denoised(c0 + scale * (c0 - u0), c + scale * (c - u))"),),
        "Ho & Salimans 2022, eq. 6, beside Saharia et al. 2022 (Imagen), eq. 2",
    ),
    Bug(
        "label dropout while sampling",
        "One picture in ten shows any digit it likes; run it again and it is another one.",
        "In training one label in ten is emptied, so that the network learns both answers. The same preparation served "
        "for sampling: those rows compare nothing with nothing, and guidance has nothing to insist on.",
        ("sampling",),
        (
            Edit(
                guidance.guide,
                "cond = model.condition.fit(cond)",
                "cond = model.condition.drop(model.condition.fit(cond), 0.1)",
            ),
        ),
    ),
    Bug(
        "LoRA scaled twice",
        "At full strength all is well. At half strength a quarter is left, and minus one does what plus one does.",
        "The factor alpha / rank, times the strength, is multiplied in two places: once into the weight, once into the "
        "answer. As long as it is 1 nobody sees the square.",
        ("training", "sampling"),
        (
            Edit(
                lora.Adapter.factor,
                "self.strength * self.alpha / self.rank",
                "(self.strength * self.alpha / self.rank) ** 2",
            ),
        ),
        "the right one: Hu et al. 2021, section 4.1",
    ),
    Bug(
        "time along the batch axis",
        "Training runs and its loss falls, but the network draws smears: in training, column j of every picture had "
        "the noise of picture j. With any other batch than the picture's width PyTorch complains.",
        "A table read at t has the shape (B,). Without (B, 1, 1, 1) it is multiplied along the last axis, that of the "
        "columns, and when B happens to be the width nobody complains. While sampling all t are equal: there it hides.",
        ("training",),
        (Edit(process.at, ".view(-1, *[1] * (x.ndim - 1))", ""),),
    ),
    Bug(
        "normalisation to [0, 1]",
        "White digits on middle grey, where black was meant.",
        "The process shrinks data towards 0 and the samplers clip to [-1, 1], so black is -1 and white 1. In [0, 1] "
        "the background sits at 0, where noise has its mean, and half of the range is never used.",
        ("training", "evaluation"),
        (Edit(Images.pictures, "/ 127.5 - 1", "/ 255"),),
        "the right one: Ho et al. 2020, section 3.3",
    ),
    Bug(
        "zero behind a zero",
        "Training is as good as without labels, and that is what it is: asked for a seven it draws whatever comes.",
        "A layer that starts at zero learns, because what comes in is not zero. A table at zero behind a layer at zero "
        "has no gradient, and neither has the layer: each waits for the other.",
        ("training",),
        (
            Edit(
                Labels.build,
                "return nn.Embedding(self.classes + 1, time)",
                "return nn.Embedding.from_pretrained(torch.zeros(self.classes + 1, time), freeze=False)",
            ),
        ),
        "why one zero learns: docs/faq.md of github.com/lllyasviel/ControlNet",
    ),
    Bug(
        "cold average",
        "The raw network draws digits, its average still draws noise; the longer the training, the better it hides.",
        "With a decay of 0.999 from the first step on, the average remembers the untrained weights for thousands of "
        "steps. A decay that grows as (1 + n) / (10 + n) forgets them; so does a correction of the bias, as in Adam.",
        ("training",),
        (Edit(loop._ema, "d = min(decay, (1 + run.step) / (10 + run.step))", "d = decay"),),
        "the cure is num_updates of TensorFlow's tf.train.ExponentialMovingAverage",
    ),
    Bug(
        "averaged buffers",
        "Nothing, in networks without buffers like ours. With batch normalisation the averaged network normalises "
        "with statistics of long ago: its pictures are paler or darker than the raw network's.",
        "The average should be of what is learned. Buffers are counters, tables, and statistics that are averages "
        "already: they are to be copied.",
        ("training",),
        (Edit(loop.Run.__init__, "use_buffers=False", "use_buffers=True"),),
        "found in pytorch/ignite's EMAHandler, issue 2590; handle_buffers (pull request 2592) came of it",
    ),
]

BUGS = {bug.name: bug for bug in _ALL}


def bug(which: str | int) -> AbstractContextManager[Bug]:
    """`with bugs.bug("cold average"):` the package has this bug; which: its name or its number, else ValueError."""
    return find(which).on()


def find(which: str | int) -> Bug:
    """A bug by its name, or by its number, from 1; ValueError if there is none."""
    if which in range(1, len(_ALL) + 1):
        return _ALL[which - 1]
    if which not in BUGS:
        raise ValueError(f"there is no bug {which!r}; there are {', '.join(BUGS)}, or their numbers from 1")
    return BUGS[which]
