"""What a network can be told: labels and tokens, and how they are dropped, spread and read."""

import pytest
import torch

from diffusion101.networks import Labels, Tokens

BOTH = [Labels(10), Labels(3), Tokens(10, 2), Tokens(5, 1), Tokens(7, 4, width=16)]


def some(condition, n: int) -> torch.Tensor:
    """n conditions that all say something, in every place."""
    g = torch.Generator().manual_seed(1)
    full = condition.spread(n)
    return torch.randint(0, int(condition.empty(1).max()), full.shape, generator=g)


@pytest.mark.parametrize("condition", BOTH, ids=repr)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_the_share_that_is_dropped_is_the_rate(condition, rate):
    n = 20_000
    cond, g = some(condition, n), torch.Generator().manual_seed(0)
    dropped = condition.drop(cond, rate, g)
    gone = (dropped == condition.empty(n)).view(n, -1)
    assert torch.equal(gone.all(1), gone.any(1)), "a prompt is dropped whole"
    assert abs(gone.all(1).float().mean().item() - rate) <= 4 * (rate * (1 - rate) / n) ** 0.5  # four deviations
    kept = ~gone.all(1)
    assert torch.equal(dropped[kept], cond[kept]) and dropped.dtype == torch.int64
    assert torch.equal(dropped, condition.drop(cond, rate, torch.Generator().manual_seed(0))), "seeded"


def test_empty_says_nothing_in_every_place():
    assert Labels(10).empty(3).tolist() == [10, 10, 10]
    assert Tokens(5, 3).empty(2).tolist() == [[5, 5, 5], [5, 5, 5]]


@pytest.mark.parametrize("condition", BOTH, ids=repr)
def test_spread_asks_for_each_equally_often(condition):
    first = condition.spread(101).view(101, -1)
    kinds = int(condition.empty(1).max())
    counts = first[:, 0].bincount(minlength=kinds)
    assert len(counts) == kinds and counts.max() - counts.min() <= 1
    assert torch.equal(first[:, 1:], condition.empty(101).view(101, -1)[:, 1:]), "one token, nothing behind it"
    assert first[: kinds + 1, 0].tolist() == [*range(kinds), 0]


def test_words_of_the_command_line():
    assert Labels(10).parse(["3", "7", "0"]).tolist() == [3, 7, 0]
    assert Labels(12).parse(["11"]).tolist() == [11]
    assert Tokens(10, 2).parse(["42", "7_", "7", "_3"]).tolist() == [[4, 2], [7, 10], [7, 10], [10, 3]]
    assert Tokens(10, 1).parse(["4"]).tolist() == [[4]]
    assert Labels(10).places(["3", "7"]) == 1 and Tokens(10, 2).places(["7", "42"]) == 2


@pytest.mark.parametrize(
    "condition, word, message",
    [
        (Labels(10), "10", "'10' is no label of this model; its labels go from 0 to 9"),
        (Labels(10), "-1", "'-1' is no label"),
        (Labels(10), "x", "'x' is no label"),
        (Labels(10), "", "'' is no label"),
        (Labels(10), "1.5", "'1.5' is no label"),
        (Labels(3), "3", "its labels go from 0 to 2"),
        (Tokens(10, 2), "123", "'123' is no prompt of this model; it reads up to 2 digits, _ for none"),
        (Tokens(10, 2), "", "'' is no prompt"),
        (Tokens(10, 2), "4x", "'4x' is no prompt"),
        (Tokens(5, 2), "45", "'45' is no prompt"),
        (Tokens(5, 1), "12", "it reads a digit"),
    ],
)
def test_words_that_mean_nothing_are_refused(condition, word, message):
    with pytest.raises(ValueError, match=message):
        condition.parse([word])


def test_fit_brings_conditions_into_their_full_shape():
    labels = torch.tensor([3, 4])
    assert torch.equal(Labels(10).fit(labels), labels)
    assert Tokens(10, 3).fit(labels).tolist() == [[3, 10, 10], [4, 10, 10]]
    assert Tokens(10, 3).fit(torch.tensor([[1, 2]])).tolist() == [[1, 2, 10]]
    full = torch.tensor([[1, 2, 3]])
    assert torch.equal(Tokens(10, 3).fit(full), full)
    with pytest.raises(ValueError, match=r"cond is \(1, 2\); it must be \(B,\), a label per picture"):
        Labels(10).fit(torch.tensor([[1, 2]]))
    for bad in (torch.zeros(1, 4), torch.zeros(1, 0), torch.zeros(1, 1, 1), torch.zeros(())):
        with pytest.raises(ValueError, match=r"it must be \(B,\) or \(B, L\) with L up to 3"):
            Tokens(10, 3).fit(bad.long())


@pytest.mark.parametrize("bad", [0, 1, -3, 100_001])
def test_sizes_are_checked(bad):
    with pytest.raises(ValueError, match=f"classes is {bad}"):
        Labels(bad)
    with pytest.raises(ValueError, match="vocab, length and width"):
        Tokens(bad)


@pytest.mark.parametrize("options", [dict(length=0), dict(length=1025), dict(width=0), dict(width=5000)])
def test_token_sizes_are_checked(options):
    with pytest.raises(ValueError, match="vocab, length and width"):
        Tokens(10, **options)


@pytest.mark.parametrize("condition", BOTH, ids=repr)
def test_tables_are_born_normal(condition):
    """N(0, 1), and a row for nothing: a table at zero behind a projection at zero would have no gradient."""
    tables = [m for m in condition.build(128).modules() if isinstance(m, torch.nn.Embedding)]
    assert tables[0].num_embeddings == condition.empty(1).max() + 1
    values = torch.cat([table.weight.detach().flatten() for table in tables])
    assert abs(values.mean()) < 0.2 and 0.8 < values.std() < 1.2


def test_the_same_token_elsewhere_is_another_vector():
    table = Tokens(10, 2, 16).build(0)
    a, b = table(torch.tensor([[3, 7], [7, 3]]))
    assert not torch.equal(a[0], b[1]) and a.shape == (2, 16)
    torch.testing.assert_close(a[0] - b[1], b[0] - a[1])
