"""Wrong generators of random numbers, with the laws that must catch them."""

import math
from types import ModuleType

from array_api_compat import array_namespace

from haarflow.core import random
from tests.mutants import Mutant


def generator_with(**functions):
    """The module `random` with some functions replaced, and those that rest on them."""

    def make(lattice):
        module = ModuleType("spoiled")
        module.__dict__.update({name: thing for name, thing in vars(random).items() if not name.startswith("__")})
        module.__dict__.update(functions)
        return module

    return make


def split_as_uniform(key, n=2):
    xp = array_namespace(key)
    numbers = xp.reshape(random.indices(key, n), (n,) + (1,) * key.ndim)
    return xp.concat(random._encipher(key[None, ...], numbers, random.UNIFORM), axis=-1)


def fold_in_as_words(key, number):
    xp = array_namespace(key)
    if isinstance(number, int):
        number = xp.zeros_like(key[..., 0]) + number
    numbers = number[..., None] + xp.zeros_like(key[..., :1])
    return xp.concat(random._encipher(key, numbers - 1, random.WORDS), axis=-1)


def uniform_from_zero(key, shape=(), dtype="float64"):
    u = random.uniform(key, shape, dtype)
    return u - (0.5 * 2.0**-52 if "64" in str(u.dtype) else 0.5 * 2.0**-23)


def threefry_of_19_rounds(key0, key1, x0, x1):
    schedule = (key0, key1, key0 ^ key1 ^ random.PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for group in range(5):
        for rotation in random.ROTATIONS[group % 2][: 3 if group == 4 else 4]:
            x0 = x0 + x1
            x1 = random._rotate_left(x1, rotation) ^ x0
        x0, x1 = x0 + schedule[(group + 1) % 3], x1 + schedule[(group + 2) % 3] + (group + 1)
    return x0, x1


def wide_normal(key, shape=(), dtype="float64"):
    return 1.03 * random.normal(key, shape, dtype)


def normal_of_one_branch(key, shape=(), dtype="float64"):
    xp, count = array_namespace(key), math.prod(shape)
    half = random.normal(key, (2 * ((count + 1) // 2),), dtype)[..., : (count + 1) // 2]
    return xp.reshape(xp.concat([half, half], axis=-1)[..., :count], key.shape[:-1] + tuple(shape))


def fold_in_nothing(key, number):
    return key + 0 * random.fold_in(key, number)


def words_of_the_first_key(key, shape):
    first = key if key.ndim == 1 else key[:1, :]
    return random.words(first + 0 * key, shape)


class Stateful:
    """A draw that remembers how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, key, shape=(), dtype="float64"):
        self.calls += 1
        return random.uniform(random.fold_in(key, self.calls), shape, dtype)


def uniform_squeezed(key, shape=(), dtype="float64"):
    return 0.98 * random.uniform(key, shape, dtype) + 0.01


def uniform_of_a_thousand(key, shape=(), dtype="float64"):
    """A long draw repeats its first 1000 numbers."""
    xp, count = array_namespace(key), math.prod(shape)
    if count <= 1000:
        return random.uniform(key, shape, dtype)
    first = random.uniform(key, (1000,), dtype)
    return xp.reshape(xp.concat([first] * (count // 1000 + 1), axis=-1)[..., :count], key.shape[:-1] + tuple(shape))


def normal_without_its_rest(key, shape=(), dtype="float64"):
    """Normals beyond whole chunks of 512 stay zero."""
    xp, drawn = array_namespace(key), random.normal(key, shape, dtype)
    rest = math.prod(shape) % 512 if len(shape) == 1 and math.prod(shape) > 512 else 0
    return (
        xp.concat([drawn[..., : drawn.shape[-1] - rest], 0.0 * drawn[..., drawn.shape[-1] - rest :]], axis=-1)
        if rest
        else drawn
    )


def words_beyond_a_limit(key, shape):
    """Beyond 128 words another key is used."""
    return random.words(key if math.prod(shape) <= 128 else random.fold_in(key, 1), shape)


SHAPES = {}


def uniform_of_the_first_shape(key, shape=(), dtype="float64"):
    """A draw has the shape in which so many numbers were first drawn."""
    first = SHAPES.setdefault(math.prod(shape), tuple(shape))
    return random.uniform(key, first, dtype)


RANDOM = (
    Mutant("a thousand numbers, again and again", "random", generator_with(uniform=uniform_of_a_thousand), ("any_length",)),
    Mutant("normals without the rest of a chunk", "random", generator_with(normal=normal_without_its_rest), ("any_length",)),
    Mutant("another key beyond 128 words", "random", generator_with(words=words_beyond_a_limit), ("any_length",)),
    Mutant("shapes by their size alone", "random", generator_with(uniform=uniform_of_the_first_shape), ("remembers_nothing",)),
    Mutant("split shares words with uniform", "random", generator_with(split=split_as_uniform), ("disjoint_streams", "same_bits")),
    Mutant("fold_in shares words with words", "random", generator_with(fold_in=fold_in_as_words), ("disjoint_streams", "same_bits")),
    Mutant("fold_in ignores its number", "random", generator_with(fold_in=fold_in_nothing), ("disjoint_streams", "uniform_moments")),
    Mutant("uniform closed at zero", "random", generator_with(uniform=uniform_from_zero), ("open_interval", "same_bits")),
    Mutant("uniform inside (0.01, 0.99)", "random", generator_with(uniform=uniform_squeezed), ("uniform_moments", "open_interval")),
    Mutant("threefry of 19 rounds", "random", generator_with(threefry=threefry_of_19_rounds), ("published_vectors",)),
    Mutant("normals 3% too wide", "random", generator_with(normal=wide_normal), ("normal_moments", "box_muller")),
    Mutant("one branch of Box and Muller twice", "random", generator_with(normal=normal_of_one_branch), ("normal_moments", "box_muller")),
    Mutant("all chains draw the first key's words", "random", generator_with(words=words_of_the_first_key), ("one_key_or_many", "same_bits")),
    Mutant("a draw with hidden state", "random", lambda lattice: generator_with(uniform=Stateful())(lattice), ("same_bits_compiled", "same_bits")),
)  # fmt: skip
