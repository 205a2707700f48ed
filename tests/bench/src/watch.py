# Says when a user appears and disappears, and when the last process of a uid ends: watch.py NAME UID
#
# One line an event, "WORD SECONDS" with the time since the epoch. It looks every millisecond.
import os
import pwd
import sys
import time

name, uid = sys.argv[1], int(sys.argv[2])
present, running = None, False


def known():
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def owned(entry):
    try:
        return entry.isdigit() and os.stat("/proc/" + entry).st_uid == uid
    except OSError:
        return False


while True:
    now_present = known()
    if now_present != present:
        present = now_present
        print("present" if present else "absent", repr(time.time()), flush=True)
    if now_present or running:
        now_running = any(map(owned, os.listdir("/proc")))
        if now_running != running:
            running = now_running
            print("running" if running else "ended", repr(time.time()), flush=True)
    time.sleep(0.001)
