/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vm2-guest is told: words "key=value" on its command line, where staff see them in ps. No
 * secrets. The same table writes and reads them.
 */
#ifndef VM2_GUEST_ARGS_H
#define VM2_GUEST_ARGS_H

#include "provision/guest/guest.h"

struct guest_args {
	struct config config; /* only what vm2-guest needs is set; the rest is NULL or 0 */
	struct guest_spec spec;
	const char *init; /* path of vm2-init */
	/* After a restart from inside: the descriptor that holds the lock, else 0. */
	uint64_t lock;
	uint64_t failures; /* how often in a row its init has failed */
	/* From vm2-guest to vm2-guest-keep and back, descriptors and all: the same process. */
	uint64_t program, keeper; /* O_PATH descriptors of the two */
	uint64_t init_pid, console, stop_signal;
	uint64_t listener,
		notify; /* of init's statfs, and the socket for others' (notify.h); 0: none */
	uint64_t ended; /* 0: not yet; ARGS_ENDED; from ARGS_AGAIN on: it begins again so many ms later */
};

#define ARGS_ENDED 1
#define ARGS_AGAIN 2

/* The most words there are, with the program's name and the NULL. */
#define ARGS_MAX 32

/* Fill argv with program, the guest's name, the words, NULL. Free with args_free(). */
void args_write(const struct guest_args *args, const char *program, char *argv[ARGS_MAX]);
void args_free(char *argv[ARGS_MAX]);

/* Read them; strings point into argv. 0, or ERR_USAGE with the word that is wrong or missing. */
int args_read(int argc, char **argv, struct guest_args *ret, struct err *err);

#endif
