# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that break off anywhere: breaks.py PORT N TENANT KEY LIGHT_CLIENT PASSWORD, some at a time. Between
real clients and the gateway's PORT stands a relay that cuts each connection after a random number of bytes,
often in the middle of a packet: by a reset, an ordinary end, the end of one direction, or silence and then an
end. Prints how many there were, and of each sort of client and of cut."""
import asyncio
import collections
import fcntl
import os
import random
import socket
import struct
import sys
import termios

port, count, tenant, key, light, password = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:7]
WORKERS = 24
# A login, its command and its end take some 9,000 bytes both ways, so that a few pass whole; where bytes flow on
# the cut may come later.
LOGIN_BYTES, FLOW_BYTES = 9000, 300000
SILENCE_S = 2
SSH = ["-F", "none", "-o", "LogLevel=QUIET", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
BY_KEY = ["-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
BY_PASSWORD = ["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]
# What comes before the target and after it, and whether bytes flow.
SORTS = {
    "terminal": (["-tt"], ["sleep 30"], False),
    "listen": (["-R", "0:127.0.0.1:1"], ["sleep 30"], False),
    "forward": (["-W", "127.0.0.1:9"], [], False),
    "agent": (["-A"], ["sleep 30"], False),
    "sftp": (["-s"], ["sftp"], False),
    "down": ([], ["cat /dev/zero"], True),
    "up": ([], ["cat >/dev/null"], True),
    "rekeyed": (["-o", "RekeyLimit=16K"], ["cat /dev/zero"], True),
}
done = 0
told = collections.Counter()


async def pump(reader, writer, left):
    while left[0] > 0 and (data := await reader.read(min(left[0], 2000))):
        left[0] -= len(data)
        writer.write(data)
        await writer.drain()


def end(writer, by):
    if by == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def cut(back, writer):
    by = random.choice(["reset", "close", "half", "silence"] if random.random() < 0.3 else ["reset", "close"])
    told[by] += 1
    if by == "half":
        back.write_eof()
        await asyncio.sleep(random.random())
    elif by == "silence":
        await asyncio.sleep(random.random() * SILENCE_S)
    end(back, by)
    end(writer, by)


def relay_for(bytes_max):
    async def relay(reader, writer):
        left = [random.randrange(bytes_max)]
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.create_task(pump(reader, back, left)), asyncio.create_task(pump(there, writer, left))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED, timeout=2)
        for task in ways:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await cut(back, writer)
    return relay


def command(ports):
    """The command, and whether it wants a terminal of ours, or zeros to send."""
    lot = random.random()
    if lot < 0.78:
        told["light"] += 1
        return [light, str(ports[0]), tenant, key, "1"], None
    sort = random.choice(list(SORTS)) if lot < 0.98 else "password"
    told[sort] += 1
    before, after, flows = SORTS.get(sort, ([], ["true"], False))
    how = ["sshpass", "-p", password, "ssh", *SSH, *BY_PASSWORD] if sort == "password" else ["ssh", *SSH, *BY_KEY]
    return [*how, "-p", str(ports[flows]), *before, f"{tenant}@127.0.0.1", *after], sort


async def resize(terminal):
    try:
        for rows in range(20, 120):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
            await asyncio.sleep(0.05)
    except OSError:
        pass


async def one(ports):
    argv, sort = command(ports)
    terminal, ours = os.openpty() if sort == "terminal" else (None, None)
    zeros = os.open("/dev/zero" if sort == "up" else "/dev/null", os.O_RDONLY)
    p = await asyncio.create_subprocess_exec(
        *argv, stdin=zeros if ours is None else ours, stdout=asyncio.subprocess.DEVNULL, start_new_session=True,
        stderr=asyncio.subprocess.DEVNULL, preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if ours else None)
    changes = asyncio.create_task(resize(terminal)) if terminal else None
    try:
        await asyncio.wait_for(p.wait(), 30)
    except asyncio.TimeoutError:
        p.kill()
        await p.wait()
    if changes:
        changes.cancel()
    for fd in (terminal, ours, zeros):
        if fd is not None:
            os.close(fd)


async def worker(ports):
    global done
    while done < count:
        done += 1
        await one(ports)


async def main():
    servers = [await asyncio.start_server(relay_for(most), "127.0.0.1", 0) for most in (LOGIN_BYTES, FLOW_BYTES)]
    ports = [s.sockets[0].getsockname()[1] for s in servers]
    await asyncio.gather(*(worker(ports) for _ in range(WORKERS)))
    print(done, *(f"{name}={n}" for name, n in sorted(told.items())))


os.environ.pop("SSH_AUTH_SOCK", None)
random.seed()
asyncio.run(main())
