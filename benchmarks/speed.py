"""A training step and a guided sampling step of our network beside other people's: python -m benchmarks.speed

All networks live in one process with the same threads and take turns, so that whatever disturbs the machine disturbs
all alike. Training: forward, backward, clipping, optimizer on 64 pictures. Sampling: one of 10 DPM-Solver++ steps for
ten digits at w = 2, so 20 pictures in the network. About a minute; --quick: some seconds, and nothing is written.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import torch
from torch import nn
from tqdm import tqdm

from diffusion101 import Denoiser, Request, draw, schedules
from diffusion101.scoring.score import cost
from diffusion101.training import recipe
from diffusion101.training.loop import OPTIMIZERS, has_bf16, keep_memory
from diffusion101.writing import whole

from .machine import Others, facts, installed
from .peers import NETWORKS

RESULTS = Path(__file__).parent / "results" / "speed.json"
BATCH, DIGITS, STEPS = 64, 10, 10


def trainer(model: Denoiser, how: recipe.Train) -> Callable[[], None]:
    """One call is one training step."""
    optimizers = OPTIMIZERS[how.optimizer](model, how.lr, how.weight_decay)
    x0, cond = torch.rand(BATCH, 1, 28, 28) * 2 - 1, model.condition.spread(BATCH)
    amp = how.amp and has_bf16(x0.device)

    def step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            loss = model.loss(x0, cond)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), how.clip)
        for optimizer in optimizers:
            optimizer.step()

    return step


def sampler(model: Denoiser) -> Callable[[], None]:
    """One call draws ten digits, in STEPS guided steps."""
    request = Request(model.condition.spread(DIGITS), guidance=2.0, steps=STEPS)

    def draw_digits() -> None:
        for _ in draw(model, request):
            pass

    return draw_digits


def milliseconds(act: Callable[[], None], at_least: float) -> float:
    """Of one call: the mean over as many as fill `at_least` seconds."""
    began = time.perf_counter()
    for calls in itertools.count(1):
        act()
        if (taken := time.perf_counter() - began) >= at_least:
            return 1000 * taken / calls


def measure(names: list[str], rounds: int, at_least: float, bar: Callable[..., Iterable] = iter) -> list[dict]:
    """A row per network with `rounds` milliseconds of a training step and of a sampling step."""
    rows, acts = [], []
    ours = recipe.load("mnist-guidance", model__start=None).train
    for name in names:
        torch.manual_seed(0)
        model = Denoiser(NETWORKS[name].build(), schedules.cosine(), "v")
        how = ours if name == "ours" else recipe.Train(optimizer="adamw", lr=1e-3)
        row = {"network": name, "mmacs": round(cost(model), 1), "optimizer": how.optimizer}
        row |= {"parameters": sum(p.numel() for p in model.parameters()), "train_ms": [], "sample_ms": []}
        rows.append(row)
        acts += [(row["train_ms"], trainer(model, how), 1), (row["sample_ms"], sampler(model), STEPS)]
    for _, act, _ in acts:
        act()  # the first call is slower
    for _ in bar(range(rounds)):
        for times, act, share in acts:
            times.append(round(milliseconds(act, at_least) / share, 2))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="default: all whose library is installed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()  # as our training loop does; the others gain by it too
    names = args.networks or [name for name, n in NETWORKS.items() if n.needs is None or installed(n.needs)]
    load, others = os.getloadavg()[0], Others()
    rows = measure(names, 1 if args.quick else args.rounds, 0 if args.quick else 1, lambda it: tqdm(it, unit="round"))
    about = {"machine": facts(), "load": round(load, 2), "others": others.cores()}
    about |= {"batch": BATCH, "digits": DIGITS, "rows": rows}
    for row in rows:
        train, sample = median(row["train_ms"]), median(row["sample_ms"])
        print(f"{row['network']:18} {row['mmacs']:6.1f} MMACs  train {train:8.1f} ms  sample {sample:7.1f} ms a step")
    if not args.quick:
        whole(RESULTS, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))


if __name__ == "__main__":
    main()
