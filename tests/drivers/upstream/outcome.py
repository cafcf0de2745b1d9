"""What became of each test of a suite."""

import xml.etree.ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def of_junit(file):
    """Each test's outcome, and why it failed. One of several runs under a name that failed counts."""
    found = {}
    for case in xml.etree.ElementTree.parse(file).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        faults = [it for it in case if it.tag in ("failure", "error")]
        if faults:
            text = (faults[0].get("message") or "") + (faults[0].text or "")
            found[name] = (FAILED, text)
        elif found.get(name, (PASSED,))[0] != FAILED:
            skipped = any(it.tag == "skipped" for it in case)
            found[name] = (SKIPPED if skipped else PASSED, "")
    return found
