# SPDX-License-Identifier: GPL-2.0-or-later
"""Keystrokes, for tests/bench/ssh: keys.py N FILE CMD... runs CMD (an ssh with a terminal) on a terminal
of its own, types N characters one at a time, and appends to FILE how long each took to come back, in
hundredths of a millisecond."""
import os
import pty
import select
import sys
import time
import tty

LIMIT = 10


def read_until(fd, wanted):
    seen = b""
    deadline = time.monotonic() + LIMIT
    while wanted not in seen:
        if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
            sys.exit(f"keys.py: no {wanted!r} within {LIMIT} s in {seen!r}")
        seen += os.read(fd, 65536)


def main():
    count, file, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    tty.setraw(fd)
    read_until(fd, b"ready")
    times = []
    for i in range(count):
        key = b"abcdefghij"[i % 10 : i % 10 + 1]
        began = time.monotonic()
        os.write(fd, key)
        read_until(fd, key)
        times.append(time.monotonic() - began)
        time.sleep(0.003)
    with open(file, "a") as out:
        out.writelines(f"{t * 100000:.0f}\n" for t in times)
    os.write(fd, b"\x03\x04")
    os.close(fd)
    os.kill(pid, 15)
    os.waitpid(pid, 0)


main()
