#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The driver's pages say what is so: Documentation/uapi.rst is what the header says, and each
test that Documentation/driver-checklist.rst names is one.
"""

import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import tap  # noqa: E402
import uapi_rst  # noqa: E402


def read(*parts):
    with open(os.path.join(tap.ROOT, *parts), encoding="utf-8") as f:
        return f.read()


def check_the_reference_is_what_the_header_says():
    assert read("Documentation", "uapi.rst") == uapi_rst.page(), \
        "run tests/tools/uapi_rst.py"


def check_the_reference_leaves_nothing_out():
    header, page = read("uapi", "drm", "linnet_accel.h"), read("Documentation", "uapi.rst")
    types = re.findall(r"(?m)^((?:struct|enum) drm_linnet_\w+) \{", header)
    assert len(types) > 20
    missing = [t for t in types if f"\n{t}\n===" not in page]
    # how a number is made, and what holds the layout, is nothing to know
    names = re.findall(r"(?m)^#define (DRM_LINNET_\w+)[ \t]", header)
    names += re.findall(r"(?m)^\t(DRM_LINNET_\w+)(?: = \w+)?,", header)
    names = [n for n in names if n != "DRM_LINNET_ASSERT"]
    assert len(names) > 50
    missing += [n for n in names if not re.search(f"``{n}(``:| = )", page)]
    fields = re.findall(r"(?m)^\t(?:__[us]\d+|char|struct \w+) (\w+)(?:\[\w+\])?;", header)
    assert len(fields) > 60
    missing += [f for f in fields if not re.search(rf"(?m)^``.* {f}(\[\w+\])?``$", page)]
    assert not missing, missing


def tests_of_programs():
    found = {}
    for path in glob.glob(os.path.join(tap.ROOT, "tests", "selftests", "*.c")):
        name = os.path.basename(path)[:-2]
        found[name] = set(re.findall(r"(?m)^TEST(?:_LIMIT)?\((\w+)", read(path)))
    return {name: tests for name, tests in found.items() if tests}


def check_tests_of_the_checklist_exist():
    items = re.split(r"\n(?=\d+\.  ?\*)", read("Documentation", "driver-checklist.rst"))[1:]
    assert [int(item.split(".")[0]) for item in items] == list(range(1, 41))
    programs, named, wrong = tests_of_programs(), 0, []
    for item in items:
        number, text = item.split(".")[0], " ".join(item.split())
        for program, tests in programs.items():
            lists = re.findall(rf"\b{program}: ((?:``[\w*]+``(?: \([^)]*\))?(?:,? (?:and )?)?)+)",
                               text)
            for name in re.findall(r"``([\w*]+)``", " ".join(lists)):
                named += 1
                pattern = name.replace("*", ".*")
                if not any(re.fullmatch(pattern, t) for t in tests):
                    wrong.append(f"{number}: {program}: {name}")
        for name in re.findall(r"``(linnet_test_\w+)``", text):
            named += 1
            if f"KUNIT_CASE({name})" not in read("driver", "tests", "linnet_kunit.c"):
                wrong.append(f"{number}: {name}")
        for path in re.findall(r"``((?:tests|driver|uapi)/[\w/.-]+)``", text):
            if not os.path.exists(os.path.join(tap.ROOT, path)):
                wrong.append(f"{number}: {path}")
    assert not wrong, wrong
    assert named > 60, named


if __name__ == "__main__":
    sys.exit(tap.run([f for n, f in list(globals().items()) if n.startswith("check_")]))
