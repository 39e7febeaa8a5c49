# SPDX-License-Identifier: GPL-2.0-or-later
"""Library clients at the front door: clients.py paramiko|asyncssh TENANT. Says what failed."""
import asyncio
import hashlib
import os
import sys
import socket

KEY = "/run/vm2-test/key"
DATA = os.urandom(3_000_000)


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got!r}, not {want!r}")


def paramiko_exec(client):
    _, out, err = client.exec_command("echo out; echo err >&2; exit 7")
    check("exec's output", out.read(), b"out\n")
    check("exec's error output", err.read(), b"err\n")
    check("exec's status", out.channel.recv_exit_status(), 7)
    # Half a line closed: the other half still answers.
    to, out, _ = client.exec_command("sha256sum")
    to.write(DATA)
    to.channel.shutdown_write()
    check("a digest", out.read().split()[0].decode(), hashlib.sha256(DATA).hexdigest())


def paramiko_shell(client):
    shell = client.invoke_shell("xterm", 101, 33)
    shell.sendall(b"stty size; exit 3\n")
    seen = b""
    while chunk := shell.recv(4096):
        seen += chunk
    check("the terminal's size", b"33 101" in seen, True)
    check("the shell's status", shell.recv_exit_status(), 3)


def paramiko_files(client):
    sftp = client.open_sftp()
    with sftp.open("/root/paramiko", "wb") as f:
        f.set_pipelined(True)
        f.write(DATA)
    check("a file's size", sftp.stat("/root/paramiko").st_size, len(DATA))
    with sftp.open("/root/paramiko", "rb") as f:
        f.prefetch()
        check("a file", f.read() == DATA, True)
    sftp.rename("/root/paramiko", "/root/renamed")
    check("a folder", "renamed" in sftp.listdir("/root"), True)
    sftp.remove("/root/renamed")


# Both ways at once: into the guest from here, and out of it to here.
def paramiko_forward(client):
    transport = client.get_transport()
    port = transport.request_port_forward("127.0.0.1", 0)
    there = transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 1), timeout=20)
    here = transport.accept(20)
    there.sendall(b"there and back")
    here.sendall(here.recv(100)[::-1])
    check("what is forwarded", there.recv(100), b"kcab dna ereht")
    there.close()
    transport.cancel_port_forward("127.0.0.1", port)


# The last: what it says holds for the connection.
def paramiko_no_more(client):
    import paramiko

    transport = client.get_transport()
    there = transport.open_session(timeout=20)
    transport.global_request("no-more-sessions@openssh.com", wait=False)
    try:
        transport.open_session(timeout=20)
        sys.exit("a session was opened after no-more-sessions")
    except paramiko.ChannelException:
        pass
    there.exec_command("echo still")
    check("the session that was there", there.makefile().read(), b"still\n")


def try_paramiko(tenant):
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", 2222, tenant, key_filename=KEY, allow_agent=False, look_for_keys=False,
                   timeout=20)
    for step in (paramiko_exec, paramiko_shell, paramiko_files, paramiko_forward, paramiko_no_more):
        step(client)
    client.close()


async def asyncssh_exec(c):
    r = await c.run("echo out; echo err >&2; exit 7")
    check("exec", (r.stdout, r.stderr, r.exit_status), ("out\n", "err\n", 7))
    r = await c.run("kill -TERM $$")
    check("a signal", r.exit_signal and r.exit_signal[0], "TERM")
    p = await c.create_process("trap 'echo heard; exit 5' USR1; echo ready; while :; do sleep 0.1; done")
    await p.stdout.readline()
    p.send_signal("USR1")
    r = await p.wait()
    check("a signal to it", (r.stdout, r.exit_status), ("heard\n", 5))


async def asyncssh_shell(c):
    p = await c.create_process(term_type="xterm", term_size=(101, 33))
    p.stdin.write("stty size\n")
    await p.stdout.readuntil("33 101")
    p.change_terminal_size(90, 30)
    p.stdin.write("stty size; exit 3\n")
    await p.stdout.readuntil("30 90")
    check("the shell's status", (await p.wait()).exit_status, 3)


async def asyncssh_files(c):
    async with c.start_sftp_client() as sftp:
        async with sftp.open("/root/asyncssh", "wb") as f:
            await f.write(DATA)
        async with sftp.open("/root/asyncssh", "rb") as f:
            check("a file", await f.read() == DATA, True)
        check("a folder", "asyncssh" in await sftp.listdir("/root"), True)
        await sftp.remove("/root/asyncssh")


async def asyncssh_forward(c):
    async def serve(reader, writer):
        writer.write((await reader.read(100))[::-1])
        writer.close()

    local = await asyncio.start_server(serve, "127.0.0.1", 0)
    remote = await c.forward_remote_port("127.0.0.1", 0, "127.0.0.1", local.sockets[0].getsockname()[1])
    reader, writer = await c.open_connection("127.0.0.1", remote.get_port())
    writer.write(b"there and back")
    check("what is forwarded", await reader.read(100), b"kcab dna ereht")
    writer.close()
    remote.close()
    local.close()


# Thirty programs at once on one connection of several channels each.
async def asyncssh_many(c):
    async def one(i):
        r = await c.run(f"echo {i}; exit {i}")
        check("one of many", (r.stdout, r.exit_status), (f"{i}\n", i))

    for first in range(0, 30, 6):
        await asyncio.gather(*(one(i) for i in range(first, first + 6)))


async def all_asyncssh(tenant):
    import asyncssh

    async with asyncssh.connect("127.0.0.1", 2222, username=tenant, client_keys=[KEY], known_hosts=None,
                                agent_path=None, config=None) as c:
        for step in (asyncssh_exec, asyncssh_shell, asyncssh_files, asyncssh_forward, asyncssh_many):
            await asyncio.wait_for(step(c), 30)


def try_asyncssh(tenant):
    asyncio.run(all_asyncssh(tenant))


socket.setdefaulttimeout(30)
{"paramiko": try_paramiko, "asyncssh": try_asyncssh}[sys.argv[1]](sys.argv[2])
