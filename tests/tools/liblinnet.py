# SPDX-License-Identifier: MIT
"""liblinnet.so through ctypes, for tests that compare many models in one process.

The contract: the public API of linnet.h alone, errors as Error with the code and the
message; logits come as numpy arrays of their own.
"""

import ctypes as C
import os

import numpy as np

KV_F16, KV_Q8_0, KV_F32, KV_Q4_0 = 0, 1, 2, 3
NONE, LAST, ALL = 0, 1, 2


class Error(Exception):
    def __init__(self, code, message):
        super().__init__(f"{os.strerror(-code)}: {message}")
        self.code, self.message = code, message


class _Err(C.Structure):
    _fields_ = [("code", C.c_int), ("message", C.c_char * 512)]


class _ModelOptions(C.Structure):
    _fields_ = [("size", C.c_size_t), ("engine", C.c_char_p), ("n_threads", C.c_uint),
                ("vocab_only", C.c_bool), ("no_direct_io", C.c_bool), ("no_io_uring", C.c_bool),
                ("no_huge_pages", C.c_bool), ("memory_bytes", C.c_uint64)]


class _ModelInfo(C.Structure):
    _fields_ = [("size", C.c_size_t), ("architecture", C.c_char_p), ("name", C.c_char_p),
                ("type_name", C.c_char_p), ("engine", C.c_char_p), ("isa", C.c_char_p),
                ("n_params", C.c_uint64), ("weight_bytes", C.c_uint64),
                ("file_bytes", C.c_uint64), ("n_files", C.c_uint32),
                ("n_vocab", C.c_uint32), ("n_ctx_train", C.c_uint32), ("n_embd", C.c_uint32),
                ("n_layer", C.c_uint32), ("n_head", C.c_uint32), ("n_head_kv", C.c_uint32),
                ("n_expert", C.c_uint32), ("n_expert_used", C.c_uint32),
                ("n_threads", C.c_uint)]


class _SessionOptions(C.Structure):
    _fields_ = [("size", C.c_size_t), ("n_ctx", C.c_uint32), ("n_batch", C.c_uint32),
                ("n_outputs", C.c_uint32), ("kv_type", C.c_int)]


class _Stats(C.Structure):
    _fields_ = [("size", C.c_size_t), ("bytes_read", C.c_uint64), ("read_ns", C.c_uint64),
                ("peak_bytes", C.c_uint64), ("direct_io", C.c_bool), ("io_uring", C.c_bool),
                ("huge_pages", C.c_bool), ("note", C.c_char * 160)]


def _options(cls, values):
    o = cls(size=C.sizeof(cls))
    for k, v in values.items():
        setattr(o, k, v)
    return o


def library(path=None):
    """liblinnet.so of LINNET_BUILD (default: build/ of this tree)."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = path or os.path.join(os.environ.get("LINNET_BUILD") or os.path.join(root, "build"),
                                "liblinnet.so")
    lib = C.CDLL(path)
    ptr, err = C.c_void_p, C.POINTER(_Err)
    for name, result, *args in (
            ("linnet_model_open", C.c_int, C.POINTER(ptr), C.c_char_p,
             C.POINTER(_ModelOptions), err),
            ("linnet_model_close", None, ptr),
            ("linnet_model_info", C.c_int, ptr, C.POINTER(_ModelInfo)),
            ("linnet_session_create", C.c_int, C.POINTER(ptr), ptr,
             C.POINTER(_SessionOptions), err),
            ("linnet_session_destroy", None, ptr),
            ("linnet_session_decode", C.c_int, ptr, C.POINTER(C.c_int32), C.c_size_t, C.c_int,
             err),
            ("linnet_session_logits", C.POINTER(C.c_float), ptr, C.c_size_t),
            ("linnet_session_length", C.c_uint32, ptr),
            ("linnet_session_truncate", C.c_int, ptr, C.c_uint32),
            ("linnet_session_stats", C.c_int, ptr, C.POINTER(_Stats)),
            ("linnet_tokenize", C.c_int64, ptr, C.c_char_p, C.c_size_t, C.c_uint,
             C.POINTER(C.c_int32), C.c_size_t)):
        f = getattr(lib, name)
        f.restype, f.argtypes = result, args
    return lib


class _Handle:
    def __init__(self):
        self.p = C.c_void_p()
        self.err = _Err()

    def check(self, ret):
        if ret < 0:
            raise Error(ret, self.err.message.decode(errors="replace"))
        return ret

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Model(_Handle):
    def __init__(self, path, lib=None, **options):
        super().__init__()
        self.lib = lib or library()
        self.check(self.lib.linnet_model_open(C.byref(self.p), os.fsencode(path),
                                              _options(_ModelOptions, options),
                                              C.byref(self.err)))
        self.info = _options(_ModelInfo, {})
        self.check(self.lib.linnet_model_info(self.p, C.byref(self.info)))

    def tokenize(self, text, special=True):
        raw = text.encode()
        ids = (C.c_int32 * (len(raw) + 8))()
        n = self.check(self.lib.linnet_tokenize(self.p, raw, len(raw), int(special), ids,
                                                len(ids)))
        return list(ids[:n])

    def session(self, **options):
        return Session(self, **options)

    def logits(self, ids, **options):
        """All positions' logits of a fresh session, one pass unless n_batch says so."""
        options = dict(dict(n_ctx=len(ids), n_outputs=len(ids)), **options)
        with self.session(**options) as s:
            return s.decode(ids, ALL)

    def close(self):
        self.lib.linnet_model_close(self.p)
        self.p = C.c_void_p()


class Session(_Handle):
    def __init__(self, model, **options):
        super().__init__()
        self.model, self.lib = model, model.lib
        self.check(self.lib.linnet_session_create(C.byref(self.p), model.p,
                                                  _options(_SessionOptions, options),
                                                  C.byref(self.err)))

    def decode(self, ids, logits=LAST):
        """float32 (rows, n_vocab); rows are those of `logits`."""
        a = (C.c_int32 * len(ids))(*ids)
        self.check(self.lib.linnet_session_decode(self.p, a, len(ids), logits,
                                                  C.byref(self.err)))
        rows = {NONE: 0, LAST: min(len(ids), 1), ALL: len(ids)}[logits]
        n = self.model.info.n_vocab
        out = np.empty((rows, n), np.float32)
        for i in range(rows):
            out[i] = np.ctypeslib.as_array(self.lib.linnet_session_logits(self.p, i), (n,))
        return out

    def truncate(self, n):
        self.check(self.lib.linnet_session_truncate(self.p, n))

    @property
    def length(self):
        return self.lib.linnet_session_length(self.p)

    @property
    def stats(self):
        s = _options(_Stats, {})
        self.check(self.lib.linnet_session_stats(self.p, C.byref(s)))
        return s

    def close(self):
        self.lib.linnet_session_destroy(self.p)
        self.p = C.c_void_p()
