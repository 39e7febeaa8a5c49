/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signatures of SSH keys, verified by libcrypto. Computes only. What links it runs in the sandbox:
 * vm2-gateway-certify, for authorities, and verifiers of the wires' nursery, for users (gateway/proof.h).
 */
#ifndef VM2_GATEWAY_SIGNATURE_H
#define VM2_GATEWAY_SIGNATURE_H

#include "provision/base/sshwire.h"

/* How one kind of key signs. */
struct signature_scheme;

/* The scheme of a signature algorithm's name (RFC 5656, RFC 8332, RFC 8709); NULL: none that counts. */
const struct signature_scheme *signature_find(const struct sshwire *name);

/* How many strings its key has in a public key on the wire, behind the type's name. */
int signature_parts(const struct signature_scheme *s);

/*
 * Whether a key made a signature of data. `key` is those strings, and nothing behind them; `raw` the
 * signature as libcrypto has it (of ECDSA in DER).
 */
bool signature_verify(const struct signature_scheme *s, struct sshwire key, struct sshwire raw,
		      struct sshwire data);

/* The same for a whole key, and a signature with its algorithm's name as SSH has it (RFC 4253, 6.6). */
bool signature_verify_blob(struct sshwire key, struct sshwire signature, struct sshwire data);

#endif
