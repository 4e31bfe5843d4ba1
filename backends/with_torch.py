"""PyTorch: eager arrays with autodiff; loops run in Python, and compilation is left to the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import array_api_compat.torch as xp
import numpy
import torch
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from haarflow.backends import standard, tree
from haarflow.backends.alone import alone
from haarflow.backends.compiled import normals
from haarflow.backends.kernels import circulants
from haarflow.backends.kernels import threefry as host_words
from haarflow.backends.protocol import Backend, MissingBackend
from haarflow.backends.types import Array

SINGLE = (torch.float32, torch.complex64)
_unpack_dual: Callable[..., Any] = torch.autograd.forward_ad.unpack_dual  # without annotations in torch


@cache
def backend(device: str | None = None, dtype: str | None = "float64") -> Backend:
    """Return the PyTorch record of a device such as "cpu", "cuda" or "cuda:1" (None: "cpu").

    Raises MissingBackend when PyTorch has no such device.
    """
    target = _device(device or "cpu")
    dtype = standard.check_precision(dtype or "float64")
    return standard.record(
        "torch",
        xp,
        str(target),
        dtype,
        torch.__version__,
        asarray=partial(_asarray, target, dtype),
        to_numpy=_to_numpy,
        value_and_grad=value_and_grad,
        vjp=vjp,
        jvp=jvp,
        jacobian=jacobian,
        stop_gradient=partial(tree.tree_map, torch.Tensor.detach),
        checkpoint=checkpoint,
        with_slopes=with_slopes,
        vmap=torch.func.vmap,
        conv=conv,
        conv_net=conv_net,
        matmul=standard.matmul,
        scan=partial(standard.scan, unbind=torch.unbind),
        roll=torch.roll,
        unstack=torch.unbind,
        axpy=axpy,
        leaky_relu=torch.nn.functional.leaky_relu,
        threefry=threefry,
        threefry_fold=threefry_fold,
        threefry_uniform=threefry_uniform,
        threefry_normal=threefry_normal,
        on_host=on_host,
        autodiff=True,
    )


def _to_numpy(x: torch.Tensor) -> numpy.ndarray:
    """Host numbers; conjugations and signs that torch keeps lazily are resolved."""
    return x.detach().cpu().resolve_conj().resolve_neg().numpy().copy()


def of_array(x: Any) -> Backend:
    """Return the record of a tensor."""
    return _record(x.device, "float32" if x.dtype in SINGLE else "float64")


@cache
def _record(device: torch.device, dtype: str) -> Backend:
    return backend(str(device), dtype)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MissingBackend(f"torch cannot use the device {name!r} ({reason}): choose device='cpu'") from None
    return device


def _asarray(device: torch.device, default: str, x: Any, dtype: Any = None) -> Array:
    if isinstance(x, torch.Tensor):
        return x.to(device=device, dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    x = numpy.asarray(x)
    return torch.tensor(x, dtype=standard.array_dtype(xp, default, x, dtype), device=device)


def value_and_grad(f: Any, has_aux: bool = False) -> Any:
    """Return g(*args) -> (value, gradient tree of the first argument), as `Backend` promises."""

    def differentiated(x: Any, *args: Any) -> Any:
        with torch.enable_grad():
            roots = tree.tree_map(_root, x)
            output = f(roots, *args)
            value = output[0] if has_aux else output
            grads = _grad(value, roots)
        return tree.tree_map(_detached, output), grads

    return differentiated


def _root(x: Array) -> Array:
    return x.detach().requires_grad_(True)


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, torch.Tensor) else x


def _grad(value: Array, roots: Any, weight: Any = None) -> Any:
    leaves, rebuild = tree.flatten(roots)
    if not any(v.requires_grad for v in tree.leaves(value)):
        return rebuild([torch.zeros_like(leaf) for leaf in leaves])
    grads = torch.autograd.grad(value, leaves, grad_outputs=weight, allow_unused=True)
    pairs = zip(grads, leaves, strict=True)
    return rebuild([torch.zeros_like(leaf) if grad is None else grad for grad, leaf in pairs])


def vjp(f: Any, x: Any) -> Any:
    """Return f(x) and the function that pulls a cotangent tree of the output back to x."""
    y, pullback = torch.func.vjp(f, x)[:2]
    return y, lambda dy: pullback(dy)[0]


def jvp(f: Any, x: Any, dx: Any) -> Any:
    """Return f(x) and the derivative along dx."""
    return torch.func.jvp(f, (x,), (dx,))


def jacobian(f: Any) -> Any:
    """Return the function that gives the dense Jacobian of f."""
    return torch.func.jacrev(f)


def checkpoint(f: Any) -> Any:
    """Return f with its intermediate values recomputed in the backward pass; within vjp or jvp, which keep them, f itself."""

    def recomputed(*args: Any) -> Any:
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return f(*args)
        return torch_checkpoint(f, *args, use_reentrant=False, preserve_rng_state=False, determinism_check="none")

    return recomputed


class _Sloped(torch.autograd.Function):
    """f differentiated by its slopes; the backward pass computes them from the arguments."""

    generate_vmap_rule = True

    @staticmethod
    def forward(f: Any, slopes: Any, d: int, has_aux: bool, *args: Any) -> Any:
        return f(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.slopes, ctx.d, ctx.has_aux, *args = inputs
        if ctx.has_aux:
            ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*args)
        ctx.save_for_forward(*args)

    @staticmethod
    def backward(ctx: Any, dy: Any, *_: Any) -> tuple[Any, ...]:
        slopes = ctx.slopes(*ctx.saved_tensors)[1]
        rows = [dy[(..., *(None,) * (s.ndim - dy.ndim), *(slice(None),) * ctx.d)] * s for s in slopes]
        return None, None, None, None, *rows

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        value, slopes = ctx.slopes(*ctx.saved_tensors)
        y = value[0] if ctx.has_aux else value
        pairs = [(s, dx) for s, dx in zip(slopes, tangents[4:], strict=True) if dx is not None]
        dy = sum((s * dx).sum(standard.own_axes(s, y, ctx.d)) if s.ndim > y.ndim else s * dx for s, dx in pairs)
        return (dy, None) if ctx.has_aux else dy


def with_slopes(f: Any, slopes: Any, d: int, has_aux: bool = False) -> Any:
    """Return f with its derivative given by its slopes; second derivatives differentiate the slopes."""
    return partial(_Sloped.apply, f, slopes, d, has_aux)


CONVOLUTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def conv(x: Array, w: Array) -> Array:
    """Return the periodic cross-correlation of `backends.standard.conv`, by torch's own kernels up to d = 3."""
    d = standard.check_conv(x, w)
    standard.offsets(tuple(w.shape[2:]))
    reach = [extent // 2 for extent in w.shape[2:]]
    if d not in CONVOLUTIONS or any(r > extent for r, extent in zip(reach, x.shape[-d:], strict=True)):
        return standard.conv(x, w)
    flat = torch.reshape(x, (-1, *x.shape[-d - 1 :]))
    padding = [r for r in reversed(reach) for _ in range(2)]
    y = CONVOLUTIONS[d](torch.nn.functional.pad(flat, padding, mode="circular"), w)
    return torch.reshape(y, (*x.shape[: -d - 1], *y.shape[1:]))


# The longest rows for which circulants are faster than Torch's own convolutions on the CPU, gradient included.
LONGEST_ROW = {torch.float64: 16, torch.float32: 8}


def conv_net(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """Return the features of `backends.standard.conv_net`, for short rows on the CPU by circulants."""
    longest = LONGEST_ROW.get(x.dtype, 0) if x.device.type == "cpu" else 0
    if not (longest and circulants.fits(x, weights, longest)):
        return standard.conv_net(conv, x, weights, biases, activations)
    standard.check_net(x, weights)
    return circulants.net(x, weights, biases, activations)


def axpy(a: Any, x: Array, y: Array) -> Array:
    """Return a x + y in one pass over memory."""
    return torch.addcmul(y, x, a) if isinstance(a, torch.Tensor) else torch.add(y, x, alpha=a)


def threefry(key0: Array, key1: Array, x0: Array, x1: int) -> tuple[Array, Array] | None:
    """Return random words made in host memory, which tensors on the CPU share; None elsewhere and while tracing."""
    words = _on_the_host(host_words.threefry, key0, key1, x0, x1)
    return None if words is None else (torch.from_numpy(words[0]), torch.from_numpy(words[1]))


def threefry_fold(key: Array, number: Array | int, purpose: int) -> Array | None:
    """Return `host_words.fold` as a tensor, or None where `threefry` declines."""
    return _tensor(_on_the_host(host_words.fold, key, number, purpose))


def threefry_uniform(key: Array, count: int, purpose: int) -> Array | None:
    """Return `host_words.uniform` as a tensor, or None where `threefry` declines."""
    return _tensor(_on_the_host(host_words.uniform, key, count, purpose))


def threefry_normal(key: Array, count: int, purpose: int) -> Array | None:
    """Return `host_normals.normal` as a tensor, or None where it or `threefry` declines."""
    return _tensor(_on_the_host(normals.normal, key, count, purpose))


def _tensor(x: numpy.ndarray | None) -> Array | None:
    return None if x is None else torch.from_numpy(x)


def _on_the_host(make: Callable[..., Any], *arguments: Any) -> Any:
    if torch.compiler.is_compiling() or arguments[0].device.type != "cpu":
        return None
    try:
        return make(*[x.numpy() if isinstance(x, torch.Tensor) else x for x in arguments])
    except RuntimeError:  # under vmap a tensor has no memory
        return None


def on_host(function: Any, plain: Any, like: Any, *arrays: Array, numbers: float = math.inf) -> Any:
    """Return what the function writes, given the memory that tensors on the CPU share with NumPy; None elsewhere, while
    tracing, and where autograd needs a derivative."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in arrays):
        return None
    if any(_unpack_dual(x).tangent is not None for x in arrays):
        return None

    def written(*arrays: numpy.ndarray) -> tuple[Array, ...]:
        into = tuple(torch.empty(x.shape, dtype=x.dtype, device="cpu") for x in like)
        with alone():
            function([x.numpy() for x in into], *arrays)
        return into

    return _on_the_host(written, *arrays)


def whole_graph(function: Any) -> Any:
    """Return the function traced by `torch.compile` as one graph, run eagerly; a graph break is an error."""
    return torch.compile(function, backend="eager", fullgraph=True, dynamic=False)
