/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side of running guests' links: what others on the host changed of it is found, and restored. The
 * kernel tells of most of it when it is done.
 */
#ifndef VM2_DAEMON_LINKS_H
#define VM2_DAEMON_LINKS_H

#include "provision/store/store.h"

struct config;

/* How a link is out of line. */
enum links_fault {
	LINKS_GONE, /* there is none */
	LINKS_CHANGED,
	LINKS_FURTHER, /* a further address has no route by it: settle_find() has that, too */
};

/*
 * Call fn for each difference, in words: "vm2-1 of acme: it is down". What another request works on is left out.
 * 0 or ERR_*.
 */
int links_find(const struct config *config, struct store *store,
	       void (*fn)(void *data, enum links_fault fault, const char *what), void *data,
	       struct err *err);

/* Restore all that links_find() finds, but further addresses (settle_addresses()). What is done, and faults, are logged. */
void links_mend(const struct config *config, struct store *store);

/* Links that somebody touched, by their guests' numbers. */
struct links_watch {
	int fd; /* of link_watch_open(), or -1 */
	uint32_t *of;
	size_t n, cap;
	bool all; /* more was done than could be followed */
};

/* Begin to watch; what fails is logged, and then links_await() waits only. */
void links_watch(struct links_watch *ret);

/* Wait so long, and restore meanwhile what is changed. */
void links_await(struct links_watch *watch, const struct config *config, struct store *store,
		 int timeout_ms);

#endif
