"""Gauge files written and measured site by site with struct and loops: slow reference code that shares nothing with ours.

Links are `(4, N, N, T, X, Y, Z)` with directions t, x, y, z; files count directions x, y, z, t.
"""

import itertools
import struct
import zlib

import numpy

SPACE_FIRST = (1, 2, 3, 0)


def random_links(generator, lattice, n=3):
    """Random SU(n) links: the unitary factor of Gaussian matrices, with its determinant divided out."""
    shape = (4, *lattice, n, n)
    q, r = numpy.linalg.qr(generator.normal(size=shape) + 1j * generator.normal(size=shape))
    phases = numpy.einsum("...ii->...i", r)
    q = q * (phases / abs(phases))[..., None, :]
    q = q / (numpy.linalg.det(q) ** (1 / n))[..., None, None]
    return numpy.ascontiguousarray(q.transpose(0, 5, 6, 1, 2, 3, 4))


def packed(links, order, kind, rows):
    """The bytes of every site as ILDG, NERSC and MILC order them, t slowest and x fastest: "<" or ">", "f" or "d"."""
    _, n, _, *lattice = links.shape
    t, x, y, z = map(range, lattice)
    found = []
    for it, iz, iy, ix in itertools.product(t, z, y, x):
        numbers = []
        for mu, a, b in itertools.product(SPACE_FIRST, range(rows), range(n)):
            entry = links[mu, a, b, it, ix, iy, iz]
            numbers += [entry.real, entry.imag]
        found.append(struct.pack(f"{order}{len(numbers)}{kind}", *numbers))
    return found


def rotated(word, left):
    """A 32-bit word rotated left."""
    return ((word << left) | (word >> (32 - left))) & 0xFFFFFFFF


def scidac_sums(sites):
    """xor over sites of CRC32, rotated by the site's index mod 29 and mod 31."""
    a = b = 0
    for rank, site in enumerate(sites):
        a ^= rotated(zlib.crc32(site), rank % 29)
        b ^= rotated(zlib.crc32(site), rank % 31)
    return a, b


def word_sums(data, order):
    """(NERSC's sum, MILC's sum29, MILC's sum31) of the 32-bit words in `data`."""
    total = a = b = 0
    for rank, (word,) in enumerate(struct.iter_unpack(order + "I", data)):
        total = (total + word) & 0xFFFFFFFF
        a ^= rotated(word, rank % 29)
        b ^= rotated(word, rank % 31)
    return total, a, b


def cksum(data):
    """What the command cksum prints: the POSIX CRC of the bytes and of their number, bit by bit."""
    crc = 0
    for byte in [*data, *len(data).to_bytes((len(data).bit_length() + 7) // 8, "little")]:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc ^ 0xFFFFFFFF


def nersc_file(links, rows=2, floating="IEEE64BIG", order=">", kind="d", **changes):
    """A NERSC file; `changes` replace or, with None, remove header lines."""
    _, n, _, t, x, y, z = links.shape
    data = b"".join(packed(links, order, kind, rows))
    words = {
        "HDR_VERSION": "1.0",
        "DATATYPE": f"4D_SU{n}_GAUGE" + (f"_{n}x{n}" if rows == n else ""),
        "DIMENSION_1": x,
        "DIMENSION_2": y,
        "DIMENSION_3": z,
        "DIMENSION_4": t,
        "CHECKSUM": f"{word_sums(data, order)[0]:x}",
        "LINK_TRACE": f"{link_trace(links):.10f}",
        "PLAQUETTE": f"{plaquette(links):.10f}",
        "FLOATING_POINT": floating,
        **changes,
    }
    lines = ["BEGIN_HEADER", *(f"{name} = {value}" for name, value in words.items() if value is not None)]
    return "\n".join([*lines, "END_HEADER", ""]).encode() + data


def openqcd_file(links, order="<"):
    """An openQCD file: odd sites with eight links each, forward and backward."""
    lattice = links.shape[3:]
    found = [struct.pack(f"{order}4id", *lattice, links.shape[1] * plaquette(links))]
    for site in itertools.product(*map(range, lattice)):
        if sum(site) % 2 == 1:
            for mu in range(4):
                behind = list(site)
                behind[mu] = (behind[mu] - 1) % lattice[mu]
                for place in (site, tuple(behind)):
                    for entry in links[(mu, slice(None), slice(None), *place)].reshape(-1):
                        found.append(struct.pack(f"{order}2d", entry.real, entry.imag))
    return b"".join(found)


def hirep_file(links, order=">", rows=None):
    """A HiRep file; `rows` = 1 stores SU(2) as four real numbers."""
    _, n, _, *lattice = links.shape
    found = [struct.pack(f"{order}5id", n, *lattice, plaquette(links))]
    for site in itertools.product(*map(range, lattice)):
        for mu in range(4):
            u = links[(mu, slice(None), slice(None), *site)]
            if rows == 1:
                numbers = [u[0, 0].real, u[1, 0].imag, u[1, 0].real, -u[1, 1].imag]
            else:
                numbers = [part for entry in u.reshape(-1) for part in (entry.real, entry.imag)]
            found.append(struct.pack(f"{order}{len(numbers)}d", *numbers))
    return b"".join(found)


def milc_file(links, order="<", magic=20103, arrangement=0, kind="f"):
    """A MILC version 5 file, in single precision as MILC writes it or in double."""
    _, n, _, t, x, y, z = links.shape
    data = b"".join(packed(links, order, kind, n))
    head = struct.pack(f"{order}5i64si", magic, x, y, z, t, b"Thu Jan  1 00:00:00 1970", arrangement)
    return head + struct.pack(f"{order}2I", *word_sums(data, order)[1:]) + data


def lime_file(*records):
    """A LIME file of (type, payload) records in one message."""
    found = []
    for number, (kind, payload) in enumerate(records):
        bits = (0x8000 if number == 0 else 0) | (0x4000 if number == len(records) - 1 else 0)
        found.append(struct.pack(">IHHQ", 0x456789AB, 1, bits, len(payload)) + kind.encode().ljust(128, b"\0"))
        found.append(payload + b"\0" * (-len(payload) % 8))
    return b"".join(found)


def lime_records(data):
    """The (type, payload, bits) of a LIME file's records, by independent code."""
    place, found = 0, []
    while place < len(data):
        magic, version, bits, length = struct.unpack_from(">IHHQ", data, place)
        assert (magic, version) == (0x456789AB, 1)
        kind = data[place + 16 : place + 144].rstrip(b"\0").decode()
        found.append((kind, data[place + 144 : place + 144 + length], bits))
        place += 144 + length + (-length % 8)
    assert place == len(data)
    return found


def ildg_format(lattice, n=3, precision=64, field=None):
    """The XML of the record ildg-format."""
    t, x, y, z = lattice
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ildgFormat xmlns="http://www.lqcd.org/ildg">\n'
        f"  <version> 1.0 </version>\n  <field> {field or f'su{n}gauge'} </field>\n"
        f"  <precision> {precision} </precision>\n  <lx> {x} </lx> <ly> {y} </ly> <lz> {z} </lz> <lt> {t} </lt>\n"
        "</ildgFormat>\n"
    ).encode()


def checksum_xml(sums):
    """The XML of the record scidac-checksum."""
    a, b = sums
    return (
        f"<scidacChecksum><version>1.0</version><suma>{a:x}</suma><sumb>{b:x}</sumb></scidacChecksum>".encode() + b"\0"
    )


def ildg_file(links, kind="d", order=">", extra=(), **format_words):
    """An ILDG file with its checksum and `extra` records at the end."""
    sites = packed(links, order, kind, links.shape[1])
    head = ildg_format(links.shape[3:], links.shape[1], {"d": 64, "f": 32}[kind], **format_words)
    sums = checksum_xml(scidac_sums(sites))
    return lime_file(("ildg-format", head), ("ildg-binary-data", b"".join(sites)), ("scidac-checksum", sums), *extra)


def plaquette(links):
    """<1/N Re tr P> by a loop over sites."""
    lattice, n, total, count = links.shape[3:], links.shape[1], 0.0, 0

    def link(mu, site):
        return links[(mu, slice(None), slice(None), *site)]

    def step(site, mu):
        return tuple((s + (axis == mu)) % lattice[axis] for axis, s in enumerate(site))

    for site in itertools.product(*map(range, lattice)):
        for mu, nu in itertools.combinations(range(4), 2):
            loop = link(mu, site) @ link(nu, step(site, mu))
            loop = loop @ link(mu, step(site, nu)).conj().T @ link(nu, site).conj().T
            total, count = total + loop.trace().real / n, count + 1
    return total / count


def link_trace(links):
    """<1/N Re tr U>."""
    return numpy.einsum("maa...->m...", links).real.mean() / links.shape[1]


def files_of(field):
    """The field in every format: name -> bytes."""
    return {
        "ildg": ildg_file(field),
        "ildg-32": ildg_file(field, kind="f"),
        "nersc": nersc_file(field),
        "nersc-3x3": nersc_file(field, 3, "IEEE32LITTLE", "<", "f"),
        "openqcd": openqcd_file(field),
        "milc": milc_file(field),
        "milc-big": milc_file(field, ">"),
        "hirep": hirep_file(field),
    }


def stored(folder, data, name="u.dat"):
    """Write bytes and return the path."""
    (folder / name).write_bytes(data)
    return folder / name
