/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner of an instance's table. Linux lets the netlink socket that made a table own it: nobody
 * else can flush, change or delete it then, not even root's nft(8) (NFT_TABLE_F_OWNER, Linux 5.12),
 * and it stays when the socket closes (NFT_TABLE_F_PERSIST, Linux 6.9). One process keeps that socket
 * and lends it to one caller at a time, watches what others do to the table, and says when it must be
 * restored. Where nobody keeps a socket, callers use one of their own.
 *
 * Before Linux 6.9 the kernel takes the table away when the last descriptor of its socket is closed. So
 * whoever runs a guest holds one as long as it runs: then the table is there as long as any guest that
 * it is for, whatever becomes of the owner, and the next owner takes the socket from one of them.
 */
#ifndef VM2_FIREWALL_OWNER_H
#define VM2_FIREWALL_OWNER_H

#include <stdbool.h>

#include "firewall/rules.h"

struct owner;

/* What somebody else did to the table. */
struct owner_change {
	char what[48]; /* "deleted the table", "added a rule" */
	char who[48];  /* the program and its pid, as the kernel told; "" when it did not */
};

/* A socket in folder `run` that callers find; root alone may connect. *ret is to be closed. */
int owner_listen(const char *run, int *ret, struct err *err);

/* How the table is the owner's, where the kernel can. */
enum owner_how {
	OWNER_WATCHES, /* it is not */
	OWNER_OWNS,    /* if it stays when the owner ends */
	OWNER_IS_HELD, /* or all that run a guest hold the socket */
};

/*
 * Begin to keep: `listener` is of owner_listen() and stays the caller's; base's strings too. `socket` is
 * of owner_take(), becomes the owner's, and is what it goes on with; or -1. What `how` says holds from the
 * next owner_restore() on. *ret is to be closed with owner_close().
 */
int owner_open(const struct rules_base *base, int listener, int socket, enum owner_how how,
	struct owner **ret, struct err *err);

/* Where a process that runs a guest has the socket. Closed on exec, until it says otherwise. */
#define OWNER_HELD_FD 100

/*
 * For who is about to run a guest: hold the socket at OWNER_HELD_FD, where that is needed, from before its
 * link is there. 0, and then the table is there, with the guest's elements if the owner knows of it; or
 * -ENOENT, ERR_BUSY: without the owner it would not be safe. One that is held already is enough.
 */
int owner_hold(const struct rules_base *base, struct err *err);

/* Take the socket from a process that holds it: a descriptor, -EBADF where it does not, -errno. */
int owner_take(int pidfd);

/* NULL is nothing. Always NULL. The table stays, and is nobody's or theirs who hold the socket. */
struct owner *owner_close(struct owner *o);

/*
 * rules_restore_state() through the owner's socket. -EPERM or -EOPNOTSUPP while an earlier owner's socket
 * is not closed yet.
 */
int owner_restore(struct owner *o, const struct rules_state *state, struct err *err);

/* Whether the table is owned: as asked for, and the kernel can. Known after owner_restore(). */
bool owner_owns(const struct owner *o);

/*
 * Lend the socket, and watch. 1: somebody else changed the table, or what happened was missed
 * (*ret says); nobody has the socket: owner_restore() now. 0: timeout_ms (-1: none) is over. Else
 * -errno.
 */
int owner_serve(struct owner *o, int timeout_ms, struct owner_change *ret, struct err *err);

#endif
