/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `vm2 host setup` does: a table of steps, each with `up`, which does only what is missing, and
 * `down`, which takes it back. Both may be run twice, and both say what they did, not what was
 * there already.
 */
#ifndef VM2_CLI_SETUP_H
#define VM2_CLI_SETUP_H

#include <sys/types.h>

#include "provision/cli/command.h"

struct setup {
	const struct cli *cli;
	const struct config *config;
	uint64_t pool;	     /* up: bytes of the pool to be made, 0: none */
	bool purge;	     /* down: tenants, recordings and configuration too */
	struct buf changes;  /* what was done, as the inner part of a JSON array */
	int n_changes;
};

/* Run all steps forwards, or backwards. Stops at the first that fails. */
int setup_up(struct setup *s, struct err *err);
int setup_down(struct setup *s, struct err *err);

/* --- for the steps --- */

/* Note one thing that was done. */
void setup_note(struct setup *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Run a program (an absolute path, arguments up to NULL, no shell) with an empty input and little
 * environment. ERR_FAILED with the last line it wrote when it does not end with 0.
 */
int setup_run(struct err *err, const char *program, ...) __attribute__((sentinel));

/* The ids of the configured user and groups; they must be there (the steps make them first). */
int setup_user(const struct config *config, uid_t *ret_uid, gid_t *ret_gid, struct err *err);
int setup_group(const char *name, gid_t *ret, struct err *err);

int setup_accounts_up(struct setup *s, struct err *err);
int setup_accounts_down(struct setup *s, struct err *err);
int setup_folders_up(struct setup *s, struct err *err);
int setup_folders_down(struct setup *s, struct err *err);
int setup_pool_up(struct setup *s, struct err *err);
int setup_pool_down(struct setup *s, struct err *err);
int setup_config_up(struct setup *s, struct err *err);
int setup_config_down(struct setup *s, struct err *err);
int setup_keys_up(struct setup *s, struct err *err);
int setup_pam_up(struct setup *s, struct err *err);
int setup_pam_down(struct setup *s, struct err *err);
int setup_names_up(struct setup *s, struct err *err);
int setup_names_down(struct setup *s, struct err *err);
int setup_doors_up(struct setup *s, struct err *err);
int setup_doors_down(struct setup *s, struct err *err);
int setup_apparmor_up(struct setup *s, struct err *err);
int setup_apparmor_down(struct setup *s, struct err *err);
int setup_forwarding_up(struct setup *s, struct err *err);
int setup_forwarding_down(struct setup *s, struct err *err);

#endif
