/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several netlink requests in one sendmsg(2), over libmnl, and their answers. Internal to the
 * folder.
 */
#ifndef VM2_FIREWALL_NETLINK_H
#define VM2_FIREWALL_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"

/* Requests that are named in an error; later ones are called by the batch's subject alone. */
#define NETLINK_NAMED_MAX 48

/* A socket and the requests gathered for it. Zeroed is closed and empty. */
struct netlink {
	struct mnl_socket *sock;
	char *data;
	size_t len;
	size_t cap;
	size_t last;	    /* where the last request begins */
	uint32_t first_seq; /* of the gathered requests */
	uint32_t next_seq;
	const char *what[NETLINK_NAMED_MAX]; /* what each request does */
	int turn; /* the connection that lends the socket (owner.h), 0: it is the caller's own */
	uint8_t own; /* how tables that it makes are its own: POLICY_TABLE_OWNER, POLICY_TABLE_PERSIST, or 0 */
	bool hold;   /* whoever runs a guest holds the socket as long (owner.h) */
	bool shared; /* others have the socket too, and may use it at the same time */
};

/*
 * Open a socket of this protocol (NETLINK_ROUTE, NETLINK_NETFILTER) in the network namespace of
 * the caller; it stays in that namespace. 0 or -errno.
 */
int netlink_open(struct netlink *nl, int protocol, struct err *err);

/*
 * The same with the socket that owns the instance's table, borrowed from the process that keeps it
 * (owner.h), which listens in folder `run`; without one (or run NULL) with `held`, a descriptor of it that
 * the caller holds, which stays; or (0) as netlink_open() does. ERR_BUSY when it is not lent in time.
 */
int netlink_borrow(struct netlink *nl, const char *run, int held, struct err *err);

/* What is sent beside the socket that is lent: its own, and this bit for hold. */
#define NETLINK_HOLD 0x80

/* The same with a socket that is there: it becomes nl's, also on failure. */
int netlink_use(struct netlink *nl, int sock, struct err *err);

void netlink_close(struct netlink *nl);
#define CLEANUP_NETLINK __attribute__((cleanup(netlink_close)))

/*
 * Where the next request is to be built: at least `room` zeroed bytes. Its sequence number is
 * nl->next_seq. what: a constant that says what the request does, "add its IPv4 address".
 */
void *netlink_room(struct netlink *nl, size_t room, const char *what);

/* The request built there is complete. */
void netlink_commit(struct netlink *nl, const struct nlmsghdr *msg);

/* Have the last request acknowledged (NLM_F_ACK). */
void netlink_want_ack(struct netlink *nl);

/*
 * Send what was gathered and read the answers, which the kernel has ready when sendmsg(2)
 * returns. 0, or -errno of the first request that failed, with its words; -ENOBUFS when an answer
 * that was asked for is missing: whether that request was done is not known then. A batch of
 * nftables', which is done whole or not at all and must be such that it may be done twice, is sent again
 * some times then, and when the kernel is busy. reply, if not NULL, is called for each message that is
 * no acknowledgement.
 */
int netlink_exchange(
	struct netlink *nl, const char *subject, mnl_cb_t reply, void *arg, struct err *err);

#endif
