#!/usr/bin/env python3
"""A second reader and writer of the account database, from docs/account-database.md alone.

Shares no code with the first, so that the page is known to say everything. Prints what it finds in each FILE, one line
an answer, and whether writing that again gives the same bytes. With --ask KEYS, a file of one key a line, it answers
lookups instead: `n` and a name, or `i` and an id, both in hexadecimal.
"""

import struct
import sys

MASK = (1 << 64) - 1
K0, K1, K2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F
PROLOGUE, HEADER, SPARE, EMPTY = 64, 192, 64, b"\xff" * 8
MAGIC = bytes.fromhex("89485744420d0a1a")


class Damaged(Exception):
    pass


def need(condition):
    if not condition:
        raise Damaged


def is_id(number):
    return number not in (0, 0xFFFFFFFF)


def fold(a, b):
    product = a * b
    return (product & MASK) ^ (product >> 64)


def name_tag(seed, name):
    w = struct.unpack("<4Q", name.ljust(32, b"\0"))
    x = fold(w[0] ^ seed ^ K0, w[1] ^ K1 ^ len(name))
    if len(name) > 16:
        x = fold(w[2] ^ x ^ K0, w[3] ^ K2)
    return fold(x ^ K2, K0) >> 32


def id_tag(seed, number):
    t = number ^ (seed & 0xFFFFFFFF)
    t = ((t ^ (t >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    t = ((t ^ (t >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return t ^ (t >> 16)


def checksum(body):
    s = K0
    for index in range(len(body) // 16 + 1):
        block = body[index * 16:index * 16 + 16].ljust(16, b"\0")
        low, high = struct.unpack("<2Q", block)
        if index == 2:
            high = 0
        turned = (high << 32 | high >> 32) & MASK
        rotated = (s << 29 | s >> 35) & MASK
        s = ((fold(low ^ s ^ K1, high ^ K2) + (low ^ turned)) & MASK) ^ rotated
    return fold(s ^ len(body), K0)


class Reader:
    def __init__(self, file):
        need(len(file) >= PROLOGUE + HEADER)
        self.body = file[PROLOGUE:]
        magic, self.major, self.minor, _, length, self.generation, self.seed, self.sum = struct.unpack_from(
            "<8sHHIQQQQ", self.body)
        need(magic == MAGIC and self.major == 1 and length == len(self.body))
        self.indexes = [struct.unpack_from("<QI", self.body, 48 + n * 16) for n in range(4)]
        for offset, homes in self.indexes:
            need(homes >= 1)
            self.within(offset, (homes + SPARE) * 8)
        self.sections = [struct.unpack_from("<QQ", self.body, at) for at in (112, 128)]
        for offset, size in self.sections:
            self.within(offset, size)
        self.users, self.groups, self.subids_at, self.subids_len = struct.unpack_from("<IIQQ", self.body, 144)

    def within(self, offset, size):
        need(offset % 8 == 0 and size % 8 == 0 and offset >= HEADER and offset + size <= len(self.body))

    def record(self, section, offset):
        start, size = self.sections[section]
        need(start <= offset <= start + size)
        return self.body[offset:start + size]

    def user(self, offset):
        record = self.record(0, offset)
        need(len(record) >= 24)
        uid, gid, gid_count, tail_len, gecos, home, shell, name, flags = struct.unpack_from("<IIIIHHHBB", record)
        need(1 <= name <= 32 and is_id(uid) and is_id(gid))
        at, strings = 24, []
        for length in (name, 1, gecos, home, shell):
            need(record[at + length:at + length + 1] == b"\0")
            strings.append(record[at:at + length])
            at += length + 1
        need(strings.pop(1) == b"*")
        at += -at % 4
        need(at + 4 * gid_count + tail_len <= len(record))
        gids = struct.unpack_from("<%dI" % gid_count, record, at)
        at += 4 * gid_count
        tail = record[at:at + tail_len]
        at += tail_len
        return offset + at + -at % 8, (uid, gid, *strings, gids, flags, tail)

    @staticmethod
    def certificates(user):
        flags, tail = user[7:]
        until = 0
        if flags & 1:
            need(len(tail) >= 8)
            (until,), tail = struct.unpack_from("<Q", tail), tail[8:]
        principals = []
        while tail:
            need(len(tail) >= 2)
            (length,) = struct.unpack_from("<H", tail)
            need(len(tail) >= 2 + length)
            principals.append(tail[2:2 + length])
            tail = tail[2 + length:]
        return until, principals

    def group(self, offset):
        record = self.record(1, offset)
        need(len(record) >= 16)
        gid, members, names_len, name = struct.unpack_from("<IIIB", record)
        need(1 <= name <= 32 and is_id(gid))
        at = 16 + 2 * members
        at += -at % 8
        end = at + name + 3 + names_len
        need(end <= len(record))
        need(record[at + name:at + name + 3] == b"\0*\0" and record[end - 1] == 0)
        starts = struct.unpack_from("<%dH" % members, record, 16)
        return offset + end + -end % 8, (gid, record[at:at + name], record[at + name + 3:end], starts)

    @staticmethod
    def members(group):
        _, name, names, starts = group
        members, behind, at = [], len(name) + 3, 0
        for n, start in enumerate(starts):
            need(start == (behind + at) & 0xFFFF)
            last = n == len(starts) - 1
            length = len(names) - at if last else (starts[n + 1] - start) & 0xFFFF
            need(2 <= length <= 33 and names[at + length - 1:at + length] == b"\0")
            members.append(names[at:at + length - 1])
            at += length
        need(at == len(names))
        return members

    def find(self, index, tag, read, has_key, name_of=None):
        """The entry, or None: there is none."""
        offset, homes = self.indexes[index]
        home = tag * homes >> 32
        for slot in range(home, home + SPARE):
            raw = self.body[offset + slot * 8:offset + slot * 8 + 8]
            slot_tag, number = struct.unpack("<II", raw)
            if raw == EMPTY:
                return None
            need(number != 0)
            if slot_tag == tag:
                _, entry = read(number * 8)
                if has_key(entry):
                    return entry
                need(index in (0, 2) and name_tag(self.seed, name_of(entry)) == tag)
                continue
            need(0 <= slot - (slot_tag * homes >> 32) < SPARE)
            if slot_tag > tag:
                return None
        return None

    def user_by_name(self, name):
        if not 1 <= len(name) <= 32:
            return None
        return self.find(0, name_tag(self.seed, name), self.user, lambda user: user[2] == name, lambda user: user[2])

    def user_by_id(self, number):
        return self.find(1, id_tag(self.seed, number), self.user, lambda user: user[0] == number)

    def group_by_name(self, name):
        if not 1 <= len(name) <= 32:
            return None
        return self.find(2, name_tag(self.seed, name), self.group, lambda group: group[1] == name,
                         lambda group: group[1])

    def group_by_id(self, number):
        return self.find(3, id_tag(self.seed, number), self.group, lambda group: group[0] == number)

    def all(self, section, read):
        offset, size = self.sections[section]
        end, last, entries = offset + size, -1, []
        while offset != end:
            offset, entry = read(offset)
            need(entry[0] > last)
            last = entry[0]
            entries.append(entry)
        return entries

    def subids(self):
        """Entries of uid, first id and count, in the order of the file; and numbers of entries in the order of ids."""
        if self.subids_len == 0:
            return [], []
        need(self.subids_len % 16 == 0)
        self.within(self.subids_at, self.subids_len)
        section = self.body[self.subids_at:self.subids_at + self.subids_len]
        entries = [entry[:3] for entry in struct.iter_unpack("<4I", section)]
        numbers = [entry[3] for entry in struct.iter_unpack("<4I", section)]
        return entries, numbers

    def owner(self, number):
        """Whose subordinate id this is; None for nobody's."""
        entries, numbers = self.subids()
        low, high = 0, len(numbers)
        while low < high:
            middle = (low + high) // 2
            need(numbers[middle] < len(entries))
            uid, first, count = entries[numbers[middle]]
            need(count > 0 and first + count <= 1 << 32)
            if first > number:
                high = middle
            elif first + count > number:
                return uid
            else:
                low = middle + 1
        return None


def write(users, groups, subids, generation):
    """The file, of entries as Reader.all and Reader.subids give them."""
    counts = [len(users), len(users), len(groups), len(groups)]
    homes = [-(-3 * max(1, count) // 2) for count in counts]
    starts, end = [], HEADER
    for count in homes:
        starts.append(end)
        end += (count + SPARE) * 8
    records, numbers, sections = b"", [[], []], []
    for uid, gid, name, gecos, home, shell, gids, flags, tail in users:
        numbers[0].append((end + len(records)) // 8)
        record = struct.pack("<IIIIHHHBB", uid, gid, len(gids), len(tail), len(gecos), len(home), len(shell),
                             len(name), flags)
        record += b"".join(text + b"\0" for text in (name, b"*", gecos, home, shell))
        record += bytes(-len(record) % 4) + struct.pack("<%dI" % len(gids), *gids) + tail
        records += record + bytes(-len(record) % 8)
    sections.append((end, len(records)))
    for group in groups:
        gid, name, names, _ = group
        numbers[1].append((end + len(records)) // 8)
        members, at = Reader.members(group), len(name) + 3
        record = struct.pack("<IIIB3x", gid, len(members), len(names), len(name))
        for member in members:
            record += struct.pack("<H", at & 0xFFFF)
            at += len(member) + 1
        record += bytes(-len(record) % 8) + name + b"\0*\0" + names
        records += record + bytes(-len(record) % 8)
    sections.append((end + sections[0][1], len(records) - sections[0][1]))
    behind = len(records)
    by_first = sorted(range(len(subids)), key=lambda number: subids[number][1])
    for entry, number in zip(subids, by_first):
        records += struct.pack("<4I", *entry, number)
    keys = [[user[2] for user in users], [user[0] for user in users], [group[1] for group in groups],
            [group[0] for group in groups]]
    for seed in range(1, 65):
        slots = place(seed, keys, homes, numbers)
        if slots is not None:
            break
    length = end + len(records)
    header = struct.pack("<8sHHIQQQQ", MAGIC, 1, 1 if subids else 0, 0, length, generation, seed, 0)
    header += b"".join(struct.pack("<QII", start, count, 0) for start, count in zip(starts, homes))
    header += b"".join(struct.pack("<QQ", *section) for section in sections)
    header += struct.pack("<II", len(users), len(groups))
    header += (struct.pack("<QQ", end + behind, len(records) - behind) if subids else bytes(16)) + bytes(24)
    body = header + slots + records
    return bytes(PROLOGUE) + body[:40] + struct.pack("<Q", checksum(body)) + body[48:]


def place(seed, keys, homes, numbers):
    slots = b""
    for index, count in enumerate(homes):
        table = [EMPTY] * (count + SPARE)
        tag = (name_tag, id_tag)[index % 2]
        following = 0
        for key_tag, number in sorted((tag(seed, key), number) for key, number in
                                      zip(keys[index], numbers[index // 2])):
            home = key_tag * count >> 32
            slot = max(home, following)
            if slot - home >= SPARE:
                return None
            table[slot] = struct.pack("<II", key_tag, number)
            following = slot + 1
        slots += b"".join(table)
    return slots


def user_line(user):
    uid, gid, name, gecos, home, shell, gids = user[:7]
    until, principals = Reader.certificates(user)
    need(all(is_id(gid) for gid in gids))
    texts = " ".join(text.hex() or "-" for text in (name, gecos, home, shell))
    return f"user {uid} {gid} {texts} {list(gids)} {until} {[p.hex() for p in principals]}"


def group_line(group):
    return f"group {group[0]} {group[1].hex()} {[member.hex() for member in Reader.members(group)]}"


def tell(line, entry):
    print("absent" if entry is None else line(entry))


def attempt(act):
    try:
        act()
    except Damaged:
        print("damaged")


def describe(file):
    reader = Reader(file)
    need(reader.sum == checksum(reader.body))
    print(f"generation {reader.generation} version {reader.major}.{reader.minor} {reader.users} {reader.groups}")
    users, groups = reader.all(0, reader.user), reader.all(1, reader.group)
    need(len(users) == reader.users and len(groups) == reader.groups)
    for user in users:
        need(reader.user_by_name(user[2]) == reader.user_by_id(user[0]) == user)
        print(user_line(user))
    for group in groups:
        need(reader.group_by_name(group[1]) == reader.group_by_id(group[0]) == group)
        print(group_line(group))
    subids, _ = reader.subids()
    need(subids == sorted(subids))
    for uid, first, count in subids:
        need(reader.user_by_id(uid) is not None)
        owners = [reader.owner(number) for number in (first, first + count - 1, first + count, first - 1)]
        print(f"subids {uid} {first} {count} {['-' if owner is None else owner for owner in owners]}".replace("'", ""))
    print("written again:", "the same" if write(users, groups, subids, reader.generation) == file else "other bytes")


def answer(file, keys):
    try:
        reader = Reader(file)
    except Damaged:
        print("no database")
        return
    for kind, key in keys:
        if kind == "n":
            name = bytes.fromhex(key)
            attempt(lambda: tell(user_line, reader.user_by_name(name)))
            attempt(lambda: tell(group_line, reader.group_by_name(name)))
        else:
            number = int(key, 16)
            attempt(lambda: tell(user_line, reader.user_by_id(number)))
            attempt(lambda: tell(group_line, reader.group_by_id(number)))


def main():
    files, keys = sys.argv[1:], None
    if files[0] == "--ask":
        with open(files[1]) as lines:
            keys = [tuple(line.rstrip("\n").split(" ")) for line in lines]
        files = files[2:]
    for path in files:
        with open(path, "rb") as opened:
            file = opened.read()
        if keys is None:
            attempt(lambda: describe(file))
        else:
            answer(file, keys)


main()
