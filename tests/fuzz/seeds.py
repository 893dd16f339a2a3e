#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write the inputs that fuzzing starts from: DIR/TARGET/* and DIR/TARGET.dict.

They are small, valid and between them use every feature of a format once.
"""

import os
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import gguf_io as g  # noqa: E402


def u32(*v):
    return struct.pack(f"<{len(v)}I", *v)


def u64(*v):
    return struct.pack(f"<{len(v)}Q", *v)


def f32(v):
    return struct.unpack("<I", struct.pack("<f", v))[0]


# ---------------------------------------------------------------------------
# GGUF


def gguf_seeds():
    scalars = [("u8", 0, 7), ("i8", 1, -7), ("u16", 2, 7), ("i16", 3, -7), ("u32", 4, 7),
               ("i32", 5, -7), ("f32", 6, 0.5), ("bool", 7, True), ("str", 8, "text"),
               ("u64", 10, 7), ("i64", 11, -7), ("f64", 12, 0.5)]
    with tempfile.TemporaryDirectory() as tmp:
        def model(name, version=3, align=32, kv=(), tensors=(), splits=1):
            w = g.Writer(os.path.join(tmp, name), version=version, alignment=align)
            w.add("general.architecture", 8, "llama")
            for entry in kv:
                w.add(*entry)
            for t in tensors:
                w.add_tensor(*t)
            return [open(p, "rb").read() for p in w.finish(splits)]

        def tensor(name, type_name, *shape):
            n = 1
            for d in shape:
                n *= d
            return name, type_name, shape, [[0.5] * shape[-1]] * (n // shape[-1])

        arrays = [(f"arr.{k}", 9, (t, [v] * 3)) for k, t, v in scalars]
        two = [tensor("a.weight", "f32", 2, 4), tensor("b.weight", "q8_0", 32)]
        yield "scalars", model("s.gguf", kv=scalars)[0]
        yield "arrays", model("a.gguf", kv=arrays)[0]
        yield "tensors", model("t.gguf", tensors=two)[0]
        yield "v2", model("v.gguf", version=2, kv=scalars[:3], tensors=two)[0]
        yield "aligned", model("l.gguf", align=64, tensors=two)[0]
        for t in g.TYPES.values():
            yield t.name, model(t.name, tensors=[tensor("w", t.name, 2, 256)])[0]
        first, second = model("p.gguf", tensors=two, splits=2)
        yield "split", b"S" + struct.pack("<H", len(first)) + first + second


# ---------------------------------------------------------------------------
# Streams: what each operation looks like, once.

F32, F16, Q4_0, Q8_0, Q4_K, I32 = 0, 1, 2, 8, 12, 26
BLOCK = {F32: (1, 4), F16: (1, 2), Q4_0: (32, 18), Q8_0: (32, 34), Q4_K: (256, 144), I32: (1, 4)}
PARAM = 0x80000000
T = PARAM | 0                   # the number of tokens, at most 3
ABSENT = struct.pack("<4H", 0xffff, 0, 0, 0) + bytes(48)


def operand(slot, type_, *ne, maxima=(3,)):
    elems, size = BLOCK[type_]
    ne = list(ne)
    nb, step = [], None
    for d in ne[:-1]:
        d = maxima[d & ~PARAM] if d & PARAM else d
        step = d // elems * size if step is None else step * d
        nb.append(step)
    return (struct.pack("<4HQ", slot, type_, len(ne), 0, 0) + u32(*ne, *[1] * (4 - len(ne))) +
            u64(*nb, *[0] * (3 - len(nb))))


def op(code, operands, *attrs):
    attrs = [f32(a) if isinstance(a, float) else a for a in attrs]
    return u32(code, len(operands), *attrs, *[0] * (8 - len(attrs))) + b"".join(operands)


def stream(ops, level=0, fill=0x55, n_slots=12):
    body = struct.pack("<2I", 3, 0) + b"".join(ops)
    head = u32(0x54534e4c, 1, 24 + len(body), 1, n_slots, len(ops))
    return bytes([level, fill]) + u32(7) + b"\0\0" + head + body


def paged(first):
    return [operand(first, I32, T), operand(first + 1, I32, T), operand(first + 2, I32, 2, 1)]


def attention(kv_type, d=32, heads=2, groups=1):
    pages = [operand(s, kv_type, d, 256, groups, 2) for s in (1, 2)]
    src = operand(0, F32, d, groups, T)
    q, dst = operand(6, F32, d, heads, T), operand(7, F32, d, heads, T)
    return [op(7, [pages[0], src] + paged(3), 0), op(7, [pages[1], src] + paged(3), 1),
            op(8, [dst, q] + pages + paged(3), 0.125, 0.0, 0),
            op(8, [dst, q] + pages + paged(3), 0.125, 4.0, 5)]


def stream_seeds():
    x, y, z = (operand(i, F32, 256, T) for i in range(3))
    norm = operand(3, F32, 256)
    ops = {
        "get_rows": [op(1, [x, operand(1, Q4_0, 256, 4), operand(2, I32, T)], 1.0)],
        "rms_norm": [op(2, [x, y, norm], 1e-5), op(2, [x, y, ABSENT], 1e-5)],
        "matmul": [op(3, [operand(0, F32, 256, T), operand(4, F32, 8, T),
                          operand(5, t, 256, 8), ABSENT], 1) for t in (F32, F16, Q4_0, Q8_0, Q4_K)],
        "matmul_bias": [op(3, [x, operand(4, F32, 8, T), operand(5, Q4_0, 256, 8),
                               operand(6, F32, 8), operand(7, F32, 5, T),
                               operand(8, Q4_0, 256, 5), ABSENT], 2)],
        "matmul_experts": [op(4, [operand(0, F32, 8, 2, T), operand(1, F32, 32, 1, T),
                                  operand(2, Q8_0, 32, 8, 4), operand(3, I32, 2, T), ABSENT])],
        "matmul_place": [op(4, [operand(0, F32, 8, 2, T), operand(1, F32, 32, 2, T),
                                operand(2, Q8_0, 32, 8, 4), operand(3, I32, 2, T),
                                operand(4, I32, 6)])],
        "rope": [op(5, [operand(0, F32, 16, T), operand(1, I32, T), ABSENT],
                    10000.0, 1.0, 0.0, 0.0, 0.0, 1.0),
                 op(5, [operand(0, F32, 16, T), operand(1, I32, T), operand(2, F32, 8)],
                    10000.0, 0.25, 1.0, 2.0, 6.0, 1.1),
                 op(6, [operand(3, F32, 32, 2, T), operand(3, F32, 32, 2, T),
                        operand(0, F32, 16, T)], 0),
                 op(6, [operand(3, F32, 32, 2, T), operand(4, F32, 32, 2, T),
                        operand(0, F32, 16, T)], 1)],
        "attention_f16": attention(F16),
        "attention_q8_0": attention(Q8_0),
        "attention_q4_0": attention(Q4_0),
        "glu": [op(9, [x, y, z], 0), op(9, [x, y, z], 1)],
        "add": [op(10, [x, y, z])],
        "softcap": [op(11, [x, x], 30.0)],
        "route": [op(12, [operand(0, I32, 2, T), operand(1, F32, 2, T), operand(2, F32, 8, T)],
                     1, 1.0),
                  op(13, [operand(3, F32, 32, T), operand(4, F32, 32, 2, T),
                          operand(1, F32, 2, T)])],
    }
    for name, body in ops.items():
        for level in range(3):
            yield f"{name}.{level}", stream(body, level, 0x99 if level else 0x55)


# ---------------------------------------------------------------------------
# Tokenizers


def tokenizer_seeds():
    texts = ["Hello world", " two  spaces", "naïve café", "数 42", "<s>[INST] a</s>", "don't\n\n x",
             "\x00\x01", "aaaaaaaaaaaaaaaa", "1234567", "\U0001f600!"]
    letters = "abcdefghijklmnopqrstuvwxyzHW"
    spm = ["2<unk>", "3<s>", "3</s>"] + [f"6<0x{i:02X}>" for i in range(0, 256)]
    spm += [f"1{c}" for c in letters] + ["1\u2581", "1\u2581a", "1he", "1ll", "1llo", "1aa",
                                         "1aaaa", "4[INST]"]
    bpe = [f"1{c}" for c in letters + "!'.0123456789"] + ["1\u0120", "1ll", "1he", "1llo", "1hello",
                                                         "1\u0120w", "3<s>", "4[INST]"]
    merges = ["l l", "h e", "ll o", "he llo", "\u0120 w"]

    def seed(kind, pre, flags, tokens, merges, text):
        return (bytes([kind, pre, flags]) + "\n".join(tokens).encode() + b"\xff" +
                "\n".join(merges).encode() + b"\xff" + text)

    for i, text in enumerate(texts):
        yield f"spm.{i}", seed(0, 0, i * 16, spm, [], text.encode())
        yield f"spm.small.{i}", seed(0, 0, i * 8, spm[:3] + spm[259:], [], text.encode())
        yield f"bpe.{i}", seed(1, i, i * 16 + 2, bpe, merges, text.encode())
    for i in range(32):
        yield f"pre.{i}", seed(1, i, 2, bpe, merges, "".join(texts).encode())
    yield "invalid", seed(1, 2, 2, bpe, merges, b"\xc3\x28\xf0\x9f ok \xed\xa0\x80")
    yield "empty", seed(0, 0, 0, [], [], b"")


# ---------------------------------------------------------------------------
# Chat templates


TEMPLATES = [
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "{{ bos_token }}{%- set sys = messages[0].content if messages[0].role == 'system' else '' -%}"
    "{% for m in messages[1:] %}{% if loop.first and sys %}[{{ sys }}]{% endif %}"
    "{{ '[INST] ' ~ m.content ~ ' [/INST]' }}{{ loop.index0 }}{% endfor %}",
    "{% if messages[0]['role'] != 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}",
    "{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% if m.content is defined and 'x' in m.content %}{% set ns.found = true %}{% break %}"
    "{% endif %}{% else %}none{% endfor %}{{ ns.n }}{{ ns.found }}",
    "{% macro say(who, what='hi') %}{{ who | upper }}: {{ what }}{% endmacro %}{{ say('a') }}"
    "{{ say('b', what=messages[0].content) }}",
    "{{ messages | tojson(indent=2) }}{{ messages | length }}{{ [1, 2.5, none, true] | join(',') }}",
    "{{ 'a-b'.split('-')[-1] }}{{ 'x'.upper().lower() }}{{ messages[0].content.strip()[:3] }}",
    "{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }};{% endfor %}{{ range(3) | list }}",
    "{{ (1 + 2) * 3 // 2 % 5 ** 2 }}{{ -7 // 2 }}{{ 1 < 2 < 3 }}{{ not false }}{{ n | default(1) }}",
    "{# a comment #}{% raw %}{{ raw }}{% endraw %}{% filter upper %}text{% endfilter %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}",
    "{% for a in range(3) recursive %}{% for b in range(a) %}{% continue %}{% endfor %}{% endfor %}",
    "{{ strftime_now('%Y-%m-%d') }}{{ 'äöü数'[1] }}{{ 'abc'[::-1] }}{{ 'a' * 3 }}",
    "{% set x %}block {{ n }}{% endset %}{{ x }}{% with y = 2 %}{{ y }}{% endwith %}",
]


def template_seeds():
    for i, t in enumerate(TEMPLATES):
        for flags in range(4):
            yield f"{i}.{flags}", (bytes([flags]) + t.encode() +
                                   b"\xffYou help.\xff Hello, x?\n\xffYes.")


# ---------------------------------------------------------------------------
# Devices: see tests/fuzz/device.c for the records


def device_seeds():
    def record(kind, arg, data=b""):
        return struct.pack("<BBH", kind, arg, len(data)) + data

    def head(type_, ctx, id_):
        return u32(type_, ctx, id_, 0)

    def attach(id_, first, n, flags=0):
        entries = b"".join(u64((first + 2 * i) * 4096) + u32(4096, 0) for i in range(n))
        return record(4, 0, head(0x200, 1, id_) + u64(n * 4096) + u32(flags, n) + entries)

    start = record(4, 0, head(0x100, 1, 0) + u32(0, 0))
    small = stream([op(10, [operand(0, F32, 32, T), operand(1, F32, 32, T),
                            operand(0, F32, 32, T)]),
                    op(1, [operand(0, F32, 32, T), operand(1, Q4_0, 32, 4),
                           operand(1, I32, T)], 1.0)], n_slots=2)[8:]
    create = record(4, 0, head(0x300, 1, 3) + u32(len(small), 0) + small)
    pieces = (record(4, 0, head(0x300, 1, 3) + u32(len(small), 0) + small[:100]) +
              record(4, 0, head(0x301, 1, 3) + small[100:]))
    add = (record(4, 0, head(0x200, 1, 0) + u64(8192) + u32(0, 1) + u64(65536) + u32(4096, 0)) +
           record(4, 0, head(0x201, 1, 0) + u32(1, 0) + u64(131072) + u32(4096, 0)))

    def submit(job, *bindings):
        return (u32(1, 3) + u64(job) + u32(0, len(bindings), 2, *[0] * 7) +
                b"".join(u32(s, r) + u64(o, n) for s, r, o, n in bindings))

    job = record(5, 0, submit(7, (0, 0, 0, 8192), (1, 1, 0, 4096)))
    end = (record(4, 0, head(0x400, 1, 0) + u64(7)) + record(4, 0, head(0x302, 1, 3)) +
           record(4, 0, head(0x202, 1, 0)) + record(4, 0, head(0x101, 1, 0)) +
           record(4, 0, head(1, 0, 0)))
    resources = attach(0, 20, 2) + attach(1, 40, 1, 1)
    yield "run", b"\0" + start + resources + create + job + end
    yield "pieces", b"\0" + start + add + attach(1, 40, 1) + pieces + job
    yield "reset", b"\0" + start + resources + create + job + record(4, 0, head(1, 0, 0)) + job
    yield "ring", b"\0" + start + record(1, 0, u32(0) + u64(4096) + u32(64, 0x10004)) + record(2, 0)
    yield "indirect", (b"\0" + record(1, 0, u32(0) + u64(65536) + u32(32, 4)) +
                       record(1, 0, u32(65536) + u64(524288) + u32(24, 0x10001) +
                              u64(524000) + u32(16, 2)) +
                       record(1, 0, u32(4096) + struct.pack("<3H", 0, 1, 0)) + record(2, 0))
    messages = b"".join(record(0, r, u64(0)) for r in (1, 15, 17, 3))
    messages += record(0, 24, u32(0, 56, 0) + bytes(56))
    messages += record(0, 5 + 48, u32(1, 0) + u64(0, 1 << 20, 1 << 28, 0))
    yield "messages", b"\1" + messages
    yield "stop", b"\0" + start + job + record(0, 11, u32(1, 0)) + record(0, 10, u32(1, 1))


DICTS = {
    "device": ["\\x00\\x01\\x00\\x00", "\\x01\\x01\\x00\\x00", "\\x00\\x02\\x00\\x00",
               "\\x01\\x02\\x00\\x00", "\\x02\\x02\\x00\\x00", "\\x00\\x03\\x00\\x00",
               "\\x01\\x03\\x00\\x00", "\\x02\\x03\\x00\\x00", "\\x00\\x04\\x00\\x00"],
    "gguf": ["GGUF", "general.alignment", "general.architecture", "split.no", "split.count",
             "split.tensors.count"],
    "stream": ["\\xff\\xff\\x00\\x00", "\\x00\\x00\\x00\\x80", "\\x01\\x00\\x00\\x80"],
    "tokenizer": ["\\xff", "<0x4F>", "</s>", "<s>", "\\xe2\\x96\\x81", "\\xc4\\xa0", "<|im_end|>"],
    "template": ["{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "endfor", "endif", "else",
                 "elif", "for", "in", "if", "set", "endset", "macro", "endmacro", "namespace(",
                 "is", "not", "defined", "messages", "role", "content", "loop.", "index0", "|",
                 "tojson", "join(", "items()", "split(", "[::-1]", "range(", "**", "//", "~",
                 "raw", "filter", "generation", "\\xff"],
}
SEEDS = {"device": device_seeds, "gguf": gguf_seeds, "stream": stream_seeds,
         "tokenizer": tokenizer_seeds, "template": template_seeds}


def main(argv):
    if len(argv) != 2:
        print(__doc__.strip() + "\n\nusage: seeds.py DIR")
        return 2
    for target, seeds in SEEDS.items():
        folder = os.path.join(argv[1], target)
        os.makedirs(folder, exist_ok=True)
        for name, data in seeds():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        with open(folder + ".dict", "w", encoding="ascii") as f:
            f.writelines(f'"{word}"\n' for word in DICTS[target])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
