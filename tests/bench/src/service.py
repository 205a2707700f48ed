# Times what a bound account waits for, on the host: service.py WHAT ARGUMENTS. Prints one line of seconds for each figure.
#
#   login UID HOST ROUNDS        ssh HOST true: from its start to the certificate in its hands, and to its end
#   plain UID ADDRESS ROUNDS     the same without hostward, to a key of OpenSSH's own agent, which nobody accepts
#   untouched UID ROUNDS         ssh of an account that hostward has no part in, to a port where nobody listens: pairs with
#                                and without the package's file, in random order
#   crowd UID COUNT              holds connections that have listed, until standard input ends
#   issue FIRST COUNT AT_ONCE    how long it takes until that many uids, from the first on, each have a new certificate
import os
import random
import socket
import struct
import subprocess
import sys
import time

SOCKET = "/run/hostward/ssh-agent.sock"
SNIPPET = "/etc/ssh/ssh_config.d/50-hostward.conf"
LIST = struct.pack(">I", 1) + b"\x0b"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(SOCKET)
    return s


def listed(s):
    s.sendall(LIST)
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        part = s.recv(65536)
        assert part, "the agent turned it away"
        data += part
    assert data[4:9] == b"\x0c\0\0\0\x01", data[:40]


def to_key(command, uid, **more):
    start = time.monotonic()
    ssh = subprocess.Popen(command, user=uid, group=uid, extra_groups=[], stderr=subprocess.PIPE, **QUIET, **more)
    got, said = None, []
    for line in ssh.stderr:
        said.append(line.decode(errors="replace"))
        if got is None and b"agent returned 1 keys" in line:
            got = time.monotonic() - start
    status = ssh.wait()
    assert got is not None, "".join(said)
    return got, time.monotonic() - start, status


def login(uid, host, rounds):
    logins = [to_key(["ssh", "-v", host, "true"], uid) for _ in range(rounds)]
    assert all(status == 0 for _, _, status in logins), "no login"
    return [got for got, _, _ in logins], [end for _, end, _ in logins]


def plain(uid, address, rounds):
    path = "/tmp/plain-agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], user=uid, group=uid, extra_groups=[], **QUIET)
    try:
        while not os.path.exists(path):
            time.sleep(0.01)
        own = {"user": uid, "group": uid, "extra_groups": [], "env": {**os.environ, "SSH_AUTH_SOCK": path}}
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path + ".key"], check=True, **own, **QUIET)
        subprocess.run(["ssh-add", "-q", path + ".key"], check=True, **own, **QUIET)
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        command = ["ssh", "-v", *options, "deploy@" + address, "true"]
        return [[to_key(command, uid, env=own["env"])[0] for _ in range(rounds)]]
    finally:
        agent.terminate()
        agent.wait()


def untouched(uid, rounds):
    def once():
        start = time.monotonic()
        subprocess.run(["ssh", "-p", "1", "127.0.0.1", "true"], user=uid, group=uid, extra_groups=[], stderr=subprocess.DEVNULL, **QUIET)
        return time.monotonic() - start

    aside = SNIPPET + ".aside"
    with_it, without, added = [], [], []
    once()
    for _ in range(rounds):
        pair = {}
        for present in random.sample([True, False], 2):
            if present:
                pair[present] = once()
            else:
                os.rename(SNIPPET, aside)
                pair[present] = once()
                os.rename(aside, SNIPPET)
        with_it.append(pair[True])
        without.append(pair[False])
        added.append(pair[True] - pair[False])
    return with_it, without, added


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def crowd(uid, count):
    become(uid)
    held = [connect() for _ in range(count)]
    for s in held:
        listed(s)
    print("listed", flush=True)
    sys.stdin.read()


def issue(first, count, at_once):
    # Those that are to ask are there before the clock starts.
    go, children = os.pipe(), []
    for part in range(at_once):
        child = os.fork()
        if child == 0:
            os.read(go[0], 1)
            for uid in range(first + part, first + count, at_once):
                # Each in a process of its own, since a uid once given up is not had again.
                asker = os.fork()
                if asker == 0:
                    become(uid)
                    listed(connect())
                    os._exit(0)
                assert os.waitpid(asker, 0)[1] == 0, uid
            os._exit(0)
        children.append(child)
    start = time.monotonic()
    os.write(go[1], b"x" * at_once)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    return [[time.monotonic() - start]]


what, arguments = sys.argv[1], sys.argv[2:]
numbers = [int(a) if a.isdigit() else a for a in arguments]
figures = {"login": login, "plain": plain, "untouched": untouched, "crowd": crowd, "issue": issue}[what](*numbers)
for figure in figures or []:
    print(*figure, flush=True)
