#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Matrices of GPTQ and AWQ checkpoints, and the GGUF types that hold the same numbers.

The contract: a packed matrix is integers q, and for each row and group of columns a scale
and a zero point; its values are scale * (q - zero).  What of it has a place in a GGUF type
is stored as that type's blocks without rounding anything; what has none is said to have
none.  Layouts as AutoGPTQ 0.7 ("gptq" and "gptq_v2") and AutoAWQ 0.2 (version "gemm") write
them.  Nothing that comes from a file is trusted: what does not fit raises ValueError.
"""

import numpy as np

BLOCK = 32  # values of a Q4_0, Q5_0 or Q8_0 block
# What the integers of a type's blocks reach; four bits less a zero point always fit Q5_0.
REACH = {"q4_0": (-8, 7), "q5_0": (-16, 15), "q8_0": (-128, 127)}
# Output k of each eight is in this nibble of AWQ's word.
AWQ_NIBBLE = (0, 4, 1, 5, 2, 6, 3, 7)


class Matrix:
    """q (out, in) are integers less their zero points, scale (out, groups) is float32, group
    (in,) tells the group of each column."""

    def __init__(self, q, scale, group):
        self.q, self.scale, self.group = q, scale, group

    def reorder(self, rows):
        """The same matrix with its rows in another order."""
        return Matrix(self.q[rows], self.scale[rows], self.group)

    def values(self, first=0, last=None):
        """Rows first to last as float32."""
        return self.q[first:last] * self.scale[first:last, self.group]

    def exact_type(self):
        """The smallest GGUF type that holds every value as it is, or None."""
        if self.q.shape[1] % BLOCK:
            return None
        if (self.group.reshape(-1, BLOCK) != self.group[::BLOCK, None]).any():
            return None
        with np.errstate(over="ignore"):
            half = self.scale.astype(np.float16).astype(np.float32)
        if (half != self.scale).any():
            return None
        low, high = int(self.q.min()), int(self.q.max())
        return next((t for t, (a, b) in REACH.items() if low >= a and high <= b), None)

    def blocks(self, kind, first=0, last=None):
        """Rows first to last as the bytes of the type that exact_type() named."""
        q = self.q[first:last].reshape(-1, BLOCK)
        d = self.scale[first:last, self.group[::BLOCK]].reshape(-1, 1)
        d = np.ascontiguousarray(d, "<f2").view(np.uint8)
        if kind == "q8_0":
            return np.concatenate([d, q.astype(np.int8).view(np.uint8)], axis=1)
        u = (q - REACH[kind][0]).astype(np.uint8)
        nibbles = (u[:, :BLOCK // 2] & 15) | u[:, BLOCK // 2:] << 4
        fifth = np.packbits(u >> 4, axis=1, bitorder="little")
        return np.concatenate([d, nibbles] if kind == "q4_0" else [d, fifth, nibbles], axis=1)


def unpack_bits(words, bits):
    """(n, words) of 32 bits -> (n, values): each row is one little-endian string of bits."""
    w = np.ascontiguousarray(words).view("<u4")
    at = np.arange(w.shape[1] * 32 // bits) * bits
    shift = (at % 32).astype(np.uint32)
    out = w[:, at // 32] >> shift
    over = shift > 32 - bits  # goes on in the next word
    out[:, over] |= w[:, at[over] // 32 + 1] << (32 - shift[over])
    return (out & ((1 << bits) - 1)).astype(np.int16)


class Scheme:
    """How a checkpoint packs its matrices: quantization_config of a config.json."""

    def __init__(self, path, config):
        def get(key, good, *default):
            v = config.get(key, *default)
            if isinstance(v, bool) or v not in good:
                raise ValueError(f"{path}: quantization_config: {key} is {v!r}, supported: " +
                                 " ".join(map(str, good)))
            return v
        self.method = get("quant_method", ("gptq", "awq"))
        self.bits = get("bits", (2, 3, 4, 8) if self.method == "gptq" else (4,))
        self.group = config.get("group_size")
        if not isinstance(self.group, int) or (self.group < 1 and self.group != -1):
            raise ValueError(f"{path}: quantization_config: group_size is {self.group!r}")
        self.parts = ("qweight", "qzeros", "scales")
        if self.method == "gptq":
            # The first version stores zero points less one.
            self.less_one = get("checkpoint_format", ("gptq", "gptq_v2"), "gptq") == "gptq"
            self.parts += ("g_idx",)
        else:
            get("version", ("gemm", "GEMM"), "gemm")

    def shape(self, shapes):
        """(out, in) of the matrix whose parts have these shapes (a dict, by part)."""
        for part in self.parts:
            want = 1 if part == "g_idx" else 2
            if part in shapes and len(shapes[part]) != want:
                raise ValueError(f"{part} is {list(shapes[part])}")
            if part not in shapes and part != "g_idx":
                raise ValueError(f"there is no {part}")
        rows, cols = shapes["qweight"]
        if self.method == "gptq":
            width, out, fits = rows * 32 // self.bits, cols, rows * 32 % self.bits == 0
        else:
            width, out, fits = rows, cols * 32 // self.bits, True
        groups = -(-width // self.group) if self.group > 0 else 1
        want = {"qzeros": (groups, out * self.bits // 32), "scales": (groups, out),
                "g_idx": (width,)}
        if not fits or not width or not out or out * self.bits % 32:
            raise ValueError(f"qweight is {[rows, cols]} for {self.bits} bits")
        for part, shape in want.items():
            if part in shapes and shapes[part] != shape:
                raise ValueError(f"{part} is {list(shapes[part])}, expected {list(shape)} beside "
                                 f"qweight {[rows, cols]}, {self.bits} bits, group_size "
                                 f"{self.group}")
        return out, width

    def matrix(self, arrays):
        """The matrix of these parts (a dict of arrays), whose shapes fit."""
        out, width = self.shape({part: x.shape for part, x in arrays.items()})
        if self.method == "gptq":
            q = unpack_bits(arrays["qweight"].T, self.bits)
            zero = unpack_bits(arrays["qzeros"], self.bits) + np.int16(self.less_one)
        else:
            def eight(words):
                x = unpack_bits(words, self.bits).reshape(len(words), -1, 8)
                return x[:, :, list(AWQ_NIBBLE)].reshape(len(words), -1)
            q, zero = eight(arrays["qweight"]).T, eight(arrays["qzeros"])
        group = np.arange(width) // (self.group if self.group > 0 else width)
        group = np.asarray(arrays.get("g_idx", group))
        if group.min() < 0 or group.max() >= len(zero):
            raise ValueError(f"g_idx goes from {group.min()} to {group.max()}, there are "
                             f"{len(zero)} groups")
        scale = np.ascontiguousarray(arrays["scales"].T, np.float32)
        return Matrix(q - zero.T[:, group], scale, group)
