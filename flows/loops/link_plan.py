"""Tables of a sum of Wilson loops as a function of the links of one mask, from the terms of one link (flows/loops/link_terms.py).

Everything is relative to a link U along axis 0, so that one plan serves all masks, and all directions along which the lattice
has the same terms: only the table of the links that are read differs. In the order of evaluation there are

    paths    the links around U, forward and reversed, and products of halves, level by level;
    traces   of the loops that avoid U; the factor z of each term is a product of traces and conjugates;
    single   V = sum c z L R over the terms that pass U once, L and R the halves of what closes their loops;
    strings  F U^s F' ... F'' of the pieces F of loops that pass U more often;
    pairs    of passages of a term, for its second derivatives: c z A (x) B with the strings A and B between the two.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow.flows.loops import algebra
from haarflow.flows.loops.algebra import Loop, Site
from haarflow.flows.loops.fields import halves
from haarflow.flows.loops.link_terms import Cycle, Term, conjugate, end

Place = tuple[int, int]  # a passage: which cycle, which passage in it
String = tuple[Loop | int, ...]  # F, s, F', s', ..., F''
Closed = tuple[int, String]  # tr U^s F ... F''
Numbers = dict[Any, int]  # indices in order of appearance
Kind = tuple[bool, int]  # whether two passages are of one loop, and the sign of the second; the first is forward
KINDS: tuple[Kind, ...] = ((True, 1), (True, -1), (False, 1), (False, -1))


class Entry(NamedTuple):
    """c z A (x) B: the coefficient's product and share, the rows of its two factors (the second depends on U), and A and B."""

    product: int
    share: float
    factor: int
    closed: int
    partner: String
    other: String


Group = tuple[dict[Kind, list[Entry]], Numbers]


class Sums(NamedTuple):
    """Entries grouped by A. `owners`, `shares`, `factors`, `closed`: their coefficients; `others`: rows of B.

    `groups`: (number of A, entries of each), in order; `partners`: rows of A.
    """

    owners: numpy.ndarray
    shares: numpy.ndarray
    factors: numpy.ndarray
    closed: numpy.ndarray
    others: numpy.ndarray
    groups: tuple[tuple[int, int], ...]
    partners: numpy.ndarray


class Pairs(NamedTuple):
    """The pairs of passages of all terms with a number of `passages`.

    `strings`: levels of rows (string, head), from the pieces on; `traces`: rows (string, s) of closed loops, `factors` the rows
    of these of which a factor is the product, or one. `kinds`: the entries of each of KINDS, None where there are none.
    """

    passages: int
    strings: tuple[numpy.ndarray, ...]
    traces: numpy.ndarray
    factors: numpy.ndarray
    kinds: tuple[Sums | None, ...]


class LinkPlan(NamedTuple):
    """Tables of one link's terms.

    `links`: (direction, site) of the links read, U itself first. Paths are these, their adjoints, one, and the products of
    `levels`, rows (left, right). `traces`: the halves of the loops that avoid U; `factors` `(z, most)`: rows of traces,
    their conjugates and one. `pieces`: the paths F; `heads`: rows (s, F) of U^s F.
    """

    links: tuple[tuple[int, Site], ...]
    levels: tuple[numpy.ndarray, ...]
    traces: numpy.ndarray
    factors: numpy.ndarray
    single: Sums | None
    pieces: numpy.ndarray
    heads: numpy.ndarray
    pairs: tuple[Pairs, ...]


@lru_cache(maxsize=64)
def link_plan(terms: tuple[Term, ...]) -> LinkPlan:
    """Return the plan of the terms of one link.

    >>> from haarflow.flows.loops import algebra, link_terms
    >>> plan = link_plan(link_terms.terms(algebra.tower(3, 2, 1), (4, 4)))
    >>> plan.links[0], len(plan.links), plan.single.groups, plan.pairs
    ((0, (0, 0)), 7, ((2, 1),), ())
    """
    factors: Numbers = {(): 0}
    once = [_once(term, factors) for term in terms if term.passages == 1]
    counts = sorted({term.passages for term in terms} - {1})
    groups = [_group([term for term in terms if term.passages == m], factors) for m in counts]
    strings = [string for group in groups for string in _known(group)]
    pieces = _numbered(piece for string in strings for piece in string[::2])
    heads = _numbered(string[-2:] for string in _levels(strings, 2))
    loops = _numbered(loop for z in factors for loop, _ in z)
    cut = [_cut(loop) for loop in loops]
    needed = [*itertools.chain(*cut), *pieces, *(path for e in once for path in (*e.partner, *e.other))]
    links, levels, rows = _paths(needed)
    return LinkPlan(
        links,
        levels,
        _table([(rows[left], rows[right]) for left, right in cut], 2),
        _factors([[loops[loop] + conj * len(loops) for loop, conj in z] for z in factors], 2 * len(loops)),
        _sums(once, _alone(rows)),
        _table([(rows[piece],) for piece in pieces], 1)[:, 0],
        _table([(sign, pieces[piece]) for sign, piece in heads], 2),
        tuple(_pairs(m, group, pieces, heads) for m, group in zip(counts, groups, strict=True)),
    )


def _once(term: Term, factors: Numbers) -> Entry:
    (((_, piece),),) = term.cycles
    left, right = _cut(piece)
    return Entry(term.product, term.share, _factor(term, factors), 0, (left,), (right,))


def _group(group: list[Term], factors: Numbers) -> Group:
    """The pairs of passages of some terms, by kind, and the factors that depend on U."""
    closed: Numbers = {(): 0}
    entries: dict[Kind, list[Entry]] = {kind: [] for kind in KINDS}
    for term in group:
        places = [(c, j) for c, cycle in enumerate(term.cycles) for j in range(len(cycle))]
        for pair in itertools.combinations(places, 2):
            turned, p, q = _oriented(term, *pair)
            a, b, rest = _opened(turned.cycles, p, q)
            factor, depends = _factor(turned, factors), _number(closed, tuple(sorted(rest)))
            kind = p[0] == q[0], turned.cycles[q[0]][q[1]][0]
            entries[kind].append(Entry(turned.product, turned.share, factor, depends, a, b))
    return entries, closed


def _known(group: Group) -> list[String]:
    """The strings of a group."""
    entries, closed = group
    pairs = [string for kind in entries.values() for entry in kind for string in (entry.partner, entry.other)]
    return pairs + [string for z in closed for _, string in z]


def _pairs(passages: int, group: Group, pieces: Numbers, heads: Numbers) -> Pairs:
    (entries, closed), rows = group, _alone(pieces)
    levels = []
    for _, level in itertools.groupby(_levels(_known(group), 2), key=len):
        new = list(level)
        levels.append(_table([(rows[string[:-2]], heads[string[-2:]]) for string in new], 2))
        rows |= {string: len(rows) + n for n, string in enumerate(new)}
    traces = _numbered(trace for z in closed for trace in z)
    return Pairs(
        passages,
        tuple(levels),
        _table([(rows[string], sign) for sign, string in traces], 2),
        _factors([[traces[trace] for trace in z] for z in closed], len(traces)),
        tuple(_sums(kind, rows) for kind in entries.values()),
    )


def _alone(rows: Numbers) -> dict[String, int]:
    """The rows of strings of one piece from those of the pieces."""
    return {(piece,): row for piece, row in rows.items()}


def _levels(strings: Iterable[String], fewest: int) -> list[String]:
    """All beginnings of strings with at least a number of pieces, the shorter ones first."""
    parts = {string[:k] for string in strings for k in range(2 * fewest - 1, len(string) + 1, 2)}
    return sorted(parts, key=lambda string: (len(string), string))


def _sums(entries: list[Entry], rows: dict[String, int]) -> Sums | None:
    """The entries in order of groups of A with the same number of entries."""
    if not entries:
        return None
    by_partner: dict[String, list[Entry]] = {}
    for entry in entries:
        by_partner.setdefault(entry.partner, []).append(entry)
    ordered = sorted(by_partner.values(), key=len)
    flat = [entry for group in ordered for entry in group]
    return Sums(
        numpy.asarray([entry.product for entry in flat], dtype="int32"),
        numpy.asarray([entry.share for entry in flat]),
        numpy.asarray([entry.factor for entry in flat], dtype="int32"),
        numpy.asarray([entry.closed for entry in flat], dtype="int32"),
        numpy.asarray([rows[entry.other] for entry in flat], dtype="int32"),
        tuple((len(list(same)), count) for count, same in itertools.groupby(map(len, ordered))),
        numpy.asarray([rows[group[0].partner] for group in ordered], dtype="int32"),
    )


def _paths(paths: list[Loop]) -> tuple[tuple[tuple[int, Site], ...], tuple[numpy.ndarray, ...], dict[Loop, int]]:
    """The links that paths are made of, levels of rows (left, right), and the row of each path."""
    tree: dict[Loop, int] = {}  # with the level of each path
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in tree:
            tree[path] = (len(path[0]) - 1).bit_length() if path[0] else 0
            waiting += _cut(path) if len(path[0]) > 1 else ()
    zero = (0,) * len(paths[0][1])
    places = {path: _link(path) for path in tree if len(path[0]) == 1}
    links = _numbered([(0, zero), *sorted(places.values())])
    rows = {path: links[link] + (path[0][0] < 0) * len(links) for path, link in places.items()}
    rows |= {path: 2 * len(links) for path in tree if not path[0]}
    levels, size = [], 2 * len(links) + 1
    longer = sorted((path for path in tree if len(path[0]) > 1), key=lambda path: (tree[path], path))
    for _, level in itertools.groupby(longer, key=tree.__getitem__):
        new = list(level)
        levels.append(_table([tuple(rows[half] for half in _cut(path)) for path in new], 2))
        rows |= {path: size + n for n, path in enumerate(new)}
        size += len(new)
    return tuple(links), tuple(levels), rows


def _link(path: Loop) -> tuple[int, Site]:
    """The direction and the site of the link of a single step."""
    (step,), start = path
    return abs(step) - 1, start if step > 0 else end(start, (step,))


def _cut(path: Loop) -> tuple[Loop, Loop]:
    """The halves of a path."""
    left, right = halves(path[0])
    return (left, path[1]), (right, end(path[1], left))


def _oriented(term: Term, p: Place, q: Place) -> tuple[Term, Place, Place]:
    """A term or its conjugate, and two of its passages in an order in which the first is forward."""
    if term.cycles[p[0]][p[1]][0] > 0:
        return term, p, q
    if term.cycles[q[0]][q[1]][0] > 0:
        return term, q, p
    p, q = ((c, -j % len(term.cycles[c])) for c, j in (p, q))
    return conjugate(term), p, q


def _opened(cycles: tuple[Cycle, ...], p: Place, q: Place) -> tuple[String, String, list[Closed]]:
    """The strings after two passages, up to the other one or around their own loop, and the traces of the other loops."""
    (c, j), (d, k) = p, q
    rest = [(cycle[0][0], _string(cycle, 0, 0)) for e, cycle in enumerate(cycles) if e not in (c, d)]
    if c == d:
        return _string(cycles[c], j, k), _string(cycles[c], k, j), rest
    return _string(cycles[c], j, j), _string(cycles[d], k, k), rest


def _string(cycle: Cycle, first: int, last: int) -> String:
    """What follows a passage of a loop, up to another one."""
    n = len(cycle)
    string: list[Loop | int] = [cycle[first][1]]
    for k in range(first + 1, first + ((last - first - 1) % n) + 1):
        string += cycle[k % n]
    return tuple(string)


def _factor(term: Term, factors: Numbers) -> int:
    return _number(factors, tuple(sorted(_canonical(loop) for loop in term.frozen)))


def _canonical(loop: Loop) -> tuple[Loop, bool]:
    """A loop in its canonical orientation and rotation, and whether that is the conjugate."""
    back = algebra.first_rotation((algebra.reverse(loop[0]), loop[1]))
    forward = algebra.first_rotation(loop)
    return (back, True) if back[0] < forward[0] else (forward, False)


def _numbered(names: Iterable[Any]) -> Numbers:
    return {name: n for n, name in enumerate(dict.fromkeys(names))}


def _number(numbers: Numbers, name: Any) -> int:
    """The number of a name, which is added if it is new."""
    return numbers.setdefault(name, len(numbers))


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> numpy.ndarray:
    return numpy.asarray(rows, dtype="int32").reshape(-1, columns)


def _factors(rows: list[list[int]], one: int) -> numpy.ndarray:
    """Rows of factors, filled up with that of one."""
    most = max(1, *map(len, rows))
    return _table([(*row, *[one] * (most - len(row))) for row in rows], most)
