#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tools/convert-hf.py: what it writes against a third party's conversion and against models
whose weights are known, and what it refuses.

Prints TAP; exit 0 all passed, 1 a failure, 77 nothing could run.
"""

import importlib.util
import json
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

_spec = importlib.util.spec_from_file_location(
    "convert_hf", os.path.join(tap.ROOT, "tools", "convert-hf.py"))
convert_hf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(convert_hf)
hf_packed = convert_hf.hf_packed

TMP = tempfile.TemporaryDirectory(prefix="linnet-convert-")


def tmp(*parts):
    return os.path.join(TMP.name, *parts)


def check_third_party():
    """TinyStories-656K as Q8_0 equals the published file: every tensor, model and token."""
    theirs = gguf_io.Reader(data("tinystories-656k", "TinyStories-656K-Q8_0.gguf"))
    kept = convert_hf.convert(data("tinystories-656k"), tmp("q8.gguf"), "q8_0")
    ours = gguf_io.Reader(tmp("q8.gguf"))
    assert not kept and set(ours.tensors) == set(theirs.tensors)
    for name, t in theirs.tensors.items():
        o = ours.tensors[name]
        assert (o.dims, o.type_id) == (t.dims, t.type_id), name
        assert np.array_equal(o.raw(), t.raw()), name
    for key, v in theirs.kv.items():
        # Scores differ on purpose: theirs are all -1000, ours rank the merges.
        if key.startswith(("llama.", "tokenizer.")) and not key.endswith(".scores"):
            assert np.array_equal(ours.kv[key], v), f"{key}: {ours.kv[key]} is not {v}"
            assert ours.kv_type[key] == theirs.kv_type[key], key


def check_exact_types():
    """F32 keeps every bit; F16 and BF16 are the nearest values; the logits stay close."""
    convert_hf.convert(data("tinystories-656k"), tmp("f32.gguf"), "f32")
    full = gguf_io.Reader(tmp("f32.gguf"))
    src = convert_hf.Weights(data("tinystories-656k"))
    name = "model.layers.1.mlp.down_proj.weight"
    assert np.array_equal(full.tensors["blk.1.ffn_down.weight"].array(), src.array(name))
    want = reference.Model(tmp("f32.gguf")).logits([1, 5, 9, 700])
    for kind, bound in (("f16", 1e-2), ("bf16", 1e-1)):
        convert_hf.convert(data("tinystories-656k"), tmp("half.gguf"), kind)
        half = gguf_io.Reader(tmp("half.gguf"))
        for n, t in full.tensors.items():
            if len(t.dims) > 1:
                w = gguf_io.TYPES[kind].encode(t.array())
                assert np.array_equal(half.tensors[n].raw(), w), n
        got = reference.Model(tmp("half.gguf")).logits([1, 5, 9, 700])
        assert np.abs(got - want).max() < bound, f"{kind}: {np.abs(got - want).max()}"


# -- directories made from synthetic models ------------------------------------------------


def write_safetensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes)."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = dict(dtype=dtype, shape=list(shape), data_offsets=[at, at + len(raw)])
        at += len(raw)
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h)
        for _, _, raw in tensors.values():
            f.write(raw)


def halves(x, heads):
    """GGUF's neighbouring pairs back to Hugging Face's halves."""
    out = x.reshape(heads, -1, 2, *x.shape[1:])
    return np.concatenate([out[:, :, 0], out[:, :, 1]], axis=1).reshape(x.shape)


LLAMA3_SPLIT = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def write_directory(directory, gguf, model_type, dtype, shards, pack=None, **config):
    """A GGUF model as Hugging Face would store it; pack makes parts of a layer's matrix."""
    os.makedirs(directory)
    p = gguf.param
    heads = dict(attn_q=p("attention.head_count"), attn_k=p("attention.head_count_kv"))
    back = {v: k for k, v in convert_hf.LAYER.items()}
    whole = {v: k for k, v in convert_hf.WHOLE.items()}
    tensors = {}
    for name, t in gguf.tensors.items():
        if name == "rope_freqs.weight":
            continue
        x, parts = t.array(), name.split(".")
        if gguf.arch == "llama" and len(parts) > 2 and parts[2] in heads:
            x = halves(x, heads[parts[2]])
        hf = whole.get(name) or f"model.layers.{parts[1]}.{back[parts[2]]}.{parts[3]}"
        kind = {"F32": "f32", "F16": "f16", "BF16": "bf16"}[dtype]
        if pack and x.ndim == 2 and parts[0] == "blk":
            tensors.update({hf[:-len("weight")] + k: v for k, v in pack(x).items()})
            continue
        tensors[hf] = (dtype, x.shape, gguf_io.TYPES[kind].encode(x.reshape(-1)).tobytes())
    if shards == 1:
        write_safetensors(os.path.join(directory, "model.safetensors"), tensors)
    else:
        where, names = {}, list(tensors)
        for i in range(shards):
            f = f"model-{i + 1:05}-of-{shards:05}.safetensors"
            where.update({n: f for n in names[i::shards]})
            write_safetensors(os.path.join(directory, f), {n: tensors[n] for n in names[i::shards]})
        with open(os.path.join(directory, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": where}, f)
    config = dict(
        model_type=model_type, hidden_size=p("embedding_length"),
        intermediate_size=p("feed_forward_length"), num_hidden_layers=p("block_count"),
        num_attention_heads=heads["attn_q"], num_key_value_heads=heads["attn_k"],
        head_dim=p("attention.key_length"), vocab_size=p("vocab_size"), hidden_act="silu",
        max_position_embeddings=p("context_length"), rope_theta=p("rope.freq_base"),
        rms_norm_eps=p("attention.layer_norm_rms_epsilon"),
        tie_word_embeddings="output.weight" not in gguf.tensors, **config)
    with open(os.path.join(directory, "config.json"), "w") as f:
        json.dump(config, f)
    tokens, kinds = gguf.kv["tokenizer.ggml.tokens"], gguf.kv["tokenizer.ggml.token_type"]
    special = [dict(id=i, content=s, special=True) for i, s in enumerate(tokens) if kinds[i] == 3]
    with open(os.path.join(directory, "tokenizer.json"), "w") as f:
        json.dump(dict(
            added_tokens=special,
            pre_tokenizer=dict(type="Sequence", pretokenizers=[
                dict(type="Split", pattern=dict(Regex=LLAMA3_SPLIT)), dict(type="ByteLevel")]),
            model=dict(type="BPE", vocab={s: i for i, s in enumerate(tokens) if kinds[i] != 3},
                       merges=gguf.kv["tokenizer.ggml.merges"])), f)
    with open(os.path.join(directory, "tokenizer_config.json"), "w") as f:
        json.dump(dict(bos_token=special[0]["content"], eos_token=dict(special[1]),
                       chat_template="{{ messages }}"), f)


def round_trip(preset, model_type, dtype="F32", shards=1, config=None, **shape):
    """A synthetic model -> a directory -> GGUF: the same tokenizer, the same logits."""
    c = make_model.Shape(preset, tokenizer="bpe", pre="llama-bpe", **shape)
    first, out, d = tmp(preset + ".gguf"), tmp(preset + "-out.gguf"), tmp(preset)
    # Weights that are bfloat16 numbers, so that every dtype here but F16 keeps them.
    make_model.make(first, c, "bf16" if dtype == "BF16" else "f16" if dtype == "F16" else "f32")
    a = gguf_io.Reader(first)
    write_directory(d, a, model_type, dtype, shards, **(config or {}))
    convert_hf.convert(d, out, "f32")
    b = gguf_io.Reader(out)
    assert set(a.tensors) == set(b.tensors), set(a.tensors) ^ set(b.tensors)
    for key in ("tokens", "merges", "token_type", "bos_token_id", "eos_token_id", "model", "pre"):
        assert np.array_equal(a.kv["tokenizer.ggml." + key], b.kv["tokenizer.ggml." + key]), key
    assert b.kv["tokenizer.chat_template"] == "{{ messages }}"
    ids = [3, 77, 200, 12, 500, 41]
    x, y = reference.Model(first).logits(ids), reference.Model(out).logits(ids)
    # Half types round the norms too, which the first file keeps in full.
    bound = 1e-6 if dtype == "F32" else 0.1
    assert np.abs(x - y).max() < bound, np.abs(x - y).max()


def check_llama3():
    """Llama 3 scaling, tied weights: rotary rows return to pairs, divisors are the same."""
    round_trip("llama3", "llama", config=dict(rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)))


def check_qwen2():
    """Biases, rows left in halves, shards, BF16."""
    round_trip("qwen2", "qwen2", dtype="BF16", shards=3)


def check_qwen3():
    """Norms of heads, a head size of its own, F16, yarn."""
    round_trip("qwen3", "qwen3", dtype="F16", rope_scaling="yarn", rope_orig_ctx=128,
               config=dict(rope_scaling=dict(rope_type="yarn", factor=4.0,
                                             original_max_position_embeddings=128)))


def check_mistral():
    """The window becomes metadata."""
    round_trip("mistral", "mistral", config=dict(sliding_window=24))


def check_tokenizers():
    """The ways in which tokenizer.json and its neighbours say the same things."""
    d, out = tmp("tok"), tmp("tok-out.gguf")
    make_model.make(tmp("tok.gguf"), make_model.Shape("llama", tokenizer="bpe"), "f32")
    write_directory(d, gguf_io.Reader(tmp("tok.gguf")), "llama", "F32", 1)
    files = {n: convert_hf.read_json(os.path.join(d, n + ".json"))
             for n in ("tokenizer", "tokenizer_config", "config")}
    bos, eos = (files["tokenizer"]["added_tokens"][i]["content"] for i in (0, 1))

    def kv(tokenizer=(), tokenizer_config=(), config=(), model=()):
        tok = {**files["tokenizer"], **dict(tokenizer)}
        tok["model"] = {**tok["model"], **dict(model)}
        for name, v in (("tokenizer", tok), ("config", {**files["config"], **dict(config)}),
                        ("tokenizer_config", {**files["tokenizer_config"],
                                              **dict(tokenizer_config)})):
            with open(os.path.join(d, name + ".json"), "w", encoding="utf-8") as f:
                json.dump(v, f)
        convert_hf.convert(d, out)
        return gguf_io.Reader(out).kv

    def space(normalizer, pre):
        return kv(dict(normalizer=normalizer, pre_tokenizer=pre),
                  model=dict(byte_fallback=True))["tokenizer.ggml.add_space_prefix"]

    meta = dict(type="Metaspace", replacement="\u2581")
    replace = dict(type="Replace", pattern=dict(String=" "), content="\u2581")
    assert space(dict(type="Sequence", normalizers=[dict(type="Prepend", prepend="\u2581"),
                                                    replace]), None)
    assert not space(replace, None)
    for scheme, want in (("first", True), ("always", True), ("never", False)):
        assert space(None, dict(meta, prepend_scheme=scheme, split=False)) == want, scheme
    assert space(None, dict(meta, add_prefix_space=True))
    assert not space(None, dict(meta, add_prefix_space=False))
    assert space(None, dict(type="Sequence", pretokenizers=[meta]))

    word = ("[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]%s"
            "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]%s")
    rest = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    end = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    for name, regex in (("tekken", word % ("*", "+") + "|" + word % ("+", "*") + "|\\p{N}"),
                        ("gpt-4o", word % ("*", "+") + end + "|" + word % ("+", "*") + end +
                         "|\\p{N}{1,3}")):
        split = dict(type="Split", pattern=dict(Regex=regex + rest))
        assert kv(dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[
            split, dict(type="ByteLevel")])))["tokenizer.ggml.pre"] == name

    # who adds BOS and EOS: the configuration, else the post-processor
    def template(*single):
        return dict(type="Sequence", processors=[dict(type="ByteLevel"), dict(
            type="TemplateProcessing", single=list(single))])
    text = dict(Sequence=dict(id="A", type_id=0))
    first, last = (dict(SpecialToken=dict(id=i, type_id=0)) for i in (bos, eos))
    for post, config, want in (
            (None, {}, [None, None]), (dict(type="ByteLevel"), {}, [False, False]),
            (template(first, text), {}, [True, False]),
            (template(first, text, last), {}, [True, True]),
            (template(last, text), {}, [False, False]),
            (template(first, text), dict(add_bos_token=False, add_eos_token=True), [False, True])):
        got = kv(dict(post_processor=post), config)
        assert [got.get(f"tokenizer.ggml.add_{k}_token") for k in ("bos", "eos")] == want, post

    chat = "tokenizer.chat_template"
    named = [dict(name="tool_use", template="T"), dict(name="default", template="D")]
    assert kv(tokenizer_config=dict(chat_template=named))[chat] == "D"
    with open(os.path.join(d, "chat_template.jinja"), "w", encoding="utf-8") as f:
        f.write("{{ 'own' }}\n")
    assert kv()[chat] == "{{ 'own' }}\n"

    yarn = kv(config=dict(rope_scaling=dict(
        rope_type="yarn", factor=2.0, beta_fast=16, original_max_position_embeddings=64)))
    assert yarn["llama.rope.scaling.yarn_beta_fast"] == 16
    assert "llama.rope.scaling.yarn_beta_slow" not in yarn


# -- packed matrices -------------------------------------------------------------------------


def slices(name, magic, header, *parts):
    """The header and the arrays of a published slice; parts are (place of length, dtype)."""
    with open(data("quant", name), "rb") as f:
        raw = f.read()
    assert raw[:4] == magic
    head, at, out = struct.unpack_from(f"<{header}I", raw, 4), 4 + 4 * header, []
    for i, dtype in parts:
        out.append(np.frombuffer(raw, dtype, head[i] // np.dtype(dtype).itemsize, at))
        at += head[i]
    return head, out


def check_published_slices():
    """What GPTQ and AWQ packed of a published model: values as its own decoder gives them,
    in GGUF types that keep every bit."""
    h, (q, s, z, g, _, want) = slices("falcon3_1b_int4.bin", b"AMNQ", 13, (7, "<i4"), (8, "<f2"),
                                      (9, "<i4"), (10, "<i4"), (11, "<u2"), (12, "<f4"))
    scheme = hf_packed.Scheme("", dict(quant_method="gptq", bits=h[1], group_size=h[2]))
    m = scheme.matrix(dict(qweight=q.reshape(-1, h[4]), qzeros=z.reshape(-1, h[4] // 8), g_idx=g,
                           scales=s.reshape(-1, h[4])))
    assert np.array_equal(m.values().T.reshape(-1), want)
    assert m.exact_type() == "q4_0"
    raw = m.blocks("q4_0")
    assert np.array_equal(gguf_io.TYPES["q4_0"].decode(raw), m.values().reshape(-1))

    h, (q, s, z, _, want) = slices("falcon3_1b_awq.bin", b"AMNA", 11, (6, "<i4"), (7, "<f2"),
                                   (8, "<i4"), (9, "<u2"), (10, "<f4"))
    scheme = hf_packed.Scheme("", dict(quant_method="awq", bits=h[1], group_size=h[2]))
    m = scheme.matrix(dict(qweight=q.reshape(h[3], -1), qzeros=z.reshape(-1, h[4] // 8),
                           scales=s.reshape(-1, h[4])))
    assert np.array_equal(m.values().T.reshape(-1), want)
    assert m.exact_type() == "q5_0"
    raw = m.blocks("q5_0")
    assert np.array_equal(gguf_io.TYPES["q5_0"].decode(raw), m.values().reshape(-1))


def bit_string(q, bits):
    """(n, values) -> (n, words) by single bits, not by shifts."""
    b = np.unpackbits(q.astype(np.uint8)[:, :, None], axis=2, bitorder="little")[:, :, :bits]
    return np.packbits(b.reshape(len(q), -1), axis=1, bitorder="little").view("<i4")


def packer(method, bits, size, rng, zeros, act_order=False, less_one=1):
    """A pack() for write_directory(); values of the matrices are left in its .values."""
    def pack(x):
        out, width = x.shape
        groups = -(-width // size)
        q, zero = rng.integers(0, 1 << bits, (out, width)), rng.integers(*zeros, (out, groups))
        scale = rng.uniform(0.001, 0.01, (out, groups)).astype(np.float16)
        g = np.arange(width) // size
        if act_order:
            g = rng.permutation(g)
        pack.values.append((scale[:, g].astype(np.float32) * (q - zero[:, g])))
        i32 = lambda a: ("I32", a.shape, a.astype("<i4").tobytes())  # noqa: E731
        parts = dict(scales=("F16", scale.T.shape, scale.T.tobytes()),
                     bias=("F16", (out,), bytes(2 * out)))
        if method == "awq":
            order = [0, 2, 4, 6, 1, 3, 5, 7]
            eight = lambda a: bit_string(  # noqa: E731
                a.reshape(len(a), -1, 8)[:, :, order].reshape(len(a), -1), 4)
            return dict(parts, qweight=i32(eight(q.T)), qzeros=i32(eight(zero.T)))
        parts.update(qweight=i32(bit_string(q, bits).T), g_idx=i32(g),
                     qzeros=i32(bit_string(zero.T - less_one, bits)))
        return parts
    pack.values = []
    return pack


PACKED = (  # method, bits, group size, zero points, order by activation, version, stored as
    ("gptq", 4, 64, (8, 9), False, "gptq", "q4_0"),
    ("gptq", 4, 32, (1, 16), False, "gptq", "q5_0"),
    ("gptq", 4, 128, (0, 16), False, "gptq_v2", "q5_0"),
    ("gptq", 2, 64, (1, 4), False, "gptq", "q4_0"),
    ("gptq", 3, 64, (4, 5), False, "gptq", "q4_0"),
    ("gptq", 8, 32, (128, 129), False, "gptq", "q8_0"),
    ("gptq", 4, 16, (8, 9), False, "gptq", "f16"),
    ("gptq", 4, 64, (8, 9), True, "gptq", "f16"),
    ("awq", 4, 128, (0, 16), False, None, "q5_0"),
)


def check_packed():
    """Whole checkpoints packed either way: every value is kept, rotary rows return to pairs;
    what no type holds is unpacked to --type, and said."""
    c = make_model.Shape("llama", tokenizer="bpe", pre="llama-bpe")
    make_model.make(tmp("p.gguf"), c, "f16")
    first, rng = gguf_io.Reader(tmp("p.gguf")), np.random.default_rng(5)
    heads = dict(attn_q=first.param("attention.head_count"),
                 attn_k=first.param("attention.head_count_kv"))
    for n, (method, bits, size, zeros, act, version, want) in enumerate(PACKED):
        d, pack = tmp(f"packed{n}"), packer(method, bits, size, rng, zeros, act,
                                            0 if version == "gptq_v2" else 1)
        quant = dict(quant_method=method, bits=bits, group_size=size, desc_act=act)
        if version:
            quant["checkpoint_format"] = version
        write_directory(d, first, "llama", "F16", 1, pack, quantization_config=quant)
        notes = convert_hf.convert(d, tmp("p-out.gguf"), "f16")
        out = gguf_io.Reader(tmp("p-out.gguf"))
        values = iter(pack.values)
        for name, t in first.tensors.items():
            got, parts = out.tensors[name], name.split(".")
            if parts[0] != "blk" or len(t.dims) == 1:
                assert np.array_equal(got.array(), t.array().astype(np.float16)), name
                continue
            x = next(values)
            if parts[2] in heads:
                h = heads[parts[2]]
                x = x.reshape(h, 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            if want == "f16":
                x = x.astype(np.float16)
            assert got.type.name == want, f"{name}: {got.type.name}"
            assert np.array_equal(got.array(), x), f"{method} {bits} {size}: {name}"
        assert set(out.tensors) == set(first.tensors)
        assert bool(notes) == (want == "f16"), notes


# -- refusals --------------------------------------------------------------------------------


def refused(what, *words):
    try:
        what()
    except (ValueError, KeyError) as e:
        for w in words:
            assert w in str(e), f"the message {str(e)!r} does not name {w!r}"
        return
    raise AssertionError(f"not refused: {words}")


def check_bad_safetensors():
    """A header that lies about itself or its tensors is refused by file and field."""
    path = tmp("bad.safetensors")
    good = dict(dtype="F32", shape=[2, 3], data_offsets=[0, 24])

    def attempt(header, body=bytes(24), length=None, *words):
        h = header if isinstance(header, bytes) else json.dumps(header).encode()
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(h) if length is None else length) + h + body)
        if words:
            refused(lambda: convert_hf.Safetensors(path), "bad.safetensors", *words)
        else:
            convert_hf.Safetensors(path)

    attempt({"a": good})
    body = bytes(24)
    attempt({"a": good}, body, 1 << 63, "header length")
    attempt({"a": good}, body, 1 << 40, "header length")
    attempt({"a": good}, body, 5, "header")
    attempt(b"[1]", body, None, "no object")
    attempt(b"\xff\xfe{", body, None, "header")
    attempt(b"[" * 100000, body, None, "header")
    attempt(b'{"a": 1, "a": 2}', body, None, "twice")
    attempt({"a": 7}, body, None, "a")
    attempt({"a": dict(good, dtype="I9")}, body, None, "dtype", "I9")
    attempt({"a": dict(good, shape=[2, -3])}, body, None, "shape")
    attempt({"a": dict(good, shape=[2, True])}, body, None, "shape")
    attempt({"a": dict(good, shape=[2.0, 3])}, body, None, "shape")
    attempt({"a": dict(good, shape=[1 << 62, 1 << 62])}, body, None, "bytes for")
    attempt({"a": dict(good, data_offsets=[24, 0])}, body, None, "data_offsets")
    attempt({"a": dict(good, data_offsets=[0, 1 << 70])}, body, None, "data_offsets")
    attempt({"a": dict(good, data_offsets=[0])}, body, None, "data_offsets")
    attempt({"a": good}, bytes(23), None, "data_offsets")
    attempt({"a": good}, bytes(25), None, "cover")
    attempt({"a": good, "b": good}, body, None, "begin at 0")
    with open(path, "wb") as f:
        f.write(b"\0" * 7)
    refused(lambda: convert_hf.Safetensors(path), "too short")


def check_bad_config():
    """A configuration that is not supported or does not fit its tensors is refused."""
    d = tmp("config")
    make_model.make(tmp("c.gguf"), make_model.Shape("llama", tokenizer="bpe"), "f32")
    write_directory(d, gguf_io.Reader(tmp("c.gguf")), "llama", "F32", 1)
    path = os.path.join(d, "config.json")
    with open(path) as f:
        good = json.load(f)

    def attempt(change, *words):
        with open(path, "w") as f:
            json.dump({**good, **change}, f)
        refused(lambda: convert_hf.convert(d, tmp("c-out.gguf")), *words)

    attempt(dict(model_type="gptj"), "config.json", "model_type", "gptj")
    attempt(dict(hidden_act="relu"), "hidden_act", "relu")
    attempt(dict(hidden_size="256"), "hidden_size")
    attempt(dict(num_attention_heads=0), "heads")
    attempt(dict(num_key_value_heads=3), "heads")
    attempt(dict(num_hidden_layers=3), "blk.2.")
    attempt(dict(num_hidden_layers=1), "model.layers.1.")
    attempt(dict(intermediate_size=99), "mlp", "99")
    attempt(dict(vocab_size=100), "vocab_size")
    attempt(dict(rope_scaling=dict(rope_type="dynamic", factor=2.0)), "rope_scaling", "dynamic")
    quant = dict(quant_method="gptq", bits=4, group_size=32)
    for bad in (dict(quant_method="exl2"), dict(bits=5), dict(bits=True), dict(group_size=0),
                dict(group_size="128"), dict(checkpoint_format="marlin"),
                dict(quant_method="awq", version="gemv"), dict(quant_method="awq", bits=8)):
        attempt(dict(quantization_config={**quant, **bad}), "config.json", list(bad)[-1])
    attempt(dict(quantization_config=[]), "quantization_config")
    with open(path, "w") as f:
        json.dump(good, f)
    os.remove(os.path.join(d, "tokenizer.json"))
    try:
        convert_hf.convert(d, tmp("c-out.gguf"))
    except OSError as e:
        assert "tokenizer.json" in str(e)
    else:
        raise AssertionError("converted without a tokenizer")


def check_bad_packed():
    """Parts of a packed matrix that do not fit each other are refused by name."""
    c = make_model.Shape("llama", tokenizer="bpe", pre="llama-bpe")
    make_model.make(tmp("b.gguf"), c, "f16")
    first, rng, count = gguf_io.Reader(tmp("b.gguf")), np.random.default_rng(5), [0]
    quant = dict(quant_method="gptq", bits=4, group_size=64)

    def attempt(change, *words):
        whole, d = packer("gptq", 4, 64, rng, (8, 9)), tmp(f"bad-packed{count[0]}")
        count[0] += 1

        def pack(x):
            parts = whole(x)
            change(parts)
            return {k: v for k, v in parts.items() if v}
        write_directory(d, first, "llama", "F16", 1, pack, quantization_config=quant)
        refused(lambda: convert_hf.convert(d, tmp("b-out.gguf"), "f16"), "model.safetensors",
                "_proj", *words)

    def shorter(part):
        def change(parts):
            dtype, shape, raw = parts[part]
            cut = len(raw) // shape[0]
            parts[part] = (dtype, (shape[0] - 1, *shape[1:]), raw[:-cut])
        return change

    def group(parts):
        _, shape, raw = parts["g_idx"]
        parts["g_idx"] = ("I32", shape, raw[:-4] + struct.pack("<i", 999))

    def floats(parts):
        parts["qzeros"] = ("F32", *parts["qzeros"][1:])

    for part in ("qweight", "qzeros", "scales", "g_idx"):
        attempt(shorter(part), "expected")
    for part in ("qweight", "qzeros", "scales"):
        attempt(lambda parts, p=part: parts.update({p: None}), part)
    attempt(group, "g_idx", "999")
    attempt(floats, "qzeros", "F32")


if __name__ == "__main__":
    sys.exit(tap.run([check_third_party, check_exact_types, check_llama3, check_qwen2, check_qwen3,
                      check_mistral, check_tokenizers, check_published_slices, check_packed,
                      check_bad_safetensors, check_bad_config, check_bad_packed]))
