# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that keeps to no rule: hostile.py PORT TENANT LOG. Each attack has a connection of its own; after it
another one, which was there before, must go on, and what the gateway had for it must be gone; where it ends the
connection, the log must say what for. Says what did not hold."""
import collections
import glob
import logging
import os
import re
import socket
import struct
import subprocess
import sys
import time

import paramiko
from paramiko.message import Message

PORT, TENANT, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3]
KEY = "/run/vm2-test/key"
LISTENER = subprocess.run(["pgrep", "-ox", "vm2-gateway"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
LIMIT_S = 20
MOST = 0xffffffff
# RFC 4250, 4.1.2
SERVICE_REQUEST, KEXINIT, USERAUTH_REQUEST, GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 5, 20, 50, 80, 81, 82
OPEN, OPEN_SUCCESS, OPEN_FAILURE, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(90, 101)


class Client(paramiko.Transport):
    """Its messages are made by hand, and it answers none of the server's."""

    def __init__(self, login=True):
        super().__init__(socket.create_connection(("127.0.0.1", PORT), LIMIT_S))
        self.heard, self.channels, self.farewell = {}, [], ""
        kinds = [GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE, *range(OPEN, FAILURE + 1)]
        self._handler_table = {**self._handler_table, **{k: Client.hear(k) for k in kinds}}
        self._channel_handler_table = {}
        self.start_client(timeout=LIMIT_S)
        if login:
            self.auth_publickey(TENANT, paramiko.Ed25519Key.from_private_key_file(KEY))

    @staticmethod
    def hear(kind):
        def take(self, message):
            self.heard[kind] = self.heard.get(kind, 0) + 1
            if kind == OPEN_SUCCESS:
                message.get_int()
                self.channels.append(message.get_int())
        return take

    def _parse_disconnect(self, message):
        message.get_int()
        self.farewell = message.get_text()

    def say(self, kind, *fields):
        m = Message()
        m.add_byte(bytes([kind]))
        for f in fields:
            (m.add_boolean if isinstance(f, bool) else m.add_int if isinstance(f, int) else m.add_string)(f)
        try:
            self._send_message(m)
        except (EOFError, OSError):
            pass

    def until(self, what, true):
        end = time.monotonic() + LIMIT_S
        while not true() and self.is_active():
            if time.monotonic() > end:
                sys.exit(f"{what}: not within {LIMIT_S} s; heard {self.heard}")
            time.sleep(0.005)

    def answers(self, n, *kinds):
        self.until(f"{n} answers {kinds}", lambda: sum(self.heard.get(k, 0) for k in kinds) >= n)

    def open(self, window=1 << 20, packet=32768):
        n = len(self.channels) + 1
        self.say(OPEN, "session", n, window, packet)
        self.until("a session", lambda: len(self.channels) >= n)
        return self.channels[-1] if self.channels else 0

    def request(self, channel, name, *fields, reply=True):
        self.say(REQUEST, channel, name, reply, *fields)

    def still_serves(self):
        """It was no reason to end: after all of it a command runs."""
        before = self.heard.get(CLOSE, 0)
        self.request(self.open(), "exec", "true")
        self.until("a command's end", lambda: self.heard.get(CLOSE, 0) > before)
        if not self.is_active():
            sys.exit(f"the connection has ended: {self.farewell}")

    def ends(self):
        self.until("the connection's end", lambda: False)


class Raw:
    """One that has no keys yet: bytes."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), LIMIT_S)
        self.heard, self.farewell, self.over = {}, "", False

    def say(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def ends(self):
        try:
            while self.socket.recv(65536):
                pass
        except socket.timeout:
            sys.exit(f"the connection's end: not within {LIMIT_S} s")
        except OSError:
            pass
        self.over = True

    def is_active(self):
        return not self.over

    def close(self):
        self.socket.close()


HELLO = b"SSH-2.0-x\r\n"


def packet(kind, payload):
    padding = 8 - (len(payload) + 6) % 8 + 4
    return struct.pack(">IBB", len(payload) + padding + 2, padding, kind) + payload + bytes(padding)


def raw(*said, ends=True):
    """Says this, and is cut off for it; or has only said half of it, and goes."""
    def attack(c):
        for data in said:
            c.say(data)
        if ends:
            c.ends()
    attack.__name__, attack.raw = f"raw {said[-1][:20]!r}", True
    return attack


def opens_and_is_silent(c):
    for n in range(400):
        c.say(OPEN, "session", n, 1 << 20, 32768)
    c.answers(400, OPEN_SUCCESS, OPEN_FAILURE)
    if c.heard.get(OPEN_SUCCESS) != 10:
        sys.exit(f"{c.heard} instead of max-sessions")
    for n in range(400):
        c.say(OPEN, "x" * n, n, n % 2, n % 3)
        c.say(OPEN, "x" * n, n, MOST, MOST)
    c.answers(800, OPEN_SUCCESS, OPEN_FAILURE)


def confirms_nothing(c):
    """What comes to its port in the guest is offered to it, and it never says a word."""
    c.say(GLOBAL_REQUEST, "tcpip-forward", True, "", 7890)
    c.answers(1, REQUEST_SUCCESS, REQUEST_FAILURE)
    c.request(c.open(), "exec", "for i in $(seq 150); do nc -N 127.0.0.1 7890 </dev/null & done; wait")
    c.answers(20, OPEN)


def goes_beyond_the_window(c):
    c.request(c.open(), "exec", "sleep 60")
    c.answers(1, SUCCESS)
    for _ in range(400):
        c.say(DATA, c.channels[0], "x" * 32000)
    c.ends()


def uses_what_is_closed(c):
    there = c.open()
    c.request(there, "exec", "sleep 60")
    c.say(CLOSE, there)
    c.until("its close", lambda: c.heard.get(CLOSE))
    for n in (there, there + 1, 0, MOST):
        for kind in (EOF, CLOSE):
            c.say(kind, n)
        c.request(n, "exec", "sleep 60")
        c.request(n, "window-change", 1, 1, 1, 1, reply=False)
        c.say(DATA, n, "x")
        c.say(EXTENDED, n, 1, "x")
        c.say(ADJUST, n, MOST)
        c.say(OPEN_SUCCESS, n, n, 1, 1)
        c.say(OPEN_FAILURE, n, 1, "x", "")
        c.say(SUCCESS, n)


def ends_out_of_order(c):
    for order in ((EOF, EOF, CLOSE), (CLOSE, EOF, CLOSE), (EOF, DATA, CLOSE)):
        there = c.open()
        for kind in order:
            c.say(kind, there, *(["late"] if kind == DATA else []))
        c.request(there, "exec", "sleep 60")


def listens_everywhere(c):
    for i in range(1000):
        c.say(GLOBAL_REQUEST, "tcpip-forward", True, "", 0)
    c.answers(1000, REQUEST_SUCCESS, REQUEST_FAILURE)
    if c.heard.get(REQUEST_SUCCESS) != 100:
        sys.exit(f"{c.heard} instead of max-forwards")


def floods_with_requests(c):
    for name in ("keepalive@openssh.com", "x", "", "y" * 30000, "hostkeys-prove-00@openssh.com"):
        for _ in range(300 if len(name) < 100 else 50):
            c.say(GLOBAL_REQUEST, name, True)
    c.answers(1250, REQUEST_SUCCESS, REQUEST_FAILURE)
    for bad in (("tcpip-forward", True), ("tcpip-forward", True, "a\nb", 1), ("tcpip-forward", True, "\0", MOST),
                ("cancel-tcpip-forward", True, "", 9), ("tcpip-forward", True, "x" * 5000, 1)):
        c.say(GLOBAL_REQUEST, *bad)


def says_too_much(c):
    """Each is refused, or cut, and a session can begin all the same."""
    there = c.open()
    c.request(there, "env", "LANG", "x" * 200000)
    c.request(there, "env", "LANG", "a\0b")
    c.request(there, "env", "LC_X=", "y")
    for n in range(500):
        c.request(there, "env", f"LC_{n}", "x" * 1000)
    c.request(there, "pty-req", "x" * 5000, MOST, MOST, MOST, MOST, "\x01" * 30000)
    c.request(there, "pty-req", "xterm", MOST, MOST, MOST, MOST, "\x05\xff\xff\xff\xff" * 6000)
    c.request(there, "pty-req", "xterm", 80, 24, 0, 0, "\x01")
    c.answers(500, SUCCESS, FAILURE)
    c.request(c.open(), "exec", "x" * 250000)


def names_what_is_none(c):
    for name in ("sftp\0", "sftp\0x", "\0", "", "../sftp", "x" * 200000, "sftp sftp", "\xff\xfe\n"):
        there = c.open()
        c.request(there, "subsystem", name)
        c.request(there, "signal", "KILL\0" + name[:100], reply=False)
        c.request(there, name)
        c.say(CLOSE, there)
    for host, port in (("", 1), ("x", 0), ("x", 70000), ("a\0b", 1), ("a b", 1), ("h" * 3000, 1), ("\n", 1)):
        c.say(OPEN, "direct-tcpip", 900, 1 << 20, 32768, host, port, "", 0)
    c.say(OPEN, "direct-streamlocal@openssh.com", 901, 1 << 20, 32768, "/" + "x" * 5000, "", 0)
    c.answers(6, OPEN_FAILURE)


def opens_windows_too_wide(c):
    there = c.open(window=MOST, packet=MOST)
    for _ in range(20):
        c.say(ADJUST, there, MOST)
    c.request(there, "exec", "head -c 1000000 /dev/zero")
    c.until("bytes", lambda: c.heard.get(DATA))
    c.say(ADJUST, there, MOST)


def takes_nothing(c):
    """A window, or a packet, of one byte: a program that says much waits, and harms nobody."""
    for window, packet in ((1, 1), (1, MOST), (1000, 1)):
        c.request(c.open(window, packet), "exec", "yes")
    c.answers(3, SUCCESS, FAILURE)


def begins_too_early(c):
    c.say(OPEN, "session", 0, 1 << 20, 32768)
    c.say(GLOBAL_REQUEST, "tcpip-forward", True, "", 0)
    c.request(0, "exec", "sleep 60")
    if c.heard.get(OPEN_SUCCESS) or c.heard.get(REQUEST_SUCCESS) or c.channels:
        sys.exit(f"{c.heard} before a login")


def logs_in_again(c):
    for _ in range(3):
        c.say(USERAUTH_REQUEST, "nobody-here", "ssh-connection", "password", False, "x")
        c.say(USERAUTH_REQUEST, TENANT, "ssh-connection", "none")
        c.say(SERVICE_REQUEST, "ssh-userauth")


def talks_nonsense(c):
    for kind in (1, 2, 3, 4, 6, 7, 20, 21, 30, 31, 34, 51, 52, 60, 61, 79, 83, 101, 192, 255):
        c.say(kind, *(["x" * kind] * 3))


# Whether its connection goes on ("serves"), has to end, with what in the log, or may do either (None).
SERVES, CUT_OFF = "serves", "is cut off: "
ATTACKS = [
    (opens_and_is_silent, None),
    (confirms_nothing, None),
    (goes_beyond_the_window, "is cut off: more data than the window allows"),
    (uses_what_is_closed, None),
    (ends_out_of_order, None),
    (listens_everywhere, SERVES),
    (floods_with_requests, SERVES),
    (says_too_much, None),
    (names_what_is_none, SERVES),
    (opens_windows_too_wide, None),
    (takes_nothing, SERVES),
    (begins_too_early, CUT_OFF),
    (logs_in_again, CUT_OFF),
    (talks_nonsense, None),
    (raw(b"x" * (1 << 20)), CUT_OFF),
    (raw(b"SSH-1.5-x\r\n"), None),
    (raw(HELLO, b"\xff" * 64), CUT_OFF),
    (raw(HELLO, bytes(64)), None),
    (raw(HELLO, packet(KEXINIT, b"\xff" * 600)), None),
    (raw(HELLO, packet(KEXINIT, bytes(16) + b"\0\0\0\1x" * 10 + bytes(5))), None),
    (raw(HELLO, packet(USERAUTH_REQUEST, b"\0\0\0\1x" * 4)), CUT_OFF),
    (raw(HELLO, packet(KEXINIT, bytes(600))[:300], ends=False), None),
    (raw(b"SSH-2.0-" + b"x" * 100, ends=False), None),
]


def there():
    """What the gateway has: sessions, monitors, wire processes, descriptors of the listener."""
    n = collections.Counter()
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            n[open(path, "rb").read().split(b"\0")[0].rpartition(b"/")[2].decode()] += 1
        except OSError:
            pass
    return [n["vm2-session"], n["vm2-gateway-monitor"], n["vm2-gateway-wire"], len(os.listdir(f"/proc/{LISTENER}/fd"))]


def await_there(want, what, right=int.__eq__):
    end = time.monotonic() + LIMIT_S
    while not all(map(right, now := there(), want)):
        if time.monotonic() > end:
            sys.exit(f"{what}: there are {now} and not {want}")
        time.sleep(0.02)


def other_connection():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", PORT, TENANT, key_filename=KEY, allow_agent=False, look_for_keys=False)
    return client


def check_goes_on(other, what):
    if other.exec_command("echo on", timeout=LIMIT_S)[1].read() != b"on\n":
        sys.exit(f"{what}: the other connection does not go on")


def check_log(what, at, expected):
    """What a monitor says on its way out passes a pipe to the log."""
    end = time.monotonic() + LIMIT_S
    while not re.search(expected, log := open(LOG).read()[at:]):
        if time.monotonic() > end:
            sys.exit(f"{what}: the log says: {log}")
        time.sleep(0.02)
    if "was ended by signal" in log:
        sys.exit(f"{what}: the log says: {log}")


def attack(other, before, how, expected):
    name, began = how.__name__, time.monotonic()
    at = len(open(LOG).read())
    c = Raw() if hasattr(how, "raw") else Client(login=how is not begins_too_early)
    how(c)
    if expected is SERVES:
        c.still_serves()
    check_goes_on(other, name)
    active = c.is_active()
    c.close()
    await_there(before, name, int.__le__)
    check_log(name, at, "" if expected in (None, SERVES) else expected)
    print(f"{name}: {time.monotonic() - began:.2f} s, {'served' if active else 'ended: ' + c.farewell}; {c.heard}")


logging.getLogger("paramiko").addHandler(logging.NullHandler())
connection = other_connection()
check_goes_on(connection, "at first")
# A nursery, two that wait for a connection, and this one's.
await_there([0, 4, 4], "at first")
present = there()
for how, expected in ATTACKS:
    attack(connection, present, how, expected)
await_there(present, "at last")
