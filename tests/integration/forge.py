#!/usr/bin/python3
"""What a wire process that was taken over may claim. Usage: forge.py PORT

Behind PORT is a gateway with tests/integration/forging_wire.c. The tenants forger and forged both have the
key whose private half is at hand; forged has another, whose private half is not. Keys are made here:
forge.py --keys FOLDER; the openssl there signs."""
import base64
import os
import socket
import subprocess
import sys

folder = "/run/vm2-test/forge"
S1, S2 = b"1" * 32, b"2" * 32


def run(*argv, data=None):
    return subprocess.run(argv, input=data, check=True, stdout=subprocess.PIPE).stdout


def string(*parts):
    return b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def public(name):
    der = run("openssl", "pkey", "-in", f"{folder}/{name}", "-pubout", "-outform", "DER")
    return string(b"ssh-ed25519", der[-32:])


def text(blob):
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def make_keys():
    os.makedirs(folder, exist_ok=True)
    for name in "mine", "theirs":
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{folder}/{name}")
        with open(f"{folder}/{name}.pub", "w") as f:
            f.write(text(public(name)) + "\n")


def sign(session, user, key="mine"):
    data = string(session) + b"\x32" + string(user.encode(), b"ssh-connection", b"publickey") + b"\x01"
    data += string(b"ssh-ed25519", public(key))
    with open(f"{folder}/data", "wb") as f:
        f.write(data)
    return run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", f"{folder}/mine", "-in", f"{folder}/data")


def claim(user, session, key, signature):
    """The result of each message; the last is that of the claim."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s, s.makefile("rw") as f:
        def ask(**fields):
            f.write("\t".join(f"{k}={v}" for k, v in fields.items()) + "\n")
            f.flush()
            return dict(p.split("=", 1) for p in f.readline().strip().split("\t") if p)

        def b64(b):
            return base64.b64encode(b).decode()

        first = ask(op="user", name=user, **({"session": b64(session)} if session else {}))
        offer = ask(op="key-offer", key=text(public(key)))
        assert first.get("result") == offer.get("result") == "ok", (first, offer)
        last = ask(op="key-proved", key=text(public(key)), **({"signature": b64(signature)} if signature else {}))
        return last.get("result"), "authenticated" in last


if sys.argv[1] == "--keys":
    make_keys()
    sys.exit()
good = sign(S1, "forger")
assert claim("forger", S1, "mine", good) == ("ok", True), "this probe itself does not work"
for what, claimed in {
    "no signature": ("forged", S1, "theirs", None),
    "some bytes": ("forged", S1, "theirs", os.urandom(64)),
    "one of another key": ("forged", S1, "theirs", sign(S1, "forged", "theirs")),
    "one for another user": ("forged", S1, "mine", good),
    "one of another session": ("forger", S2, "mine", good),
    "one of no session": ("forger", None, "mine", good),
}.items():
    result = claim(*claimed)
    assert result == ("denied", False), f"{what}: {result}"
    print("refused:", what)
