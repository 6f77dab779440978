"""Attention through landmarks: as of the sequence filled up with zeros, without their cost."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tcssa.mil.methods.nystrom import NystromAttention, convolve_tokens, pseudo_inverse

NUM_LANDMARKS = 16


def plain(module: NystromAttention, tokens: Tensor) -> Tensor:
    """Nyström attention as it is written down, with every zero a token of its own."""
    length, heads = len(tokens), module.num_heads
    filled = F.pad(tokens, (0, 0, -length % NUM_LANDMARKS, 0))
    query, key, value = (
        part.reshape(len(filled), heads, -1).transpose(0, 1)
        for part in module.to_qkv(filled).chunk(3, dim=1)
    )
    query = query / query.shape[-1] ** 0.5
    query_marks, key_marks = (
        part.reshape(heads, NUM_LANDMARKS, -1, part.shape[-1]).mean(2) for part in (query, key)
    )
    to_marks, among, from_marks = (
        (a @ b.mT).softmax(-1)
        for a, b in ((query, key_marks), (query_marks, key_marks), (query_marks, key))
    )
    inverse = among.mT / (among.sum(1).max() * among.sum(2).max())
    eye = torch.eye(NUM_LANDMARKS, dtype=tokens.dtype)
    for _ in range(6):
        product = among @ inverse
        inverse = inverse @ (13 * eye - product @ (15 * eye - product @ (7 * eye - product))) / 4
    out = to_marks @ inverse @ (from_marks @ value) + module.res_conv(value[None])[0]
    mixed: Tensor = module.to_out(out.transpose(0, 1).flatten(1))
    return mixed[-length:]


@pytest.mark.parametrize("length", [1, 2, 9, 15, 16, 17, 31, 32, 33, 50, 100])
def test_one_zero_stands_for_all_that_fill_the_sequence(length: int) -> None:
    torch.manual_seed(length)
    module = NystromAttention(24, num_heads=4, num_landmarks=NUM_LANDMARKS).double().eval()
    tokens = (2 * torch.randn(length, 24)).double().requires_grad_()
    parameters = [tokens, *module.parameters()]
    found, expected = module(tokens), plain(module, tokens)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    grads = [torch.autograd.grad((out * weights).sum(), parameters) for out in (found, expected)]
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_iterated_inverse_inverts() -> None:
    matrix = (4 * torch.eye(6) + torch.randn(2, 6, 6)).softmax(dim=-1).double()
    found = pseudo_inverse(matrix, torch.ones(6).double())
    torch.testing.assert_close(found, torch.linalg.pinv(matrix), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 46, 61, 256, 257, 4096])
def test_the_convolutions_gradients_are_right_in_float32(length: int) -> None:
    """oneDNN's are not, at 46, 61, 256 and 4096."""
    torch.manual_seed(0)
    tokens, weights = torch.randn(2, 8, length, 4)
    kernel = torch.randn(8, 33)
    exact, inputs = (
        [tensor.to(dtype).requires_grad_() for tensor in (tokens, kernel)]
        for dtype in (torch.float64, torch.float32)
    )
    padded = exact[1][:, None, :, None]
    expected = F.conv2d(exact[0][None], padded, padding=(16, 0), groups=8)[0]
    found = convolve_tokens(*inputs)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    wanted = torch.autograd.grad((expected * weights).sum(), exact)
    for mine, true in zip(
        torch.autograd.grad((found * weights).sum(), inputs), wanted, strict=True
    ):
        assert (mine - true).abs().max() < 1e-5 * true.abs().max()
