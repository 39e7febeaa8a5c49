/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a user's key signed this very login (RFC 4252, 7). What it had to sign is built here from what
 * is known, never read from what the wire process sends: of that there are only the session's identifier
 * and the signature. Computes only. It runs in a verifier, a process that the wires' nursery forks for one
 * signature and that hears its monitor alone (wire_proof.c).
 */
#ifndef VM2_GATEWAY_PROOF_H
#define VM2_GATEWAY_PROOF_H

#include "provision/api/msg.h"

/* A session's identifier is the first exchange hash: SHA-1's length at least, SHA-512's at most. */
#define PROOF_SESSION_MIN 20
#define PROOF_SESSION_MAX 64

/* The longest signature in bytes: of RSA with 16,384 bits. */
#define PROOF_SIGNATURE_MAX 2048

/* What counts on this host. */
struct proof_host {
	const char *algorithms; /* of signatures, with commas between: public-key-algorithms of vm2.conf(5) */
	const char *const *keys; /* its public keys, base64 of what goes over the wire */
	size_t n_keys;
};

/*
 * Verify what a message says: user, key (type and base64), session (base64, SSH's session identifier),
 * signature (base64, as libcrypto takes it), and of an authenticator's key its flags and counter. 0 when
 * the key signed it; ERR_DENIED when not; ERR_USAGE names what is no such thing.
 */
int proof_check(const struct msg *request, const struct proof_host *host, struct err *err);

#endif
