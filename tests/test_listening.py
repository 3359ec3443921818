"""Watching and changing who listens to whom, and leaving nothing behind."""

import contextlib

import pytest
import torch

from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet, listening
from diffusion101.networks.attention import CrossAttention, attention


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = UNet(MILESTONES["M6"]).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.1 * torch.randn(p.shape))
    return net.requires_grad_(False)


def ask(network, cond):
    x = torch.randn(len(cond), 1, 8, 16, generator=torch.Generator().manual_seed(1))
    return network(x, torch.full((len(cond),), 500), torch.as_tensor(cond))


ASKED, OTHER = [[2, 7], [4, 3]], [[7, 2], [9, 8]]


def swapped(cond):
    return torch.tensor(OTHER)


def to_the_first(q, k, v, mask):
    return v[:, :, :1].expand_as(q)


def test_every_block_that_asks_in_the_order_of_the_picture(network):
    found, passed = listening.blocks(network), []
    hooks = [block.register_forward_hook(lambda *_, name=name: passed.append(name)) for name, block in found.items()]
    ask(network, ASKED)
    for hook in hooks:
        hook.remove()
    assert passed == list(found) == ["1 down", "2 down", "3 down", "4 up", "5 up", "6 up"]
    attends = {block.attend for block in found.values()}
    assert attends == {module for module in network.modules() if isinstance(module, CrossAttention)}


def test_recorded_weights_are_shares_and_change_nothing(network):
    found, plain = listening.blocks(network), ask(network, ASKED)
    with listening.recorded(found) as maps:
        torch.testing.assert_close(ask(network, ASKED), plain, rtol=1e-3, atol=1e-4)
        ask(network, ASKED)
    assert {name: len(calls) for name, calls in maps.items()} == dict.fromkeys(found, 2)
    assert maps["1 down"][0].shape == (2, 4, 4 * 8, 2) and maps["3 down"][1].shape == (2, 4, 2 * 4, 2)
    for first, second in maps.values():
        torch.testing.assert_close(first.sum(-1), torch.ones(first.shape[:3]))
        torch.testing.assert_close(first, second)


def test_attention_written_for_one_head_does_for_all(network):
    def single(q, k, v):
        return (q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v

    plain = ask(network, ASKED)
    with listening.mixed(listening.blocks(network).values(), listening.each(single)):
        torch.testing.assert_close(ask(network, ASKED), plain, rtol=1e-3, atol=1e-4)


def test_all_weight_on_the_first_token_makes_the_second_unheard(network):
    with listening.mixed(listening.blocks(network).values(), to_the_first):
        lied = ask(network, ASKED)
        assert torch.equal(lied, ask(network, [[2, 0], [4, 9]])) and not torch.equal(lied, ask(network, OTHER))
    assert not torch.equal(ask(network, ASKED), ask(network, [[2, 0], [4, 9]]))


def test_who_is_told_another_prompt_hears_it_and_nobody_else(network):
    found = listening.blocks(network)
    with listening.told(network, found.values(), swapped):
        assert torch.equal(ask(network, ASKED), ask(network, OTHER)), "all blocks: as if it had been asked for"
    with listening.told(network, [], swapped):
        assert torch.equal(ask(network, ASKED), ask(network, [*ASKED])), "none: nothing changes"
    plain, other = ask(network, ASKED), ask(network, OTHER)
    with listening.told(network, [found["4 up"]], swapped):
        lied = ask(network, ASKED)
        x = torch.zeros(2, 1, 8, 16)
        network(x, torch.ones(2, dtype=torch.int64), None)  # without a condition: the empty one is heard first
    assert not torch.equal(lied, plain) and not torch.equal(lied, other)


def test_without_places_columns_are_alike(network):
    block = listening.blocks(network)["2 down"]
    h, tokens = torch.ones(1, 64, 4, 8), torch.randn(1, 2, 64)
    assert (block(h, tokens)[..., 0] - block(h, tokens)[..., 7]).abs().max() > 1e-3
    with listening.placeless([block]):
        torch.testing.assert_close(block(h, tokens)[..., 0], block(h, tokens)[..., 7])


@pytest.mark.parametrize(
    "change",
    [
        lambda net, found: listening.recorded(found),
        lambda net, found: listening.mixed(found.values(), to_the_first),
        lambda net, found: listening.told(net, found.values(), swapped),
        lambda net, found: listening.placeless(found.values()),
    ],
    ids=["recorded", "mixed", "told", "placeless"],
)
def test_nothing_stays_behind_however_it_ends(network, change):
    found, plain = listening.blocks(network), ask(network, ASKED)
    with contextlib.suppress(KeyboardInterrupt), change(network, found):
        ask(network, ASKED)
        raise KeyboardInterrupt
    assert torch.equal(ask(network, ASKED), plain)
    for block in found.values():
        assert block.placed and not block.attend.keep and block.attend.maps is None
        assert block.attend.mix is attention
        assert not block._forward_pre_hooks and not block.attend._forward_hooks
    assert not network._forward_pre_hooks
