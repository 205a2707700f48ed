"""Times logins and sudo with the PAM module's lines and without them, a pair at a time: pam.py ROUNDS

Prints what was timed, with or without, and seconds. PAM reads its files at each login, so that another link is all it takes.
"""

import os
import random
import subprocess
import sys
import time

SSH = ["ssh", "-i", "/opt/key", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
       "-o", "LogLevel=ERROR", "local@127.0.0.1", "true"]
COMMANDS = {
    "login of a local user": SSH,
    "su to a managed user": ["su", "alice", "-c", "true"],
    "sudo of a managed user": ["runuser", "-u", "alice", "--", "sudo", "-n", "/usr/bin/id"],
}


def use(lines):
    os.symlink("/etc/pam.d." + lines, "/etc/pam.d.next")
    os.replace("/etc/pam.d.next", "/etc/pam.d")
    current[0] = lines


def timed(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


current = ["with"]
for number in range(int(sys.argv[1]) + 3):
    for what, command in COMMANDS.items():
        turns = ["with", "without"]
        random.shuffle(turns)
        for lines in turns:
            if lines != current[0]:
                use(lines)
            seconds = timed(command)
            # The first ones find nothing in memory.
            if number >= 3:
                print(what, lines, f"{seconds:.6f}", sep="\t", flush=True)
