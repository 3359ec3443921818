"""Looking into a UNet: the probes say what is so, and leave nothing behind."""

import copy

import pytest
import torch

from diffusion101.milestones import M2, M3
from diffusion101.networks import UNet, probes
from diffusion101.networks.blocks import norm


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = UNet(M3).eval()
    for parameter in network.parameters():  # nothing is zero
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.fixture
def inputs():
    return torch.randn(2, 1, 12, 20, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 700])


def hooks(network):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_answers_are_those_of_the_parts_in_order(network, inputs):
    found = probes.answers(network, *inputs)
    assert list(found) == [
        *("conv_in", "down.0", "shrink", "inner.down.0", "inner.shrink", "inner.inner.down.0", "inner.inner.down.1"),
        *("inner.inner.up.0", "inner.inner.up.1", "inner.grow", "inner.up.0", "grow", "up.0", "conv_out"),
    ]
    torch.testing.assert_close(found["conv_out"], network(*inputs))
    torch.testing.assert_close(found["shrink"], network.body.shrink(found["down.0"]))
    assert found["inner.inner.up.0"].shape == (2, 64, 3, 5) and not hooks(network)


def test_cut_paths_against_networks_without_them(network, inputs):
    whole = network(*inputs)
    with probes.paths(network):
        torch.testing.assert_close(network(*inputs), whole)
    without = copy.deepcopy(network)
    torch.nn.init.zeros_(without.body.grow.conv.weight)
    torch.nn.init.zeros_(without.body.grow.conv.bias)
    with probes.paths(network, inner=0):
        torch.testing.assert_close(network(*inputs), without(*inputs), rtol=1e-4, atol=1e-5)
    parts, block = probes.answers(network, *inputs), network.body.up[0]
    one = torch.cat([2 * parts["down.0"] + parts["grow"], torch.zeros_like(parts["down.0"])], 1)
    with probes.paths(network, past=2, skip=0):
        again = probes.answers(network, *inputs)["up.0"]
    torch.testing.assert_close(again, block(one, [network.time(inputs[1])]), rtol=1e-4, atol=1e-4)


def test_a_cut_path_is_whole_again_whatever_happens(network, inputs):
    with pytest.raises(ZeroDivisionError), probes.paths(network, inner=0):
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="divisible by 4"):
        probes.answers(network, torch.zeros(1, 1, 30, 30), inputs[1])
    assert not hooks(network)


def test_a_still_norm_has_the_same_values():
    for width in (24, 32):
        h, plain = torch.randn(3, width, 5, 4, generator=torch.Generator().manual_seed(2)), norm(width)
        torch.nn.init.normal_(plain.weight), torch.nn.init.normal_(plain.bias)
        torch.testing.assert_close(probes.StillNorm(plain)(h), plain(h), rtol=1e-4, atol=1e-5)


def test_sensitivity_is_the_gradient_and_ends_where_convolutions_do(inputs):
    torch.manual_seed(0)
    six = UNet(M2).eval()
    for parameter in six.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 1, 20, 20, generator=torch.Generator().manual_seed(3), requires_grad=True)
    six(x, torch.tensor([500, 500]))[:, 0, 10, 9].sum().backward()
    every = probes.sensitivity(six, x.detach(), 500, 10, 9)
    torch.testing.assert_close(every.float(), x.grad[:, 0].abs(), rtol=1e-2, atol=1e-4)
    near = probes.sensitivity(six, x.detach(), 500, 10, 9, norms=False) > 0
    assert every.all() and near[:, 4:17, 3:16].all() and near.sum() == 2 * 13 * 13
    assert six.conv_in.weight.dtype == torch.float32 and six.conv_in.weight.grad is not None
