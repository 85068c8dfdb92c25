"""Attention of a transformer that is fine-tuned in bf16 on a CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """While entered, ``scaled_dot_product_attention`` in bf16 on a CPU is two products and a softmax.

    torch's fused kernel for CPUs is made for fp32: in bf16 going backwards takes it two to seven times as long as
    these, that is a fifth (512 tokens) to a third (20 tokens) of a step of fine-tuning; and it knows no dropout, for
    which torch goes through fp32. What the products do not cover (fewer heads of keys than of queries, causal
    attention without a mask) is left to torch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of torch comes by here; one is answered."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            out = _attend(*args, **kwargs)
            if out is not None:
                return out
        return func(*args, **kwargs)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor | None:
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or is_causal or enable_gqa:
        return None
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # The least number, not -inf, of which a row that may look at nothing would make nan.
        least = torch.finfo(query.dtype).min
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, least)
    with torch.autocast("cpu", enabled=False):  # which would have the softmax in fp32, twice the memory to go through
        query = query * (scale or 1 / math.sqrt(query.shape[-1]))
        scores = torch.matmul(query, key.transpose(-1, -2))
        if attn_mask is not None:
            scores.add_(attn_mask)  # in place: these are the largest numbers of a step
        shares = torch.softmax(scores, -1)
        if dropout_p:
            shares = functional.dropout(shares, dropout_p)
        return torch.matmul(shares, value)
