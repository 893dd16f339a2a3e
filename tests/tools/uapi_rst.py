#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Documentation/uapi.rst from the kernel-doc comments of uapi/drm/linnet_accel.h.

usage: uapi_rst.py [--check]

Writes the page; with --check says what would change, and ends with 1 if anything would.
The part of kernel-doc that the header uses is read here, since the kernel's own script is
not in Debian's packages of tools. What is no such comment but stands before #define is
taken along: bits and limits are explained there.
"""

import difflib
import os
import re
import sys
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(ROOT, "uapi", "drm", "linnet_accel.h")
PAGE = os.path.join(ROOT, "Documentation", "uapi.rst")

INTRO = """\
.. SPDX-License-Identifier: MIT

=====================================
The driver's interface for user space
=====================================

This page is made of the comments in ``uapi/drm/linnet_accel.h`` by
``tests/tools/uapi_rst.py``, and a test holds it to them: change the header, and run that.
How the parts work together is in :doc:`driver`.
"""


def comment(text):
    """The words of a comment, without its stars."""
    lines = re.sub(r"^/\*+|\*/$", "", text.strip()).splitlines()
    return [re.sub(r"^\s*\* ?", "", line).rstrip() for line in lines]


def words(text):
    text = " ".join(text.split())
    text = re.sub(r"@(\w+)", r"``\1``", text)
    return re.sub(r"(?<![`\w])(DRM_\w+\*?|E[A-Z0-9]{3,}\b(?<!END))(?!`)", r"``\1``", text)


def fill(text, indent=""):
    return textwrap.fill(text, 98, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def heading(text, line):
    return f"{text}\n{line * len(text)}\n"


def paragraphs(lines):
    """Paragraphs; what is indented by tabs is an own block, as it stands."""
    out, block = [], []
    for line in lines + [""]:
        if line:
            block.append(line)
            continue
        if block and block[0].startswith("\t"):
            out.append("::\n\n" + "\n".join("  " + b[1:].expandtabs(8) for b in block))
        elif block:
            out.append(fill(words(" ".join(block))))
        block = []
    return "\n\n".join(out)


def items(pairs):
    return "\n".join(f"{name}\n{fill(text, '   ')}" for name, text in pairs)


def kernel_doc(lines, body):
    """A comment that begins with "struct NAME - text", and what it describes."""
    title = re.match(r"(struct|enum) \w+", lines[0])[0]
    at = lines.index("", 1) if "" in lines[1:] else len(lines)
    brief = " ".join(lines[:at]).split(" - ", 1)[1]
    out = [heading(title, "="), words(brief[0].upper() + brief[1:]) + "."]
    more = paragraphs(lines[at:])
    if more:
        out.append("\n" + more)
    fields, last = [], -1
    for doc, code in re.findall(r"(/\*\*.*?\*/)\s*([^;,]*[;,])", body, re.S):
        name, text = " ".join(comment(doc)).strip()[1:].split(":", 1)
        if title.startswith("struct"):
            term = " ".join(code.rstrip(";").split())
        else:
            value = re.search(r"= (\S+),$", code)
            last = int(value[1], 0) if value else last + 1
            term = f"{name} = {last}"
        fields.append((f"``{term}``", words(text)))
    return "\n".join(out) + "\n\n" + items(fields) + "\n"


def defines(lines, body):
    out = []
    for line in body.splitlines():
        m = re.match(r"#define (DRM_\w+)\s+(.*?)(?:\s*/\*.*\*/)?$", line)
        out.append(f"``{m[1]}``: ``{m[2].strip().strip('()')}``")
    return paragraphs(lines) + "\n\n" + "\n".join("* " + o for o in out) + "\n"


def page():
    with open(HEADER, encoding="utf-8") as f:
        text = f.read()
    top = [c for c in re.findall(r"/\*\n.*?\*/", text, re.S)][0]
    parts = [INTRO, paragraphs(comment(top)[1:]) + "\n"]
    after = text[text.index(top) + len(top):]
    for m in re.finditer(r"^(/\*\*?(?:(?!\*/).)*\*/)\n"
                         r"(?:((?:struct|enum) \w+ \{.*?\n\};)|((?:#define DRM_LINNET_[A-Z0-9_]+\s"
                         r"[^\\\n]*\n)+))", after, re.S | re.M):
        lines = comment(m[1])
        while lines and not lines[0].strip():
            lines.pop(0)
        lines = [line if line.startswith("\t") else line.strip() for line in lines]
        if m[2]:
            parts.append(kernel_doc(lines, m[2]))
        else:
            parts.append(defines(lines, m[3]))
    return "\n".join(parts)


def main():
    new = page()
    if sys.argv[1:] != ["--check"]:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(new)
        return 0
    with open(PAGE, encoding="utf-8") as f:
        old = f.read()
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                               "Documentation/uapi.rst", "the header"))
    return old != new


if __name__ == "__main__":
    sys.exit(main())
