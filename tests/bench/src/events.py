"""Appends records of sessions as the PAM module does: each pair is one that the host recorded, with other ids."""

import os
import sys
import time

CURRENT = "/var/lib/hostward/records/current"


def one(lines, kind):
    return next(line for line in lines if f'"kind":"{kind}"' in line and '"service":"sshd"' in line)


def with_member(line, name, value):
    """The line with another value of a member, which is a string or a number."""
    start = line.index(f'"{name}":') + len(name) + 3
    end = line.index(",", start)
    return line[:start] + value + line[end:]


def random_id():
    return f'"{os.urandom(16).hex()}"'


def main(count):
    with open(CURRENT, encoding="utf-8") as file:
        lines = file.readlines()
    templates = [one(lines, "session-opened"), one(lines, "session-closed")]
    current = os.open(CURRENT, os.O_WRONLY | os.O_APPEND)
    for _ in range(count):
        session = random_id()
        for line in templates:
            line = with_member(line, "id", random_id())
            line = with_member(line, "session", session)
            line = with_member(line, "time", str(time.time_ns() // 1000))
            os.write(current, line.encode())


main(int(sys.argv[1]))
