"""Plain native JAX: leapfrog HMC of 2D U(1) as one would write it by hand, with jnp.sin and jax.random."""

import jax
import jax.numpy as jnp


def plaquette(links):
    """theta_01(x) of links `(chain, 2, L, L)`."""
    first, second = links[:, 0], links[:, 1]
    return first + jnp.roll(second, -1, 1) - jnp.roll(first, -1, 2) - second


def force(links, beta):
    """dS/dtheta for S = -beta sum cos theta_P."""
    sine = beta * jnp.sin(plaquette(links))
    return jnp.stack([sine - jnp.roll(sine, 1, 2), jnp.roll(sine, 1, 1) - sine], axis=1)


def leapfrog(links, momentum, beta, step_size, steps):
    """Links and momenta after `steps` leapfrog steps."""

    def leap(carry, _):
        x, p = carry
        x = x + 0.5 * step_size * p
        p = p - step_size * force(x, beta)
        return (x + 0.5 * step_size * p, p), None

    return jax.lax.scan(leap, (links, momentum), None, length=steps)[0]


def trajectory(key, links, beta, step_size, steps):
    """One leapfrog trajectory and accept step for every chain."""
    draws, coins = jax.random.split(key)
    momentum = jax.random.normal(draws, links.shape, links.dtype)
    new, final = leapfrog(links, momentum, beta, step_size, steps)
    potential = beta * (jnp.cos(plaquette(links)) - jnp.cos(plaquette(new))).sum((1, 2))
    d_h = potential + 0.5 * ((final - momentum) * (final + momentum)).sum((1, 2, 3))
    accepted = jax.random.uniform(coins, d_h.shape, links.dtype) < jnp.exp(-d_h)
    return jnp.where(accepted[:, None, None, None], new, links), accepted


def chain(key, links, beta, step_size, steps, draws):
    """`draws` trajectories: the last links and what was accepted `(draw, chain)`."""
    return jax.lax.scan(lambda x, k: trajectory(k, x, beta, step_size, steps), links, jax.random.split(key, draws))
