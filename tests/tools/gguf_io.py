#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Read and write GGUF files, and decode and encode every tensor type that Linnet knows.

This is the tests' own view of the format: it shares nothing with runtime/format or
kernels/, so that a misunderstanding there cannot hide here.  The reader takes GGUF v2
and v3, little-endian, whole or split; the writer streams, so a file may be larger than
memory.  Needs Python 3.11 and numpy 1.24 or newer, nothing else.

Run as a program it lists a file's metadata and tensors.
"""

import os
import re
import struct
import sys

import numpy as np

MAGIC = 0x46554747
DEFAULT_ALIGNMENT = 32

# Metadata value types, as numbered in the format.
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)

_SCALAR = {
    U8: ("<B", np.uint8), I8: ("<b", np.int8), U16: ("<H", np.uint16), I16: ("<h", np.int16),
    U32: ("<I", np.uint32), I32: ("<i", np.int32), F32: ("<f", np.float32),
    BOOL: ("<?", np.bool_), U64: ("<Q", np.uint64), I64: ("<q", np.int64),
    F64: ("<d", np.float64),
}


class GGUFError(ValueError):
    """The file breaks a rule of the format."""


# ---------------------------------------------------------------------------
# Tensor types: decoders.  Each takes a uint8 array (blocks, bytes of a block) and gives a
# float32 array (blocks, values of a block).  Products of an fp16 scale and the integers of
# these formats fit in 24 bits, so float32 arithmetic rounds at most once per value and
# "bit for bit" has one meaning.

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10,
                       1, 13, 25, 38, 53, 69, 89, 113], np.int16)
# Twice the e2m1 values, so that they are integers; the scale is halved instead.
MXFP4_VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int16)


def _f16(b):
    """Columns of two bytes each -> float32."""
    return np.ascontiguousarray(b).view("<f2").astype(np.float32)


def _nibbles(qs):
    """(n, k) bytes -> (n, 2k): all low nibbles, then all high nibbles."""
    return np.concatenate([qs & 15, qs >> 4], axis=1).astype(np.int16)


def _fifth_bit(qh):
    """(n, 4) bytes -> (n, 32): 16 where bit i of the little-endian word is set."""
    return np.unpackbits(qh, axis=1, bitorder="little").astype(np.int16) << 4


def _dec_f32(b):
    return np.ascontiguousarray(b).view("<f4").astype(np.float32)


def _dec_f16(b):
    return _f16(b)


def _dec_bf16(b):
    w = np.ascontiguousarray(b).view("<u2").astype(np.uint32) << np.uint32(16)
    return w.view(np.float32)


def _dec_q4_0(b):
    return (_nibbles(b[:, 2:]) - 8) * _f16(b[:, :2])


def _dec_q4_1(b):
    return _nibbles(b[:, 4:]) * _f16(b[:, :2]) + _f16(b[:, 2:4])


def _dec_q5_0(b):
    return ((_nibbles(b[:, 6:]) | _fifth_bit(b[:, 2:6])) - 16) * _f16(b[:, :2])


def _dec_q5_1(b):
    q = _nibbles(b[:, 8:]) | _fifth_bit(b[:, 4:8])
    return q * _f16(b[:, :2]) + _f16(b[:, 2:4])


def _dec_q8_0(b):
    return np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.int16) * _f16(b[:, :2])


def _crumbs(qs):
    """Q2_K and Q3_K: (n, 64) bytes -> (n, 256) two-bit values.

    Each half of the block has 32 bytes; value 32*j + i of the half is crumb j of byte i.
    """
    n = len(qs)
    shift = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
    return ((qs.reshape(n, 2, 1, 32) >> shift) & 3).reshape(n, 256).astype(np.int16)


def _dec_q2_k(b):
    n = len(b)
    d, dmin = _f16(b[:, 80:82]), _f16(b[:, 82:84])
    q = _crumbs(b[:, 16:80]).reshape(n, 16, 16)
    scale = (d * (b[:, :16] & 15))[:, :, None]
    low = (dmin * (b[:, :16] >> 4))[:, :, None]
    return (scale * q - low).reshape(n, 256)


def _q3_k_scales(s):
    """12 bytes -> 16 six-bit scales, bias 32: low nibbles in 8 bytes, high crumbs in 4."""
    n = len(s)
    low = np.concatenate([s[:, :8] & 15, s[:, :8] >> 4], axis=1)
    shift = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 4, 1)
    high = ((s[:, 8:].reshape(n, 1, 4) >> shift) & 3).reshape(n, 16)
    return (low | (high << 4)).astype(np.int16) - 32


def _dec_q3_k(b):
    n = len(b)
    # Bit k of hmask byte i belongs to value 32*k + i; a clear bit subtracts four.
    high = np.unpackbits(b[:, :32], axis=1, bitorder="little").reshape(n, 32, 8)
    high = high.transpose(0, 2, 1).reshape(n, 256).astype(np.int16)
    q = _crumbs(b[:, 32:96]) - 4 * (1 - high)
    scale = _f16(b[:, 108:110]) * _q3_k_scales(b[:, 96:108])
    return (scale[:, :, None] * q.reshape(n, 16, 16)).reshape(n, 256)


def _k_scale_min(s):
    """Q4_K and Q5_K: 12 bytes -> eight six-bit scales and eight six-bit minima."""
    a, m, c = s[:, 0:4], s[:, 4:8], s[:, 8:12]
    scale = np.concatenate([a & 63, (c & 15) | ((a >> 6) << 4)], axis=1)
    low = np.concatenate([m & 63, (c >> 4) | ((m >> 6) << 4)], axis=1)
    return scale.astype(np.int16), low.astype(np.int16)


def _k_nibbles(qs):
    """(n, 128) bytes -> (n, 8, 32): bytes 32k.. hold sub-block 2k low, 2k+1 high."""
    n = len(qs)
    q = qs.reshape(n, 4, 32)
    return np.stack([q & 15, q >> 4], axis=2).reshape(n, 8, 32).astype(np.int16)


def _k_affine(b, q):
    d, dmin = _f16(b[:, 0:2]), _f16(b[:, 2:4])
    scale, low = _k_scale_min(b[:, 4:16])
    return ((d * scale)[:, :, None] * q - (dmin * low)[:, :, None]).reshape(len(b), 256)


def _dec_q4_k(b):
    return _k_affine(b, _k_nibbles(b[:, 16:144]))


def _dec_q5_k(b):
    n = len(b)
    high = np.unpackbits(b[:, 16:48], axis=1, bitorder="little").reshape(n, 32, 8)
    high = high.transpose(0, 2, 1).astype(np.int16)
    return _k_affine(b, _k_nibbles(b[:, 48:176]) | (high << 4))


def _dec_q6_k(b):
    n = len(b)
    ql = b[:, :128].reshape(n, 2, 1, 64)
    low = np.concatenate([ql & 15, ql >> 4], axis=2).reshape(n, 256)
    shift = np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
    high = ((b[:, 128:192].reshape(n, 2, 1, 32) >> shift) & 3).reshape(n, 256)
    q = (low | (high << 4)).astype(np.int16) - 32
    scale = _f16(b[:, 208:210]) * np.ascontiguousarray(b[:, 192:208]).view(np.int8)
    return (scale[:, :, None] * q.reshape(n, 16, 16)).reshape(n, 256)


def _dec_iq4_nl(b):
    return IQ4_VALUES[_nibbles(b[:, 2:])] * _f16(b[:, :2])


def _dec_iq4_xs(b):
    n = len(b)
    high = np.ascontiguousarray(b[:, 2:4]).view("<u2").astype(np.int32)
    high = (high >> np.arange(0, 16, 2, dtype=np.int32)) & 3
    sl = b[:, 4:8]
    low = np.stack([sl & 15, sl >> 4], axis=2).reshape(n, 8).astype(np.int32)
    scale = _f16(b[:, 0:2]) * ((low | (high << 4)) - 32).astype(np.float32)
    q = b[:, 8:].reshape(n, 8, 16)
    v = IQ4_VALUES[np.concatenate([q & 15, q >> 4], axis=2)]
    return (scale[:, :, None] * v).reshape(n, 256)


def _dec_mxfp4(b):
    scale = np.ldexp(1.0, b[:, :1].astype(np.int32) - 128)
    return (MXFP4_VALUES[_nibbles(b[:, 1:])] * scale).astype(np.float32)


# ---------------------------------------------------------------------------
# Tensor types: encoders.  float32 (blocks, values) -> uint8 (blocks, bytes).  They aim to
# be valid and plain, not optimal; Q8_0 alone is canonical (scale amax/127, halves away
# from zero), so it reproduces other converters' files.


def _round(x):
    """To the nearest integer, halves away from zero; exact because it works in float64."""
    x = np.asarray(x, np.float64)
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int32)


def _div(a, b):
    """a / b with 0 where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)


def _f16_bytes(x):
    return np.ascontiguousarray(x, "<f2").view(np.uint8)


def _f16_round(x):
    return np.asarray(x).astype(np.float16).astype(np.float64)


def _extreme(x):
    """The entry of largest magnitude along the last axis, with its sign; axis kept."""
    i = np.abs(x).argmax(axis=-1)[..., None]
    return np.take_along_axis(x, i, axis=-1)


def _pack_nibbles(q):
    h = q.shape[1] // 2
    return (q[:, :h] | (q[:, h:] << 4)).astype(np.uint8)


def _pack_fifth(q):
    return np.packbits((q >> 4).astype(np.uint8) & 1, axis=1, bitorder="little")


def _enc_f32(x):
    return np.ascontiguousarray(x, "<f4").view(np.uint8)


def _enc_f16(x):
    return _f16_bytes(x)


def bf16_round(x):
    """float32 -> the 16 bits of bfloat16, nearest even; a NaN stays a (quiet) NaN."""
    w = np.ascontiguousarray(x, np.float32).view(np.uint32)
    nan = (w & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    up = (w + (np.uint32(0x7FFF) + ((w >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet = (w >> np.uint32(16)) | np.uint32(64)
    return np.where(nan, quiet, up).astype("<u2")


def _enc_bf16(x):
    return bf16_round(x).view(np.uint8)


def _enc_q4_0(x):
    d = _extreme(x) / -8
    q = np.clip(_round(_div(x, _f16_round(d))) + 8, 0, 15)
    return np.concatenate([_f16_bytes(d), _pack_nibbles(q)], axis=1)


def _affine(x, top):
    low = x.min(axis=1, keepdims=True)
    d = (x.max(axis=1, keepdims=True) - low) / top
    q = np.clip(_round(_div(x - _f16_round(low), _f16_round(d))), 0, top)
    return np.concatenate([_f16_bytes(d), _f16_bytes(low)], axis=1), q


def _enc_q4_1(x):
    head, q = _affine(x, 15)
    return np.concatenate([head, _pack_nibbles(q)], axis=1)


def _enc_q5_0(x):
    d = _extreme(x) / -16
    q = np.clip(_round(_div(x, _f16_round(d))) + 16, 0, 31)
    return np.concatenate([_f16_bytes(d), _pack_fifth(q), _pack_nibbles(q & 15)], axis=1)


def _enc_q5_1(x):
    head, q = _affine(x, 31)
    return np.concatenate([head, _pack_fifth(q), _pack_nibbles(q & 15)], axis=1)


def _enc_q8_0(x):
    x = np.asarray(x, np.float32)
    d = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    inv = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    q = _round(x * inv).astype(np.int8)
    return np.concatenate([_f16_bytes(d), q.view(np.uint8)], axis=1)


def _k_fit_affine(x, top, smax):
    """Sub-blocks (n, s, k) -> (d, dmin, scales, minima, q) with x = d*scale*q - dmin*min."""
    low = np.maximum(-x.min(axis=2), 0)
    span = (np.maximum(x.max(axis=2), 0) + low) / top
    d = span.max(axis=1, keepdims=True) / smax
    dmin = low.max(axis=1, keepdims=True) / smax
    d16, m16 = _f16_round(d), _f16_round(dmin)
    scale = np.clip(_round(_div(span, d16)), 0, smax)
    mins = np.clip(_round(_div(low, m16)), 0, smax)
    q = _round(_div(x + (m16 * mins)[:, :, None], (d16 * scale)[:, :, None]))
    return d, dmin, scale, mins, np.clip(q, 0, top)


def _k_fit_signed(x, bias, sbias):
    """Sub-blocks (n, s, k) -> (d, signed scales, signed q) with x = d*scale*q."""
    want = _extreme(x)[:, :, 0] / -bias
    d = _extreme(want) / -sbias
    d16 = _f16_round(d)
    scale = np.clip(_round(_div(want, d16)), -sbias, sbias - 1)
    q = _round(_div(x, (d16 * scale)[:, :, None]))
    return d, scale, np.clip(q, -bias, bias - 1)


def _pack_crumbs(q):
    n = len(q)
    q = q.reshape(n, 2, 4, 32)
    return (q[:, :, 0] | q[:, :, 1] << 2 | q[:, :, 2] << 4 | q[:, :, 3] << 6) \
        .reshape(n, 64).astype(np.uint8)


def _enc_q2_k(x):
    n = len(x)
    d, dmin, scale, mins, q = _k_fit_affine(x.reshape(n, 16, 16), 3, 15)
    return np.concatenate([(scale | mins << 4).astype(np.uint8),
                           _pack_crumbs(q.reshape(n, 256)),
                           _f16_bytes(d), _f16_bytes(dmin)], axis=1)


def _enc_q3_k(x):
    n = len(x)
    d, scale, q = _k_fit_signed(x.reshape(n, 16, 16), 4, 32)
    q = q.reshape(n, 256) + 4
    hmask = np.packbits((q >> 2).astype(np.uint8).reshape(n, 8, 32).transpose(0, 2, 1),
                        axis=2, bitorder="little").reshape(n, 32)
    s = scale + 32
    low = (s[:, :8] & 15) | ((s[:, 8:] & 15) << 4)
    top = (s >> 4).reshape(n, 4, 4)
    high = top[:, 0] | top[:, 1] << 2 | top[:, 2] << 4 | top[:, 3] << 6
    return np.concatenate([hmask, _pack_crumbs(q & 3), low.astype(np.uint8),
                           high.astype(np.uint8), _f16_bytes(d)], axis=1)


def _pack_k_scale_min(scale, mins):
    a = (scale[:, :4] & 63) | ((scale[:, 4:] >> 4) << 6)
    m = (mins[:, :4] & 63) | ((mins[:, 4:] >> 4) << 6)
    c = (scale[:, 4:] & 15) | ((mins[:, 4:] & 15) << 4)
    return np.concatenate([a, m, c], axis=1).astype(np.uint8)


def _pack_k_nibbles(q):
    n = len(q)
    q = q.reshape(n, 4, 2, 32)
    return (q[:, :, 0] | q[:, :, 1] << 4).reshape(n, 128).astype(np.uint8)


def _enc_q4_k(x):
    d, dmin, scale, mins, q = _k_fit_affine(x.reshape(len(x), 8, 32), 15, 63)
    return np.concatenate([_f16_bytes(d), _f16_bytes(dmin), _pack_k_scale_min(scale, mins),
                           _pack_k_nibbles(q)], axis=1)


def _enc_q5_k(x):
    n = len(x)
    d, dmin, scale, mins, q = _k_fit_affine(x.reshape(n, 8, 32), 31, 63)
    qh = np.packbits((q >> 4).astype(np.uint8).transpose(0, 2, 1), axis=2,
                     bitorder="little").reshape(n, 32)
    return np.concatenate([_f16_bytes(d), _f16_bytes(dmin), _pack_k_scale_min(scale, mins),
                           qh, _pack_k_nibbles(q & 15)], axis=1)


def _enc_q6_k(x):
    n = len(x)
    d, scale, q = _k_fit_signed(x.reshape(n, 16, 16), 32, 128)
    q = (q + 32).reshape(n, 2, 4, 32)
    ql = (q[:, :, :2] & 15) | ((q[:, :, 2:] & 15) << 4)
    top = q >> 4
    qh = top[:, :, 0] | top[:, :, 1] << 2 | top[:, :, 2] << 4 | top[:, :, 3] << 6
    return np.concatenate([ql.reshape(n, 128).astype(np.uint8),
                           qh.reshape(n, 64).astype(np.uint8),
                           scale.astype(np.int8).view(np.uint8), _f16_bytes(d)], axis=1)


def _nearest(values, x):
    """Index of the entry of the codebook nearest to each x."""
    order = np.argsort(values, kind="stable")
    v = values[order].astype(np.float64)
    return order[np.searchsorted((v[1:] + v[:-1]) / 2, x)]


def _enc_iq4_nl(x):
    d = _extreme(x) / -127
    q = _nearest(IQ4_VALUES, _div(x, _f16_round(d)))
    return np.concatenate([_f16_bytes(d), _pack_nibbles(q)], axis=1)


def _enc_iq4_xs(x):
    n = len(x)
    x = x.reshape(n, 8, 32)
    want = _extreme(x)[:, :, 0] / -127
    d = _extreme(want) / -32
    d16 = _f16_round(d)
    scale = np.clip(_round(_div(want, d16)), -32, 31)
    q = _nearest(IQ4_VALUES, _div(x, (d16 * scale)[:, :, None]))
    s = scale + 32
    high = ((s >> 4) << np.arange(0, 16, 2)).sum(axis=1).astype("<u2")
    low = ((s[:, 0::2] & 15) | ((s[:, 1::2] & 15) << 4)).astype(np.uint8)
    packed = (q[:, :, :16] | (q[:, :, 16:] << 4)).reshape(n, 128).astype(np.uint8)
    return np.concatenate([_f16_bytes(d), high.view(np.uint8).reshape(n, 2), low, packed], axis=1)


def _enc_mxfp4(x):
    amax = np.abs(x).max(axis=1, keepdims=True)
    # The largest e2m1 exponent is 2, so the block's exponent sits two below amax's;
    # frexp's is one above it.
    e = np.where(amax > 0, np.frexp(amax)[1] - 3 + 127, 0)
    e = np.clip(e, 0, 254).astype(np.int32)
    q = _nearest(MXFP4_VALUES, np.asarray(x, np.float64) / np.ldexp(1.0, e - 128))
    return np.concatenate([e.astype(np.uint8), _pack_nibbles(q)], axis=1)


class TensorType:
    """One storage type: its id, the shape of a block, and both directions."""

    def __init__(self, name, id, values, size, decode, encode):
        self.name, self.id, self.values, self.size = name, id, values, size
        self._decode, self._encode = decode, encode

    def row_bytes(self, n):
        if n % self.values:
            raise GGUFError(f"row of {n} values is no multiple of {self.name}'s {self.values}")
        return n // self.values * self.size

    def decode(self, raw):
        """Bytes of whole blocks -> flat float32."""
        b = np.frombuffer(raw, np.uint8) if not isinstance(raw, np.ndarray) else raw
        return self._decode(b.reshape(-1, self.size)).astype(np.float32).reshape(-1)

    def encode(self, x):
        """Floats, a multiple of the block -> flat uint8."""
        x = np.ascontiguousarray(x, np.float32).reshape(-1, self.values)
        out = self._encode(x)
        assert out.dtype == np.uint8 and out.shape == (len(x), self.size), self.name
        return np.ascontiguousarray(out).reshape(-1)


TYPES = {t.name: t for t in (
    TensorType("f32", 0, 1, 4, _dec_f32, _enc_f32),
    TensorType("f16", 1, 1, 2, _dec_f16, _enc_f16),
    TensorType("q4_0", 2, 32, 18, _dec_q4_0, _enc_q4_0),
    TensorType("q4_1", 3, 32, 20, _dec_q4_1, _enc_q4_1),
    TensorType("q5_0", 6, 32, 22, _dec_q5_0, _enc_q5_0),
    TensorType("q5_1", 7, 32, 24, _dec_q5_1, _enc_q5_1),
    TensorType("q8_0", 8, 32, 34, _dec_q8_0, _enc_q8_0),
    TensorType("q2_k", 10, 256, 84, _dec_q2_k, _enc_q2_k),
    TensorType("q3_k", 11, 256, 110, _dec_q3_k, _enc_q3_k),
    TensorType("q4_k", 12, 256, 144, _dec_q4_k, _enc_q4_k),
    TensorType("q5_k", 13, 256, 176, _dec_q5_k, _enc_q5_k),
    TensorType("q6_k", 14, 256, 210, _dec_q6_k, _enc_q6_k),
    TensorType("iq4_nl", 20, 32, 18, _dec_iq4_nl, _enc_iq4_nl),
    TensorType("iq4_xs", 23, 256, 136, _dec_iq4_xs, _enc_iq4_xs),
    TensorType("bf16", 30, 1, 2, _dec_bf16, _enc_bf16),
    TensorType("mxfp4", 39, 32, 17, _dec_mxfp4, _enc_mxfp4),
)}
TYPE_BY_ID = {t.id: t for t in TYPES.values()}


# ---------------------------------------------------------------------------
# Reading


class Tensor:
    """A tensor's place in its file.  dims is in the file's order: row length first."""

    def __init__(self, name, dims, type_id, offset, data):
        self.name, self.dims, self.type_id, self.offset = name, tuple(dims), type_id, offset
        self._data = data  # the file's bytes from the start of its tensor data

    @property
    def type(self):
        if self.type_id not in TYPE_BY_ID:
            raise GGUFError(f"{self.name}: tensor type {self.type_id} is not supported")
        return TYPE_BY_ID[self.type_id]

    @property
    def shape(self):
        """numpy's order: row length last."""
        return self.dims[::-1]

    @property
    def nbytes(self):
        rows = 1
        for d in self.dims[1:]:
            rows *= d
        return rows * self.type.row_bytes(self.dims[0])

    def raw(self):
        end = self.offset + self.nbytes
        if end > len(self._data):
            raise GGUFError(f"{self.name}: ends at {end}, past the data's {len(self._data)} bytes")
        return self._data[self.offset:end]

    def array(self):
        """All values as float32 in numpy's order."""
        return self.type.decode(self.raw()).reshape(self.shape)

    def rows(self, index):
        """Chosen rows of a matrix without decoding the rest."""
        raw = self.raw().reshape(-1, self.type.row_bytes(self.dims[0]))
        return self.type.decode(np.ascontiguousarray(raw[index])).reshape(-1, self.dims[0])


class _Cursor:
    def __init__(self, data, path):
        self.data, self.path, self.at = data, path, 0

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise GGUFError(f"{self.path}: ends at byte {len(self.data)}, "
                            f"{n} more bytes wanted at {self.at}")
        out = self.data[self.at:self.at + n]
        self.at += n
        return out

    def scalar(self, fmt):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def string(self):
        # Bytes that are not UTF-8 survive the round trip as lone surrogates.
        return bytes(self.take(self.scalar("<Q"))).decode("utf-8", "surrogateescape")

    def value(self, t, depth=0):
        if t in _SCALAR:
            return self.scalar(_SCALAR[t][0])
        if t == STR:
            return self.string()
        if t != ARR or depth > 3:
            raise GGUFError(f"{self.path}: metadata value type {t} at byte {self.at}")
        sub, n = self.scalar("<I"), self.scalar("<Q")
        if sub in _SCALAR:
            dtype = np.dtype(_SCALAR[sub][1])
            return np.frombuffer(self.take(n * dtype.itemsize), dtype).copy()
        return [self.value(sub, depth + 1) for _ in range(n)]


class Reader:
    """kv: name -> value; kv_type: name -> value type; tensors: name -> Tensor."""

    def __init__(self, path):
        self.kv, self.kv_type, self.tensors = {}, {}, {}
        self._load(path, first=True)
        count = self.kv.get("split.count", 1)
        if count > 1:
            m = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", path)
            if not m or int(m[2]) != count or self.kv.get("split.no") != 0:
                raise GGUFError(f"{path}: not named as the first of split.count {count} files")
            for i in range(2, count + 1):
                self._load(f"{m[1]}-{i:05}-of-{count:05}.gguf", first=False)
            total = self.kv.get("split.tensors.count", len(self.tensors))
            if total != len(self.tensors):
                raise GGUFError(f"{path}: split.tensors.count {total}, found {len(self.tensors)}")

    def _load(self, path, first):
        data = np.memmap(path, np.uint8, "r")
        c = _Cursor(memoryview(data), path)
        magic, version = c.scalar("<I"), c.scalar("<I")
        if magic != MAGIC or version not in (2, 3):
            raise GGUFError(f"{path}: magic {magic:#x}, version {version}")
        n_tensors, n_kv = c.scalar("<Q"), c.scalar("<Q")
        kv, types = {}, {}
        for _ in range(n_kv):
            key = c.string()
            t = c.scalar("<I")
            if key in kv:
                raise GGUFError(f"{path}: metadata {key} twice")
            kv[key], types[key] = c.value(t), t
        infos = []
        for _ in range(n_tensors):
            name = c.string()
            n_dims = c.scalar("<I")
            if not 1 <= n_dims <= 4:
                raise GGUFError(f"{path}: {name} has {n_dims} dimensions")
            dims = [c.scalar("<Q") for _ in range(n_dims)]
            infos.append((name, dims, c.scalar("<I"), c.scalar("<Q")))
        align = kv.get("general.alignment", DEFAULT_ALIGNMENT)
        start = (c.at + align - 1) // align * align
        body = data[start:]
        for name, dims, type_id, offset in infos:
            if name in self.tensors:
                raise GGUFError(f"{path}: tensor {name} twice")
            if offset % align:
                raise GGUFError(f"{path}: {name} at {offset}, not aligned to {align}")
            self.tensors[name] = Tensor(name, dims, type_id, offset, body)
        if first:
            self.kv, self.kv_type, self.version = kv, types, version

    def get(self, key, default=None):
        return self.kv.get(key, default)

    @property
    def arch(self):
        return self.kv["general.architecture"]

    def param(self, key, default=None):
        """A metadata value below the architecture's own name."""
        return self.kv.get(f"{self.arch}.{key}", default)


# ---------------------------------------------------------------------------
# Writing


def _pack_string(s):
    b = s if isinstance(s, bytes) else s.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(b)) + b


def pack_value(t, v):
    """The bytes of one metadata value; an array is given as (element type, sequence)."""
    if t in _SCALAR:
        return struct.pack(_SCALAR[t][0], v)
    if t == STR:
        return _pack_string(v)
    sub, items = v
    head = struct.pack("<IQ", sub, len(items))
    if sub in _SCALAR:
        return head + np.asarray(items, _SCALAR[sub][1]).tobytes()
    return head + b"".join(pack_value(sub, x) for x in items)


class Writer:
    """Collect metadata and tensors, then write once with finish().

    A tensor's data is an array of floats (encoded in slices of rows), a uint8 array of raw
    blocks, or a function that yields byte-like pieces when the writer comes to it.
    """

    def __init__(self, path, version=3, alignment=DEFAULT_ALIGNMENT):
        self.path, self.version, self.alignment = path, version, alignment
        self._kv, self._tensors = [], []

    def add(self, key, t, v):
        self._kv.append((key, t, v))

    def add_tensor(self, name, type_name, shape, data):
        """shape in numpy's order."""
        self._tensors.append((name, TYPES[type_name], tuple(int(d) for d in shape), data))

    @staticmethod
    def _size(type_, shape):
        n = type_.row_bytes(shape[-1])
        for d in shape[:-1]:
            n *= d
        return n

    @staticmethod
    def _pieces(type_, shape, data):
        if callable(data):
            yield from data()
            return
        data = np.asarray(data)
        if data.dtype == np.uint8:
            yield np.ascontiguousarray(data).reshape(-1)
            return
        flat = data.reshape(-1, shape[-1])
        step = max(1, (1 << 20) // shape[-1])
        for i in range(0, len(flat), step):
            yield type_.encode(flat[i:i + step])

    def _write_file(self, path, kv, tensors):
        al = self.alignment
        if al != DEFAULT_ALIGNMENT:
            kv = [("general.alignment", U32, al)] + kv
        head = [struct.pack("<IIQQ", MAGIC, self.version, len(tensors), len(kv))]
        for key, t, v in kv:
            head.append(_pack_string(key) + struct.pack("<I", t) + pack_value(t, v))
        offset = 0
        for name, type_, shape, _ in tensors:
            head.append(_pack_string(name) + struct.pack("<I", len(shape)) +
                        struct.pack(f"<{len(shape)}Q", *shape[::-1]) +
                        struct.pack("<IQ", type_.id, offset))
            offset = (offset + self._size(type_, shape) + al - 1) // al * al
        with open(path, "wb", buffering=0) as f:
            f.write(b"".join(head) + bytes(-sum(map(len, head)) % al))
            for name, type_, shape, data in tensors:
                done = 0
                for piece in self._pieces(type_, shape, data):
                    view = memoryview(piece).cast("B")
                    done += len(view)
                    while len(view):
                        view = view[f.write(view):]
                want = self._size(type_, shape)
                if done != want:
                    raise GGUFError(f"{path}: {name} got {done} bytes of {want}")
                f.write(bytes(-done % al))

    def finish(self, splits=1):
        """Write the file, or `splits` files named PREFIX-00001-of-0000N.gguf; list them."""
        if splits == 1:
            self._write_file(self.path, self._kv, self._tensors)
            return [self.path]
        prefix = re.sub(r"\.gguf$", "", self.path)
        total = sum(self._size(t, s) for _, t, s, _ in self._tensors)
        parts = [[] for _ in range(splits)]
        done = 0
        for tensor in self._tensors:
            parts[min(splits - 1, done * splits // max(total, 1))].append(tensor)
            done += self._size(tensor[1], tensor[2])
        paths = []
        for i, part in enumerate(parts):
            kv = (self._kv if i == 0 else []) + [
                ("split.no", U16, i), ("split.count", U16, splits),
                ("split.tensors.count", I32, len(self._tensors))]
            paths.append(f"{prefix}-{i + 1:05}-of-{splits:05}.gguf")
            self._write_file(paths[-1], kv, part)
        return paths


def main(argv):
    if len(argv) != 2 or argv[1] in ("-h", "--help"):
        print("usage: gguf_io.py FILE\nList the metadata and the tensors of a GGUF file.")
        return 0 if len(argv) == 2 else 2
    r = Reader(argv[1])
    print(f"GGUF v{r.version}, {len(r.kv)} metadata values, {len(r.tensors)} tensors")
    for key, v in r.kv.items():
        text = repr(v[:8].tolist() if isinstance(v, np.ndarray) else v[:8]) \
            if isinstance(v, (list, np.ndarray)) else repr(v)
        more = f" ... {len(v)} in all" if isinstance(v, (list, np.ndarray)) else ""
        print(f"  {key} = {text[:160]}{more}")
    for t in r.tensors.values():
        name = TYPE_BY_ID[t.type_id].name if t.type_id in TYPE_BY_ID else f"type {t.type_id}"
        print(f"  {t.name:32} {name:7} {list(t.dims)}")
    return 0


if __name__ == "__main__":
    # A closed pipe (head) is the reader's wish, not an error.
    try:
        sys.exit(main(sys.argv))
    except (GGUFError, OSError) as e:
        if isinstance(e, BrokenPipeError):
            os._exit(0)
        print(f"gguf_io.py: {e}", file=sys.stderr)
        sys.exit(1)
