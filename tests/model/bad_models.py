#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write models that are whole as files but wrong as models, for tests/model/errors.c.

usage: bad_models.py DIR

DIR/cases then has a line for each: file, name of the errno, and texts that the message
must hold, separated by tabs.
"""

import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import gguf_io as g  # noqa: E402
import make_model  # noqa: E402

SMALL = dict(embd=32, heads=2, kv_heads=1, ff=48, vocab=360, ctx=64)
MOE = dict(SMALL, experts=4, experts_used=2)
NAN, INF = math.nan, math.inf
WEIGHTS = make_model.weights


def matrix(name, *shape):
    return name, shape, "matrix", 0.0, 0.1


def vector(name, n):
    return name, (n,), "vector", 1.0, 0.1


def drop(name):
    return lambda ws: [w for w in ws if w[0] != name]


def add(*new):
    return lambda ws: list(ws) + list(new)


def shape(name, *dims):
    return lambda ws: [(w[0], dims, *w[2:]) if w[0] == name else w for w in ws]


def rename(old, new):
    return lambda ws: [(new, *w[1:]) if w[0] == old else w for w in ws]


def keys(arch="llama", **kw):
    """Metadata "arch.KEY" from KEY=(type, value), __ for a dot; None removes it."""
    return [(f"{arch}." + k.replace("__", "."), *(v or (None, None))) for k, v in kw.items()]


def u32(v):
    return g.U32, v


def f32(v):
    return g.F32, v


def cases():
    """(preset, shape, metadata, change of the weights, errno, texts)"""
    def meta(errno, *texts, preset="llama", of=SMALL, arch=None, **kw):
        arch = arch or make_model.Shape(preset, **of).arch
        return preset, of, keys(arch, **kw), None, errno, texts

    def weights(change, errno, *texts, preset="llama", of=SMALL, sets=()):
        return preset, of, sets, change, errno, texts

    def general(t, v, errno, *texts):
        return "llama", SMALL, [("general.architecture", t, v)], None, errno, texts

    out = "value out of range"
    gone = "metadata key is missing"
    yield general(g.STR, "gpt5", "ENOTSUP", "architecture is not supported",
                  "general.architecture, gpt5")
    yield general(g.STR, "", "ENOTSUP", "general.architecture, ")
    yield general(g.STR, "llama2", "ENOTSUP", "llama2")
    yield general(g.STR, "ll\nama\x1b[2J\x07", "ENOTSUP", "ll?ama?[2J?")
    yield general(g.STR, "x" * 3000, "ENOTSUP", "xxxxxxxx)")
    yield general(None, None, "EINVAL", gone, "general.architecture")
    yield general(g.U32, 7, "EINVAL", "general.architecture")

    # numbers of layers, sizes, heads
    for v in (0, 4097, 0xffffffff):
        yield meta("EINVAL", out, f"llama.block_count, {v}", block_count=u32(v))
    yield meta("EINVAL", gone, "llama.block_count", block_count=None)
    yield meta("EINVAL", "llama.block_count", block_count=(g.STR, "2"))
    yield meta("EINVAL", "llama.block_count", block_count=(g.I32, -2))
    yield meta("EINVAL", "llama.block_count", block_count=(g.U64, 2 ** 40))
    yield meta("EINVAL", "llama.block_count", block_count=f32(2.0))
    yield meta("EINVAL", "tensor is missing", "blk.2.attn_norm.weight", block_count=u32(3))
    yield meta("ENOTSUP", "not known", "blk.1.attn_norm.weight", block_count=u32(1))
    for v in (0, (1 << 24) + 1, 0x80000000):
        yield meta("EINVAL", out, f"llama.embedding_length, {v}", embedding_length=u32(v))
    yield meta("EINVAL", gone, "llama.embedding_length", embedding_length=None)
    yield meta("EINVAL", "wrong shape", "token_embd.weight, dimension 0 is 32 instead of 33",
               embedding_length=u32(33))
    for v in (0, (1 << 30) + 1):
        yield meta("EINVAL", out, f"llama.context_length, {v}", context_length=u32(v))
    yield meta("EINVAL", gone, "llama.context_length", context_length=None)
    for v in (0, 4097):
        yield meta("EINVAL", out, f"attention.head_count, {v}", attention__head_count=u32(v))
    yield meta("EINVAL", gone, "llama.attention.head_count", attention__head_count=None)
    yield meta("EINVAL", "wrong shape", "blk.0.attn_q.weight, dimension 1 is 32 instead of 64",
               attention__head_count=u32(4))
    yield meta("EINVAL", "not a multiple of KV heads", "head_count_kv, 3 of 2",
               attention__head_count_kv=u32(3))
    yield meta("EINVAL", out, "attention.head_count_kv, 0", attention__head_count_kv=u32(0))
    yield meta("EINVAL", out, "attention.head_count, 3",
               attention__head_count=(g.ARR, (g.I32, [2, 2, 2])))
    yield meta("EINVAL", out, "attention.head_count, 0",
               attention__head_count=(g.ARR, (g.I32, [2, 0])))
    yield meta("EINVAL", out, "attention.head_count, 4294967295",
               attention__head_count=(g.ARR, (g.I32, [2, -1])))
    yield meta("EINVAL", "attention.head_count", attention__head_count=(g.ARR, (g.STR, ["2", "2"])))
    yield meta("EINVAL", out, "feed_forward_length, 0", feed_forward_length=u32(0))
    yield meta("EINVAL", gone, "feed_forward_length", feed_forward_length=None)
    yield meta("EINVAL", "wrong shape", "blk.0.ffn_gate.weight, dimension 1 is 48 instead of 49",
               feed_forward_length=u32(49))
    yield meta("EINVAL", "wrong shape", "blk.1.ffn_gate.weight",
               feed_forward_length=(g.ARR, (g.I32, [48, 40])))
    for k in ("key", "value"):
        for v in (0, 4097):
            yield meta("EINVAL", out, f"attention.{k}_length, {v}",
                       **{f"attention__{k}_length": u32(v)})
        yield meta("EINVAL", "wrong shape", f"blk.0.attn_{'q' if k == 'key' else 'v'}.weight",
                   **{f"attention__{k}_length": u32(24)})

    # floats
    def floats(key, *values, **kw):
        for v in values:
            yield meta("EINVAL", out if math.isfinite(v) else f"value {v} is not a finite", key,
                       **kw, **{key.replace(".", "__"): f32(v)})

    yield from floats("attention.layer_norm_rms_epsilon", NAN, INF, -1e-5, 2.0)
    yield from floats("rope.freq_base", NAN, INF, 0.0, -1.0, 1e13)
    yield from floats("attention.scale", NAN, -1.0, 1e7)
    yield from floats("rope.scaling.factor", NAN, INF, -4.0, 1e-30, 1e30)
    yield from floats("rope.scaling.attn_factor", 0.0)
    for k in ("attn_logit_softcapping", "final_logit_softcapping"):
        yield from floats(k, NAN, INF, -30.0, preset="gemma2")
    yield from floats("expert_weights_scale", NAN, -1.0, preset="qwen3moe", of=MOE)
    yield meta("EINVAL", out, "gemma3.rope.freq_base_swa", preset="gemma3",
               rope__freq_base_swa=f32(0.0))

    # rope and windows
    for v in (0, 7, 18, 0xffffffff):
        yield meta("EINVAL", out, f"rope.dimension_count, {v}", rope__dimension_count=u32(v))
    yield meta("EINVAL", out, "rope.dimension_count, 15", preset="llama",
               of=dict(SMALL, head_dim=16), attention__key_length=u32(15),
               rope__dimension_count=None)
    yield meta("ENOTSUP", "rope scaling is not supported", "llama.rope.scaling.type, magic",
               rope__scaling__type=(g.STR, "magic"))
    yield meta("EINVAL", "rope.scaling.type", rope__scaling__type=u32(1))
    yield meta("EINVAL", out, "original_context_length, 0",
               rope__scaling__original_context_length=u32(0))
    yield meta("EINVAL", out, "yarn_beta_fast, 0", rope__scaling__type=(g.STR, "yarn"),
               rope__scaling__yarn_beta_fast=f32(0))
    yield meta("EINVAL", "tensor is missing", "rope_factors_long.weight",
               rope__scaling__type=(g.STR, "longrope"))
    yield meta("EINVAL", out, "attention.sliding_window, 2147483648", preset="mistral",
               attention__sliding_window=u32(1 << 31))
    yield meta("EINVAL", out, "sliding_window_pattern, 3", preset="gemma3",
               attention__sliding_window_pattern=(g.ARR, (g.BOOL, [True] * 3)))
    yield meta("EINVAL", out, "sliding_window_pattern, 5000", preset="gemma3",
               attention__sliding_window_pattern=u32(5000))

    # experts
    yield meta("EINVAL", out, "llama.expert_count, 5000", preset="mixtral", of=MOE,
               expert_count=u32(5000))
    yield meta("EINVAL", gone, "expert_used_count", preset="mixtral", of=MOE,
               expert_used_count=None)
    for v in (0, 5):
        yield meta("EINVAL", out, f"expert_used_count, {v}", preset="mixtral", of=MOE,
                   expert_used_count=u32(v))
    yield meta("ENOTSUP", "gating of experts", "expert_gating_func, 2", preset="mixtral", of=MOE,
               expert_gating_func=u32(2))
    yield meta("EINVAL", "expert_weights_norm", preset="qwen3moe", of=MOE,
               expert_weights_norm=u32(1))
    yield meta("ENOTSUP", "experts are not supported", "qwen2.expert_count, 4", preset="qwen2",
               expert_count=u32(4))
    yield meta("EINVAL", "wrong shape", "blk.0.ffn_gate_inp.weight, dimension 1 is 4 instead of 6",
               preset="mixtral", of=MOE, expert_count=u32(6))
    yield meta("EINVAL", "wrong shape", "ffn_gate_exps.weight", preset="qwen3moe", of=MOE,
               expert_feed_forward_length=u32(32))
    yield meta("ENOTSUP", "not known", "blk.0.ffn_gate_inp.weight", preset="mixtral", of=MOE,
               expert_count=u32(0))
    yield meta("ENOTSUP", "not known", "blk.0.ffn_gate.weight", expert_count=u32(4),
               expert_used_count=u32(2))

    # tensors that are not there
    for name in ("token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight",
                 "blk.1.attn_q.weight", "blk.1.attn_k.weight", "blk.0.attn_v.weight",
                 "blk.1.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight",
                 "blk.1.ffn_up.weight", "blk.1.ffn_down.weight"):
        yield weights(drop(name), "EINVAL", "tensor is missing", name)
    for name in ("post_attention_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"):
        yield weights(drop(f"blk.2.{name}.weight"), "EINVAL", "tensor is missing",
                      f"blk.2.{name}.weight", preset="gemma3")
    for name in ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
        yield weights(drop(f"blk.1.{name}.weight"), "EINVAL", "tensor is missing",
                      f"blk.1.{name}.weight", preset="mixtral", of=MOE)
    yield weights(drop("blk.0.attn_qkv.weight"), "EINVAL", "tensor is missing",
                  "blk.0.attn_q.weight", preset="phi3", of=dict(SMALL, kv_heads=2))
    for there, other in (("long", "short"), ("short", "long")):
        yield weights(add(vector(f"rope_factors_{there}.weight", 8)), "EINVAL",
                      "tensor is missing", f"rope_factors_{other}.weight", preset="phi3",
                      of=dict(SMALL, kv_heads=2))

    # tensors that nobody knows, or that nothing would read
    for name in ("magic.weight", "blk.0.attn_magic.weight", "blk.2.attn_q.weight",
                 "blk.00.attn_q.weight", "blk.-1.attn_q.weight", "blk.01.attn_q.weight",
                 "blk.+1.attn_q.weight", "blk.4294967296.attn_q.weight",
                 "blk.18446744073709551616.attn_q.weight", "blk..attn_q.weight",
                 "blk.0.attn_q.weight.1", "blk.0.", "blk", "blk.0.attn_q", "Output.weight"):
        yield weights(add(matrix(name, 32, 32)), "ENOTSUP", "not known in architecture llama", name)
    yield weights(add(vector("blk.0.attn_q_norm.weight", 16)), "ENOTSUP", "attn_q_norm")
    yield weights(add(vector("blk.0.post_ffw_norm.weight", 32)), "ENOTSUP", "post_ffw_norm")
    yield weights(add(vector("rope_freqs.weight", 8)), "ENOTSUP", "rope_freqs", preset="qwen2")
    yield weights(add(vector("blk.0.attn_qkv.bias", 64)), "ENOTSUP", "nothing uses",
                  "blk.0.attn_qkv.bias")
    yield weights(add(matrix("blk.0.attn_qkv.weight", 64, 32)), "ENOTSUP", "nothing uses",
                  "blk.0.attn_q.weight")
    yield weights(add(vector("blk.1.attn_k.bias", 16)), "ENOTSUP", "nothing uses",
                  "blk.1.attn_k.bias", preset="phi3", of=dict(SMALL, kv_heads=2))
    yield weights(add(vector("blk.1.ffn_gate.bias", 48)), "ENOTSUP", "nothing uses",
                  "blk.1.ffn_gate.bias", preset="phi3", of=dict(SMALL, kv_heads=2))
    yield weights(add(vector("blk.1.ffn_up.bias", 48)), "ENOTSUP", "not known",
                  "blk.1.ffn_up.bias", preset="mixtral", of=MOE)

    # shapes
    yield weights(shape("blk.0.attn_q.weight", 32, 31), "EINVAL", "wrong shape",
                  "blk.0.attn_q.weight, dimension 0 is 31 instead of 32")
    yield weights(shape("blk.0.attn_q.weight", 32), "EINVAL", "blk.0.attn_q.weight, dimension 1")
    yield weights(shape("blk.0.attn_q.weight", 2, 32, 32), "EINVAL",
                  "blk.0.attn_q.weight, dimension 2 is 2 instead of 1")
    yield weights(shape("blk.1.attn_norm.weight", 33), "EINVAL", "blk.1.attn_norm.weight")
    yield weights(shape("blk.1.attn_norm.weight", 1, 32), "OK")
    yield weights(shape("output.weight", 359, 32), "EINVAL",
                  "output.weight, dimension 1 is 359 instead of 360")
    yield weights(shape("token_embd.weight", 359, 32), "EINVAL", "more tokens than embeddings",
                  "tokenizer.ggml.tokens, 360 of 359", of=dict(SMALL, tied=True))
    yield weights(add(vector("rope_freqs.weight", 7)), "EINVAL", "rope_freqs.weight, dimension 0")
    yield weights(add(vector("blk.0.attn_q.bias", 33)), "EINVAL", "blk.0.attn_q.bias, dimension 0")
    yield weights(shape("blk.0.ffn_down_exps.weight", 3, 32, 256), "EINVAL",
                  "blk.0.ffn_down_exps.weight", preset="mixtral", of=MOE)
    yield weights(shape("blk.0.ffn_up.weight", 95, 32), "EINVAL",
                  "blk.0.ffn_up.weight, dimension 1 is 95 instead of 96", preset="phi3",
                  of=dict(SMALL, kv_heads=2))
    yield weights(lambda ws: [(w[0], w[1], "matrix", *w[3:]) if w[0] == "output_norm.weight" else w
                              for w in ws], "ENOTSUP", "supported as F32 only",
                  "output_norm.weight, type F16")


def main():
    out = sys.argv[1]
    with open(os.path.join(out, "cases"), "w") as f:
        for i, (preset, over, sets, change, errno, texts) in enumerate(cases()):
            path = os.path.join(out, f"{i:03}.gguf")
            if change:
                make_model.weights = lambda c, change=change: change(list(WEIGHTS(c)))
            make_model.make(path, make_model.Shape(preset, **over), "f16", sets=sets)
            make_model.weights = WEIGHTS
            f.write("\t".join([path, errno, *texts]) + "\n")
    # whole ones, to go wrong with later; weights that are no numbers
    good = os.path.join(out, "good.gguf")
    make_model.make(good, make_model.Shape("llama", **dict(SMALL, ff=64, ctx=1024)),
                    "q8_0")
    make_model.make(os.path.join(out, "large.gguf"),
                    make_model.Shape("llama", **dict(SMALL, embd=512, ff=2048)), "f16")
    for name, preset, value in (("nan", "mixtral", NAN), ("inf", "qwen3moe", INF)):
        make_model.weights = lambda c, value=value: [
            (*w[:3], value if "norm" not in w[0] else w[3], w[4]) for w in WEIGHTS(c)]
        make_model.make(os.path.join(out, name + ".gguf"),
                        make_model.Shape(preset, **MOE), "f16")
        make_model.weights = WEIGHTS
    return 0


if __name__ == "__main__":
    sys.exit(main())
