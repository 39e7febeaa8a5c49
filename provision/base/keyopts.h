/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a public key may do, as it stands before the key's type in authorized_keys (sshd(8)): from,
 * expiry-time, command, permitopen, permitlisten, restrict, and [no-]pty, [no-]port-forwarding,
 * [no-]agent-forwarding, [no-]X11-forwarding, [no-]user-rc; of keys in authenticators
 * no-touch-required and verify-required. Computes only.
 */
#ifndef VM2_BASE_KEYOPTS_H
#define VM2_BASE_KEYOPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"
#include "provision/base/str.h"

/* The longest text of them, in bytes. */
#define KEYOPTS_MAX 2048

/* The command that stands for the sftp subsystem; written "internal-sftp", it is understood, too. */
#define KEYOPTS_SFTP "/usr/lib/openssh/sftp-server"

enum {
	KEYOPTS_NO_PTY = 1,
	KEYOPTS_NO_FORWARDING = 2,
	KEYOPTS_NO_AGENT = 4,
	KEYOPTS_NO_X11 = 8,
	KEYOPTS_NO_RC = 16,
};

/* Zeroed: the key may do all. Texts are owned; NULL where nothing is said. */
struct keyopts {
	unsigned int no;     /* KEYOPTS_NO_* */
	char *from;	     /* prefixes, with commas between */
	char *command;	     /* what runs, whatever is asked for */
	struct buf permit;   /* HOST:PORT, each with a space after it; PORT may be * */
	struct buf listen;   /* [HOST:]PORT, the same */
	int64_t expires;     /* seconds since the epoch; 0: never */
	bool touchless;	     /* no-touch-required: its authenticator need not be touched */
	bool verify;	     /* verify-required: it must have checked who touches it */
};

/* How many bytes of a line are options: up to the first blank that is not in quotes. */
size_t keyopts_span(const char *line);

/*
 * Read the options; ret is to be freed, also after an error. ERR_USAGE says which is wrong. One that
 * is not known is an error: it might be a restriction.
 */
int keyopts_parse(const char *text, struct keyopts *ret, struct err *err);

/* The same, for further ones: they count after those that are there. */
int keyopts_add(const char *text, struct keyopts *o, struct err *err);

/* The text again, in one form; a stock sshd understands it. */
void keyopts_write(const struct keyopts *o, struct buf *b);

void keyopts_free(struct keyopts *o);
#define CLEANUP_KEYOPTS __attribute__((cleanup(keyopts_free)))

/* May the key be used from "ADDR", "ADDR:PORT" or "[ADDR]:PORT"? Where that is not known: no. */
bool keyopts_from(const struct keyopts *o, const char *source);

/* May a client with the key connect there, or listen there? */
bool keyopts_may_open(const struct keyopts *o, const char *host, uint64_t port);
bool keyopts_may_listen(const struct keyopts *o, const char *host, uint64_t port);

#endif
