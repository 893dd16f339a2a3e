#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The yardstick measured: block decoders against published slices, the float64 forward pass
against published text.  What the rest of the suite compares with must itself be right.

Prints TAP; exit 0 all passed, 1 a failure, 77 nothing could run.
"""

import glob
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))

try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP python3-numpy is not installed")
    sys.exit(77)

import gguf_io  # noqa: E402
import reference  # noqa: E402
import tap  # noqa: E402
from tap import data  # noqa: E402


def check_slices():
    """Every published slice decodes to its golden, in float32 and rounded to bfloat16."""
    seen = set()
    for path in sorted(glob.glob(os.path.join(data("quant"), "*.bin"))):
        with open(path, "rb") as f:
            raw = f.read()
        if raw[:4] != b"AMNG":
            continue
        _, type_id, n, n_raw, n_bf16, n_f32 = struct.unpack_from("<6I", raw, 4)
        at = np.cumsum([28, n_raw, n_bf16, n_f32])
        x = gguf_io.TYPE_BY_ID[type_id].decode(raw[at[0]:at[1]])
        name = os.path.basename(path)
        assert len(x) == n, name
        wrong = np.flatnonzero(x.view("<u4") != np.frombuffer(raw[at[2]:at[3]], "<u4"))
        assert not len(wrong), f"{name}: value {wrong[0]} and {len(wrong) - 1} more differ"
        bf16 = np.frombuffer(raw[at[1]:at[2]], "<u2")
        assert np.array_equal(gguf_io.bf16_round(x), bf16), f"{name}: bfloat16 differs"
        seen.add(gguf_io.TYPE_BY_ID[type_id].name)
    want = set(gguf_io.TYPES) - {"f32", "f16", "bf16"}
    assert seen == want, f"no slice of {sorted(want - seen)}"


def check_codecs():
    """Every type's encoder makes blocks that decode near what went in, zeros included."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(256 * 64).astype(np.float32)
    x[:512] = 0
    bound = dict(f32=0, f16=3e-4, bf16=3e-3, q8_0=8e-3, q6_k=0.03, q5_0=0.06, q5_1=0.06,
                 q5_k=0.06, q4_0=0.12, q4_1=0.12, q4_k=0.12, iq4_nl=0.12, iq4_xs=0.12,
                 mxfp4=0.15, q3_k=0.22, q2_k=0.42)
    assert set(bound) == set(gguf_io.TYPES)
    for name, t in gguf_io.TYPES.items():
        y = t.decode(t.encode(x))
        assert np.isfinite(y).all() and not y[:256].any(), name
        rms = np.sqrt(np.mean((x - y) ** 2))
        assert rms <= bound[name], f"{name}: rms error {rms:.4f}"


def check_greedy():
    """stories260K, greedy from BOS: the text that llama2.c published."""
    model = reference.Model(data("stories260K", "stories260K.gguf"))
    with open(data("stories260K", "greedy-200.txt"), "rb") as f:
        want = f.read()
    text = reference.detokenize(model.gguf, model.greedy([1], 60)).lstrip(b" ")
    assert len(text) > 100 and want.startswith(text), text


if __name__ == "__main__":
    sys.exit(tap.run([check_slices, check_codecs, check_greedy]))
