# SPDX-License-Identifier: MIT
"""TAP for the suite's Python tests: each function is one test, its docstring's first line
tells what it holds the code to.

Exit status 0 all passed, 1 a failure, 77 nothing could run.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("LINNET_TEST_DATA") or os.path.join(ROOT, "..", "shared", "data")


class Skip(Exception):
    """The test cannot run here; the message says why."""


def data(*parts):
    """The path of a piece of test data, or a skip."""
    path = os.path.join(DATA, *parts)
    if not os.path.exists(path):
        raise Skip(f"{os.path.join(*parts)} is not in LINNET_TEST_DATA")
    return path


def run(tests):
    failed = skipped = 0
    print(f"1..{len(tests)}")
    for i, test in enumerate(tests, 1):
        name = test.__name__.removeprefix("check_")
        try:
            test()
            print(f"ok {i} - {name}")
        except Skip as e:
            skipped += 1
            print(f"ok {i} - {name} # SKIP {e}")
        except Exception as e:  # a crash is a failure with a reason, not the end of the run
            failed += 1
            where = e.__traceback__
            while where.tb_next:
                where = where.tb_next
            print(f"not ok {i} - {name}\n# line {where.tb_lineno}: {type(e).__name__}: {e}")
        sys.stdout.flush()
    return 1 if failed else 77 if skipped == len(tests) else 0
