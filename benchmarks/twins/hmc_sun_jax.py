"""Plain native JAX: leapfrog HMC of SU(3) in any dimension, for one backend and one group.

Links are `(chain, d, 3, 3, *lattice)`, lattice last and products written out, as the fastest of the layouts tried;
momenta are anti-Hermitian matrices; the exponential of a drift by the theorem of Cayley and Hamilton
(hep-lat/0311018, equations 15 to 34).
"""

import jax
import jax.numpy as jnp

N = 3


def dagger(u):
    """The adjoint matrices of `(chain, 3, 3, *lattice)`."""
    return jnp.conj(jnp.swapaxes(u, 1, 2))


def product(a, b):
    """Matrix products, summed term by term."""
    return sum(a[:, :, k, None] * b[:, None, k] for k in range(N))


def shifted(u, mu, steps=1):
    """u(x + steps mu)."""
    return jnp.roll(u, -steps, 3 + mu)


def kept(u):
    """u, computed once: XLA on the CPU would otherwise recompute a product for each use."""
    return jax.lax.cond(0.0 * u.real.ravel()[0] > 1.0, jnp.negative, lambda u: u, u)


def staples(links):
    """The sums of the staples of every direction."""
    d = links.shape[1]
    sums: list[list] = [[] for _ in range(d)]
    for mu in range(d):
        for nu in range(mu + 1, d):
            first, second = links[:, mu], links[:, nu]
            far, top = shifted(second, mu), shifted(first, nu)
            forth, back = kept(product(first, far)), kept(product(second, top))
            sums[mu] += [product(far, dagger(back)), shifted(kept(product(dagger(forth), second)), nu, -1)]
            sums[nu] += [product(top, dagger(forth)), shifted(kept(product(dagger(back), first)), mu, -1)]
    return [kept(sum(parts)) for parts in sums]


def force(links, beta):
    """Anti-Hermitian traceless F with P' = -F for momenta P, U' = P U."""
    forces = []
    for mu, staple in enumerate(staples(links)):
        loop = product(links[:, mu], staple)
        anti = 0.5 * (loop - dagger(loop))
        trace = (anti[:, 0, 0] + anti[:, 1, 1] + anti[:, 2, 2]) / N
        forces.append(beta / (2 * N) * (anti - trace[:, None, None] * eye(links)))
    return jnp.stack(forces, 1)


def eye(links):
    """The unit matrix `(3, 3, 1, ...)` beside links."""
    return jnp.reshape(jnp.eye(N, dtype=links.dtype), (N, N, *(1,) * (links.ndim - 4)))


def exponential(p):
    """exp of anti-Hermitian traceless 3 x 3 matrices `(chain, 3, 3, *lattice)`, p = i Q."""
    q = -1j * p
    square = product(q, q)
    c0 = sum(product(square, q)[:, k, k].real for k in range(N)) / 3.0
    c1 = jnp.maximum(0.5 * sum(square[:, k, k].real for k in range(N)), 1e-30)
    largest = 2.0 * (c1 / 3.0) ** 1.5
    theta = jnp.arccos(jnp.clip(jnp.abs(c0) / largest, 0.0, 1.0))
    u, w = jnp.sqrt(c1 / 3.0) * jnp.cos(theta / 3.0), jnp.sqrt(c1) * jnp.sin(theta / 3.0)
    small = jnp.abs(w) < 0.05
    safe = jnp.where(small, 1.0, w)
    xi = jnp.where(small, 1.0 - w**2 / 6.0 * (1.0 - w**2 / 20.0 * (1.0 - w**2 / 42.0)), jnp.sin(safe) / safe)
    turn, back = jnp.exp(2j * u), jnp.exp(-1j * u)
    h0 = (u**2 - w**2) * turn + back * (8.0 * u**2 * jnp.cos(w) + 2j * u * (3.0 * u**2 + w**2) * xi)
    h1 = 2.0 * u * turn - back * (2.0 * u * jnp.cos(w) - 1j * (3.0 * u**2 - w**2) * xi)
    h2 = turn - back * (jnp.cos(w) + 3j * u * xi)
    factors = [h / (9.0 * u**2 - w**2) for h in (h0, h1, h2)]
    sign = c0 < 0.0
    f0, f1, f2 = (
        jnp.where(sign, s * jnp.conj(f), f)[:, None, None] for s, f in zip((1.0, -1.0, 1.0), factors, strict=True)
    )
    return kept(f0 * eye(p[:, None]) + f1 * q + f2 * square)


def drift(links, momentum, step):
    """exp(step P) U on every link."""
    moved = [product(exponential(step * momentum[:, mu]), links[:, mu]) for mu in range(links.shape[1])]
    return jnp.stack(moved, 1)


def leapfrog(links, momentum, beta, step_size, steps):
    """Links and momenta after `steps` leapfrog steps; neighbouring half steps of the links are one."""

    def leap(carry, part):
        links, momentum = carry
        links = drift(links, momentum, part * step_size)
        return (links, momentum - step_size * force(links, beta)), None

    parts = jnp.asarray([0.5] + [1.0] * (steps - 1))
    (links, momentum), _ = jax.lax.scan(leap, (links, momentum), parts)
    return drift(links, momentum, 0.5 * step_size), momentum


def action(links, beta):
    """-(beta/N) sum Re tr U_P of every chain."""
    d, total = links.shape[1], 0.0
    for mu in range(d):
        for nu in range(mu + 1, d):
            first, second = links[:, mu], links[:, nu]
            loop = product(first, shifted(second, mu)) * jnp.conj(product(second, shifted(first, nu)))
            total = total + loop.real.reshape(len(links), -1).sum(1)
    return -beta / N * total


def momenta(key, links):
    """Anti-Hermitian traceless normal momenta with <tr P P^+> = 4 a link."""
    pair = jax.random.normal(key, (2, *links.shape), jnp.float64)
    x = pair[0] + 1j * pair[1]
    anti = 0.5 * (x - jnp.conj(jnp.swapaxes(x, 2, 3)))
    trace = (anti[:, :, 0, 0] + anti[:, :, 1, 1] + anti[:, :, 2, 2]) / N
    return 2**-0.5 * (anti - trace[:, :, None, None] * eye(links))


def kinetic(momentum):
    """sum tr P P^+ of every chain."""
    return (momentum.real**2 + momentum.imag**2).reshape(len(momentum), -1).sum(1)


def trajectory(key, links, beta, step_size, steps):
    """One leapfrog trajectory and accept step for every chain: the links, what was accepted, dH."""
    draws, coins = jax.random.split(key)
    momentum = momenta(draws, links)
    new, final = leapfrog(links, momentum, beta, step_size, steps)
    d_h = action(new, beta) - action(links, beta) + kinetic(final) - kinetic(momentum)
    accepted = jax.random.uniform(coins, d_h.shape, jnp.float64) < jnp.exp(-d_h)
    return jnp.where(accepted.reshape(-1, *(1,) * (links.ndim - 1)), new, links), accepted, d_h


def chain(key, links, beta, step_size, steps, draws):
    """`draws` trajectories: the last links and dH `(draw, chain)`."""

    def step(links, key):
        links, _, d_h = trajectory(key, links, beta, step_size, steps)
        return links, d_h

    return jax.lax.scan(step, links, jax.random.split(key, draws))
