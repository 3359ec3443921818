import pytest
import torch

from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet
from diffusion101.networks.attention import CrossAttention, TokenBlock, places


def awake(module):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape) * 0.3)
    return module


def test_equals_pytorchs_multi_head_attention():
    ours, theirs = (
        awake(CrossAttention(32, 24, 4)),
        torch.nn.MultiheadAttention(32, 4, kdim=24, vdim=24, bias=True, batch_first=True),
    )
    with torch.no_grad():
        theirs.q_proj_weight.copy_(ours.to_q.weight)
        theirs.k_proj_weight.copy_(ours.to_k.weight)
        theirs.v_proj_weight.copy_(ours.to_v.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.to_out.weight)
        theirs.out_proj.bias.copy_(ours.to_out.bias)
    h, tokens = torch.randn(2, 9, 32), torch.randn(2, 5, 24)
    expected, maps = theirs(h, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(h, tokens), expected, rtol=1e-4, atol=1e-5)
    ours.keep = True
    torch.testing.assert_close(ours(h, tokens), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.maps, maps, rtol=1e-4, atol=1e-5)


def test_one_key_makes_queries_and_keys_useless():
    """Softmax over one key is 1 whatever is asked: no gradient reaches Q and K."""
    attend = awake(CrossAttention(32, 24, 4))
    attend.keep = True
    attend(torch.randn(2, 9, 32), torch.randn(2, 1, 24)).square().sum().backward()
    assert (attend.maps == 1).all() and (attend.to_q.weight.grad == 0).all() and (attend.to_k.weight.grad == 0).all()
    assert attend.to_v.weight.grad.any()


def test_block_is_born_the_identity():
    h = torch.randn(2, 32, 4, 6)
    torch.testing.assert_close(TokenBlock(32, 24, 4)(h, torch.randn(2, 3, 24)), h, rtol=0, atol=0)


def test_a_pixel_asks_from_its_place():
    """A picture of one colour: without places every pixel would get the same answer."""
    block, tokens = awake(TokenBlock(32, 24, 4)), torch.randn(1, 2, 24)
    answer = block(torch.ones(1, 32, 4, 8), tokens)
    assert (answer[..., 0] - answer[..., 7]).abs().max() > 0.01, "columns differ"
    assert (answer[..., 0, :] - answer[..., 3, :]).abs().max() > 0.01, "rows differ"


def test_every_pixel_asks_for_itself():
    """Cross-attention looks at tokens, never at other pixels, but for the norm's statistics."""
    block, tokens, h = awake(TokenBlock(32, 24, 4)), torch.randn(1, 2, 24), torch.randn(1, 32, 4, 4)
    block.norm1 = torch.nn.Identity()
    other = h.clone()
    other[..., 0, 0] += 1
    changed = (block(h, tokens) - block(other, tokens)).abs().amax(1)[0] > 1e-6
    assert changed.sum() == 1 and changed[0, 0]


def test_places_tell_left_from_right_at_any_size():
    p = places(4, 8, 32, torch.zeros(1)).view(4, 8, 32)
    assert torch.equal(p[0, :, 16:], p[3, :, 16:]) and torch.equal(p[:, 0, :16], p[:, 7, :16])
    assert not torch.allclose(p[0, :, :16], p[3, :, :16]) and not torch.allclose(p[:, 0, 16:], p[:, 7, 16:])
    q = places(7, 15, 32, torch.zeros(1)).view(7, 15, 32)
    torch.testing.assert_close(p[[0, -1]][:, [0, -1]], q[[0, -1]][:, [0, -1]])


def test_heads_must_divide():
    with pytest.raises(ValueError, match="5 heads do not divide a width of 32"):
        CrossAttention(32, 24, 5)


def test_a_label_is_a_prompt_of_one_token():
    net = awake(UNet(MILESTONES["M6"]))
    x, t = torch.randn(3, 1, 8, 16), torch.tensor([1, 500, 1000])
    labels = torch.tensor([0, 4, 9])
    prompt = torch.stack([labels, torch.full((3,), 10)], 1)
    assert torch.equal(net(x, t, labels), net(x, t, prompt))
    assert torch.equal(net(x, t), net(x, t, torch.full((3, 2), 10)))
    assert not torch.equal(net(x, t, prompt), net(x, t, prompt.flip(1)))
