/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who asks, and what they are: the kernel's word (SO_PEERCRED, SO_PEERGROUPS), never the peer's.
 */
#ifndef VM2_DAEMON_ACCESS_H
#define VM2_DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/err.h"

enum {
	ROLE_ROOT = 1,	  /* uid 0: may do all but what only a session may */
	ROLE_GATEWAY = 2, /* the configured user */
	ROLE_SELF = 4,	  /* a tenant's account, for that tenant: found when the request is known */
	ROLE_STAFF = 8,	  /* members of the configured groups */
	ROLE_AUDIT = 16,
	ROLE_SESSION = 32, /* the vm2-session of the session that the request names */
};

/* The configuration's names as numbers, looked up once at start: no worker asks NSS. */
struct access {
	bool has_gateway, has_staff, has_audit;
	uid_t gateway;
	gid_t staff, audit;
};

struct peer {
	pid_t pid;
	uid_t uid;
	unsigned int roles; /* all but ROLE_SELF and ROLE_SESSION */
};

/* Look the names up; one that is not there gives nobody its role. Returns nothing: see has_*. */
void access_load(const struct config *config, struct access *ret);

/* The uid at the other end of a connection. 0 or -errno. */
int access_peer_uid(int fd, uid_t *ret);

/* Who is at the other end. 0 or -errno. */
int access_peer(const struct access *access, int fd, struct peer *ret, struct err *err);

/* The roles of a mask as words with spaces between, in the order of the documents; "root" for 0. */
void access_words(unsigned int roles, char *ret, size_t size);

#endif
