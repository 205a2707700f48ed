# A crowd at the agent's socket. argv: what they do, how many they are. Prints one line when all are there and another
# with how it went when standard input ends.
import os, resource, selectors, socket, struct, sys

what, count = sys.argv[1], int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
path = os.environ["SSH_AUTH_SOCK"]
LIST = struct.pack(">I", 1) + b"\x0b"
crowd, refused = [], 0


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    return s


def frame(s):
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        part = s.recv(65536)
        if not part:
            return None
        data += part
    return data[4:]


for _ in range(count):
    try:
        s = connect()
        if what == "silent":
            pass
        elif what == "half":
            s.sendall(struct.pack(">I", 30000) + b"x" * 4000)
        elif what == "huge":
            s.sendall(struct.pack(">I", 256 << 20) + b"x" * 1000)
        elif what == "garbage":
            s.sendall(os.urandom(4096))
        elif what == "deaf":
            # Asks until the agent's answers fill the buffer, and reads none.
            s.settimeout(1)
            try:
                while True:
                    s.sendall(LIST * 1000)
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass
        crowd.append(s)
    except OSError:
        refused += 1
if what == "list":
    for s in crowd:
        s.sendall(LIST)
    answers = [frame(s) for s in crowd]
    got = {a[:5] for a in answers if a}
    print("answered", sum(1 for a in answers if a and a[0] == 12 and a[4] == 1), len({a for a in answers}), flush=True)
else:
    # Those that the agent turned away read the end of their connection.
    gone = 0
    if what in ("silent", "garbage", "huge"):
        for s in crowd:
            s.settimeout(0.2 if what == "silent" else 20)
            try:
                if s.recv(1) == b"":
                    gone += 1
            except TimeoutError:
                if what == "silent":
                    break
            except OSError:
                gone += 1
    print("there", len(crowd), "gone", gone, flush=True)
sys.stdin.read()
