"""The net of an autoregressive flow: a memory of the rows drawn so far, and the coefficients of the next one.

A row has `sites` sites; arrays are `(channel, site, batch)`, so that a convolution along the row is one matrix product. For
each row of the field the net

    plans:      h = conv(memory) + conv(seen) + mean of the memory over the row,
    draws:      coefficients = W silu(h + conv(drawn)),  once for each part of the row, `drawn` being the parts drawn before,
    remembers:  m -> m + z (tanh(c) - m),  (log z/(1 - z), c) = conv(memory) + conv(row) + mean of the memory over the row.

The memory carries what was drawn over any number of rows, and its mean over the row carries it across: the net sees all of
the field that was drawn before. Weights do not depend on the lattice. A memory of this kind is a gated recurrent unit
(arXiv:1406.1078) with convolutions (arXiv:1511.06432).
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Key, Params
from haarflow.core import random
from haarflow.flows.nets import ConvNet, silu


@dataclass(frozen=True)
class Memory:
    """`seen`, `drawn` and `row` are the numbers of features of what the steps above receive; `outputs` that of coefficients.

    `channels` are those of the memory, `hidden` those of h; `kernel` is the odd extent of all convolutions. The net starts
    with coefficients that vanish.

    >>> from haarflow.backends import numpy as backend
    >>> net = Memory(seen=2, drawn=1, row=3, outputs=4, channels=5, hidden=6, kernel=3)
    >>> params, xp = net.init(random.key(0, backend)), backend.xp
    >>> memory = net.remember(params, net.blank(xp.ones((8, 7))), xp.ones((3, 8, 7)))
    >>> plan = net.plan(params, memory, xp.ones((2, 8, 7)))
    >>> memory.shape, net.draw(params, plan, xp.ones((1, 8, 7))).shape
    ((5, 8, 7), (4, 8, 7))
    """

    seen: int
    drawn: int
    row: int
    outputs: int
    channels: int
    hidden: int
    kernel: int

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return weights uniform within +-1/sqrt(fan in), those of the coefficients zero."""
        sizes = {
            "plan": (self.channels + self.seen, self.hidden, self.kernel),
            "plan_mean": (self.channels, self.hidden, 1),
            "part": (self.drawn, self.hidden, self.kernel),
            "keep": (self.channels + self.row, 2 * self.channels, self.kernel),
            "keep_mean": (self.channels, 2 * self.channels, 1),
            "out": (self.hidden, self.outputs, 1),
        }
        params = {}
        for number, (name, (inputs, outputs, kernel)) in enumerate(sizes.items()):
            scale = 0.0 if name == "out" else 1.0
            net = ConvNet(1, (inputs, outputs), kernel, final_scale=scale, biased=name in ("plan", "keep", "out"))
            params[name] = net.init(random.fold_in(key, number), dtype)
        return params

    def blank(self, like: Array) -> Array:
        """Return the memory before the first row, zeros `(channel, site, batch)`, for `like` `(site, batch)`."""
        xp = array_namespace(like)
        return xp.stack([xp.zeros_like(like)] * self.channels, axis=0)

    def plan(self, params: Params, memory: Array, seen: Array) -> Array:
        """Return what is common to all parts of a row, `(hidden, site, batch)`."""
        return self._looked(params, "plan", memory, seen)

    def draw(self, params: Params, plan: Array, drawn: Array) -> Array:
        """Return the coefficients of all sites, `(outputs, site, batch)`, given the parts of the row drawn before."""
        return convolved(params["out"], silu(plan + convolved(params["part"], drawn)))

    def remember(self, params: Params, memory: Array, row: Array) -> Array:
        """Return the memory after a row."""
        xp, both = array_namespace(memory), self._looked(params, "keep", memory, row)
        gate = 0.5 * (1.0 + xp.tanh(0.5 * both[: self.channels, ...]))
        return memory + gate * (xp.tanh(both[self.channels :, ...]) - memory)

    def _looked(self, params: Params, name: str, memory: Array, features: Array) -> Array:
        xp = array_namespace(memory)
        near = convolved(params[name], xp.concat([memory, features], axis=0))
        return near + convolved(params[f"{name}_mean"], xp.mean(memory, axis=1, keepdims=True))


def convolved(params: Params, x: Array) -> Array:
    """Return a periodic convolution along axis 1 of `(channel, site, batch)`, weights `(out, channel, kernel)`.

    >>> import numpy as np
    >>> convolved({"w0": np.asarray([[[1.0, 0.0, 0.0]]])}, np.asarray([[[1.0], [2.0], [3.0]]])).ravel().tolist()
    [3.0, 1.0, 2.0]
    """
    xp, w = array_namespace(x), params["w0"]
    reach = w.shape[2] // 2
    taps = [xp.roll(x, reach - tap, axis=1) if tap != reach else x for tap in range(w.shape[2])]
    kernel = xp.reshape(xp.permute_dims(w, (0, 2, 1)), (w.shape[0], -1))
    y = xp.matmul(kernel, xp.reshape(xp.concat(taps, axis=0), (kernel.shape[1], -1)))
    y = xp.reshape(y, (-1, *x.shape[1:]))
    return y + params["b0"][:, None, None] if "b0" in params else y
