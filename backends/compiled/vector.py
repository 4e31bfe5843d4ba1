"""Vector code for host memory: loop bodies written in plain Python on symbolic numbers, compiled by LLVM.

A body is a function of rows; `row[k]` is the k-th component of the next WIDTH lanes (sites, chains), a vector register.
The body runs once, at compilation, and emits one instruction per operation: loops over components unroll, nothing is
allocated, and no two arrays can alias, which is what keeps compilers from vectorising loops over small matrices. XLA
writes a loop for each output of a matrix product and loads its factors again each time; here they stay in registers.

Needs the optional package numba, which brings LLVM (`pip install 'haarflow[compiled]'`); `is_present` says whether it is
installed. The loops around the bodies are compiled by Numba, see backends/compiled/loops.py.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib import util
from typing import Any, NamedTuple

WIDTH = 4  # doubles per register (AVX2); other machines split or join them
BYTES = 8
ADDRESSES: dict[str, int] = {}  # of the functions in memory, by their names
FLAGS = ("contract", "nsz")  # a product and a sum may be fused; nothing else is rearranged


class Register(NamedTuple):
    """What a vector register holds: `width` numbers of a type, "float64" or "float32"."""

    number: str = "float64"
    width: int = WIDTH

    @property
    def bytes(self) -> int:
        """Bytes of one number."""
        return 8 if self.number == "float64" else 4


DOUBLES = Register()


@cache
def is_present() -> bool:
    """Return whether kernels can be compiled, without importing the compiler."""
    return util.find_spec("numba") is not None


class Lanes:
    """One number for each lane while a body is compiled: + - * / with other lanes and with Python numbers.

    Products with 0 and 1 and sums with 0 emit no instruction, so formulas may contain zeros.
    """

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else self._of("fadd", self.value, self._value(other))

    def __sub__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else self.minus(other)

    def __rsub__(self, other: Any) -> Any:
        return self._of("fsub", self._value(other), self.value)

    def __mul__(self, other: Any) -> Any:
        if _is(other, 0.0) or _is(other, 1.0):
            return self if other else 0.0
        return self._of("fmul", self.value, self._value(other))

    def __truediv__(self, other: Any) -> Lanes:
        return self._of("fdiv", self.value, self._value(other))

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._of("fdiv", self._value(other), self.value)

    def __neg__(self) -> Any:
        return 0.0 - self

    __radd__, __rmul__ = __add__, __mul__

    def minus(self, other: Any) -> Lanes:
        """The difference as an instruction, also with zero."""
        return self._of("fsub", self.value, self._value(other))

    def rounded(self) -> Any:
        """The nearest integer, halves to even, below 2^51: the number added leaves no bits for a fraction."""
        return self + 1.5 * 2.0**52 - 1.5 * 2.0**52

    def floor(self) -> Lanes:
        """The largest integer not above the number."""
        return self._by("llvm.floor")

    def sqrt(self) -> Lanes:
        """The square root."""
        return self._by("llvm.sqrt")

    def below(self, limit: Any, small: Any, large: Any) -> Lanes:
        """`small` where the number is less than `limit`, `large` elsewhere."""
        chosen = self.builder.fcmp_ordered("<", self.value, self._value(limit))
        return Lanes(self.builder, self.builder.select(chosen, self._value(small), self._value(large)))

    def word(self) -> Words:
        """The integer as a word of 32 bits."""
        return Words(self.builder, self.builder.fptosi(self.value, _words(32)))

    def exponent(self) -> Lanes:
        """The largest k with 2^k no larger than the positive, normal number."""
        bits = self.builder.lshr(self.builder.bitcast(self.value, _words(64)), _integer(64, 52))
        return _float_of(self.builder, bits, 2.0**52).minus(2.0**52 + 1023.0)

    def fraction(self) -> Lanes:
        """The positive, normal number divided by 2^exponent, in [1, 2)."""
        bits = self.builder.bitcast(self.value, _words(64))
        return _float_of(self.builder, self.builder.and_(bits, _integer(64, 2**52 - 1)), 1.0)

    def largest(self, other: Lanes) -> Lanes:
        """The larger of two numbers, `other` where this one is NaN."""
        chosen = self.builder.fcmp_ordered(">", self.value, other.value)
        return Lanes(self.builder, self.builder.select(chosen, self.value, other.value))

    def where_any_zero(self, numbers: list[Any], others: Callable[[], list[Any]]) -> list[Lanes]:
        """`others()` if this number is zero in any of the lanes, else `numbers`; `others` is computed only if needed."""
        from llvmlite import ir

        builder, before = self.builder, self.builder.block
        zero = builder.fcmp_ordered("==", self.value, _constant(0.0))
        with builder.if_then(
            builder.icmp_unsigned("!=", builder.bitcast(zero, ir.IntType(WIDTH)), ir.IntType(WIDTH)(0))
        ):
            changed, inside = others(), builder.block
        chosen = []
        for old, new in zip(numbers, changed, strict=True):
            either = builder.phi(_vector())
            either.add_incoming(self._value(old), before)
            either.add_incoming(self._value(new), inside)
            chosen.append(Lanes(builder, either))
        return chosen

    def nan_beyond(self, limit: float) -> Lanes:
        """Zero where the number is at most `limit`, NaN elsewhere."""
        trusted = self.builder.fcmp_ordered("<=", self.value, _constant(limit))
        return Lanes(self.builder, self.builder.select(trusted, _constant(0.0), _constant(math.nan)))

    def _value(self, other: Any) -> Any:
        return other.value if isinstance(other, Lanes) else _constant(other, self.value.type)

    def _by(self, name: str) -> Lanes:
        from llvmlite import ir

        module, name = self.builder.module, f"{name}.v{WIDTH}f64"
        known = module.globals.get(name)
        function = known or ir.Function(module, ir.FunctionType(_vector(), [_vector()]), name)
        return Lanes(self.builder, self.builder.call(function, [self.value]))

    def _of(self, operation: str, a: Any, b: Any) -> Lanes:
        emit = getattr(self.builder, operation)  # the instruction of this name
        return Lanes(self.builder, emit(a, b, flags=FLAGS))


def _is(x: Any, number: float) -> bool:
    return isinstance(x, int | float) and x == number


class Words:
    """A word of 32 bits for each lane: +, * and ^ with others and with Python integers, all modulo 2^32.

    Two of them `beside` each other fill a register: an operation on both costs as much as on one.
    """

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def __add__(self, other: Any) -> Words:
        return Words(self.builder, self.builder.add(self.value, self._value(other)))

    def __mul__(self, other: Any) -> Words:
        return Words(self.builder, self.builder.mul(self.value, self._value(other)))

    def __xor__(self, other: Any) -> Words:
        return Words(self.builder, self.builder.xor(self.value, self._value(other)))

    def rotated(self, bits: int) -> Words:
        """The word rotated to the left."""
        left = self.builder.shl(self.value, self._value(bits))
        right = self.builder.lshr(self.value, self._value(32 - bits))
        return Words(self.builder, self.builder.or_(left, right))

    def beside(self, other: Words) -> Words:
        """This word and another in twice as many lanes."""
        return self._chosen(other, range(2 * WIDTH))

    def halves(self) -> tuple[Words, Words]:
        """Undo `beside`."""
        return self._chosen(self, range(WIDTH)), self._chosen(self, range(WIDTH, 2 * WIDTH))

    def unit(self, low: Words) -> Lanes:
        """(n + 1/2) 2^-52 with 26 bits of n from the top of this word and 26 from the top of `low`."""
        high, low = (self._wide(self.builder.lshr(word.value, _integer(32, 6))) for word in (self, low))
        bits = self.builder.or_(self.builder.shl(high, _integer(64, 26)), low)
        return _float_of(self.builder, bits, 1.0).minus(1.0 - 2.0**-53)

    def _wide(self, value: Any) -> Any:
        return self.builder.zext(value, _words(64))

    def _chosen(self, other: Words, lanes: Any) -> Words:
        from llvmlite import ir

        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        return Words(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def _value(self, other: Any) -> Any:
        from llvmlite import ir

        return (
            other.value if isinstance(other, Words) else ir.Constant(self.value.type, [other] * self.value.type.count)
        )


class Row:
    """Memory seen from one lane on: component k is `k * stride` bytes further."""

    def __init__(self, builder: Any, address: Any, stride: int, register: Register = DOUBLES):
        self.builder, self.address, self.stride, self.register = builder, address, stride, register

    def __getitem__(self, component: int) -> Lanes:
        return Lanes(self.builder, self._load(component * self.stride))

    def __setitem__(self, component: int, number: Any) -> None:
        value = number.value if isinstance(number, Lanes) else _constant(number, _vector(self.register))
        self._store(value, component * self.stride)

    def pairs(self) -> tuple[Lanes, Lanes]:
        """The next 2 x width numbers, split into those at even and those at odd positions."""
        from llvmlite import ir

        width = self.register.width
        mask, parts = ir.VectorType(ir.IntType(32), width), []
        halves = [self._load(half * width * self.register.bytes) for half in range(2)]
        for odd in range(2):
            positions = ir.Constant(mask, [2 * lane + odd for lane in range(width)])
            parts.append(Lanes(self.builder, self.builder.shuffle_vector(*halves, positions)))
        return parts[0], parts[1]

    def put_pairs(self, even: Lanes, odd: Lanes) -> None:
        """Undo `pairs`: write the next 2 x width numbers."""
        from llvmlite import ir

        width = self.register.width
        mask = ir.VectorType(ir.IntType(32), width)
        for half in range(2):
            places = range(half * width, (half + 1) * width)
            lanes = ir.Constant(mask, [place // 2 + width * (place % 2) for place in places])
            self._store(self.builder.shuffle_vector(even.value, odd.value, lanes), places[0] * self.register.bytes)

    def behind(self, components: int) -> Row:
        """The row that begins some components later."""
        return self.further(components * self.stride)

    def further(self, distance: int) -> Row:
        """The row that begins some bytes later."""
        return Row(self.builder, self.builder.add(self.address, _bytes(distance)), self.stride, self.register)

    def everywhere(self, distance: int) -> Lanes:
        """The one number that lies some bytes further, in all lanes."""
        from llvmlite import ir

        vector = _vector(self.register)
        pointer = self.builder.inttoptr(self.builder.add(self.address, _bytes(distance)), vector.element.as_pointer())
        number = self.builder.load(pointer, align=self.register.bytes)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
        return Lanes(self.builder, self.builder.shuffle_vector(first, first, lanes))

    def prefetch(self, distance: int) -> None:
        """Ask for the cache line that lies some bytes further."""
        from llvmlite import ir

        byte, word, module = ir.IntType(8), ir.IntType(32), self.builder.module
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), word, word, word])
        name = "llvm.prefetch.p0i8"
        function = module.globals.get(name) or ir.Function(module, kind, name)
        pointer = self.builder.inttoptr(self.builder.add(self.address, _bytes(distance)), byte.as_pointer())
        self.builder.call(function, [pointer, word(0), word(3), word(1)])

    def _load(self, distance: int) -> Any:
        return self.builder.load(self._at(distance), align=self.register.bytes)

    def _store(self, value: Any, distance: int) -> None:
        self.builder.store(value, self._at(distance), align=self.register.bytes)

    def _at(self, distance: int) -> Any:
        pointer = _vector(self.register).as_pointer()
        return self.builder.inttoptr(self.builder.add(self.address, _bytes(distance)), pointer)


def compiled(
    body: Callable[..., None],
    rows: int,
    stride: int | Sequence[int],
    fixed: int = 0,
    paired: int = 0,
    register: Register = DOUBLES,
) -> Code:
    """Return machine code for `body(*rows)` at all lanes.

    Rows are arrays `(component, lane)` of the register's numbers whose length is a multiple of the register's, components
    `stride` bytes apart (a number, or one for each row), fixed at compilation so that no addresses are computed later. The
    last `fixed` rows do not move with the lanes; the first `paired` hold two adjacent numbers per lane, see `Row.pairs`.

    >>> import numpy
    >>> def double(x, y):
    ...     y[0] = 2.0 * x[0]
    >>> y = numpy.zeros((1, 4))
    >>> compiled(double, rows=2, stride=32)(numpy.asarray([[1.0, 2.0, 3.0, 4.0]]), y)
    >>> y
    array([[2., 4., 6., 8.]])
    """
    from llvmlite import ir

    word, module = ir.IntType(64), ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * (rows + 1)), "body")
    end, *addresses = function.args
    entry, loop, done = (function.append_basic_block() for _ in range(3))
    ir.IRBuilder(entry).branch(loop)
    builder = ir.IRBuilder(loop)
    lane = builder.phi(word)
    moving = [builder.add(address, lane) for address in addresses[: rows - fixed]]
    moving[:paired] = [builder.add(address, lane) for address in moving[:paired]]
    strides = [stride] * rows if isinstance(stride, int) else stride
    found = zip([*moving, *addresses[rows - fixed :]], strides, strict=True)
    body(*(Row(builder, address, apart, register) for address, apart in found))
    following = builder.add(lane, ir.Constant(word, register.width * register.bytes))
    lane.add_incoming(ir.Constant(word, 0), entry)
    lane.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), loop, done)
    ir.IRBuilder(done).ret_void()
    return Code(str(module))


class Code:
    """The function `body` of a module in memory, compiled for this machine; it stays there until the process ends.

    The same text is compiled once. The function at `address` takes the end of the lanes in bytes and the addresses of the rows.
    """

    def __init__(self, module: str):
        name = f"body_{hashlib.sha256(module.encode()).hexdigest()}"
        if name not in ADDRESSES:
            ADDRESSES[name] = _added(module.replace('@"body"', f'@"{name}"'), name)
        self.address = ADDRESSES[name]

    def __call__(self, *rows: Any) -> None:
        """Run on arrays `(component, lane)` of the stride it was compiled for."""
        integers = [rows[0].shape[-1] * rows[0].itemsize, *(row.ctypes.data for row in rows)]
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(integers))(self.address)(*integers)


def _added(module: str, name: str) -> int:
    """Compile a module, and return the address of its function."""
    from llvmlite import binding

    machine, engine = _compiler()
    parsed = binding.parse_assembly(module)
    # Level 1, as level 2 makes the same code of straight lines and leaks three times as much in each run, 0.8 MiB.
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=1))
    builder.getModulePassManager().run(parsed, builder)
    engine.add_object_file(binding.ObjectFileRef.from_data(machine.emit_object(parsed)))
    engine.finalize_object()
    return int(engine.get_function_address(name))


@cache
def _compiler() -> tuple[Any, Any]:
    """Return what makes code for this machine and the engine that holds it.

    There is one of each, as every engine takes a megabyte; it is given code, not modules, which it would keep.
    """
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    machine, owned = (target.create_target_machine(cpu=cpu, features=features, opt=3) for _ in range(2))
    return machine, binding.create_mcjit_compiler(binding.parse_assembly(""), owned)


def _vector(register: Register = DOUBLES) -> Any:
    from llvmlite import ir

    return ir.VectorType(ir.DoubleType() if register.number == "float64" else ir.FloatType(), register.width)


def _bytes(number: int) -> Any:
    from llvmlite import ir

    return ir.Constant(ir.IntType(64), number)


def _words(bits: int) -> Any:
    from llvmlite import ir

    return ir.VectorType(ir.IntType(bits), WIDTH)


def _constant(number: float, vector: Any = None) -> Any:
    from llvmlite import ir

    vector = vector or _vector()
    return ir.Constant(vector, [float(number)] * vector.count)


def _integer(bits: int, number: int) -> Any:
    from llvmlite import ir

    return ir.Constant(_words(bits), [number] * WIDTH)


def _float_of(builder: Any, bits: Any, begin: float) -> Lanes:
    """The number whose last 52 bits are `bits` and whose other bits are those of `begin`, a power of 2."""
    above = builder.bitcast(_constant(begin), _words(64))
    return Lanes(builder, builder.bitcast(builder.or_(bits, above), _vector()))
