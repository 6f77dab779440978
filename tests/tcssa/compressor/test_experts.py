"""One MLP a slot, computed for all slots at once."""

import math

import torch
from factories import make_features
from torch import Tensor, nn

from tcssa.compressor.experts import SlotExperts

K, D, H = 4, 16, 8


def make_experts(dropout: float = 0.25) -> SlotExperts:
    torch.manual_seed(0)
    experts = SlotExperts(K, D, H, dropout)
    nn.init.normal_(experts.norm_weight)
    nn.init.normal_(experts.norm_bias)
    return experts.eval()


def centers(num_bags: int = 3, num_slots: int = K) -> Tensor:
    return make_features(num_bags * num_slots, D).reshape(num_bags, num_slots, D)


@torch.no_grad()
def one_mlp(experts: SlotExperts, slot: int) -> nn.Sequential:
    """The expert of one slot, out of torch's own layers."""
    first, second, norm = nn.Linear(D, H), nn.Linear(H, D), nn.LayerNorm(D)
    first.weight.copy_(experts.w_in[slot].T)
    first.bias.copy_(experts.b_in[slot, 0])
    second.weight.copy_(experts.w_out[slot].T)
    second.bias.copy_(experts.b_out[slot, 0])
    norm.weight.copy_(experts.norm_weight[slot, 0])
    norm.bias.copy_(experts.norm_bias[slot, 0])
    return nn.Sequential(first, nn.GELU(), second, norm)


@torch.no_grad()
def test_each_slot_goes_through_an_mlp_of_its_own() -> None:
    experts, given = make_experts(), centers()
    refined = experts(given)
    for slot in range(K):
        expected = given[:, slot] + one_mlp(experts, slot)(given[:, slot])
        torch.testing.assert_close(refined[:, slot], expected)


@torch.no_grad()
def test_fewer_slots_are_refined_by_the_first_experts() -> None:
    experts, given = make_experts(), centers(num_slots=2)
    expected = given[:, 1] + one_mlp(experts, 1)(given[:, 1])
    torch.testing.assert_close(experts(given)[:, 1], expected)


def test_a_slots_loss_teaches_its_expert_alone() -> None:
    experts = make_experts()
    experts(centers())[:, 2].square().sum().backward()
    for name, weight in experts.named_parameters():
        assert weight.grad is not None
        taught = weight.grad.flatten(1).abs().sum(dim=1) > 0
        assert taught.tolist() == [False, False, True, False], name


@torch.no_grad()
def test_hidden_units_are_dropped_in_training_only() -> None:
    experts, given = make_experts(dropout=0.5), centers()
    assert torch.equal(experts(given), experts(given))
    experts.train()
    assert not torch.equal(experts(given), experts(given))


def test_weights_begin_as_those_of_linear_layers() -> None:
    torch.manual_seed(0)
    experts = SlotExperts(32, 64, 256, 0.0)
    for weight, bound in ((experts.w_in, 1 / 8), (experts.w_out, 1 / 16)):
        assert weight.abs().max() <= bound
        assert math.isclose(float(weight.detach().std()), bound / math.sqrt(3), rel_tol=0.01)
