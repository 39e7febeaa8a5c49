/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a plan limits, as one table. The struct, the parser, the text that the database keeps, the
 * requests' fields and the options and columns of `vm2` all come from it: a further limit is a row.
 *
 * All values are numbers. 0 means that there is no limit, save for words: there it is the first.
 */
#ifndef VM2_BASE_LIMITS_H
#define VM2_BASE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"
#include "provision/base/str.h"

enum limit_kind {
	LIMIT_NUMBER,
	LIMIT_SIZE, /* bytes; "512M" is understood */
	LIMIT_TIME, /* seconds; "10m" is understood */
	LIMIT_RATE, /* bits a second; "10mbit" is understood */
	LIMIT_WORD, /* one of some words: its place among them */
};

/*
 * name, kind, least and greatest value, value of a plan that does not say, the words or NULL, and
 * for people: what the value is called, the title of its column, what it is.
 *   cpu        102,400 is 1,024 processors
 *   memory     less than 16M starts no Debian
 *   inodes     what ext4 can have at all
 *   shares     cpu.weight of the kernel's cgroup-v2.rst
 *   processes  PID_MAX_LIMIT of the kernel
 *   terminals  NR_UNIX98_PTY_MAX of the kernel; all guests share kernel.pty.max
 *   mtu        less than 1280 is no link for IPv6 (RFC 8200 5)
 *   up, down   less than 64kbit lets no packet of 1,500 bytes pass in time for anybody
 */
/* clang-format off */
#define LIMITS(X) \
	X(cpu, NUMBER, 1, 102400, 0, NULL, "PERCENT", "CPU%", \
	  "of one processor: 200 is two of them") \
	X(shares, NUMBER, 1, 10000, 100, NULL, "N", "SHARES", \
	  "of the processors when all are busy; others have 100") \
	X(memory, SIZE, 16ULL << 20, 1ULL << 50, 0, NULL, "SIZE", "MEMORY", "like 512M or 4G") \
	X(swap, WORD, 0, 0, 0, "never allowed", "WHEN", "SWAP", \
	  "never, or allowed beyond the memory") \
	X(disk, SIZE, 1ULL << 20, 1ULL << 50, 0, NULL, "SIZE", "DISK", "of the guest's own files") \
	X(inodes, NUMBER, 1, 1ULL << 32, 0, NULL, "N", "INODES", \
	  "of the guest's own files, folders and links") \
	X(processes, NUMBER, 1, 4194304, 0, NULL, "N", "PROCESSES", \
	  "and threads, at one time") \
	X(terminals, NUMBER, 1, 1048576, 128, NULL, "N", "TERMINALS", "open in /dev/pts") \
	X(up, RATE, 64000, 1000000000000ULL, 0, NULL, "RATE", "UP", \
	  "that the guest sends, like 10mbit") \
	X(down, RATE, 64000, 1000000000000ULL, 0, NULL, "RATE", "DOWN", "that it receives") \
	X(packets, NUMBER, 10, 100000000, 0, NULL, "N", "PACKETS/S", \
	  "that it sends a second, and receives") \
	X(quota, SIZE, 1ULL << 20, 1ULL << 60, 0, NULL, "SIZE", "QUOTA", \
	  "that it sends and receives in a month of UTC's") \
	X(beyond, WORD, 0, 0, 0, "log throttle block", "WHAT", "BEYOND QUOTA", \
	  "what becomes of one that has used it up: log, throttle or block") \
	X(throttle, RATE, 64000, 1000000000000ULL, 1000000, NULL, "RATE", "THROTTLED TO", \
	  "up and down, of one that is throttled; 1mbit") \
	X(ipv4, WORD, 0, 0, 0, "pool none", "WHENCE", "IPV4", \
	  "of new guests: an address of the pool, or none") \
	X(ipv6, WORD, 0, 0, 0, "pool none", "WHENCE", "IPV6", "the same") \
	X(network, WORD, 0, 0, 0, "host-configured own", "WHOSE", "NETWORK", \
	  "host-configured, or own: root inside configures its link") \
	X(mtu, NUMBER, 1280, 65535, 0, NULL, "BYTES", "MTU", \
	  "of its eth0; none: network.mtu of vm2.conf") \
	X(siblings, WORD, 0, 0, 0, "no yes", "WHETHER", "SIBLINGS", \
	  "guests of the same owner may reach it, and it them, if theirs say so too") \
	X(idle, TIME, 1, 31536000, 0, NULL, "TIME", "IDLE", \
	  "without a session, then it is stopped: like 90s, 30m or 8h") \
	X(restart, WORD, 0, 0, 0, "on-failure always no", "WHEN", "RESTART", \
	  "of a guest whose init has ended: on-failure, always or no") \
	X(forwarding, WORD, 0, 0, 0, "yes no", "WHETHER", "FORWARDING", \
	  "of ports, by ssh: yes or no") \
	X(x11, WORD, 0, 0, 0, "no yes", "WHETHER", "X11", \
	  "windows forwarded to the client's screen, by ssh: no or yes; needs forwarding, too") \
	X(sessions, NUMBER, 1, 100000, 0, NULL, "N", "SESSIONS", "of the tenant that are open at a time") \
	X(forwards, NUMBER, 1, 100000, 1000, NULL, "N", "FORWARDS", \
	  "connections and listeners of the tenant that are forwarded at a time, by ssh") \
	X(methods, WORD, 0, 0, 0, "any publickey publickey,password publickey,keyboard-interactive", "LIST", \
	  "METHODS", "that a login by ssh takes, all of them, in this order") \
	X(uploads, WORD, 0, 0, 0, "yes no", "WHETHER", "UPLOADS", \
	  "of files, by sftp, scp and rsync: yes or no") \
	X(downloads, WORD, 0, 0, 0, "yes no", "WHETHER", "DOWNLOADS", "the same") \
	X(recording, WORD, 0, 0, 0, "best-effort required", "WHEN", "RECORDING", \
	  "required (no record, no session) or best-effort")
/* clang-format on */

/* The words, by their places in the table. */
enum { LIMITS_SWAP_NEVER, LIMITS_SWAP_ALLOWED };
enum { LIMITS_BEYOND_LOG, LIMITS_BEYOND_THROTTLE, LIMITS_BEYOND_BLOCK };
enum { LIMITS_ADDRESS_POOL, LIMITS_ADDRESS_NONE };
enum { LIMITS_NETWORK_HOST, LIMITS_NETWORK_OWN };
enum { LIMITS_SIBLINGS_NO, LIMITS_SIBLINGS_YES };
enum { LIMITS_RESTART_ON_FAILURE, LIMITS_RESTART_ALWAYS, LIMITS_RESTART_NO };
enum { LIMITS_FORWARDING_YES, LIMITS_FORWARDING_NO };
enum { LIMITS_X11_NO, LIMITS_X11_YES };
enum { LIMITS_TRANSFERS_YES, LIMITS_TRANSFERS_NO };
enum { LIMITS_RECORDING_BEST_EFFORT, LIMITS_RECORDING_REQUIRED };

#define LIMITS_FIELD(name, ...) uint64_t name;
struct limits {
	LIMITS(LIMITS_FIELD)
};

#define LIMITS_ONE(...) +1
enum { LIMITS_COUNT = 0 LIMITS(LIMITS_ONE) };

/* The place of a row in the table. */
#define LIMITS_PLACE(name, ...) LIMITS_AT_##name,
enum { LIMITS(LIMITS_PLACE) };

struct limit {
	const char *name;
	enum limit_kind kind;
	uint64_t least, greatest, standard;
	const char *words; /* separated by spaces */
	size_t offset;	   /* in struct limits */
};

extern const struct limit limit_table[LIMITS_COUNT];

/* Some of them: what a tenant has of its own, or what a request changes. */
struct limits_part {
	struct limits of;
	uint64_t given;	  /* bit i: row i of the table is */
	uint64_t dropped; /* bit i: it is to be taken back ("plan") */
};

/* What a plan has that says nothing. */
void limits_default(struct limits *ret);

uint64_t limit_get(const struct limit *limit, const struct limits *limits);
void limit_set(const struct limit *limit, struct limits *limits, uint64_t value);

/*
 * A value as people write it: a number, a size, a word, "none" (also "unlimited", and 0) for no
 * limit. ERR_USAGE with the limit's name and what it takes.
 */
int limit_parse(const struct limit *limit, const char *text, uint64_t *ret, struct err *err);

/* A value as text for programs: the number, or the word. */
void limit_print(const struct limit *limit, uint64_t value, struct buf *b);

/* Take what is given, or dropped, from `from` over into part. */
void limits_merge(struct limits_part *part, const struct limits_part *from);

/* Have the values that part gives in limits. */
void limits_apply(struct limits *limits, const struct limits_part *part);

/*
 * The text that keeps them: "cpu=100 memory=536870912". Reading skips what this version does not
 * know, or could not have written: a text of a newer one still serves.
 */
void limits_write(const struct limits_part *part, struct buf *b);
void limits_read(const char *text, struct limits_part *ret);

/* All of them as a part. */
void limits_whole(const struct limits *limits, struct limits_part *ret);

#endif
