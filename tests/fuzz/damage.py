"""Strategies that damage good inputs: bytes of any file, and the values of nested tables."""

import copy

from hypothesis import strategies as st

WORDS = (
    "",
    "x",
    "../../../x",
    "<b>",
    "os.system('x')",
    "numpy",
    "nan",
    "-1",
    "\0",
    "kind",
    "name",
    "Repeat",
    "a" * 300,
)
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65536, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, 10**400)
REALS = (0.0, -1.5, 1e6, 1e300, 1e-300, float("inf"), float("nan"))
PLAIN = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(NUMBERS),
    st.sampled_from(REALS),
    st.booleans(),
    st.text(max_size=6),
    st.integers(),
)


def nested(depth):
    """A value inside so many lists and tables in turn."""
    value = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


VALUES = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=4),
    st.dictionaries(st.sampled_from(WORDS), PLAIN, max_size=3),
    st.sampled_from((10, 40, 120)).map(nested),
)
PLACE = st.integers(0, 2**20)
EDITS = st.lists(
    st.tuples(st.sampled_from(("set", "drop", "add", "copy")), PLACE, PLACE, VALUES), min_size=1, max_size=3
)


def places(value):
    """Every (container, key) of a nested table, outside in."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop(0)
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def edited(table, edits):
    """A copy of a table with values set, dropped, added and copied from elsewhere in it."""
    table = copy.deepcopy(table)
    for word, at, other, value in edits:
        known = places(table)
        if not known:
            return table
        container, key = known[at % len(known)]
        if word == "drop":
            del container[key]
        elif word == "add" and isinstance(container, dict):
            container[WORDS[other % len(WORDS)]] = value
        elif word == "copy":
            there, name = known[other % len(known)]
            container[key] = copy.deepcopy(there[name])
        else:
            container[key] = value
    return table


BYTES = st.lists(
    st.tuples(st.sampled_from(("put", "cut", "insert", "double")), PLACE, st.integers(0, 255)), min_size=1, max_size=4
)


def broken(data, edits, first=0, last=None):
    """Bytes with some changed, inserted, doubled, or with the end cut off, at places from `first` to `last`."""
    whole = bytearray(data)
    for word, at, value in edits:
        span = max((len(whole) if last is None else min(last, len(whole))) - first, 1)
        place = min(first + at % span, max(len(whole) - 1, 0))
        if not whole:
            return b""
        if word == "put":
            whole[place] = value
        elif word == "insert":
            whole[place:place] = bytes([value]) * (1 + value % 9)
        elif word == "double":
            whole[place:place] = whole[place : place + 16]
        else:
            del whole[place:]
    return bytes(whole)
