/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands behind "pam_vm2.so" in a PAM configuration line (pam.conf(5)). */
#ifndef VM2_PAM_OPTIONS_H
#define VM2_PAM_OPTIONS_H

#include <stdbool.h>

/* The standard socket, as in the configuration's paths.socket. */
#define OPTIONS_SOCKET "/run/vm2/vm2d.sock"

/* socket points into the argument or is the standard one. */
struct options {
	const char *socket;
	int timeout_ms;	     /* timeout=SECONDS (1..60, standard 5): how long vm2d may think */
	bool debug;	     /* log each question and answer, never a secret */
	bool use_first_pass; /* take the password of a module before this one, or fail */
	bool nodelay;	     /* no pause after a failure */
	bool try_first_pass; /* take it, and ask when there is none */
};

/* Parse argv. Returns NULL, or the first argument that is not understood (it is passed over). */
const char *options_parse(int argc, const char **argv, struct options *ret);

#endif
