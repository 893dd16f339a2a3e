#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tests/syzkaller/dev_linnet_accel.txt says of uapi/drm/linnet_accel.h what is true and leaves
nothing out: every ioctl, io_uring command, structure, field and constant that user space gives.

syzkaller's own compiler is not in Debian; what is read here is the part of its language that
the file uses. Sizes and offsets are held against the header by the C compiler.
"""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import tap  # noqa: E402

PATH = "tests/syzkaller/dev_linnet_accel.txt"
# of dev_dri.txt and io_uring.txt
FOREIGN = {"drm_gem_handle": 4, "drm_syncobj": 4, "fd_dri": 4}
# what the kernel alone says, and what is no value
NOT_GIVEN = re.compile(r"DRM_LINNET_(MAJOR|MINOR|MAX_\w+|ENGINE_\w+|FEATURE_\w+|ASSERT|LAYOUT|"
                       r"BO_(IMPORTED|EXPORTED|ATTACHED|DONTNEED|PURGED|BUSY))$")


def read(*parts):
    with open(os.path.join(tap.ROOT, *parts), encoding="utf-8") as f:
        return f.read()


def split(text):
    """What commas separate, but not those in brackets."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c in "[(") - (c in "])")
        if c == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    return parts + [part.strip()] if part.strip() else parts


class Description:
    def __init__(self, text):
        text = re.sub(r"(?m)^#.*\n", "", text)
        self.flags = {m[1]: split(m[2]) for m in re.finditer(r"(?m)^(\w+) = (.+)$", text)}
        self.resources = dict(re.findall(r"(?m)^resource (\w+)\[(\w+)\]$", text))
        self.calls = {m[1]: split(m[2])
                      for m in re.finditer(r"(?m)^(\w+(?:\$\w+)?)\((.*)\)(?: \w+)?$", text)}
        # name: (is a union, names of parameters, [(field, type)])
        self.types = {}
        for m in re.finditer(r"(?ms)^(?:type )?(\w+)(?:\[([\w, ]+)\])? ([{\[])\n(.*?)^[}\]]", text):
            fields = [re.sub(r"\t\((in|out|inout)\)$", "", line.strip())
                      for line in m[4].splitlines()]
            self.types[m[1]] = (m[3] == "[", split(m[2] or ""),
                                [tuple(re.split(r"\t+", f)) for f in fields])
        left = re.sub(r"(?ms)^(?:type )?\w+(?:\[[\w, ]+\])? [{\[]\n.*?^[}\]].*?$", "", text)
        left = re.sub(r"(?m)^(include <.*>|resource .*|\w+ = .*|\w+(\$\w+)?\(.*)$", "", left)
        assert not left.strip(), "not understood: " + left.strip()

    def size(self, kind, constants):
        """Bytes of a type, or None when it depends on the value."""
        m = re.fullmatch(r"(\w+)(?:\[(.*)\])?", kind)
        name, args = m[1], split(m[2] or "")
        if re.fullmatch(r"int(8|16|32|64)", name):
            return int(name[3:]) // 8
        if name == "ptr64":
            return 8
        if name in ("const", "flags", "len", "bytesize"):
            return self.size(args[1], constants)
        if name == "array":
            if len(args) < 2 or ":" in args[1]:
                return None
            return self.size(args[0], constants) * int(constants.get(args[1], args[1]), 0)
        if name in FOREIGN:
            return FOREIGN[name]
        if name in self.resources:
            return self.size(self.resources[name], constants)
        union, names, fields = self.types[name]
        assert len(names) == len(args), f"{kind}: {name} takes {names}"
        sizes = [self.size(t, constants) for _, t in fields]
        if None in sizes:
            return None
        return max(sizes) if union else sum(sizes)

    def layout(self, name, constants):
        at, rows = 0, []
        for field, kind in self.types[name][2]:
            size = self.size(kind, constants)
            rows.append((field, at, size))
            at += size
        return rows, at


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


DESCRIPTION = Description(read(PATH))
HEADER = without_comments(read("uapi", "drm", "linnet_accel.h"))
STREAM = without_comments(read("uapi", "linnet", "stream.h"))
TEXT = re.sub(r"(?m)^#.*\n", "", read(PATH))
LIMITS = dict(re.findall(r"#define (DRM_LINNET_MAX_\w+)\s+(\d+)", HEADER))


def same(what, has, wants):
    has, wants = set(has), set(wants)
    assert wants, f"{what}: none found"
    assert has == wants, f"{what}: missing {sorted(wants - has)}, unknown {sorted(has - wants)}"


def structures():
    """name: [field] of the header's, and of those of streams that the driver reads."""
    found = re.findall(r"^struct (drm_linnet_\w+) \{(.*?)^\};", HEADER, re.S | re.M)
    found += re.findall(r"^struct (linnet_stream_(?:header|param)) \{(.*?)^\};", STREAM,
                        re.S | re.M)
    return {name: re.findall(r"(\w+)(?:\[\w+\])?;", body) for name, body in found}


def check_structures():
    """Every structure is described, with its fields in their order."""
    wanted = structures()
    same("structures", [n for n in DESCRIPTION.types if n.startswith("drm_") or n in wanted],
         wanted)
    for name, fields in wanted.items():
        described = [f for f, _ in DESCRIPTION.types[name][2]]
        assert described == fields, f"{name}: {described} and not {fields}"


def check_layout():
    """The compiler agrees with the offset and size of every field, and every constant."""
    lines = ["#include <stddef.h>", "#include <linux/io_uring.h>", "#include <linux/ioctl.h>",
             "#include <drm/linnet_accel.h>", "#include <linnet/stream.h>"]
    for name in structures():
        rows, size = DESCRIPTION.layout(name, LIMITS)
        lines.append(f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");')
        for field, at, size in rows:
            lines.append(f"_Static_assert(offsetof(struct {name}, {field}) == {at} && "
                         f"sizeof(((struct {name} *)0)->{field}) == {size}, "
                         f'"{name}.{field}");')
    rows, size = DESCRIPTION.layout("linnet_sqe", LIMITS)
    names = {f: f for f in "opcode flags ioprio fd cmd_op addr len uring_cmd_flags user_data "
             "buf_index personality file_index cmd".split()}
    lines.append(f'_Static_assert({size} == 64, "SQE");')
    for field, at, _ in rows:
        if field in names:
            lines.append(f"_Static_assert(offsetof(struct io_uring_sqe, {field}) == {at}, "
                         f'"sqe.{field}");')
    for struct, size in re.findall(r"linnet_array_u\[(\w+), (\d+)\]", TEXT):
        lines.append(f'_Static_assert(sizeof(struct {struct}) == {size}, "{struct} stride");')
    for name, args in DESCRIPTION.calls.items():
        if not name.startswith("ioctl$"):
            continue
        number = name[len("ioctl$"):]
        assert args[1] == f"cmd const[{number}]", f"{name}: {args[1]}"
        direction, struct = re.fullmatch(r"arg ptr\[(in|inout), (\w+)\]", args[2]).groups()
        bits = "_IOC_WRITE" + (" | _IOC_READ" if direction == "inout" else "")
        lines.append(f"_Static_assert(_IOC_SIZE({number}) == sizeof(struct {struct}) && "
                     f'_IOC_DIR({number}) == ({bits}), "{number}");')
    names = sorted(set(re.findall(r"\b(?:DRM_IOCTL_|DRM_|)LINNET_[A-Z]\w*|\bIORING_OP_\w+",
                                  TEXT)))
    lines.append("unsigned long long all[] = {" + ", ".join(names) + "};")
    with tempfile.NamedTemporaryFile("w", suffix=".c") as f:
        f.write("\n".join(lines) + "\n")
        f.flush()
        done = subprocess.run(os.environ.get("CC", "cc").split() + ["-fsyntax-only",
                               "-I" + os.path.join(tap.ROOT, "uapi"), "-I/usr/include/libdrm",
                               f.name], stderr=subprocess.PIPE, text=True)
    if "drm.h: No such file" in done.stderr:
        raise tap.Skip("drm.h is not there (Debian's package libdrm-dev)")
    assert done.returncode == 0, done.stderr[:2000]


def check_ioctls():
    """Every ioctl is a call of its own, with the structure of its argument."""
    defined = re.findall(r"#define (DRM_IOCTL_LINNET_\w+)\s+DRM_IOCTL_LINNET\(\w+, \w+, (\w+)\)",
                         HEADER)
    called = {name[len("ioctl$"):]: args[2] for name, args in DESCRIPTION.calls.items()
              if name.startswith("ioctl$")}
    same("ioctls", called, [name for name, _ in defined])
    for name, struct in defined:
        assert called[name].endswith(f", drm_linnet_{struct}]"), f"{name}: {called[name]}"


def check_uring():
    """Every io_uring command is in the union of requests."""
    defined = re.findall(r"(DRM_LINNET_URING_\w+) = \d+", HEADER)
    union, _, fields = DESCRIPTION.types["linnet_sqe_u"]
    assert union
    given = dict(re.fullmatch(r"linnet_sqe\[(\w+), (\w+)\]", t).groups() for _, t in fields)
    same("commands", given, defined)
    for name, struct in given.items():
        assert struct == name.lower().replace("_uring", ""), f"{name}: {struct}"
    assert any("linnet_sqe_u" in arg for arg in DESCRIPTION.calls["syz_io_uring_submit$linnet"])


def check_constants():
    """Every flag and value that user space gives occurs, and in a list that a field uses."""
    ids = re.search(r"enum drm_linnet_ioctl_id \{(.*?)\};", HEADER, re.S)[1]
    text = HEADER.replace(ids, "")
    defined = set(re.findall(r"#define (DRM_LINNET_\w+)", text)) | \
        set(re.findall(r"^\t(DRM_LINNET_\w+)(?: = \d+)?,", text, re.M))
    lists = {c for name, values in DESCRIPTION.flags.items() for c in values
             if re.search(rf"flags\[{name}, int", TEXT)}
    used = {c for c in lists if c.startswith("DRM_LINNET_")} | \
        set(re.findall(r"\b(DRM_LINNET_URING_\w+)", TEXT))
    same("constants", used, {c for c in defined if not NOT_GIVEN.match(c)})


def check_resources():
    """Every resource is made by something and used by something else."""
    for name in DESCRIPTION.resources:
        made = re.search(rf"\t{name}\t\(out\)|\) {name}$", TEXT, re.M)
        used = re.search(rf"\t{name}(?:\t\(in\))?$|[ (]{name}[,)]", TEXT, re.M)
        assert made and used, f"{name}: made {bool(made)}, used {bool(used)}"


sys.exit(tap.run([check_structures, check_layout, check_ioctls, check_uring, check_constants,
                  check_resources]))
