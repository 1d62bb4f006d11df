"""Forwards in float32 over weights of any precision: every operation converts its arguments as it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

HALF = (torch.bfloat16, torch.float16)


class InFloat32(TorchDispatchMode):
    """Inside it, every operation reads numbers of half precision as float32, and returns float32.

    It is below autocast and below custom autograd functions, so that neither bypasses it. Weights themselves do not
    change. It is for forwards without gradients.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = traits(func)
        # A view of a weight computes nothing yet: converting it here would copy all of the weight for a part of it.
        if known.view:
            return func(*args, **kwargs)
        if known.lookup:
            return tree_map(raised, func(*args, **kwargs))
        stand_ins: list[tuple[Tensor, Tensor]] = []

        def taken(value: Any, written: bool) -> Any:
            made = raised(value)
            if written and made is not value and isinstance(value, Tensor):
                stand_ins.append((value, made))
            return made

        given = [tree_map(lambda v, w=i in known.written: taken(v, w), value) for i, value in enumerate(args)]
        named = {key: tree_map(lambda v, w=key in known.written: taken(v, w), value) for key, value in kwargs.items()}
        result = func(*given, **named)
        for own, made in stand_ins:
            own.copy_(made)
        return tree_map(lambda value: next((own for own, made in stand_ins if made is value), value), result)


class AtTheDoor(TorchFunctionMode):
    """Convolutions compare the precision of arguments before `InFloat32` sees them, so they are converted here."""

    SEEN = frozenset(getattr(torch, f"conv{kind}{n}d") for kind in ("", "_transpose") for n in (1, 2, 3))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*tree_map(raised, args), **tree_map(raised, kwargs)) if func in self.SEEN else func(*args, **kwargs)


class Traits(NamedTuple):
    """How an operation uses its arguments."""

    view: bool
    lookup: bool
    """Whether it picks rows of its first argument, so that only these need to be converted."""
    written: frozenset[int | str]
    """Arguments that it changes, by position and by name."""


@cache
def traits(func: Any) -> Traits:
    arguments = func._schema.arguments
    changed = [(i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write]
    view = not changed and any(a.alias_info is not None for a in arguments)
    lookup = func in (torch.ops.aten.embedding.default, torch.ops.aten.index_select.default)
    return Traits(view, lookup, frozenset(key for pair in changed for key in pair))


def raised(value: Any) -> Any:
    """A tensor or type of half precision in float32, anything else as it is.

    >>> raised(torch.float16), raised(torch.int64), raised(3)
    (torch.float32, torch.int64, 3)
    """
    if isinstance(value, Tensor) and value.dtype in HALF:
        return value.float()
    return torch.float32 if isinstance(value, torch.dtype) and value in HALF else value


@contextmanager
def in_float32() -> Iterator[None]:
    """Inside it, forwards are in float32 to the last digit: no half precision, no autocast, no TF32."""
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    parts = [backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv]
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "ieee"
    try:
        with InFloat32(), AtTheDoor():
            yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision
        # An autocast around this one would reuse the copies that were made inside it.
        torch.clear_autocast_cache()
