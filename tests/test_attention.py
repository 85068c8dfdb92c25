"""Plain attention against the obvious one in double precision, and where it stays out of the way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from sparsedistill.teacher.attention import PlainAttention


def twin(query, key, value, allowed, scale):
    """A text, a head and a token at a time, numpy's float64."""
    out = np.zeros(query.shape)
    for b, h, i in np.ndindex(query.shape[:3]):
        scores = np.array([scale * query[b, h, i] @ other for other in key[b, h]])
        chances = np.where(allowed[b, 0, i], np.exp(scores - scores.max()), 0)
        out[b, h, i] = (chances / chances.sum()) @ value[b, h]
    return out


def tensors(rng, *shape):
    return [torch.tensor(rng.normal(size=shape)).bfloat16().requires_grad_() for _ in range(3)]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 8)),
    mask=st.sampled_from(["none", "bool", "added"]),
    scale=st.sampled_from([None, 0.7]),
)
def test_it_is_attention(seed, shape, mask, scale):
    rng = np.random.default_rng(seed)
    query, key, value = tensors(rng, *shape)
    lengths = rng.integers(1, shape[2] + 1, shape[0])
    allowed = np.ones((shape[0], 1, shape[2], shape[2]), bool)
    if mask != "none":
        allowed &= (np.arange(shape[2]) < lengths[:, None])[:, None, None]
    masks = {"none": None, "bool": torch.tensor(allowed), "added": torch.tensor(np.where(allowed, 0, -1e30)).bfloat16()}
    with PlainAttention():
        out = scaled_dot_product_attention(query, key, value, attn_mask=masks[mask], scale=scale)
    numbers = [tensor.detach().double().numpy() for tensor in (query, key, value)]
    want = twin(*numbers, allowed, scale or shape[3] ** -0.5)
    assert out.dtype == torch.bfloat16
    np.testing.assert_allclose(out.detach().double().numpy(), want, atol=0.05)


@pytest.mark.parametrize("length", [7, 64])
def test_gradients_are_those_of_full_precision(length):
    rng = np.random.default_rng(0)
    ours = tensors(rng, 2, 3, length, 16)
    theirs = [tensor.detach().double().requires_grad_() for tensor in ours]
    weights = torch.tensor(rng.normal(size=(2, 3, length, 16)))
    mask = torch.arange(length) < torch.tensor([length, length - 3])[:, None]
    mask = mask[:, None, None].expand(2, 1, length, length)
    with PlainAttention(), torch.autocast("cpu", torch.bfloat16):
        scaled_dot_product_attention(*ours, attn_mask=mask).backward(weights.bfloat16())
    scaled_dot_product_attention(*theirs, attn_mask=mask).backward(weights)
    for mine, full in zip(ours, theirs, strict=True):
        off = (mine.grad.double() - full.grad).norm() / full.grad.norm()
        assert off < 0.02


def test_dropout_leaves_weights_out_and_the_others_greater():
    query, key, _ = tensors(np.random.default_rng(0), 2, 3, 64, 8)
    value = torch.eye(64).bfloat16().expand(2, 3, 64, 64)  # the answer is the weights themselves
    with PlainAttention():
        whole, some = (scaled_dot_product_attention(query, key, value, dropout_p=share).detach() for share in (0, 0.25))
    left = some != 0
    assert 0.7 < left.float().mean() < 0.8
    np.testing.assert_allclose(some[left].float().numpy(), (whole[left].float() / 0.75).numpy(), rtol=0.01)


def test_a_row_that_may_look_at_nothing_stays_finite():
    with PlainAttention():
        out = scaled_dot_product_attention(
            *tensors(np.random.default_rng(0), 1, 1, 3, 4), attn_mask=torch.zeros(1, 1, 3, 3, dtype=torch.bool)
        )
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("options", [{"is_causal": True}, {"enable_gqa": True}, {"dtype": "float32"}])
def test_what_it_does_not_cover_is_left_to_torch(options, monkeypatch):
    def refuse(*args):
        raise AssertionError("torch.softmax was called: attention was not left to torch")

    options = dict(options)
    dtype = getattr(torch, options.pop("dtype", "bfloat16"))
    parts = [part.to(dtype) for part in tensors(np.random.default_rng(0), 1, 2, 5, 4)]
    torch.manual_seed(0)
    want = scaled_dot_product_attention(*parts, **options)
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "softmax", refuse)
    with PlainAttention():
        out = scaled_dot_product_attention(*parts, **options)
    assert torch.equal(out, want)
