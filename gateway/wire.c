/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway-wire: one connection's SSH protocol, in a sandbox. Started by the listener with a socket
 * as descriptor 3, and the empty room, when there is one, as 4 and on. The first message holds the host
 * keys and settings. Then a process is forked for each connection (wire_nursery.c), and its sandbox
 * closes; the first message of its monitor brings the connection.
 */
#include "gateway/wire.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "gateway/sandbox.h"
#include "gateway/launch.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/str.h"

#define FD_LINK LAUNCH_FD_FIRST
#define FD_ROOM (LAUNCH_FD_FIRST + 1)

/*
 * Memory of this process, in bytes: some for libssh, and for each session a window that is held
 * twice. What a client can make it keep ends there.
 */
#define MEMORY_FIXED (64UL << 20)
#define MEMORY_SESSION (4UL << 20)

/* Descriptors that are not a session's pipes: those above, standard ones, and some in passing. */
#define FDS_FIXED 24

/* Unanswered questions after which a silent client is given up: ClientAliveCountMax of sshd(8). */
#define QUESTIONS_MAX 3

/*
 * libssh takes this much from its socket at a time (MAX_BUF_SIZE). Of more that is there a turn takes
 * so many pieces: two packets' worth, so that pipes and the monitor have their turn too.
 */
#define PIECE_BYTES 4096
#define PIECES_MAX 16

/*
 * A connection is calm when less than this passes in a span: then its packets may all be looked at
 * (wire_tap.c), which costs too much while bulk passes (4 copies of each; a fifth of the time).
 */
#define CALM_BYTES (256UL << 10)
#define CALM_MS 100

/* How long a client may take to read what was sent before its connection is closed. */
#define FAREWELL_MS 2000

/*
 * Algorithms, by the settings that name them (vm2.conf(5)); libssh drops those that its version does
 * not know. No group exchange is among them: it reads a file.
 */
static const struct {
	enum ssh_bind_options_e option;
	const char *setting;
} algorithms[] = {
	{ SSH_BIND_OPTIONS_KEY_EXCHANGE, "kex" },
	{ SSH_BIND_OPTIONS_CIPHERS_C_S, "ciphers" },
	{ SSH_BIND_OPTIONS_CIPHERS_S_C, "ciphers" },
	{ SSH_BIND_OPTIONS_HMAC_C_S, "macs" },
	{ SSH_BIND_OPTIONS_HMAC_S_C, "macs" },
	{ SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, "host-key-algorithms" },
	{ SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, "public-key-algorithms" },
};

/* libssh takes the key over; its public half is kept for verifiers. */
static int import_key(struct wire *w, const char *text, size_t n, struct err *err)
{
	char *public = NULL;
	ssh_key key = NULL;

	if (ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key) != SSH_OK ||
	    ssh_pki_export_pubkey_base64(key, &public) != SSH_OK ||
	    ssh_bind_options_set(w->bind, SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK) {
		ssh_string_free_char(public);
		ssh_key_free(key);
		return err_set(err, ERR_FAILED, "host key %zu is not usable", n + 1);
	}
	w->host_keys[n] = public;
	return 0;
}

static int import_keys(struct wire *w, const struct msg *settings, struct err *err)
{
	size_t at = 0, n = 0;
	const char *text;
	int r = 0;

	while (r == 0 && (text = msg_next_value(settings, "hostkey", &at))) {
		if (n == ARRAY_LEN(w->host_keys))
			return err_set(err, ERR_FAILED, "there are more than %zu host keys", n);
		r = import_key(w, text, n++, err);
	}
	w->host = (struct proof_host){ xstrdup(msg_get(settings, "public-key-algorithms")),
				       w->host_keys, n };
	return r != 0 || n ? r : err_set(err, ERR_FAILED, "there is no host key");
}

static int make_bind(struct wire *w, const struct msg *settings, struct err *err)
{
	ssh_bind bind = w->bind;
	bool no = false;

	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
		const char *list;
		int r = msg_need(settings, algorithms[i].setting, &list, err);

		if (r != 0)
			return r;
		if (ssh_bind_options_set(bind, algorithms[i].option, list) != SSH_OK)
			return err_set(err, ERR_FAILED, "libssh knows none of %s: %s",
				       algorithms[i].setting, ssh_get_error(bind));
	}
	return import_keys(w, settings, err);
}

/* Everything that reads files or makes memory executable happens here, before the sandbox. */
static int prepare(struct wire *w, const struct msg *settings, struct err *err)
{
	if (!wire_peek_setup())
		return err_set(err, ERR_FAILED, "libcrypto has no EVP_DigestVerify or EVP_DigestSign");
	wire_tap_setup();
	if (ssh_init() != SSH_OK)
		return err_set(err, ERR_FAILED, "libssh does not start");
	w->bind = ssh_bind_new();
	w->session = ssh_new();
	w->event = ssh_event_new();
	if (!w->bind || !w->session || !w->event)
		return err_set(err, -ENOMEM, "libssh has no memory");
	return make_bind(w, settings, err);
}

static int limit_memory(const struct wire *w, struct err *err)
{
	struct rlimit most;

	most.rlim_cur = most.rlim_max =
		MEMORY_FIXED + MEMORY_SESSION * (w->max_sessions + w->max_forwards);
	return setrlimit(RLIMIT_DATA, &most) < 0 ? err_sys(err, errno, "cannot limit memory") : 0;
}

/* Wait for the connection. -EPIPE when there will be none. */
static int take_connection(struct wire *w, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	int r = msg_recv(w->link, &message, 0, err);

	if (r != 0)
		return r;
	w->connection = msg_take_fd(&message, 0);
	if (w->connection < 0)
		return err_set(err, -EBADMSG, "the monitor sent no connection");
	wire_peek_forget();
	if (ssh_bind_accept_fd(w->bind, w->session, w->connection) != SSH_OK)
		return err_set(err, ERR_FAILED, "libssh: %s", ssh_get_error(w->bind));
	ssh_bind_free(w->bind);
	w->bind = NULL;
	ssh_set_counters(w->session, &w->traffic, NULL);
	return 0;
}

static int read_settings(struct wire *w, const struct msg *settings, struct err *err)
{
	int r = msg_get_u64(settings, "max-sessions", 10, 1000, &w->max_sessions, err);

	if (r == 0)
		r = msg_get_u64(settings, "max-forwards", 0, 1000, &w->max_forwards, err);
	if (r == 0)
		r = msg_get_u64(settings, "client-alive", 0, 3600, &w->alive, err);
	w->accept_env = xstrdup(msg_get(settings, "accept-env") ?: "");
	w->banner = msg_get(settings, "banner") ? xstrdup(msg_get(settings, "banner")) : NULL;
	w->fds = xcalloc(2 + 3 * w->max_sessions + 2 * w->max_forwards, sizeof(*w->fds));
	w->bytes = xmalloc(WIRE_READ_MAX);
	return r == 0 ? prepare(w, settings, err) : r;
}

/* What all connections have in common: done once, before there is any. */
static int make_ready(struct wire *w, bool room, struct err *err)
{
	static const int room_fds[SANDBOX_ROOM_FDS] = { FD_ROOM, FD_ROOM + 1, FD_ROOM + 2, FD_ROOM + 3,
							FD_ROOM + 4 };
	CLEANUP_MSG struct msg settings = { 0 };
	int r = msg_recv(FD_LINK, &settings, 0, err);

	if (r == 0)
		r = read_settings(w, &settings, err);
	if (settings.data.data)
		explicit_bzero(settings.data.data, settings.data.len);
	if (r == 0 && room)
		r = sandbox_enter_room(room_fds, err);
	if (r == 0)
		wire_warm(w->bind);
	/* Nobody of the same user may look into its memory, where the host keys are. */
	prctl(PR_SET_DUMPABLE, 0);
	return r;
}

/* One connection's process: its link is in the place of the nursery's. */
static int start(struct wire *w, struct err *err)
{
	int r;

	/* It must not outlive the one that holds its leash. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = limit_memory(w, err);
	if (r == 0)
		r = sandbox_enter(NULL, FDS_FIXED + 3 * w->max_sessions + 2 * w->max_forwards, err);
	if (r == 0)
		r = take_connection(w, err);
	return r;
}

/* libssh also reads where it only means to write: what came is told by its count, not by poll(2). */
static void listen_to(struct wire *w)
{
	if (w->traffic.in_bytes == w->heard_bytes)
		return;
	w->heard_bytes = w->traffic.in_bytes;
	w->heard = clock_ms();
	w->questions = 0;
}

/* Until when a silent client is left alone, as a time for poll(2). */
static int silence(const struct wire *w)
{
	int64_t left = w->heard + (int64_t)(w->alive * 1000 * (w->questions + 1)) - clock_ms();

	if (!w->alive || !w->authenticated)
		return -1;
	return left < 0 ? 0 : (int)left;
}

/* It has been silent for so long: it is asked, and any answer will do; or it is given up. */
static int ask_client(struct wire *w)
{
	if (++w->questions > QUESTIONS_MAX)
		return -ETIMEDOUT;
	ssh_send_keepalive(w->session);
	return 0;
}

/* libssh stops at a packet that must not be, but leaves the connection to us. */
static bool broken(const struct wire *w)
{
	return !ssh_is_connected(w->session) ||
	       ssh_get_status(w->session) & (SSH_CLOSED | SSH_CLOSED_ERROR);
}

/* Whether libssh has more to read at once, as far as can be told without asking the kernel. */
static bool more_comes(const struct wire *w, uint64_t before)
{
	return w->traffic.in_bytes - before >= PIECE_BYTES && !w->finished && !broken(w) &&
	       !(ssh_get_status(w->session) & SSH_WRITE_PENDING);
}

static bool is_calm(struct wire *w)
{
	uint64_t bytes = w->traffic.in_bytes + w->traffic.out_bytes;
	int64_t now = clock_ms();

	if (now >= w->calm_until) {
		w->calm = bytes - w->calm_bytes < CALM_BYTES;
		w->calm_bytes = bytes;
		w->calm_until = now + CALM_MS;
	}
	return w->calm && bytes - w->calm_bytes < CALM_BYTES;
}

/*
 * A channel that has not begun is asked for its terminal next; for a socket of the guest's a client
 * may ask at any time.
 */
static bool to_be_watched(struct wire *w)
{
	bool begins = false;

	for (struct channel *c = w->channels; c && !begins; c = c->next)
		begins = !c->opened;
	return w->authenticated && (is_calm(w) || begins || w->sockets);
}

static int handle_packets(struct wire *w)
{
	uint64_t before;
	int pieces = 0;

	w->stalled = false;
	do {
		before = w->traffic.in_bytes;
		if (ssh_event_dopoll(w->event, 0) == SSH_ERROR)
			return -ECONNRESET;
	} while (++pieces < PIECES_MAX && more_comes(w, before));
	return 0;
}

/* Wait until something can be done, and let libssh handle its packets. */
static int wait_and_handle(struct wire *w)
{
	struct pollfd *fds = w->fds;
	int n = 2, r;

	listen_to(w);
	wire_tap_watch(w, to_be_watched(w));
	/* A client that does not read what it made us say is not listened to: we would keep all of it. */
	fds[0] = (struct pollfd){ .fd = w->connection, .events = POLLIN };
	if (ssh_get_status(w->session) & SSH_WRITE_PENDING)
		fds[0].events = POLLOUT;
	fds[1] = (struct pollfd){ .fd = w->link, .events = POLLIN };
	for (struct channel *c = w->channels; c; c = c->next)
		n += wire_relay_poll(c, fds + n);
	r = poll(fds, (nfds_t)n, silence(w));
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (!fds[0].revents && silence(w) == 0)
		return ask_client(w);
	/* First, while it is still there: a packet may make us wait for an answer, and take what comes before. */
	if (fds[1].revents)
		wire_link_receive(w);
	return fds[0].revents && !w->finished ? handle_packets(w) : 0;
}

/*
 * libssh closes the socket at once after it queued the disconnect message, and queues all that
 * it was not told it may write: so it is told.
 */
static void farewell(struct wire *w)
{
	ssh_set_blocking(w->session, 1);
	ssh_blocking_flush(w->session, FAREWELL_MS);
	ssh_set_fd_towrite(w->session);
	ssh_disconnect(w->session);
}

/* What libssh says of a client that leaves, with or without a word, and of one that the monitor turns away. */
static bool is_parting(const char *error)
{
	return !*error || str_starts(error, "Received SSH_MSG_DISCONNECT") || str_starts(error, "Socket error");
}

/* The last word to the monitor, which has a log, where the client broke the protocol; libssh may quote it. */
static void tell_broken(struct wire *w)
{
	CLEANUP_FREE char *reason = xstrdup(w->broke ?: ssh_get_error(w->session));
	CLEANUP_MSG struct msg m = { 0 };

	if (is_parting(reason))
		return;
	for (char *p = reason; *p; p++)
		if (*p < ' ' || *p >= 0x7f)
			*p = '?';
	msg_add(&m, "op", "broken");
	msg_add(&m, "reason", reason);
	wire_tell(w, &m);
}

static void serve(struct wire *w)
{
	if (ssh_handle_key_exchange(w->session) != SSH_OK) {
		tell_broken(w);
		return;
	}
	if (ssh_event_add_session(w->event, w->session) != SSH_OK)
		return;
	/* From here on nothing may wait inside libssh: other channels have their turn too. */
	ssh_set_blocking(w->session, 0);
	fd_nonblock(w->connection, 1);
	while (!w->finished && !broken(w)) {
		if (wait_and_handle(w) != 0)
			return;
		wire_relay(w);
	}
	if (w->broke || !w->finished)
		tell_broken(w);
	farewell(w);
}

int main(int argc, char **argv)
{
	struct wire w = { .link = FD_LINK };
	struct err err = { 0 };
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = make_ready(&w, argc > 1 && !strcmp(argv[1], "room"), &err);
	if (r == 0)
		r = wire_nursery(FD_LINK, &w.host, &err);
	if (r == 0)
		r = start(&w, &err);
	if (r != 0) {
		if (r != -EPIPE)
			log_err("%s", err.text);
		return 1;
	}
	wire_auth_setup(&w);
	serve(&w);
	/* Nothing is worth tearing down in order: the kernel takes all of it. */
	_exit(0);
}
