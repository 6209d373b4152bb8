"""Run the tests of one of CPython's test modules, as python3 -m test does without
flags, and print how each ended, a line each, in the form of package outcomes.

    run.py MODULE FOLDER [TEST…]

FOLDER is made, is the working directory, and is gone afterwards. TESTs are left
out: names as printed, or classes with all that are in them.
"""

import importlib
import os
import shutil
import sys
import time
import traceback
import unittest

from test import support

# Tests capture, replace and close standard output, and look at descriptors that
# their children inherit.
out = os.dup(1)


def say(line):
    data = ("\x16" + line + "\n").encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(out, data):]


def name(test):
    """Return a test's name in its module; a subtest has that of its test."""
    if isinstance(test, unittest.case._SubTest):
        test = test.test_case
    return test.id().removeprefix(prefix).replace(" ", "_")


class Result(unittest.TestResult):
    """Prints the worst outcome of each test's parts when the test is over."""

    def __init__(self):
        super().__init__()
        self.running = None
        self.outcomes = []
        self.failed = False

    def startTest(self, test):
        super().startTest(test)
        self.running, self.outcomes, self.began = name(test), [], time.monotonic()
        say("=== RUN   " + self.running)

    def stopTest(self, test):
        super().stopTest(test)
        worst = next(o for o in ("FAIL", "SKIP", "PASS") if o in self.outcomes)
        say("--- %s: %s (%.2fs)" % (worst, self.running, time.monotonic() - self.began))
        self.running = None

    def add(self, test, outcome, reason=""):
        if reason:
            say("%s: %s" % (name(test), reason))
        self.failed |= outcome == "FAIL"
        if self.running == name(test):
            self.outcomes.append(outcome)
        else:  # of a class or a module
            say("--- %s: %s (0.00s)" % (outcome, name(test)))

    def addSuccess(self, test):
        self.add(test, "PASS")

    def addSkip(self, test, reason):
        self.add(test, "SKIP", reason)

    def addError(self, test, err):
        self.add(test, "FAIL", "".join(traceback.format_exception(*err)))

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err:
            self.addError(subtest, err)

    def addExpectedFailure(self, test, err):
        self.add(test, "PASS")

    def addUnexpectedSuccess(self, test):
        self.add(test, "FAIL", "passes unexpectedly")


def chosen(suite, without):
    """Return the tests of suite that without, a set of names, does not leave out."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, without)
        elif name(test) not in without and name(test).rpartition(".")[0] not in without:
            yield test


def main(module, folder, *without):
    global prefix
    prefix = "test." + module + "."
    support.use_resources = []  # no network, no minutes of computing
    os.makedirs(folder)
    os.chdir(folder)
    result = Result()
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module("test." + module))
    except unittest.SkipTest as why:
        say("%s: %s" % (module, why))
        say("--- SKIP: %s (0.00s)" % module)
    else:
        unittest.TestSuite(chosen(suite, set(without))).run(result)
    os.chdir("/")
    shutil.rmtree(folder, ignore_errors=True)
    say("FAIL" if result.failed else "PASS")


if __name__ == "__main__":
    main(*sys.argv[1:])
