import json
import signal
from dataclasses import replace

import pytest
import torch

from diffusion101 import checkpoint, runs
from diffusion101.train import Run, drop_labels, has_bf16, learning_rate, train


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_loss_falls(tiny, pictures):
    tiny = replace(tiny, images=60 * 32, batch=32, lr=0.003)
    losses = [step.loss for step in train(runs.build(tiny), pictures, tiny)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_resumed_equals_uninterrupted(tiny, pictures, tmp_path):
    """Bit for bit, dropout and label dropout included, through a file."""
    tiny = replace(tiny, milestone="M5", label_dropout=0.5, network=tiny.network | {"dropout": 0.3})
    straight = runs.build(tiny)
    *_, end = train(straight, pictures, tiny)
    run = Run(runs.build(tiny), tiny)
    steps = train(run.denoiser, pictures, tiny, run)
    for _ in range(3):
        next(steps)
    torch.save(run.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)  # whatever happens in between
    other = Run(runs.build(tiny), tiny)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    *_, again = train(other.denoiser, pictures, tiny, other)
    assert again.step == end.step == 6 and again.loss == end.loss
    assert torch.equal(weights(other.denoiser), weights(straight))
    assert torch.equal(weights(again.run.ema), weights(end.run.ema))


def test_seeded(tiny, pictures):
    a, b, c = (runs.build(replace(tiny, seed=seed)) for seed in (1, 1, 2))
    for model, seed in ((a, 1), (b, 1), (c, 2)):
        list(train(model, pictures, replace(tiny, seed=seed)))
    assert torch.equal(weights(a), weights(b)) and not torch.equal(weights(a), weights(c))


def test_ema_by_hand(tiny, pictures):
    model = runs.build(tiny)
    expected = None
    for n, step in enumerate(train(model, pictures, tiny)):
        d = min(tiny.ema, (1 + n) / (10 + n))
        expected = weights(model) if expected is None else d * expected + (1 - d) * weights(model)
    torch.testing.assert_close(weights(step.run.ema.module), expected)
    assert not torch.equal(expected, weights(model))


def test_ema_leaves_buffers_alone(tiny, pictures):
    model = runs.build(tiny)
    model.register_buffer("counter", torch.tensor(0))
    steps = train(model, pictures, tiny)
    for n in range(3):
        model.counter.fill_(10 * n)
        step = next(steps)
    assert step.run.ema.module.counter == 20  # an average would be some 7


def test_learning_rate(tiny):
    r = replace(tiny, images=8000, warmup=0.1, lr=1.0)
    rates = [learning_rate(r, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and rates[99] == rates[100] == 1.0 and rates[-1] < 1e-4
    assert rates[550] == pytest.approx(0.5, abs=0.01)
    assert learning_rate(replace(r, decay=False), 999) == 1.0


def test_gradients_are_clipped(tiny, pictures):
    model = runs.build(replace(tiny, clip=1e-3))
    for step in train(model, pictures, replace(tiny, clip=1e-3)):
        total = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        assert step.grad_norm > 1e-3 and total <= 1.01e-3


def test_drop_labels():
    labels, g = torch.arange(10).repeat(500), torch.Generator().manual_seed(0)
    dropped = drop_labels(labels, 10, 0.1, g)
    assert (dropped == 10).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(dropped[dropped != 10], labels[dropped != 10])
    tokens = drop_labels(labels.view(-1, 2), 10, 0.5, g)
    assert torch.equal(tokens[:, 0] == 10, tokens[:, 1] == 10), "a prompt is dropped whole"


def test_a_loss_that_is_no_number_stops(tiny, pictures):
    model = runs.build(tiny)
    with torch.no_grad():
        model.network.conv_in.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="loss is nan at step 1: lower the learning rate"):
        list(train(model, pictures, tiny))


@pytest.mark.parametrize("amp", [True, False])
def test_amp_keeps_float32_weights(tiny, pictures, amp):
    model = runs.build(replace(tiny, amp=amp))
    *_, step = train(model, pictures, replace(tiny, amp=amp))
    assert weights(model).dtype == torch.float32 and isinstance(has_bf16(torch.device("cpu")), bool)


def interrupt_at(stop):
    def progress(steps, total, done):
        for step in steps:
            yield step
            if step.step == stop:
                signal.raise_signal(signal.SIGINT)

    return progress


def test_a_run_folder_interrupted_and_resumed(tiny, tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("diffusion101.data.load", lambda *a: pictures)
    a, b = tmp_path / "a", tmp_path / "b"
    about = runs.fit(tiny, a)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        runs.fit(tiny, b, progress=interrupt_at(3))
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="add --resume"):
        runs.fit(tiny, b)
    with pytest.raises(ValueError, match="its lr was 0.001, now it is 0.1"):
        runs.fit(replace(tiny, lr=0.1), b, resume=True)
    with (b / "metrics.jsonl").open("a") as file:  # rows of steps lost in a crash
        file.write('{"step": 5, "loss": 7}\n')
    runs.fit(tiny, b, resume=True)
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()
    left, right = (checkpoint.read(folder / "model.safetensors")[1] for folder in (a, b))
    assert all(torch.equal(left[key], right[key]) for key in left)
    names = {"recipe.yaml", "version.txt", "metrics.jsonl", "state.pt", "model.safetensors", "samples"}
    assert names <= {path.name for path in b.iterdir()}
    assert list(b.glob("events*")) and (b / "samples" / "step-000006.png").stat().st_size > 100
    rows = [json.loads(row) for row in (b / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 7)) and rows[-1]["images"] == 48
    assert about["scores"]["samples"] == 10 and about["images"] == 48 and about["data"] == "strokes"


def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(tiny, tmp_path, monkeypatch, pictures):
    """Cut between the weights' update and the average's, the state would not be one that an unbroken run passes."""
    monkeypatch.setattr("diffusion101.data.load", lambda *a: pictures)
    runs.fit(tiny, tmp_path / "whole")
    real, calls = torch.optim.AdamW.step, []

    def step_then_signal(self, *args, **kwargs):
        calls.append(real(self, *args, **kwargs))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", step_then_signal)
        runs.fit(tiny, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["step"] == 3
    runs.fit(tiny, tmp_path / "cut", resume=True)
    a, b = (checkpoint.read(tmp_path / name / "model.safetensors")[1] for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert (tmp_path / "whole" / "metrics.jsonl").read_text() == (tmp_path / "cut" / "metrics.jsonl").read_text()


def test_a_run_that_kept_nothing_starts_again(tiny, tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("diffusion101.data.load", lambda *a: pictures)
    (tmp_path / "recipe.yaml").write_text("left by a run that was stopped before its first state\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    runs.fit(tiny, tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6


def test_resume_needs_a_run(tiny, tmp_path):
    with pytest.raises(ValueError, match="holds no run to resume"):
        runs.fit(tiny, tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
