#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Train Linnet's demo model on generated stories and write it as GGUF.

Contract: needs Python 3, numpy and torch (made with Debian 12's python3-torch
1.13, one thread); the text comes from generate.py beside this file, so nothing
is downloaded.  The seed fixes text, tokenizer, initial weights and order; the
file is the same bit for bit on the same CPU type, library versions and thread
count.

The model is "llama" in GGUF's terms.  GGUF files of that architecture keep the
rows of the query and key matrices in the order that rotates *neighbouring*
pairs (2i, 2i+1).  This script trains with that rotation from the start, so the
rows are written as they are and no permutation takes place anywhere.
"""

import argparse
import collections
import json
import math
import os
import random
import re
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import generate

UNK, BOS, EOS = 0, 1, 2
N_BYTES = 256
FIRST = 3 + N_BYTES
SPACE = "\u2581"

# ---------------------------------------------------------------- tokenizer

# Merges never cross the border of a chunk, so encoding chunk by chunk equals
# encoding the whole text at once.  A capital never joins the space before it:
# so a name is the same piece in mid-sentence, after a quote and at the start of
# a paragraph, which makes names much easier to learn.  The end of a sentence
# takes the space instead, and these three merges come first so that they win.
CHUNK = re.compile(r"[.!?] (?=[A-Z\"])| ?[a-z]+|[A-Z][a-z]*|'[a-z]+| ?[^A-Za-z\s]+|\n+| ")
FIRST_MERGES = ["." + SPACE, "!" + SPACE, "?" + SPACE]


class Tokenizer:
    """SentencePiece-style pieces: the adjacent pair with the best score is joined first."""

    def __init__(self, merges, chars):
        self.pieces = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(N_BYTES)] + \
            merges + chars
        n = len(self.pieces) - FIRST
        self.scores = [0.0] * FIRST + [-float(i) for i in range(n)]
        self.types = [2, 3, 3] + [6] * N_BYTES + [1] * n
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self.rank = {p: i for i, p in enumerate(merges)}
        self.cache = {}

    @classmethod
    def train(cls, texts, vocab):
        count = collections.Counter()
        for t in texts:
            count.update(CHUNK.findall(" " + t))
        words = [[list(w.replace(" ", SPACE)), n] for w, n in sorted(count.items())]
        chars = sorted({c for w, _ in words for c in w})
        merges = list(FIRST_MERGES)
        while FIRST + len(merges) + len(chars) < vocab:
            pairs = collections.Counter()
            for w, n in words:
                for p in zip(w, w[1:]):
                    if p[0] + p[1] not in FIRST_MERGES:
                        pairs[p] += n
            a, b = max(pairs, key=lambda p: (pairs[p], p))
            if a + b not in merges:
                merges.append(a + b)
            for wn in words:
                w, i, out = wn[0], 0, []
                if a not in w:
                    continue
                while i < len(w):
                    if i + 1 < len(w) and w[i] == a and w[i + 1] == b:
                        out.append(a + b)
                        i += 2
                    else:
                        out.append(w[i])
                        i += 1
                wn[0] = out
        freq = collections.Counter()
        for w, n in words:
            for c in w:
                freq[c] += n
        return cls(merges, sorted(chars, key=lambda c: (-freq[c], c)))

    def join(self, syms):
        """The score-driven merge of one list of characters."""
        while len(syms) > 1:
            best, at = None, 0
            for i in range(len(syms) - 1):
                r = self.rank.get(syms[i] + syms[i + 1])
                if r is not None and (best is None or r < best):
                    best, at = r, i
            if best is None:
                break
            syms[at:at + 2] = [syms[at] + syms[at + 1]]
        out = []
        for s in syms:
            if s in self.ids:
                out.append(self.ids[s])
            else:
                out.extend(3 + b for b in s.encode())
        return out

    def encode(self, text):
        ids = []
        for c in CHUNK.findall(" " + text):
            if c not in self.cache:
                self.cache[c] = self.join(list(c.replace(" ", SPACE)))
            ids.extend(self.cache[c])
        return ids

    def encode_whole(self, text):
        return self.join(list((" " + text).replace(" ", SPACE)))

    def decode(self, ids):
        out = b""
        for i in ids:
            if i >= FIRST:
                out += self.pieces[i].replace(SPACE, " ").encode()
            elif i >= 3:
                out += bytes([i - 3])
        return out.decode("utf-8", "replace")


# ---------------------------------------------------------------- model

class Model(torch.nn.Module):
    def __init__(self, a, vocab):
        super().__init__()
        self.a = a
        self.hd = a.dim // a.heads
        kv = a.kv_heads * self.hd
        # Large, so that what tells one name from another is not drowned by what all names share;
        # the last norm starts small to keep the first logits small, as the embedding is tied.
        self.embed = torch.nn.Parameter(torch.randn(vocab, a.dim) * a.embed_std)
        self.norm = torch.nn.Parameter(torch.full((a.dim,), 0.02 / a.embed_std))
        self.layers = torch.nn.ModuleList()
        out_std = 0.02 / math.sqrt(2 * a.layers)
        for _ in range(a.layers):
            # Value and output start as a projection and its transpose: what a head looks at is
            # copied.  Names have to be copied, and from noise that is learnt very late.
            v = torch.linalg.qr(torch.randn(a.dim, kv))[0].t().contiguous()
            heads = [v[j * self.hd:(j + 1) * self.hd]
                     for j in range(a.kv_heads) for _ in range(a.heads // a.kv_heads)]
            p = torch.nn.ParameterDict({
                "attn_norm": torch.nn.Parameter(torch.ones(a.dim)),
                "attn_q": torch.nn.Parameter(torch.randn(a.dim, a.dim) * 0.04),
                "attn_k": torch.nn.Parameter(torch.randn(kv, a.dim) * 0.04),
                "attn_v": torch.nn.Parameter(v),
                "attn_output": torch.nn.Parameter(torch.cat(heads).t().contiguous() * a.copy_gain),
                "ffn_norm": torch.nn.Parameter(torch.ones(a.dim)),
                "ffn_gate": torch.nn.Parameter(torch.randn(a.ffn, a.dim) * 0.02),
                "ffn_up": torch.nn.Parameter(torch.randn(a.ffn, a.dim) * 0.02),
                "ffn_down": torch.nn.Parameter(torch.randn(a.dim, a.ffn) * out_std),
            })
            self.layers.append(p)
        freq = a.rope_base ** (-torch.arange(0, self.hd, 2).double() / self.hd)
        ang = torch.arange(a.context).double()[:, None] * freq[None]
        self.cos, self.sin = ang.cos().float(), ang.sin().float()
        self.mask = torch.full((a.context, a.context), float("-inf")).triu(1)

    def rms(self, x, w):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.a.eps) * w

    def rope(self, x):
        """Rotate neighbouring pairs; x is [batch, head, time, head_dim]."""
        t = x.shape[2]
        c, s = self.cos[:t], self.sin[:t]
        e, o = x[..., 0::2], x[..., 1::2]
        return torch.stack((e * c - o * s, e * s + o * c), -1).flatten(-2)

    def forward(self, ids):
        a, (b, t) = self.a, ids.shape
        rep = a.heads // a.kv_heads
        scale = 1 / math.sqrt(self.hd)
        x = F.embedding(ids, self.embed)
        for p in self.layers:
            h = self.rms(x, p["attn_norm"])
            q = F.linear(h, p["attn_q"]).view(b, t, a.heads, self.hd).transpose(1, 2)
            k = F.linear(h, p["attn_k"]).view(b, t, a.kv_heads, self.hd).transpose(1, 2)
            v = F.linear(h, p["attn_v"]).view(b, t, a.kv_heads, self.hd).transpose(1, 2)
            # Query heads that share a key head are stacked along time: one product per key head.
            q = (self.rope(q) * scale).reshape(b * a.kv_heads, rep * t, self.hd)
            k = self.rope(k).reshape(b * a.kv_heads, t, self.hd)
            v = v.reshape(b * a.kv_heads, t, self.hd)
            s = torch.bmm(q, k.transpose(1, 2)).view(b * a.kv_heads, rep, t, t) + self.mask[:t, :t]
            s = s.softmax(-1).view(b * a.kv_heads, rep * t, t)
            o = torch.bmm(s, v).view(b, a.heads, t, self.hd).transpose(1, 2).reshape(b, t, a.dim)
            x = x + F.linear(o, p["attn_output"])
            h = self.rms(x, p["ffn_norm"])
            x = x + F.linear(F.silu(F.linear(h, p["ffn_gate"])) * F.linear(h, p["ffn_up"]),
                             p["ffn_down"])
        return F.linear(self.rms(x, self.norm), self.embed)


# ---------------------------------------------------------------- GGUF

U32, F32, BOOL, STR, ARR = 4, 6, 7, 8, 9
T_F32, T_Q8_0 = 0, 8


def q8_0(w):
    """Rows of 32 values to blocks {f16 d, 32 x int8}; returns the bytes and what they decode to."""
    b = w.reshape(-1, 32).astype(np.float32)
    d = np.abs(b).max(1) / 127
    inv = np.where(d > 0, 1 / np.where(d > 0, d, 1), 0).astype(np.float32)
    q = np.rint(b * inv[:, None]).astype(np.int8)
    d16 = d.astype(np.float16)
    blocks = np.concatenate([d16[:, None].view(np.int8).reshape(-1, 2), q], 1)
    return blocks.tobytes(), (q * d16[:, None].astype(np.float32)).reshape(w.shape)


def write_gguf(path, tensors, meta, align=32):
    def s(x):
        x = x.encode()
        return struct.pack("<Q", len(x)) + x

    def value(kind, v):
        if kind == STR:
            return s(v)
        if kind == ARR:
            sub, vals = v
            return struct.pack("<IQ", sub, len(vals)) + b"".join(value(sub, x) for x in vals)
        return struct.pack({U32: "<I", 5: "<i", F32: "<f", BOOL: "<?"}[kind], v)

    head = struct.pack("<IIQQ", 0x46554747, 3, len(tensors), len(meta))
    for key, kind, v in meta:
        head += s(key) + struct.pack("<I", kind) + value(kind, v)
    offset, body = 0, []
    for name, kind, w in tensors:
        data = q8_0(w)[0] if kind == T_Q8_0 else w.astype("<f4").tobytes()
        head += s(name) + struct.pack("<I", w.ndim)
        head += b"".join(struct.pack("<Q", n) for n in reversed(w.shape))
        head += struct.pack("<IQ", kind, offset)
        data += b"\0" * (-len(data) % align)
        body.append(data)
        offset += len(data)
    head += b"\0" * (-len(head) % align)
    with open(path + ".part", "wb") as f:
        f.write(head + b"".join(body))
    os.replace(path + ".part", path)


# "Tell me a story about a fox." is answered with a story.  Every turn begins with BOS, because
# that is how stories follow each other in the training text.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ bos_token + 'User: ' + message['content'] + '\\nStory:' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}")


def export(path, model, tok, a):
    """Write the model; returns the state with every matrix replaced by what Q8_0 keeps of it."""
    tensors, kept = [], {}

    def add(name, key, w):
        w = w.detach().numpy()
        kind = T_Q8_0 if w.ndim == 2 else T_F32
        tensors.append((name, kind, w))
        kept[key] = torch.from_numpy(q8_0(w)[1] if kind == T_Q8_0 else w.copy())

    add("token_embd.weight", "embed", model.embed)
    for i, p in enumerate(model.layers):
        for k in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate",
                  "ffn_up", "ffn_down"):
            add("blk.%d.%s.weight" % (i, k), "layers.%d.%s" % (i, k), p[k])
    add("output_norm.weight", "norm", model.norm)
    meta = [
        ("general.architecture", STR, "llama"),
        ("general.name", STR, "Linnet Demo"),
        ("general.description", STR,
         "Simple English stories, trained on text from tools/demo/generate.py"),
        ("general.license", STR, "MIT"),
        ("general.file_type", U32, 7),
        ("general.quantization_version", U32, 2),
        ("llama.context_length", U32, a.context),
        ("llama.embedding_length", U32, a.dim),
        ("llama.block_count", U32, a.layers),
        ("llama.feed_forward_length", U32, a.ffn),
        ("llama.attention.head_count", U32, a.heads),
        ("llama.attention.head_count_kv", U32, a.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, a.eps),
        ("llama.rope.dimension_count", U32, a.dim // a.heads),
        ("llama.rope.freq_base", F32, a.rope_base),
        ("llama.vocab_size", U32, len(tok.pieces)),
        ("tokenizer.ggml.model", STR, "llama"),
        ("tokenizer.ggml.pre", STR, "default"),
        ("tokenizer.ggml.tokens", ARR, (STR, tok.pieces)),
        ("tokenizer.ggml.scores", ARR, (F32, tok.scores)),
        ("tokenizer.ggml.token_type", ARR, (5, tok.types)),
        ("tokenizer.ggml.bos_token_id", U32, BOS),
        ("tokenizer.ggml.eos_token_id", U32, EOS),
        ("tokenizer.ggml.unknown_token_id", U32, UNK),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_eos_token", BOOL, False),
        ("tokenizer.ggml.add_space_prefix", BOOL, True),
        ("tokenizer.chat_template", STR, CHAT_TEMPLATE),
    ]
    write_gguf(path, tensors, meta)
    return kept


# ---------------------------------------------------------------- training

def tokens_of(tok, ask, text):
    """Token ids of one record and how many of them are not to be predicted (BOS and the
    request)."""
    head = [BOS] + (tok.encode(ask) if ask else [])
    ids = [BOS] + tok.encode(ask + text) + [EOS]
    assert ids[:len(head)] == head
    return ids, len(head)


def primer(rng, vocab, tokens, length=64):
    """A batch that only copying can predict.

    A row draws from an alphabet of its own, two to twelve random pieces: in half
    of the rows at random, in the others the same few pieces over and over.
    """
    n = tokens // length
    x = torch.empty(n, length + 1, dtype=torch.long)
    for r in range(n):
        own = [rng.randrange(FIRST, vocab) for _ in range(rng.randint(2, 12))]
        if r % 2:
            own = (own * (length + 1))[:length + 1]
        else:
            own = [rng.choice(own) for _ in range(length + 1)]
        x[r] = torch.tensor(own)
    y = x[:, 1:].clone()
    for r in range(n):
        first = set()
        for i, p in enumerate(x[r].tolist()):
            if i and p not in first:
                y[r, i - 1] = -100
            first.add(p)
    return x[:, :-1], y


def batches(tok, seed, chat, prime, steps, tokens, context):
    """Inputs and targets of each step; -100 stands for what is not predicted.

    Requests are not predicted, so the model never invents one.  A row is one
    story, and stories of like length share a batch: nothing but the story itself
    can explain its names.  In the second half every fourth batch has rows of the
    full context instead, filled with one story after another, as they follow
    each other in a conversation.
    """
    stories = generate.records(seed, 1 << 60, chat)
    rng = random.Random(seed)
    for _ in range(prime):
        yield primer(rng, len(tok.pieces), tokens)
    todo = []
    for step in range(steps):
        if step < steps // 2 or step % 4:
            if not todo:
                pool = sorted((tokens_of(tok, *next(stories)) for _ in range(256)),
                              key=lambda x: len(x[0]))
                while pool:
                    n = max(1, tokens // len(pool[min(len(pool), 16) - 1][0]))
                    todo.append(pool[:n])
                    pool = pool[n:]
                rng.shuffle(todo)
            pick = [(ids, [-100] * skip + ids[skip:]) for ids, skip in todo.pop()]
            length = min(context, max(len(ids) for ids, _ in pick) - 1)
        else:
            length, pick = context, []
            for _ in range(max(1, tokens // context)):
                ids, want = [], []
                while len(ids) <= length:
                    i, skip = tokens_of(tok, *next(stories))
                    ids += i
                    want += [-100] * skip + i[skip:]
                pick.append((ids, want))
        x = torch.full((len(pick), length + 1), EOS)
        y = torch.full((len(pick), length + 1), -100)
        for r, (ids, want) in enumerate(pick):
            n = min(len(ids), length + 1)
            x[r, :n], y[r, :n] = torch.tensor(ids[:n]), torch.tensor(want[:n])
        yield x[:, :-1], y[:, 1:]


class Muon(torch.optim.Optimizer):
    """Momentum whose step is the nearest matrix with equal singular values (Jordan et al., 2024).

    It moves the rare directions of a matrix as fast as the common ones.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.mul_(group["momentum"]).add_(p.grad)
                x = p.grad + group["momentum"] * m
                wide = x.shape[0] > x.shape[1]
                x = x.t() if wide else x
                x = x / (x.norm() + 1e-12)
                for _ in range(5):
                    a = x @ x.t()
                    x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
                x = x.t() if wide else x
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


@torch.no_grad()
def held_out(model, tok, stories):
    """Mean loss of stories, each on its own: per token and per byte of text, in nats."""
    loss = tokens = size = 0
    for ask, text in stories:
        ids, skip = tokens_of(tok, ask, text)
        ids = torch.tensor(ids[:model.a.context + 1])
        logits = model(ids[None, :-1])[0, skip - 1:]
        loss += F.cross_entropy(logits, ids[skip:], reduction="sum").item()
        tokens += len(logits)
        size += len(text.encode())
    return loss / tokens, loss / size


@torch.no_grad()
def sample(model, tok, prompt, n, temp, seed):
    g = torch.Generator().manual_seed(seed)
    ids = [BOS] + (tok.encode(prompt) if prompt else [])
    for _ in range(n):
        logits = model(torch.tensor([ids]))[0, -1]
        i = int(logits.argmax() if temp == 0 else
                torch.multinomial((logits / temp).softmax(-1), 1, generator=g))
        if i == EOS:
            break
        ids.append(i)
    return tok.decode(ids).strip()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(description="train the demo model and write it as GGUF")
    ap.add_argument("-o", "--out", default=os.path.join(here, "linnet-demo.gguf"))
    ap.add_argument("--work", default=os.path.join(here, "..", "..", "build", "demo"),
                    help="checkpoint and log")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--steps", type=int, default=3600)
    ap.add_argument("--prime", type=int, default=250,
                    help="how many of the steps only teach copying")
    ap.add_argument("--tokens", type=int, default=1536, help="tokens in a step")
    ap.add_argument("--chat", type=float, default=0.3)
    ap.add_argument("--vocab", type=int, default=1536)
    ap.add_argument("--dim", type=int, default=128)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--kv-heads", type=int, default=2)
    ap.add_argument("--ffn", type=int, default=384)
    ap.add_argument("--context", type=int, default=512)
    ap.add_argument("--lr", type=float, default=3e-3,
                    help="peak rate of AdamW (embedding and norms)")
    ap.add_argument("--muon-lr", type=float, default=0.02,
                    help="peak rate of Muon (matrices); 0: AdamW for all")
    ap.add_argument("--embed-std", type=float, default=0.1)
    ap.add_argument("--copy-gain", type=float, default=0.1, help="see Model")
    ap.add_argument("--eps", type=float, default=1e-5)
    ap.add_argument("--rope-base", type=float, default=10000.0)
    ap.add_argument("--save", type=int, default=250, help="steps from checkpoint to checkpoint")
    ap.add_argument("--resume", action="store_true", help="go on from the checkpoint in --work")
    a = ap.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    os.makedirs(a.work, exist_ok=True)
    start = time.time()

    tok = Tokenizer.train(
        [ask + text for ask, text in generate.records(a.seed + 1000, 12000, a.chat)], a.vocab)
    test = list(generate.records(a.seed + 2000, 300, a.chat))
    for s in (ask + text for ask, text in test[:40]):
        assert tok.encode(s) == tok.encode_whole(s) and tok.decode(tok.encode(s)) == " " + s
    model = Model(a, len(tok.pieces))
    params = sum(p.numel() for p in model.parameters())
    print("torch %s, %d threads, %d parameters, %d pieces, %.1f s for the tokenizer" %
          (torch.__version__, a.threads, params, len(tok.pieces), time.time() - start), flush=True)

    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n != "embed"]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    opts = [torch.optim.AdamW([{"params": [model.embed], "weight_decay": 0.1},
                               {"params": vectors, "weight_decay": 0.0}],
                              lr=a.lr, betas=(0.9, 0.98), eps=1e-9)]
    if a.muon_lr:
        opts.append(Muon(matrices, a.muon_lr, weight_decay=0.1))
    else:
        opts[0].add_param_group({"params": matrices, "weight_decay": 0.1})
    for o in opts:
        for g in o.param_groups:
            g["peak"] = g["lr"]
    ckpt, first = os.path.join(a.work, "checkpoint.pt"), 0
    if a.resume:
        c = torch.load(ckpt)
        model.load_state_dict(c["model"])
        for o, saved in zip(opts, c["opts"]):
            o.load_state_dict(saved)
        first = c["step"]

    warm, total, seen, mean = 100, a.steps, 0, None
    for step, (batch, want) in enumerate(batches(tok, a.seed, a.chat, a.prime, a.steps - a.prime,
                                                 a.tokens, a.context)):
        seen += int((want >= 0).sum())
        if step < first:
            continue
        scale = min(1, (step + 1) / warm) * \
            (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
        for g in (g for o in opts for g in o.param_groups):
            g["lr"] = g["peak"] * scale
        logits = model(batch)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), want.reshape(-1))
        for o in opts:
            o.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in opts:
            o.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            print("step %d/%d loss %.4f scale %.3f %d tokens %.0f s" %
                  (step + 1, total, mean, scale, seen, time.time() - start), flush=True)
        if (step + 1) % a.save == 0:
            torch.save({"model": model.state_dict(), "opts": [o.state_dict() for o in opts],
                        "step": step + 1}, ckpt + ".part")
            os.replace(ckpt + ".part", ckpt)

    token, byte = held_out(model, tok, test)
    kept = export(a.out, model, tok, a)
    model.load_state_dict(kept)
    token8, byte8 = held_out(model, tok, test)
    result = {"parameters": params, "bytes": os.path.getsize(a.out), "steps": total, "tokens": seen,
              "seconds": round(time.time() - start), "cpu_seconds": round(time.process_time()),
              "train_loss": mean, "heldout_loss_f32": token, "heldout_loss_q8_0": token8,
              "heldout_nats_per_byte_q8_0": byte8, "perplexity_q8_0": math.exp(token8)}
    print(json.dumps(result, indent=1))
    with open(os.path.join(a.work, "result.json"), "w") as f:
        json.dump(result, f, indent=1)
    for temp in (0, 0.7, 0.9):
        for prompt in ("", "Once upon a time", "The little fox", "Tell me a story about a dragon.",
                       "User: Tell me a story about a fox.\nStory:"):
            print("--- temperature %g, prompt %r\n%s" %
                  (temp, prompt, sample(model, tok, prompt, 320, temp, 7)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
