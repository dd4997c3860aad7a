"""A client's course: steps that must hold, each told in a line, and an exit code."""
import json
import os
import sys
import traceback
import urllib.request

DEV = os.environ["SIMULATORS"]
CONTROL = "http://127.0.0.1:9447"

with open(os.path.join(DEV, "simulators.json")) as file:
    SIMULATORS = json.load(file)

failed = 0


def secret(name):
    with open(os.path.join(DEV, name)) as file:
        return file.read()


def control(path, **fields):
    request = urllib.request.Request(CONTROL + path, json.dumps(fields).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def step(what):
    """Runs a function as one step; its return value is told beside the name."""

    def run(function):
        global failed
        try:
            told = function()
            print(f"  ok    {what}" + (f": {told}" if told is not None else ""), flush=True)
        except Exception as error:  # any failure of a client is a failed step
            failed += 1
            print(f"  FAIL  {what}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc(limit=-4)
        return function

    return run


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def done():
    sys.stdout.flush()
    os._exit(1 if failed else 0)
