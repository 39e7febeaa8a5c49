# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that break off anywhere: breaks.py PORT N TENANT KEY LIGHT_CLIENT. Between real clients and
the gateway's PORT stands a relay that cuts each connection after a random number of bytes, often in the
middle of a packet, by a reset or by an ordinary end. Prints how many there were."""
import asyncio
import os
import random
import socket
import struct
import sys

port, count, tenant, key, light = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
WORKERS = 6
# All that a login, its command and its end take, both ways; a few pass whole.
BYTES_MAX = 9000
SSH = ["-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=QUIET",
       "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
done = 0


async def pump(reader, writer, left):
    while left[0] > 0 and (data := await reader.read(min(left[0], 2000))):
        left[0] -= len(data)
        writer.write(data)
        await writer.drain()


def cut(writer):
    if random.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def relay(reader, writer):
    left = [random.randrange(BYTES_MAX)]
    there, back = await asyncio.open_connection("127.0.0.1", port)
    ways = [asyncio.create_task(pump(reader, back, left)), asyncio.create_task(pump(there, writer, left))]
    _, late = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED, timeout=2)
    for task in late:
        task.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    cut(back)
    cut(writer)


def command(to):
    if random.random() < 0.8:
        return [light, str(to), tenant, key, "1"]
    what = random.choice([["-tt"], ["-N", "-R", "0:127.0.0.1:1"], ["-A"], ["-s"]])
    return ["ssh", *SSH, "-p", str(to), *what, f"{tenant}@127.0.0.1", *(["sftp"] if what == ["-s"] else ["sleep 30"])]


async def worker(to):
    global done
    while done < count:
        done += 1
        p = await asyncio.create_subprocess_exec(*command(to), stdin=asyncio.subprocess.DEVNULL,
                                                 stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
        try:
            await asyncio.wait_for(p.wait(), 30)
        except asyncio.TimeoutError:
            p.kill()
            await p.wait()


async def main():
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    to = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(worker(to) for _ in range(WORKERS)))
    print(done)


os.environ.pop("SSH_AUTH_SOCK", None)
random.seed()
asyncio.run(main())
