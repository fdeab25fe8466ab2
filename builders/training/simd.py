"""Matrix products over lanes: LANES models at once, one model a SIMD lane.

Every array carries a trailing axis of LANES models, so that one vector instruction does the same multiply-add for all of
them. A product of small matrices then has no remainder columns, no packing and no horizontal sum, and reaches 46 to 76 of
the 84 GFLOP/s that a core gives a 1024-square matrix, where batched library calls on these shapes reach 17 to 40. Lanes
never mix and each sum runs in one fixed order with fused multiply-adds, so a model's result does not depend on its
neighbours or its place, and is equal by bit on every machine with IEEE arithmetic.

The register tile is written in LLVM IR (numba intrinsics): loops of numba keep accumulators in memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 8

_FLOAT = ir.FloatType()
_INDEX = ir.IntType(64)
_LANES = ir.VectorType(_FLOAT, LANES)
_ALIGN = 4 * LANES


def aligned(n_vectors: int) -> NDArray[np.float32]:
    """Zeros [n_vectors * LANES] float32 that start on a cache line, as the kernels require."""
    raw = np.zeros(n_vectors * LANES + 16, np.float32)
    start = (-raw.ctypes.data // 4) % 16
    return raw[start : start + n_vectors * LANES]


def _tile(height: int, width: int) -> Callable[..., Any]:
    """An intrinsic that computes a `height` x `width` tile of C (+)= A B over lanes, accumulators in registers.

    Offsets and strides count floats: A[i, k] is at a + i * ai + k * ak, B[k, j] at b + k * bk + j * bj, C[i, j] at
    c + i * ci + j * cj.
    """

    @intrinsic
    def tile(typing, a_arr, a, ai, ak, b_arr, b, bk, bj, c_arr, c, ci, cj, depth, add):
        offsets = (types.int64,) * 3
        signature = types.void(a_arr, *offsets, b_arr, *offsets, c_arr, *offsets, types.int64, types.boolean)

        def generate(context, builder, sig, args):
            data = [
                builder.bitcast(context.make_array(kind)(context, builder, value).data, _FLOAT.as_pointer())
                for kind, value in zip(sig.args, args, strict=True)
                if isinstance(kind, types.Array)
            ]
            a, ai, ak, b, bk, bj, c, ci, cj, depth, add = (
                v for v, k in zip(args, sig.args, strict=True) if not isinstance(k, types.Array)
            )
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_LANES, [_LANES] * 3), f"llvm.fma.v{LANES}f32")

            def at(array: int, *terms: tuple[Any, Any]) -> Any:
                """Pointer to the lanes at the sum of products of terms."""
                offset = _INDEX(0)
                for x, y in terms:
                    offset = builder.add(offset, builder.mul(x, y))
                return builder.bitcast(builder.gep(data[array], [offset]), _LANES.as_pointer())

            def load(pointer: Any) -> Any:
                value = builder.load(pointer)
                value.align = _ALIGN
                return value

            one = _INDEX(1)
            cells = [(i, j) for i in range(height) for j in range(width)]
            out = {(i, j): at(2, (c, one), (ci, _INDEX(i)), (cj, _INDEX(j))) for i, j in cells}
            sums = {cell: cgutils.alloca_once(builder, _LANES) for cell in cells}
            with builder.if_else(add) as (then, otherwise):
                with then:
                    for cell in cells:
                        builder.store(load(out[cell]), sums[cell])
                with otherwise:
                    for cell in cells:
                        builder.store(_LANES([0.0] * LANES), sums[cell])
            with cgutils.for_range(builder, depth, intp=_INDEX) as loop:
                left = [load(at(0, (a, one), (ak, loop.index), (ai, _INDEX(i)))) for i in range(height)]
                for j in range(width):
                    right = load(at(1, (b, one), (bk, loop.index), (bj, _INDEX(j))))
                    for i in range(height):
                        builder.store(builder.call(fma, [left[i], right, builder.load(sums[i, j])]), sums[i, j])
            for cell in cells:
                builder.store(builder.load(sums[cell]), out[cell]).align = _ALIGN
            return context.get_dummy_value()

        return signature, generate

    return tile


_tile_4x2, _tile_4x1, _tile_1x2, _tile_1x1 = _tile(4, 2), _tile(4, 1), _tile(1, 2), _tile(1, 1)


@njit(nogil=True, cache=True)
def product(a, a0, ai, ak, b, b0, bk, bj, c, c0, ci, cj, m, n, depth, add):
    """C[m, n] (+)= A[m, depth] B[depth, n] for every lane; offsets and strides in floats, as for a tile."""
    i = 0
    while i + 4 <= m:
        j = 0
        while j + 2 <= n:
            _tile_4x2(a, a0 + i * ai, ai, ak, b, b0 + j * bj, bk, bj, c, c0 + i * ci + j * cj, ci, cj, depth, add)
            j += 2
        if j < n:
            _tile_4x1(a, a0 + i * ai, ai, ak, b, b0 + j * bj, bk, bj, c, c0 + i * ci + j * cj, ci, cj, depth, add)
        i += 4
    while i < m:
        j = 0
        while j + 2 <= n:
            _tile_1x2(a, a0 + i * ai, ai, ak, b, b0 + j * bj, bk, bj, c, c0 + i * ci + j * cj, ci, cj, depth, add)
            j += 2
        if j < n:
            _tile_1x1(a, a0 + i * ai, ai, ak, b, b0 + j * bj, bk, bj, c, c0 + i * ci + j * cj, ci, cj, depth, add)
        i += 1


@intrinsic
def _float_of_bits(typing, bits):
    """The float32 whose bits are the int32 `bits`."""

    def generate(context, builder, sig, args):
        return builder.bitcast(args[0], _FLOAT)

    return types.float32(types.int32), generate


_F = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)
_C0, _C1, _C2, _C3, _C4, _C5 = (
    _F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
)
_HALF, _ONE, _LOWEST = _F(0.5), _F(1), _F(-87)


@njit(nogil=True, cache=True, inline="always")
def exp(x):
    """e^x for float32 x <= 0, within 2 units in the last place: the Cephes polynomial, so that no machine's libm enters."""
    x = max(x, _LOWEST) if x == x else x
    n = np.floor(x * _LOG2E + _HALF)
    x = x - n * _LN2_HIGH - n * _LN2_LOW
    y = (((((_C0 * x + _C1) * x + _C2) * x + _C3) * x + _C4) * x + _C5) * (x * x) + x + _ONE
    bits = (np.int32(n) + np.int32(127)) << np.int32(23)
    return y * _float_of_bits(bits)  # pyright: ignore[reportCallIssue]
