"""`python -m tests.faults [--only NAME ...] [--share 0.1] [--seed N] [--page FILE]`."""

import argparse
import math
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import buckets, damage, ends, sets, storage, together  # noqa: F401 - they fill the table
from tests.faults.bench import Bench
from tests.faults.fault import FAULTS, run_fault
from tests.faults.page import Row, write_page
from tests.support.places import ROOT

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="faults whose names hold one of these")
    parser.add_argument("--share", type=float, default=1.0, help="of the counts")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    arguments = parser.parse_args()
    # Jobs in the background of a shell ignore it, and so would the processes that are to be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    failed = False
    with tempfile.TemporaryDirectory(prefix="palgan-faults-") as folder:
        bench = Bench(Path(folder), arguments.seed)
        for name, fault in FAULTS.items():
            if arguments.only and not any(words in name for words in arguments.only):
                continue
            count, start = math.ceil(fault.count * arguments.share), time.monotonic()
            outcome, wrong = run_fault(bench, fault, count)
            failed = failed or bool(wrong)
            print(f"{name}: {outcome}, {time.monotonic() - start:.0f} s", *wrong, sep="\n    ", flush=True)
            write_page(arguments.page, Row(name, count, fault.promise, outcome))
    sys.exit(failed)
