# Has the agent sign a login as argv[1] over a connection that says nothing of its session, or with argv[2] any bytes.
import os, socket, struct, sys

string = lambda b: struct.pack(">I", len(b)) + b
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(os.environ["SSH_AUTH_SOCK"])


def exactly(n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        assert part, "cut"
        data += part
    return data


def ask(message):
    s.sendall(string(message))
    return exactly(struct.unpack(">I", exactly(4))[0])


listed = ask(b"\x0b")
assert listed[:5] == b"\x0c\0\0\0\x01", listed
length = struct.unpack(">I", listed[5:9])[0]
key = listed[9 : 9 + length]
data = string(b"\x07" * 32) + b"\x32" + b"".join(
    map(string, [sys.argv[1].encode(), b"ssh-connection", b"publickey"])
) + b"\x01" + string(b"ssh-ed25519-cert-v01@openssh.com") + string(key)
if sys.argv[2:]:
    data = b"any bytes"
answer = ask(b"\x0d" + string(key) + string(data) + b"\0\0\0\0")
print({14: "signed", 5: "refused"}[answer[0]])
