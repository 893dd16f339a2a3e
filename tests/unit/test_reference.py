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
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))

try:
    import numpy as np
except ImportError:
    print("1..0 # SKIP python3-numpy is not installed")
    sys.exit(77)

import gguf_io  # noqa: E402
import make_model  # noqa: E402
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


# -- families ----------------------------------------------------------------------------------

TMP = tempfile.TemporaryDirectory(prefix="linnet-reference-")
IDS = [3, 77, 200, 12, 500, 41, 9, 9, 301, 5]
FAMILIES = ("llama", "llama3", "mistral", "mixtral", "qwen2", "qwen3", "qwen3moe", "phi3",
            "phi3-long", "gemma2", "gemma3")

# The first five logits after IDS.  When they were written, log-probabilities of the same files
# agreed with llama.cpp's within 2e-5 (gemma: once its float16 table of GELU was out of the way).
GOLDEN = {
    "llama": (0.296272, 5.258752, 1.259095, 0.662244, 4.270826),
    "llama3": (3.572991, 1.211137, -1.551836, -1.203766, -1.028173),
    "mixtral": (-1.01831, 2.566402, 0.085345, 2.459896, 3.342767),
    "qwen2": (4.513291, 1.880586, 0.336209, 4.624249, -0.340747),
    "qwen3": (1.350871, -0.594434, 1.658813, -0.905124, -3.05837),
    "qwen3moe": (-3.230583, 0.436495, 2.505598, -2.55674, -0.732512),
    "phi3": (-1.78713, 0.96042, 3.311574, -1.088649, -1.454831),
    "phi3-long": (-2.042728, 3.449722, -1.567802, 0.378158, 0.485453),
    "gemma2": (-1.165739, 2.169805, -2.012234, -3.630855, -2.045352),
    "gemma3": (-0.512741, -2.949128, 4.966105, -4.649578, -2.679974),
    "yarn": (1.254514, 4.906438, 0.748052, 0.899128, 4.040711),
    "linear": (0.846286, 5.327729, -0.207597, 2.428533, 3.112298),
    "bias": (-0.345128, 4.260585, 0.70018, 1.538935, 4.507382),
    "gemma2-27b": (0.538811, 3.531093, 2.591151, -1.301678, 0.245291),
    "gemma3-27b": (-1.233311, -0.984478, -3.827017, -2.761195, -2.668114),
}


def model(preset, ctx=None, sets=(), **shape):
    path = os.path.join(TMP.name, "m.gguf")
    make_model.make(path, make_model.Shape(preset, **shape), "f32", sets=sets)
    return reference.Model(path, ctx)


def last(m):
    return m.logits(IDS, all=False)[0]


def near(a, b, bound=1e-9):
    return float(np.abs(a - b).max()) < bound


VARIANTS = {
    "yarn": ("llama", dict(rope_scaling="yarn", rope_orig_ctx=64)),
    "linear": ("llama", dict(rope_scaling="linear")),
    "bias": ("llama", dict(bias="all")),
    "gemma2-27b": ("gemma2", dict(layers=46)),
    "gemma3-27b": ("gemma3", dict(layers=62)),
}


def check_golden():
    """Each family gives the logits that another implementation confirmed."""
    for name, want in GOLDEN.items():
        preset, shape = VARIANTS.get(name, (name, {}))
        got = last(model(preset, **shape))[:5]
        assert near(got, want, 2e-6), f"{name}: {got.round(6).tolist()}"


def check_causal():
    """A position's logits depend on what came before, not on what follows."""
    for preset in FAMILIES:
        m = model(preset)
        full = m.logits(IDS)
        assert near(full[:6], m.logits(IDS[:6])), preset
        other = m.logits([IDS[0], 99] + IDS[2:])
        assert near(full[0], other[0]) and not near(full[-1], other[-1], 1e-3), preset
        assert near(full[-1], last(m)), preset


def check_window():
    """Inside the window nothing changes; one position beyond it, something does."""
    for preset, arch in (("mistral", "llama"), ("phi3", "phi3"), ("gemma2", "gemma2"),
                         ("gemma3", "gemma3")):
        wide = model(preset, window=len(IDS)).logits(IDS)
        assert near(wide, model(preset, window=400).logits(IDS)), preset
        tight = model(preset, window=4).logits(IDS)
        assert near(wide[:4], tight[:4]) and not near(wide[4], tight[4], 1e-3), preset
    # gemma2 slides in even layers only, gemma3 in five of six.
    assert model("gemma2").slides == [True, False, True, False]
    assert model("gemma3").slides == [True] * 5 + [False, True]
    every = [("gemma3.attention.sliding_window_pattern", gguf_io.U32, 2)]
    assert model("gemma3", sets=every).slides == [True, False] * 3 + [True]
    listed = [("gemma3.attention.sliding_window_pattern", gguf_io.ARR,
               (gguf_io.BOOL, [0, 1] * 3 + [0]))]
    assert model("gemma3", sets=listed).slides == [False, True] * 3 + [False]


def check_rope():
    """Scalings by one change nothing; each real one differs from the others."""
    plain = last(model("llama"))
    for kind in ("linear", "llama3", "yarn"):
        one = model("llama", rope_scaling=kind, rope_factor=1.0, rope_orig_ctx=64)
        assert near(plain, last(one)), kind
    seen = [plain] + [last(model("llama", rope_scaling=k, rope_factor=4.0, rope_orig_ctx=64))
                      for k in ("linear", "llama3", "yarn")]
    seen += [last(model("phi3-long", n)) for n in (64, 512)]
    seen.append(last(model("llama", rope_dims=16)))
    for i, a in enumerate(seen):
        for b in seen[:i]:
            assert not near(a, b, 1e-2)
    # Turning only matters by difference: the same tokens later in the text attend alike.
    m = model("llama")
    q = np.random.default_rng(3).standard_normal((1, 12, 32))
    a = m.rotate(np.repeat(q[:, :1], 12, axis=1), 0)[0]
    b = m.rotate(np.repeat(q[:, 1:2], 12, axis=1), 0)[0]
    dots = a @ b.T
    assert near(np.diag(dots, 3), dots[0, 3])


def check_gqa():
    """Shared key/value heads equal the same heads written out."""
    few = model("llama", kv_heads=2)
    want = last(few)
    path = os.path.join(TMP.name, "wide.gguf")
    w = gguf_io.Writer(path)
    r = few.gguf
    for key, v in r.kv.items():
        if r.kv_type[key] != gguf_io.ARR:
            w.add(key, r.kv_type[key], 8 if key.endswith("head_count_kv") else v)
    for name, t in r.tensors.items():
        x = t.array()
        if ".attn_k." in name or ".attn_v." in name:
            x = np.repeat(x.reshape(2, 32, -1), 4, axis=0).reshape(256, -1)
        w.add_tensor(name, "f32", x.shape, x)
    w.finish()
    assert near(want, last(reference.Model(path)))


def check_experts():
    """The weights' normalisation and scale, and that all experts alike equal a dense layer."""
    default = last(model("qwen3moe"))

    def flag(key, t, v, **shape):
        return last(model("qwen3moe", sets=[("qwen3moe." + key, t, v)], **shape))
    assert near(default, flag("expert_weights_norm", gguf_io.BOOL, True))
    assert not near(default, flag("expert_weights_norm", gguf_io.BOOL, False), 1e-2)
    assert near(default, flag("expert_weights_scale", gguf_io.F32, 1.0))
    assert not near(default, flag("expert_weights_scale", gguf_io.F32, 2.5), 1e-2)
    every = last(model("qwen3moe", experts_used=8))
    assert near(every, flag("expert_weights_norm", gguf_io.BOOL, False, experts_used=8))
    # Copy expert 0 over the others: the router no longer matters.
    m = model("mixtral")
    for name in list(m.gguf.tensors):
        if "_exps" in name:
            m.w(name)[:] = m.w(name)[:1]
    a = last(m)
    for name in list(m.gguf.tensors):
        if "ffn_gate_inp" in name:
            m.w(name)[:] = m.w(name)[::-1]
    assert near(a, last(m)) and not near(a, last(model("mixtral")), 1e-2)


def check_perplexity():
    """The definition by hand: chunks, BOS first, the second half counted."""
    m = model("llama")
    ids = [5 + i * 37 % 480 for i in range(45)]
    ppl, err, n = m.perplexity(ids, 20)
    total = []
    for c in (ids[:20], ids[20:40]):
        c = [1] + c[1:]
        for j in range(10, 19):
            y = m.logits(c[:j + 1], all=False)[0]
            total.append(np.log(np.exp(y).sum()) - y[c[j + 1]])
    assert n == len(total) == 18 and abs(np.log(ppl) - np.mean(total)) < 1e-9
    assert abs(err - ppl * np.std(total) / np.sqrt(17)) < 1e-6
    no_bos = model("llama", sets=[("tokenizer.ggml.add_bos_token", gguf_io.BOOL, False)])
    assert abs(no_bos.perplexity(ids, 20)[0] - ppl) > 1e-3 * ppl


if __name__ == "__main__":
    sys.exit(tap.run([check_slices, check_codecs, check_greedy, check_golden, check_causal,
                      check_window, check_rope, check_gqa, check_experts, check_perplexity]))
