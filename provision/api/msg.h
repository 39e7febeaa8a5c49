/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codec of what our own programs say to each other: one SOCK_SEQPACKET datagram is one
 * message of NUL-terminated "key=value" fields, with descriptors beside it. What the messages
 * mean stands in provision/api/PROTOCOL.
 *
 * A key is [a-z0-9_-]+, a value any bytes but NUL. Keys may repeat. Unknown keys are ignored.
 */
#ifndef VM2_API_MSG_H
#define VM2_API_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"
#include "provision/base/str.h"

/*
 * The longest message. A command line of 128 KiB (Linux MAX_ARG_STRLEN) and its fields fit, and
 * the whole fits the default socket buffer (net.core.wmem_default, 212,992 bytes).
 */
#define MSG_MAX 163840
#define MSG_FDS_MAX 8

/* Zeroed is an empty message. It owns its descriptors until they are taken. */
struct msg {
	struct buf data;
	int fds[MSG_FDS_MAX];
	int n_fds;
};

/* Release everything, close the descriptors that were not taken, and leave an empty message. */
void msg_free(struct msg *m);
#define CLEANUP_MSG __attribute__((cleanup(msg_free)))

/* Add a field; NULL adds nothing. Too long a whole is found when the message is sent. */
void msg_add(struct msg *m, const char *key, const char *value);
void msg_add_u64(struct msg *m, const char *key, uint64_t value);
void msg_add_i64(struct msg *m, const char *key, int64_t value);

/* Add a duplicate of fd (close-on-exec). 0, or -errno; -E2BIG past MSG_FDS_MAX. */
int msg_add_fd(struct msg *m, int fd);

/* The first value of a key, or NULL. It lives as long as the message. */
const char *msg_get(const struct msg *m, const char *key);

/* The value, or ERR_USAGE with the key's name when it is missing. */
int msg_need(const struct msg *m, const char *key, const char **ret, struct err *err);

/* A number: fallback when the key is missing; ERR_USAGE with the key's name when it is not one. */
int msg_get_u64(const struct msg *m, const char *key, uint64_t fallback, uint64_t max,
		uint64_t *ret, struct err *err);

/* Walk all fields: *pos starts at 0; false at the end. *key is not NUL-terminated: use key_len. */
bool msg_next(const struct msg *m, size_t *pos, const char **key, size_t *key_len,
	      const char **value);

/* Walk the values of one repeated key: *pos starts at 0; NULL at the end. */
const char *msg_next_value(const struct msg *m, const char *key, size_t *pos);

/* Take the descriptor at index (the caller closes it), or -1 when there is none. */
int msg_take_fd(struct msg *m, int index);

/* Send. 0, or -errno (-EPIPE when the other side is gone; never a signal). ERR_USAGE: too long. */
int msg_send(int sock, const struct msg *m, struct err *err);

/*
 * Receive one message into an empty m, waiting until deadline_ms of clock_ms() (0: for ever).
 * 0; -EPIPE at the end of the stream; -ETIMEDOUT; -EBADMSG for what is no message; -errno.
 * Received descriptors are close-on-exec.
 */
int msg_recv(int sock, struct msg *m, int64_t deadline_ms, struct err *err);

/* Parse bytes as a message's fields (fuzzing, and messages kept in files). 0 or -EBADMSG. */
int msg_parse(struct msg *m, const void *data, size_t len);

#endif
