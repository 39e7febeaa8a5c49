/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire process after a login: the loop of gateway/wire.c with libssh itself, between a client that
 * sends any packet in any order and a monitor and sessions played here. The key exchange is real; after
 * it the cipher is none, because libcrypto's functions for it are in place here, so that an input's bytes
 * become packets and what the wire answers can be read: whatever the client does, the wire must keep to
 * RFC 4254, and to what the monitor does not end a connection for.
 *
 * An input is a row of steps, each a byte that says what, with LAZY to take no turn after it, and its
 * operands.
 */
#define CORPUS "wire"
/* Each input takes a key exchange: few neighbours. */
#define NEIGHBOURS 24
#include "tests/fuzz/fuzz.h"

/* Time stands still but for the script, and nobody waits. */
#define clock_ms script_clock
#define main wire_main
int wire_main(int argc, char **argv);
#include "gateway/wire.c"
#include "gateway/wire_tap.c"
#include "gateway/wire_warm.c"
#undef clock_ms
#undef main

#include <fcntl.h>
#include <libssh/ssh2.h>
#include <openssl/evp.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STEP_RAW,     /* length, payload */
	STEP_OPEN,    /* window >> 12, largest packet >> 8 */
	STEP_REQUEST, /* channel, name, want-reply, length, what follows */
	STEP_DATA,    /* channel, length >> 7; on channels of odd numbers as error output */
	STEP_EOF,     /* channel */
	STEP_CLOSE,   /* channel */
	STEP_WINDOW,  /* channel, bytes >> 8 */
	STEP_CONNECT, /* kind, length, host or path */
	STEP_GLOBAL,  /* name, port */
	STEP_ANSWER,  /* 0: no; else the window >> 12: to a channel that the wire opens */
	STEP_MONITOR, /* what, number */
	STEP_SESSION, /* what, which end, length >> 6 */
	STEP_TIME,    /* ms >> 4 */
	STEP_DEAF,    /* bit 0: the client reads nothing; others: what the monitor says to listeners */
	STEPS,
};
#define LAZY	  0x80
#define STEPS_MAX 80
#define BATCH_MAX 16

#define CHANNELS_MAX 64
#define ENDS_MAX     48
#define NUMBERS_MAX  256

/* The client's numbers: those of the channels that it opens, and of those that it takes. */
struct peer {
	bool confirmed, eof, closed;
	uint32_t wire; /* the wire's number */
	int64_t window;
	uint32_t packet;
	uint64_t bytes; /* that it was sent */
	unsigned int yes, no; /* answers to requests */
};

static struct {
	struct wire w;
	ssh_session client;
	int network, monitor; /* the client's and the monitor's ends */
	const uint8_t *at;
	size_t left;
	int64_t now;
	bool deaf, odd; /* it sends what this file does not understand: the wire's answers are not judged */
	uint8_t word;	/* what the monitor says to listeners */
	size_t sip; /* it reads no more than this at a time; 0: all that there is */
	struct buf heard; /* from the wire, not yet a whole packet */
	struct peer peers[CHANNELS_MAX];
	uint32_t n_peers;
	uint64_t bulk_before; /* bytes of the second one when the first one was sent some last */
	uint32_t offered[CHANNELS_MAX]; /* the wire's numbers of channels that it opens */
	size_t n_offered;
	/* The monitor's. */
	enum { NOTHING, SESSION, FORWARD, LISTENER, OVER } known[NUMBERS_MAX];
	bool has_streams[NUMBERS_MAX], pty[NUMBERS_MAX];
	unsigned int last_listener;
	uint32_t accepted;
	int ends[ENDS_MAX]; /* of sessions' pipes */
	size_t n_ends;
} s;

int64_t script_clock(void)
{
	return s.now;
}

/* --- libcrypto: no cipher --- */

#define IN_PLACE __attribute__((visibility("default")))

static int copy(unsigned char *out, int *ret_len, const unsigned char *in, int len)
{
	if (out)
		memmove(out, in, (size_t)len);
	*ret_len = len;
	return 1;
}

IN_PLACE int EVP_EncryptUpdate(EVP_CIPHER_CTX *c, unsigned char *out, int *ret_len, const unsigned char *in, int len)
{
	return copy(out, ret_len, in, len);
}

IN_PLACE int EVP_DecryptUpdate(EVP_CIPHER_CTX *c, unsigned char *out, int *ret_len, const unsigned char *in, int len)
{
	return copy(out, ret_len, in, len);
}

IN_PLACE int EVP_DecryptFinal(EVP_CIPHER_CTX *c, unsigned char *out, int *ret_len)
{
	*ret_len = 0;
	return 1;
}

IN_PLACE int EVP_EncryptFinal(EVP_CIPHER_CTX *c, unsigned char *out, int *ret_len)
{
	*ret_len = 0;
	return 1;
}

IN_PLACE int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *c, int type, int arg, void *ptr)
{
	return 1;
}

/* --- the script --- */

static uint8_t next(void)
{
	if (!s.left)
		return 0;
	s.left--;
	return *s.at++;
}

/* So many bytes of it. */
static const void *next_bytes(size_t *len)
{
	const uint8_t *bytes = s.at;

	if (*len > s.left)
		*len = s.left;
	s.at += *len;
	s.left -= *len;
	return bytes;
}

static void put_u8(struct buf *b, uint8_t value)
{
	buf_add(b, &value, 1);
}

static void put_u32(struct buf *b, uint32_t value)
{
	uint32_t wire = htonl(value);

	buf_add(b, &wire, sizeof(wire));
}

static void put_string(struct buf *b, const void *bytes, size_t len)
{
	put_u32(b, (uint32_t)len);
	buf_add(b, bytes, len);
}

static void put_text(struct buf *b, const char *words)
{
	put_string(b, words, strlen(words));
}

/* --- what the wire says to the client --- */

static struct peer *peer(uint32_t number)
{
	NEVER(number >= s.n_peers);
	return &s.peers[number];
}

static void hear_data(struct peer *p, struct sshwire *rest, bool is_error)
{
	struct sshwire bytes;
	uint32_t code;

	NEVER(p->eof || p->closed || (is_error && !sshwire_u32(rest, &code)));
	NEVER(!sshwire_string(rest, &bytes) || bytes.left > p->packet);
	p->bytes += bytes.left;
	if (p == &s.peers[0])
		s.bulk_before = s.peers[1].bytes;
	p->window -= (int64_t)bytes.left;
	NEVER(p->window < 0);
}

static void hear_about_channel(uint8_t type, struct sshwire *rest)
{
	struct peer *p;
	uint32_t number;

	NEVER(!sshwire_u32(rest, &number));
	p = peer(number);
	p->yes += type == SSH2_MSG_CHANNEL_SUCCESS;
	p->no += type == SSH2_MSG_CHANNEL_FAILURE;
	/* libssh still answers what comes before the client's own close. */
	if (p->closed && (type == SSH2_MSG_CHANNEL_WINDOW_ADJUST || type == SSH2_MSG_CHANNEL_SUCCESS ||
			  type == SSH2_MSG_CHANNEL_FAILURE))
		return;
	NEVER(p->closed);
	switch (type) {
	case SSH2_MSG_CHANNEL_OPEN_CONFIRMATION:
		NEVER(p->confirmed || !sshwire_u32(rest, &p->wire));
		p->confirmed = true;
		break;
	case SSH2_MSG_CHANNEL_OPEN_FAILURE:
		NEVER(p->confirmed);
		p->closed = true;
		break;
	case SSH2_MSG_CHANNEL_DATA:
	case SSH2_MSG_CHANNEL_EXTENDED_DATA:
		hear_data(p, rest, type == SSH2_MSG_CHANNEL_EXTENDED_DATA);
		break;
	case SSH2_MSG_CHANNEL_EOF:
		NEVER(p->eof);
		p->eof = true;
		break;
	case SSH2_MSG_CHANNEL_CLOSE:
		p->closed = true;
		break;
	}
	NEVER(!p->confirmed && type != SSH2_MSG_CHANNEL_OPEN_FAILURE);
}

static void hear_packet(const unsigned char *bytes, size_t len)
{
	struct sshwire rest = { bytes, len }, kind;
	uint32_t number;
	uint8_t type;

	NEVER(!sshwire_u8(&rest, &type));
	if (s.odd)
		return;
	if (type == SSH2_MSG_CHANNEL_OPEN) {
		NEVER(!sshwire_string(&rest, &kind) || !sshwire_u32(&rest, &number));
		if (s.n_offered < CHANNELS_MAX)
			s.offered[s.n_offered++] = number;
	} else if (type > SSH2_MSG_CHANNEL_OPEN) {
		hear_about_channel(type, &rest);
	}
}

/* AES-GCM's packets (RFC 5647): the length, then padding and payload, then a tag. */
#define TAG 16
#define BLOCK 16

static void hear(void)
{
	static char bytes[65536];
	size_t at = 0, most = s.sip ? s.sip : sizeof(bytes);
	ssize_t n;

	while (!s.deaf && (n = read(s.network, bytes, most)) > 0) {
		buf_add(&s.heard, bytes, (size_t)n);
		if (s.sip)
			break;
	}
	while (s.heard.len - at > 5) {
		const unsigned char *packet = (const unsigned char *)s.heard.data + at;
		struct sshwire w = { packet, 4 };
		uint32_t len = 0;

		sshwire_u32(&w, &len);
		NEVER(len > 300000 || len < 2U + packet[4]);
		if (s.heard.len - at < 4 + len + TAG)
			break;
		hear_packet(packet + 5, len - 1 - packet[4]);
		at += 4 + len + TAG;
	}
	if (!at)
		return;
	memmove(s.heard.data, s.heard.data + at, s.heard.len - at);
	s.heard.len -= at;
}

/* --- what it says to the monitor --- */

static bool is_legible(const char *name, char least)
{
	while (*name >= least && *name < 0x7f)
		name++;
	return !*name;
}

/* As gateway/session.c has it. */
static void told_open(struct msg *m, uint64_t n)
{
	const char *kind = msg_get(m, "kind"), *env, *modes = msg_get(m, "modes");
	uint64_t value = 0;
	size_t at = 0;

	NEVER(s.known[n] != NOTHING);
	NEVER(!kind || (strcmp(kind, "shell") && strcmp(kind, "exec") && strcmp(kind, "subsystem")));
	NEVER(strcmp(kind, "shell") && !msg_get(m, "command"));
	NEVER(msg_get_u64(m, "pty", 2, 1, &value, NULL) != 0 || value == 2);
	NEVER(msg_get_u64(m, "cols", 0, 65535, &value, NULL) != 0);
	NEVER(modes && strspn(modes, "0123456789= ") != strlen(modes));
	while ((env = msg_next_value(m, "env", &at)))
		NEVER(!str_starts(env, "LC_") || !strchr(env, '='));
	s.known[n] = SESSION;
	s.pty[n] = !strcmp(msg_get(m, "pty"), "1");
}

/* As gateway/forward.c. */
static void told_forward(struct msg *m, uint64_t n)
{
	const char *path = msg_get(m, "path"), *host = msg_get(m, "host");
	uint64_t port;

	NEVER(s.known[n] != NOTHING || (!path && !host));
	NEVER(path && (!*path || strlen(path) > 107 || !is_legible(path, ' ')));
	NEVER(host && (strlen(host) > 255 || !is_legible(host, '!') ||
		       msg_get_u64(m, "port", 0, UINT16_MAX, &port, NULL) != 0));
	s.known[n] = FORWARD;
}

static void told_listen(struct msg *m, const char *op, uint64_t n)
{
	const char *host = msg_get(m, "host");

	NEVER(s.known[n] != NOTHING);
	NEVER(!strcmp(op, "listen") && (!host || strlen(host) > 255 || !is_legible(host, '!')));
	NEVER(!strcmp(op, "x11") && (!msg_get(m, "protocol") || !msg_get(m, "cookie")));
	s.known[n] = LISTENER;
	s.last_listener = (unsigned int)n;
}

static void told(struct msg *m)
{
	const char *op = msg_get(m, "op");
	uint64_t n = 0;

	NEVER(!op || msg_get_u64(m, msg_get(m, "listener") ? "listener" : "channel", 0, INT64_MAX, &n, NULL) != 0);
	NEVER(n == 0);
	if (n >= NUMBERS_MAX)
		return;
	if (!strcmp(op, "open")) {
		told_open(m, n);
	} else if (!strcmp(op, "forward")) {
		told_forward(m, n);
	} else if (!strcmp(op, "listen") || !strcmp(op, "agent") || !strcmp(op, "x11")) {
		told_listen(m, op, n);
	} else if (!strcmp(op, "unlisten")) {
		NEVER(s.known[n] != LISTENER);
		s.known[n] = OVER;
	} else if (!strcmp(op, "close")) {
		NEVER(s.known[n] == NOTHING || s.known[n] == LISTENER);
		s.known[n] = OVER;
	} else {
		NEVER(strcmp(op, "resize") && strcmp(op, "signal"));
		NEVER(s.known[n] == NOTHING);
	}
}

static void listen_to_wire(void)
{
	struct pollfd p = { .fd = s.monitor, .events = POLLIN };

	while (syscall(SYS_poll, &p, 1, 0) > 0) {
		CLEANUP_MSG struct msg m = { 0 };

		if (msg_recv(s.monitor, &m, 1, NULL) != 0)
			return;
		told(&m);
	}
}

/* --- what the monitor says --- */

static void say(struct msg *m, const char *op, const char *key, uint64_t n)
{
	msg_add(m, "op", op);
	msg_add_u64(m, key, n);
	msg_send(s.monitor, m, NULL);
}

static void say_listener(uint64_t n)
{
	CLEANUP_MSG struct msg m = { 0 };

	if (s.word & 2)
		msg_add_u64(&m, "port", 6010);
	say(&m, s.word & 2 ? "listening" : "refused", "listener", n);
}

static int keep_end(int fd)
{
	if (s.n_ends == ENDS_MAX)
		close(s.ends[--s.n_ends]);
	fd_nonblock(fd, 1);
	return s.ends[s.n_ends++] = fd;
}

/* The wire's end goes with the message; its input is as small as can be, so that it fills. */
static void add_end(struct msg *m, int wires_end, int times)
{
	for (int i = 0; i < times; i++)
		NEVER(msg_add_fd(m, wires_end) != 0);
	close(wires_end);
}

static void add_streams(struct msg *m, bool forward, bool pty)
{
	int pair[2];

	if (forward) {
		NEVER(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0);
		keep_end(pair[0]);
		add_end(m, pair[1], 2);
		return;
	}
	for (int i = 0; i < (pty ? 2 : 3); i++) {
		NEVER(pipe2(pair, O_CLOEXEC) < 0);
		fcntl(pair[0], F_SETPIPE_SZ, i ? 1 << 20 : 4096);
		keep_end(pair[i > 0]);
		add_end(m, pair[i == 0], 1);
	}
}

static void say_accepted(unsigned int listener)
{
	CLEANUP_MSG struct msg m = { 0 };
	/* vm2-session's numbers are far from the wire's. */
	uint64_t n = NUMBERS_MAX + ++s.accepted;

	msg_add_u64(&m, "listener", listener);
	msg_add(&m, "host", "192.0.2.1");
	msg_add_u64(&m, "port", 4711);
	add_streams(&m, true, false);
	say(&m, "accepted", "channel", n);
}

static void say_exit(unsigned int n, bool by_signal)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, by_signal ? "signal" : "status", by_signal ? "KILL" : "3");
	say(&m, "exit", "channel", n);
}

static void step_monitor(void)
{
	CLEANUP_MSG struct msg m = { 0 };
	uint8_t what = next() % 7;
	unsigned int n = next() % 32;
	bool channel = s.known[n] == SESSION || s.known[n] == FORWARD;

	if (what == 0 && channel && !s.has_streams[n]) {
		s.has_streams[n] = true;
		add_streams(&m, s.known[n] == FORWARD, s.pty[n]);
		say(&m, "streams", "channel", n);
	} else if ((what == 1 || what == 2) && channel) {
		say_exit(n, what == 2);
		s.known[n] = OVER;
	} else if (what == 3 && s.known[n] == SESSION) {
		msg_add(&m, "text", "a line");
		msg_add(&m, "error", "1");
		say(&m, "text", "channel", n);
	} else if (what == 4 && s.known[n] == LISTENER) {
		say_accepted(n);
	} else if (what == 5 && (s.known[n] == FORWARD || s.known[n] == LISTENER)) {
		say(&m, "refused", "listener", n);
	} else if (what == 6) {
		say(&m, n % 4 ? "forwards-gone" : "disconnect", "channel", 0);
	}
}

/* A session: it writes, reads, or closes an end. */
static void step_session(void)
{
	static char bytes[255 << 6];
	uint8_t what = next(), which = next();
	size_t len = (size_t)next() << 6;
	int fd;

	if (!s.n_ends)
		return;
	which %= s.n_ends;
	fd = s.ends[which];
	if (what % 3 == 0) {
		(void)!write(fd, bytes, len);
	} else if (what % 3 == 1) {
		(void)!read(fd, bytes, len);
	} else {
		close(fd);
		s.ends[which] = s.ends[--s.n_ends];
	}
}

/*
 * For the wire and libssh nothing is waited for. Where the wire waits for its monitor alone, that answers,
 * or is gone. All else is the test program's own.
 */
int script_poll(struct pollfd *fds, nfds_t n, int timeout) IN_PLACE_OF(poll);
int script_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	bool ours = s.client && n > 0 &&
		    (fds[0].fd == s.w.link || fds[0].fd == s.w.connection || fds[0].fd == s.network);

	if (ours && n == 1 && fds[0].fd == s.w.link && s.w.authenticated) {
		listen_to_wire();
		if (s.word & 4)
			s.w.finished = true;
		else if (syscall(SYS_poll, fds, n, 0) == 0)
			say_listener(s.last_listener);
	}
	return (int)syscall(SYS_poll, fds, n, ours ? 0 : timeout);
}

/* Nor does it wait in a read that poll(2) did not promise: its other channels would stand still. */
ssize_t script_recvmsg(int fd, struct msghdr *message_head, int flags) IN_PLACE_OF(recvmsg);
ssize_t script_recvmsg(int fd, struct msghdr *message_head, int flags)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	NEVER(s.client && fd == s.w.link && !(flags & MSG_DONTWAIT) && syscall(SYS_poll, &p, 1, 0) == 0);
	return syscall(SYS_recvmsg, fd, message_head, flags);
}

/* --- the client --- */

static bool over(void)
{
	return s.w.finished || broken(&s.w);
}

static void judge(void)
{
	unsigned int sessions = 0, forwards = 0, listeners = 0;

	for (struct channel *c = s.w.channels; c; c = c->next) {
		*(c->forward ? &forwards : &sessions) += 1;
		NEVER(c->input.data.len > WIRE_WINDOW_MAX);
		NEVER(c->output[0].data.len - c->output[0].at > 2 * WIRE_READ_MAX);
		NEVER(c->output[1].data.len - c->output[1].at > 2 * WIRE_READ_MAX);
	}
	for (struct listener *l = s.w.listeners; l; l = l->next)
		listeners++;
	NEVER(sessions != s.w.n_sessions || forwards != s.w.n_forwards || listeners != s.w.n_listeners);
	NEVER(sessions > s.w.max_sessions || forwards > s.w.max_forwards || listeners > s.w.max_forwards);
	/* Asking may handle packets, and bring new ones. */
	for (struct channel *c = s.w.channels; c && !over(); c = c->next)
		NEVER(ssh_channel_poll(c->ssh, 0) > (int)WIRE_WINDOW_MAX && !s.w.finished);
}

static void turn(void)
{
	if (!over() && wait_and_handle(&s.w) == 0)
		wire_relay(&s.w);
	else
		s.w.finished = true;
	hear();
	listen_to_wire();
	judge();
}

/* What the socket does not take is waited for; a wire that takes nothing has reason to. */
static void send_bytes(const char *bytes, size_t len)
{
	for (int tries = 0; len && tries < 40 && !over(); tries++) {
		ssize_t n = write(s.network, bytes, len);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else {
			turn();
		}
	}
	if (len)
		s.w.finished = true;
}

static void send_packet(const struct buf *payload)
{
	static const char zeros[BLOCK + TAG];
	CLEANUP_BUF struct buf packet = { 0 };
	size_t padding = BLOCK - (1 + payload->len) % BLOCK;

	if (padding < 4)
		padding += BLOCK;
	put_u32(&packet, (uint32_t)(1 + payload->len + padding));
	put_u8(&packet, (uint8_t)padding);
	buf_add(&packet, payload->data, payload->len);
	buf_add(&packet, zeros, padding);
	buf_add(&packet, zeros, TAG);
	send_bytes(packet.data, packet.len);
}

static struct peer *new_peer(uint32_t window, uint32_t packet)
{
	if (s.n_peers == CHANNELS_MAX)
		return NULL;
	s.peers[s.n_peers] = (struct peer){ .window = window, .packet = packet };
	return &s.peers[s.n_peers++];
}

/* The wire's number of a channel that is open, or one that may be none. */
static uint32_t next_channel(void)
{
	uint8_t n = next();

	return n < s.n_peers ? s.peers[n].wire : n;
}

static bool begin_open(struct buf *b, const char *kind)
{
	uint32_t window = (uint32_t)next() << 12, packet = (uint32_t)next() << 8;

	put_u8(b, SSH2_MSG_CHANNEL_OPEN);
	put_text(b, kind);
	put_u32(b, s.n_peers);
	put_u32(b, window);
	put_u32(b, packet);
	return new_peer(window, packet);
}

static const char *const requests[] = { "pty-req", "env", "shell", "exec", "subsystem", "window-change",
	"signal", "x11-req", "auth-agent-req@openssh.com", "break", "eow@openssh.com", "keepalive@openssh.com",
	"exit-status" };

/* Such a request as a client would make it. */
static void put_usual(struct buf *b, const char *name)
{
	static const unsigned char modes[] = { 1, 0, 0, 0, 3, 53, 0, 0, 0, 1, 0 };

	if (!strcmp(name, "pty-req"))
		put_text(b, "xterm");
	if (!strcmp(name, "pty-req") || !strcmp(name, "window-change"))
		for (uint32_t i = 0; i < 4; i++)
			put_u32(b, 24 + i);
	if (!strcmp(name, "pty-req"))
		put_string(b, modes, sizeof(modes));
	if (!strcmp(name, "env"))
		put_text(b, "LC_A");
	if (!strcmp(name, "exec") || !strcmp(name, "env"))
		put_text(b, "true");
	if (!strcmp(name, "subsystem") || !strcmp(name, "signal"))
		put_text(b, *name == 's' && name[1] == 'u' ? "sftp" : "TERM");
	if (!strcmp(name, "x11-req")) {
		put_u8(b, 0);
		put_text(b, "MIT-MAGIC-COOKIE-1");
		put_text(b, "0123456789abcdef0123456789abcdef");
	}
	if (!strcmp(name, "x11-req") || !strcmp(name, "break"))
		put_u32(b, 0);
}

static void step_request(struct buf *b)
{
	uint32_t channel = next_channel();
	const char *name = requests[next() % ARRAY_LEN(requests)];
	uint8_t want_reply = next();
	size_t len = next();
	const void *rest = next_bytes(&len);

	put_u8(b, SSH2_MSG_CHANNEL_REQUEST);
	put_u32(b, channel);
	put_text(b, name);
	put_u8(b, want_reply & 1);
	if (len)
		buf_add(b, rest, len);
	else
		put_usual(b, name);
}

static void step_data(struct buf *b)
{
	static const char bytes[255 << 7];
	uint8_t which = s.left ? *s.at : 0;
	uint32_t channel = next_channel();

	put_u8(b, which & 1 ? SSH2_MSG_CHANNEL_EXTENDED_DATA : SSH2_MSG_CHANNEL_DATA);
	put_u32(b, channel);
	if (which & 1)
		put_u32(b, 1);
	put_string(b, bytes, (size_t)next() << 7);
}

static void step_simple(struct buf *b, uint8_t type)
{
	put_u8(b, type);
	put_u32(b, next_channel());
}

static void step_window(struct buf *b)
{
	uint32_t channel = next_channel(), bytes = (uint32_t)next() << 8;

	put_u8(b, SSH2_MSG_CHANNEL_WINDOW_ADJUST);
	put_u32(b, channel);
	put_u32(b, bytes);
	for (uint32_t i = 0; i < s.n_peers; i++)
		if (s.peers[i].wire == channel)
			s.peers[i].window += bytes;
}

static void step_connect(struct buf *b)
{
	static const char *const kinds[] = { "direct-tcpip", "direct-streamlocal@openssh.com", "forwarded-tcpip",
					     "x11" };
	uint8_t kind = next() % 4;
	size_t len = next();
	const void *where = next_bytes(&len);

	if (!begin_open(b, kinds[kind])) {
		b->len = 0;
		return;
	}
	put_string(b, where, len);
	put_u32(b, 80);
	if (kind == 0) {
		put_text(b, "127.0.0.1");
		put_u32(b, 1);
	}
}

static void step_global(struct buf *b)
{
	static const char *const names[] = { "tcpip-forward", "cancel-tcpip-forward", "no-more-sessions@openssh.com",
					     "keepalive@openssh.com", "streamlocal-forward@openssh.com" };

	put_u8(b, SSH2_MSG_GLOBAL_REQUEST);
	put_text(b, names[next() % ARRAY_LEN(names)]);
	put_u8(b, 1);
	put_text(b, "localhost");
	put_u32(b, next());
}

/* To the channel that the wire offered first. */
static void step_answer(struct buf *b)
{
	uint32_t window = (uint32_t)next() << 12;
	struct peer *p;

	if (!s.n_offered)
		return;
	put_u8(b, window ? SSH2_MSG_CHANNEL_OPEN_CONFIRMATION : SSH2_MSG_CHANNEL_OPEN_FAILURE);
	put_u32(b, s.offered[0]);
	if (window && (p = new_peer(window, 32768))) {
		p->confirmed = true;
		p->wire = s.offered[0];
		put_u32(b, s.n_peers - 1);
		put_u32(b, window);
		put_u32(b, 32768);
	} else if (!window) {
		put_u32(b, 1);
		put_text(b, "");
		put_text(b, "");
	} else {
		b->len = 0;
	}
	memmove(s.offered, s.offered + 1, --s.n_offered * sizeof(*s.offered));
}

/* A packet of any kind; from then on only what the wire does to itself is judged. */
static void step_raw(struct buf *b)
{
	size_t len = next();
	const void *bytes = next_bytes(&len);

	buf_add(b, bytes, len);
	s.odd = true;
}

static void make_packet(uint8_t step, struct buf *b)
{
	switch (step) {
	case STEP_RAW: step_raw(b); break;
	case STEP_OPEN: b->len = begin_open(b, "session") ? b->len : 0; break;
	case STEP_REQUEST: step_request(b); break;
	case STEP_DATA: step_data(b); break;
	case STEP_EOF: step_simple(b, SSH2_MSG_CHANNEL_EOF); break;
	case STEP_CLOSE: step_simple(b, SSH2_MSG_CHANNEL_CLOSE); break;
	case STEP_WINDOW: step_window(b); break;
	case STEP_CONNECT: step_connect(b); break;
	case STEP_GLOBAL: step_global(b); break;
	case STEP_ANSWER: step_answer(b); break;
	}
}

static void take_step(uint8_t step)
{
	CLEANUP_BUF struct buf b = { 0 };

	switch (step) {
	case STEP_MONITOR: step_monitor(); break;
	case STEP_SESSION: step_session(); break;
	case STEP_TIME: s.now += (int64_t)next() << 4; break;
	case STEP_DEAF:
		s.word = next();
		s.deaf = s.word & 1;
		break;
	default: make_packet(step, &b);
	}
	if (b.len)
		send_packet(&b);
}

static void play(void)
{
	int waiting = 0;

	for (int i = 0; i < STEPS_MAX && s.left && !over(); i++) {
		uint8_t what = next();

		take_step((what & ~LAZY) % STEPS);
		if (!(what & LAZY) || ++waiting == BATCH_MAX) {
			turn();
			waiting = 0;
		}
	}
	s.deaf = false;
	for (int i = 0; i < 3 && !over(); i++)
		turn();
}

/* --- the connection --- */

static ssh_bind bind_once(void)
{
	static ssh_bind bind;
	bool no = false;
	ssh_key key = NULL;

	if (bind)
		return bind;
	signal(SIGPIPE, SIG_IGN);
	NEVER(!wire_peek_setup());
	wire_tap_setup();
	NEVER(ssh_init() != SSH_OK);
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 12, 0)
	NEVER(ssh_pki_generate_key(SSH_KEYTYPE_ED25519, NULL, &key) != SSH_OK);
#else
	NEVER(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK);
#endif
	bind = ssh_bind_new();
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, key);
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_KEY_EXCHANGE, "curve25519-sha256");
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_C_S, "aes128-gcm@openssh.com");
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_S_C, "aes128-gcm@openssh.com");
	return bind;
}

static void log_in(void)
{
	CLEANUP_BUF struct buf service = { 0 }, none = { 0 };
	CLEANUP_MSG struct msg yes = { 0 }, in = { 0 };

	msg_add(&yes, "result", "ok");
	msg_send(s.monitor, &yes, NULL);
	msg_add(&in, "result", "ok");
	msg_add(&in, "authenticated", "1");
	msg_send(s.monitor, &in, NULL);
	put_u8(&service, SSH2_MSG_SERVICE_REQUEST);
	put_text(&service, "ssh-userauth");
	send_packet(&service);
	put_u8(&none, SSH2_MSG_USERAUTH_REQUEST);
	put_text(&none, "acme");
	put_text(&none, "ssh-connection");
	put_text(&none, "none");
	send_packet(&none);
	/* The answers are there already. */
	for (int i = 0; i < 4 && !s.w.authenticated; i++)
		handle_packets(&s.w);
	NEVER(!s.w.authenticated);
	for (int i = 0; i < 2; i++) {
		CLEANUP_MSG struct msg request = { 0 };

		NEVER(msg_recv(s.monitor, &request, 1, NULL) != 0);
	}
	hear();
}

static void connect_both(void)
{
	static struct pollfd fds[256];
	static char bytes[WIRE_READ_MAX], accept[] = "LC_*";
	int network[2], link[2];

	NEVER(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, network) < 0);
	NEVER(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0);
	fd_nonblock(network[0], 1);
	fd_nonblock(network[1], 1);
	s.network = network[0];
	s.monitor = link[0];
	s.w = (struct wire){ .link = link[1], .connection = network[1], .max_sessions = 4, .max_forwards = 4,
			     .accept_env = accept, .fds = fds, .bytes = bytes, .alive = 60 };
	s.w.session = ssh_new();
	s.w.event = ssh_event_new();
	NEVER(ssh_bind_accept_fd(bind_once(), s.w.session, network[1]) != SSH_OK);
	ssh_set_counters(s.w.session, &s.w.traffic, NULL);
	wire_auth_setup(&s.w);
	s.client = make_client(s.network);
	exchange(s.client, s.w.session);
	NEVER(ssh_handle_key_exchange(s.w.session) != SSH_OK);
	fd_nonblock(network[0], 1);
	fd_nonblock(network[1], 1);
	NEVER(ssh_event_add_session(s.w.event, s.w.session) != SSH_OK);
	hear();
}

static void take_apart(void)
{
	s.w.finished = true;
	while (s.w.channels) {
		struct channel *c = s.w.channels;

		s.w.channels = c->next;
		wire_channel_free(c);
	}
	for (struct listener *l = s.w.listeners, *next_one; l; l = next_one) {
		next_one = l->next;
		free(l->host);
		free(l);
	}
	ssh_event_remove_session(s.w.event, s.w.session);
	ssh_event_free(s.w.event);
	ssh_free(s.w.session);
	ssh_free(s.client);
	s.client = NULL;
	for (size_t i = 0; i < s.n_ends; i++)
		close(s.ends[i]);
	close(s.w.link);
	close(s.monitor);
	buf_free(&s.heard);
	free(s.w.user);
	free(s.w.offered);
}

/* A connection that is logged in, and what its client does. */
static void begin(const uint8_t *data, size_t size)
{
	memset(&s, 0, sizeof(s));
	s.now = 1000000;
	tap.no_more = false;
	tap.len = 0;
	wire_peek_forget();
	connect_both();
	log_in();
	s.at = data;
	s.left = size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int lowest;

	bind_once();
	lowest = fcntl(STDIN_FILENO, F_DUPFD, 3);
	close(lowest);
	begin(data, size);
	play();
	take_apart();
	/* Nothing is left open. */
	NEVER(fcntl(STDIN_FILENO, F_DUPFD, 3) != lowest);
	close(lowest);
	return 0;
}

#ifndef VM2_FUZZ
/*
 * Channels take turns. No clock says so, which would tell of the machine, but the bytes of bulk that pass
 * between a keystroke and its echo.
 */
#define PACKET 32768
#define SLOW_ROOM 16384

/* Two sessions, the first of which echoes, the second is bulk. Ends are their input, output and error output. */
enum { KEY, BULK };
enum { KEY_IN, KEY_OUT, KEY_ERR, BULK_IN, BULK_OUT };
static const uint8_t two[] = { STEP_OPEN, 255, 128, STEP_REQUEST, KEY, 3, 1, 0, STEP_MONITOR, 0, 1,
			       STEP_OPEN, 255, 128, STEP_REQUEST, BULK, 3, 1, 0, STEP_MONITOR, 0, 2 };

/* A socket that holds so much from one to the other, as far as the kernel has it. */
static void begin_two(int room)
{
	static const uint8_t adjust[] = { STEP_WINDOW, BULK, 255 };

	bind_once();
	begin(two, sizeof(two));
	setsockopt(s.network, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(s.w.connection, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	play();
	cr_assert_eq(s.n_ends, 6);
	for (int i = 0; i < 99; i++) {
		s.at = adjust;
		s.left = sizeof(adjust);
		take_step(next());
	}
}

static void fill(void)
{
	static const char bytes[PACKET];

	while (write(s.ends[BULK_OUT], bytes, sizeof(bytes)) > 0)
		;
}

static void press(void)
{
	CLEANUP_BUF struct buf b = { 0 };

	put_u8(&b, SSH2_MSG_CHANNEL_DATA);
	put_u32(&b, s.peers[KEY].wire);
	put_text(&b, "k");
	send_packet(&b);
}

static void echo(void)
{
	char bytes[64];
	ssize_t n = read(s.ends[KEY_IN], bytes, sizeof(bytes));

	if (n > 0)
		cr_assert_eq(write(s.ends[KEY_OUT], bytes, (size_t)n), n);
}

/* How many bytes of bulk come between a key and its echo, at most. */
static uint64_t bulk_between(int keys)
{
	uint64_t most = 0;

	for (int key = 0; key < keys; key++) {
		uint64_t before, heard = s.peers[KEY].bytes;

		fill();
		turn();
		before = s.peers[BULK].bytes;
		press();
		for (int i = 0; i < 30 && s.peers[KEY].bytes == heard; i++) {
			fill();
			turn();
			echo();
		}
		cr_assert_gt(s.peers[KEY].bytes, heard, "key %d is never echoed", key);
		if (s.bulk_before - before > most)
			most = s.bulk_before - before;
	}
	cr_expect_gt(s.peers[BULK].bytes, (uint64_t)keys * PACKET);
	return most;
}

Test(turns, a_download_lets_a_keystroke_pass)
{
	uint64_t most;

	begin_two(1 << 20);
	most = bulk_between(20);
	take_apart();
	/* In the turn that takes the key one packet, and one in that of its echo, if bulk comes first. */
	cr_expect_leq(most, 2 * PACKET, "%lu bytes came before a key's echo", (unsigned long)most);
}

/* Who has filled the socket is not the one to fill it again. */
Test(turns, a_slow_client_hears_of_its_keystrokes)
{
	uint64_t most;

	begin_two(SLOW_ROOM);
	s.sip = PACKET / 2;
	most = bulk_between(10);
	take_apart();
	cr_expect_leq(most, 6 * PACKET, "%lu bytes came before a key's echo", (unsigned long)most);
}

/* Does a script on a new connection. */
static void play_script(const uint8_t *script, size_t size)
{
	bind_once();
	begin(script, size);
	play();
}

#define TERMINAL 0
#define COMMAND	 3
#define BREAK	 9
#define X11_REQ	 7

/* A break is for a terminal's line. ssh(1) sends it by ~B, without asking for an answer. */
Test(requests, a_break_needs_a_terminal)
{
	static const uint8_t script[] = { STEP_OPEN, 255, 128, STEP_REQUEST, 0, TERMINAL, 1, 0,
					  STEP_REQUEST, 0, COMMAND, 1, 0, STEP_REQUEST, 0, BREAK, 1, 0,
					  STEP_OPEN, 255, 128, STEP_REQUEST, 1, COMMAND, 1, 0,
					  STEP_REQUEST, 1, BREAK, 1, 0, STEP_REQUEST, 0, BREAK, 0, 0 };
	struct peer with, without;

	play_script(script, sizeof(script));
	with = s.peers[0];
	without = s.peers[1];
	take_apart();
	cr_expect(with.yes == 3 && with.no == 0, "%u yes, %u no", with.yes, with.no);
	cr_expect(without.yes == 1 && without.no == 1, "%u yes, %u no", without.yes, without.no);
}

/* PROTOCOL of OpenSSH, 2.2: sessions that are there stay, and connections may be forwarded. */
Test(requests, no_more_sessions)
{
	static const uint8_t script[] = { STEP_OPEN, 255, 128, STEP_GLOBAL, 2, 0, STEP_OPEN, 255, 128,
					  STEP_REQUEST, 0, COMMAND, 1, 0, STEP_CONNECT, 0, 1, 'x', 255, 128 };
	struct peer first, second;
	bool ended;

	play_script(script, sizeof(script));
	first = s.peers[0];
	second = s.peers[1];
	ended = over();
	take_apart();
	cr_expect(first.confirmed && !second.confirmed, "a second session was opened");
	/* Newer libssh ends the connection of who tries, as sshd does. */
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 11, 0)
	cr_expect(ended);
#else
	cr_expect(!ended && first.yes == 1 && second.closed);
#endif
}

/* What comes as X11's is refused unless the monitor has a display for it, and only once. */
Test(requests, a_display_is_the_monitors_to_give)
{
	static const uint8_t script[] = { STEP_OPEN, 255, 128, STEP_DEAF, 0, STEP_REQUEST, 0, X11_REQ, 1, 0,
					  STEP_DEAF, 2, STEP_REQUEST, 0, X11_REQ, 1, 0,
					  STEP_REQUEST, 0, X11_REQ, 1, 0 };
	struct peer p;

	play_script(script, sizeof(script));
	p = s.peers[0];
	take_apart();
	cr_expect(p.yes == 1 && p.no == 2, "%u yes, %u no", p.yes, p.no);
}

/* What has come is taken little by little, and what is to be sent goes meanwhile. */
Test(turns, an_upload_lets_an_echo_pass)
{
	static const uint8_t data[] = { STEP_DATA, BULK, 254 };
	uint64_t before, heard, waits = 0, taken;

	begin_two(1 << 20);
	before = s.w.traffic.in_bytes;
	while (waits < 200000) {
		s.at = data;
		s.left = sizeof(data);
		take_step(next());
		waits += 32512;
	}
	cr_assert_eq(s.w.traffic.in_bytes, before, "the socket holds too little");
	heard = s.peers[KEY].bytes;
	cr_assert_eq(write(s.ends[KEY_OUT], "k", 1), 1);
	turn();
	taken = s.w.traffic.in_bytes - before;
	cr_expect_eq(s.peers[KEY].bytes, heard + 1);
	take_apart();
	cr_expect_leq(taken, 4 * PACKET, "%lu bytes were taken before an echo went", (unsigned long)taken);
}
#endif
