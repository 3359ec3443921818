import pytest
import torch

from diffusion101.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 16), (64, 32), (32, 288), (1, 9), (128, 128)])
def test_singular_values_become_about_one(shape):
    """The singular vectors stay, whatever the size of the gradient."""
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for scale in (1e-3, 1.0, 1e4):
        x = orthogonal(g * scale)
        U, S, V = torch.linalg.svd(g, full_matrices=False)
        inside = U.T @ x @ V.T  # (k, k): diagonal if the vectors are the same
        values = inside.diagonal()
        well = S > 0.01 * S.norm()  # the iteration lifts smaller ones only part of the way
        assert ((0.5 < values[well]) & (values[well] < 1.3)).all(), values[well].aminmax()
        assert (inside - values.diag()).abs().max() < 1e-3


def test_no_gradient_no_direction():
    assert (orthogonal(torch.zeros(4, 8)) == 0).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("shape", [(24, 16), (16, 40)])
def test_equals_pytorchs(shape):
    """The same update to the precision of PyTorch's, which iterates in bfloat16; its convention of Liu et al. 2025."""
    start = torch.randn(shape)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    a = Muon([ours], lr=0.01, momentum=0.9, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        ours.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
        moved = theirs - start
        assert (ours - theirs).norm() < 0.02 * moved.norm(), f"step {step}"


def test_a_kernel_is_a_matrix_of_outputs_by_the_rest():
    kernel, matrix = torch.nn.Parameter(torch.randn(8, 4, 3, 3)), torch.nn.Parameter(torch.randn(8, 36))
    with torch.no_grad():
        matrix.copy_(kernel.flatten(1))
    kernel.grad = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    matrix.grad = kernel.grad.flatten(1)
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)


def test_a_step_is_as_long_as_adamws():
    """0.2 sqrt(max(N, M)) times the orthogonal matrix: each number moves by about 0.2 lr, as with AdamW."""
    parameter = torch.nn.Parameter(torch.zeros(64, 256))
    parameter.grad = torch.randn(64, 256)
    Muon([parameter], lr=0.1).step()
    assert 0.1 * 0.2 * 0.6 < parameter.square().mean().sqrt() < 0.1 * 0.2 * 1.2
    assert (parameter * parameter.grad).sum() < 0, "downhill"


def test_what_has_no_gradient_stays():
    parameter = torch.nn.Parameter(torch.ones(4, 4))
    Muon([parameter], weight_decay=0.5).step()
    assert (parameter == 1).all()
