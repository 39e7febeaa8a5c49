/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner of an instance's table. Linux lets the netlink socket that made a table own it: nobody
 * else can flush, change or delete it then, not even root's nft(8) (NFT_TABLE_F_OWNER), and it
 * stays when the socket closes (NFT_TABLE_F_PERSIST, Linux 6.9). One process keeps that socket and
 * lends it to one caller at a time, watches what others do to the table, and says when it must be
 * restored. Where nobody keeps a socket, callers use one of their own.
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

/*
 * Begin to keep: `listener` is of owner_listen() and stays the caller's; base's strings too. With
 * `own` the table is owned from the next owner_restore() on, where the kernel can. *ret is to be
 * closed with owner_close().
 */
int owner_open(const struct rules_base *base, int listener, bool own, struct owner **ret,
	struct err *err);

/* NULL is nothing. Always NULL. The table stays, and is nobody's. */
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
