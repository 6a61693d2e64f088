"""How long an officer's check of a long log takes, and how much memory: every signature, every rule.

    python -m benchmarks.audit_verify --leaves 1000000 --processes 2 --json

makes the export first (benchmarks.audit_log); with ``--log FILE --charter DIGEST`` it takes one that is there.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.audit_log import write_log
from client.audit.verify import verify_file


def measure(log: Path, founding: str, processes: int) -> dict[str, object]:
    """Seconds and peak memory of one check; this process must not have done more before than write the log."""
    before = time.perf_counter()
    audited = verify_file(log, founding, processes)
    seconds = time.perf_counter() - before
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "leaves": audited.size,
        "studies": len(audited.studies),
        "file_mb": round(log.stat().st_size / 1e6, 1),
        "processes": processes,
        "seconds": round(seconds, 1),
        "leaves_per_second": round(audited.size / seconds),
        "cpu_seconds": round(own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, 1),
        "peak_mb": round(own.ru_maxrss / 1024),
        "peak_mb_signatures": round(others.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2, help="that check signatures, beside the one that reads")
    parser.add_argument("--log", type=Path, help="an export that is there already")
    parser.add_argument("--charter", help="its founding charter's digest")
    parser.add_argument("--write", type=Path, help="write the log here, print its charter's digest, check nothing")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log, founding = asked.log, asked.charter
        if log is None:
            log = asked.write or Path(folder) / "log.jsonl"
            founding, leaves = write_log(log, asked.leaves, asked.processes)
            if asked.write:
                print(json.dumps({"log": str(log), "charter": founding, "leaves": leaves}))
                return
        found = measure(log, founding, asked.processes)
    print(json.dumps(found) if asked.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
