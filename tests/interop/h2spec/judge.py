"""Holds a report of h2spec against `known.txt`: what may fail, and why.

Usage: judge.py REPORT.xml known.txt

A test that fails and is not known fails the run; so does a known one that passes, which is to be
struck from the list, or that is gone.
"""

import sys
import xml.etree.ElementTree as tree


def read_known(path):
    known = {}
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line and not line.startswith("#"):
            package, title, why = (part.strip() for part in line.split("|"))
            known[package, title] = why
    return known


def main(report, known_path):
    known, counts, wrong = read_known(known_path), {"passed": 0, "failed": 0, "skipped": 0}, []
    for case in tree.parse(report).iter("testcase"):
        name = case.get("package"), case.get("classname")
        failed = next((case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None), None)
        if case.find("skipped") is not None:
            counts["skipped"] += 1
        elif failed is not None:
            counts["failed"] += 1
            if known.pop(name, None) is None:
                wrong.append(f"fails: {name[0]}: {name[1]}\n  {' / '.join((failed.text or '').split(chr(10)))}")
        else:
            counts["passed"] += 1
            if known.pop(name, None) is not None:
                wrong.append(f"passes and is said to fail: {name[0]}: {name[1]}")
    wrong += [f"is not there: {package}: {title}" for package, title in known]
    print("h2spec: {passed} passed, {failed} failed and explained, {skipped} skipped".format(**counts))
    if wrong or counts["passed"] < 100:
        sys.exit("\n".join(wrong) or "h2spec ran too few of its tests")
    print("h2spec: ok")


main(*sys.argv[1:])
