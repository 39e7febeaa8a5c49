/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session.open: the worker checks the request, has the guest running, writes the order and starts what
 * becomes vm2-session (provision/session/order.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/carry.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/hostlog.h"
#include "provision/daemon/life.h"
#include "provision/guest/run.h"
#include "provision/session/order.h"

#define PROGRAM VM2_LIBEXECDIR "/vm2-session"

/* Of a terminal's modes: NUMBER=VALUE, 160 of them at most (RFC 4254, 8). */
#define MODES_LEN_MAX 4096

/* What becomes vm2-session calls little until then. */
#define STACK_BYTES (64UL << 10)

/* What the order takes over from the request. */
static const char *const passed[] = { "tenant", "kind", "command", "argv", "pty", "term", "cols",
	"rows", "xpixel", "ypixel", "modes", "env", "via", "original", "agent",
	"x11" };
/* What only root and the gateway are believed about. */
static const char *const believed[] = { "source", "local", "credential" };

struct opening {
	struct request *r;
	struct store_tenant tenant;
	struct guest_run run;
	const char *kind, *via, *source, *local;
	char *credential, *command;
	bool pty, forward, was_up;
	char id[STORE_SESSION_LEN + 1];
	int64_t started;
	int folder; /* or, of kind forward, what its forwards are counted in */
	int order;   /* a sealed memfd */
	pid_t pid;   /* of vm2-session, which waits for our word: 0 until it was begun */
	int go, its; /* the two ends of what it waits at */
	int begun;   /* why it could not be begun, or 0 */
	struct err why;
};

static void opening_end(struct opening *o)
{
	free(o->credential);
	free(o->command);
	fd_close(o->folder);
	fd_close(o->order);
	fd_close(o->go);
	fd_close(o->its);
}

static bool is_in(const char *value, const char *const list[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(value, list[i]))
			return true;
	return false;
}

/* Each door says which it is, and may not pass for another. */
static int check_via(struct request *r, const char *via)
{
	unsigned int roles = r->peer.roles;

	if (!is_in(via, (const char *const[]){ "gateway", "shell", "exec" }, 3))
		return err_set(
			&r->err, ERR_USAGE, "via = '%.40s' is none of gateway, shell, exec", via);
	if (roles & ROLE_ROOT || (roles & ROLE_GATEWAY && !strcmp(via, "gateway")) ||
		(roles & ROLE_STAFF && !strcmp(via, "exec")) || (r->self && !strcmp(via, "shell")))
		return 0;
	return err_set(&r->err, ERR_DENIED, "uid %u may not open sessions with via = %s",
		(unsigned int)r->peer.uid, via);
}

static int check_numbers(struct request *r, bool *ret_pty)
{
	static const char *const keys[] = { "cols", "rows", "xpixel", "ypixel" };
	uint64_t value = 0;
	int n = 0;

	for (size_t i = 0; n == 0 && i < ARRAY_LEN(keys); i++)
		n = msg_get_u64(&r->in, keys[i], 0, UINT16_MAX, &value, &r->err);
	if (n == 0)
		n = msg_get_u64(&r->in, "pty", 0, 1, &value, &r->err);
	*ret_pty = value;
	return n;
}

static int check_texts(struct request *r)
{
	const char *env, *term = msg_get(&r->in, "term"), *modes = msg_get(&r->in, "modes");
	size_t pos = 0;

	if (term &&
		(strlen(term) > 64 ||
			term[strspn(term,
				"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS"
				"TUVWXYZ0123456789+-._")]))
		return err_set(&r->err, ERR_USAGE, "term = '%.64s' is no name of a terminal", term);
	if (modes && (strlen(modes) > MODES_LEN_MAX || modes[strspn(modes, "0123456789= ")]))
		return err_set(&r->err, ERR_USAGE, "modes = '%.64s' are none of a terminal", modes);
	while ((env = msg_next_value(&r->in, "env", &pos))) {
		size_t len = strspn(
			env, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

		if (len == 0 || env[len] != '=' || (*env >= '0' && *env <= '9'))
			return err_set(&r->err, ERR_USAGE, "env = '%.40s' is not NAME=VALUE", env);
	}
	return 0;
}

static int check_command(struct opening *o)
{
	struct request *r = o->r;
	const char *command = msg_get(&r->in, "command"), *argv = msg_get(&r->in, "argv");

	if (!is_in(o->kind, (const char *const[]){ "shell", "exec", "subsystem", "forward" }, 4))
		return err_set(&r->err, ERR_USAGE,
			"kind = '%.40s' is none of shell, exec, subsystem, forward", o->kind);
	o->forward = !strcmp(o->kind, "forward");
	if (o->forward && (o->pty || command || argv || strcmp(o->via, "gateway")))
		return err_set(&r->err, ERR_USAGE,
			"kind = forward takes no terminal and no command, and is for via = gateway");
	if (o->forward)
		return 0;
	if (argv && (strcmp(o->via, "exec") || strcmp(o->kind, "exec") || command))
		return err_set(
			&r->err, ERR_USAGE, "argv is for kind=exec via=exec without a command");
	if (strcmp(o->kind, "shell") && !command && !argv)
		return err_set(&r->err, ERR_USAGE, "kind = %s lacks 'command'", o->kind);
	if (!strcmp(o->kind, "shell") && command)
		return err_set(&r->err, ERR_USAGE, "kind = shell takes no command");
	return 0;
}

static int check_fds(struct opening *o)
{
	int want = o->forward ? 0 : o->pty ? 2 : 3;

	if (o->r->in.n_fds != want)
		return err_set(&o->r->err, ERR_USAGE,
			"a session of kind %s with pty=%d takes %d descriptors, not %d", o->kind, o->pty,
			want, o->r->in.n_fds);
	/*
	 * An O_PATH descriptor is a name and no right to what it names; vm2-session, which opens
	 * pipes anew, has more rights than the peer.
	 */
	for (int i = 0; i < want; i++) {
		int flags = fcntl(o->r->in.fds[i], F_GETFL);

		if (flags < 0 || flags & O_PATH)
			return err_set(&o->r->err, ERR_USAGE,
				"descriptor %d of the session is open neither for reading nor for writing", i);
	}
	return 0;
}

static int check(struct opening *o)
{
	struct request *r = o->r;
	int n = msg_need(&r->in, "kind", &o->kind, &r->err);

	if (n == 0)
		n = msg_need(&r->in, "via", &o->via, &r->err);
	if (n == 0)
		n = check_via(r, o->via);
	if (n == 0)
		n = check_numbers(r, &o->pty);
	if (n == 0)
		n = check_texts(r);
	if (n == 0)
		n = check_command(o);
	if (n == 0)
		n = check_fds(o);
	if (n == 0 && access(PROGRAM, X_OK) < 0)
		return err_sys(
			&r->err, errno, "cannot run %s: VM2 is not installed whole", PROGRAM);
	return n;
}

/* What is known of where it came from: the peer's word counts only from those who saw it. */
static void trace(struct opening *o)
{
	const struct request *r = o->r;
	const char *credential = msg_get(&r->in, "credential");
	struct buf words = { 0 };
	const char *word;
	size_t pos = 0;

	if (r->peer.roles & (ROLE_ROOT | ROLE_GATEWAY)) {
		o->source = msg_get(&r->in, "source");
		o->local = msg_get(&r->in, "local");
		o->credential = credential ? xstrdup(credential) : NULL;
	}
	if (!o->credential)
		o->credential = xasprintf("uid %u", (unsigned int)r->peer.uid);
	if (msg_get(&r->in, "command"))
		buf_puts(&words, msg_get(&r->in, "command"));
	while ((word = msg_next_value(&r->in, "argv", &pos))) {
		if (words.len)
			buf_puts(&words, " ");
		buf_puts(&words, word);
	}
	o->command = words.data;
}

/* Sortable by time: milliseconds in nine digits of Crockford's base 32, then 35 random bits. */
static int make_id(struct opening *o)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	unsigned char random[STORE_SESSION_LEN - 9];
	struct timespec now;
	uint64_t ms;

	clock_gettime(CLOCK_REALTIME, &now);
	o->started = now.tv_sec;
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_sys(&o->why, errno, "no random numbers");
	for (int i = 8; i >= 0; i--, ms /= 32)
		o->id[i] = digits[ms % 32];
	for (size_t i = 0; i < sizeof(random); i++)
		o->id[9 + i] = digits[random[i] % 32];
	o->id[STORE_SESSION_LEN] = '\0';
	return 0;
}

static int make_folder(struct opening *o)
{
	struct request *r = o->r;
	CLEANUP_FREE char *path = xasprintf("%s/%s/%s", r->config->sessions, o->tenant.name, o->id);
	int n = fd_mkdirs(path, 0700);

	if (n == 0) {
		o->folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		n = o->folder < 0 ? -errno : 0;
	}
	return n < 0 ? err_sys(&o->why, -n, "cannot make the session's folder %s", path) : 0;
}

static void remove_folder(const struct opening *o)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s/%s", o->r->config->sessions, o->tenant.name, o->id);

	rmdir(path);
}

/* In the running guest's own folder, with which it goes. */
static int open_slots(struct opening *o)
{
	CLEANUP_CLOSE int run = run_open(o->r->config, o->tenant.name, false);

	if (run >= 0)
		o->folder = openat(run, "forwards", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o->folder < 0)
		return err_sys(&o->why, run < 0 ? -run : errno, "cannot count the forwards of %s",
			o->tenant.name);
	return 0;
}

static int add_row(struct opening *o)
{
	const struct store_session row = {
		.id = o->id,
		.tenant = o->tenant.name,
		.kind = o->kind,
		.command = o->command,
		.source = o->source,
		.credential = o->credential,
		.via = o->via,
		.started = o->started,
		.pid = o->pid,
		.pid_start = process_start_time(o->pid),
		.most = o->tenant.limits.sessions,
	};

	int n = store_session_open(o->r->store, &row, &o->r->err);

	if (n == 0 && o->pty)
		hostlog_begin(&row, o->tenant.uid);
	return n;
}

static void write_order(struct opening *o, struct msg *order)
{
	const struct request *r = o->r;
	const char *key, *value;
	size_t pos = 0, len;

	while (msg_next(&r->in, &pos, &key, &len, &value)) {
		char name[16];

		if (len >= sizeof(name))
			continue;
		memcpy(name, key, len);
		name[len] = '\0';
		if (is_in(name, passed, ARRAY_LEN(passed)))
			msg_add(order, name, value);
	}
	msg_add(order, believed[0], o->source);
	msg_add(order, believed[1], o->local);
	msg_add(order, believed[2], o->credential);
	msg_add(order, "session", o->id);
	msg_add_i64(order, "started", o->started);
	msg_add(order, "config", r->host->config_path ? r->host->config_path : "");
	msg_add(order, "plan_recording",
		o->tenant.limits.recording ? "required" : "best-effort");
	if (o->tenant.limits.uploads == LIMITS_TRANSFERS_NO)
		msg_add(order, "no_uploads", "1");
	if (o->tenant.limits.downloads == LIMITS_TRANSFERS_NO)
		msg_add(order, "no_downloads", "1");
	if (o->forward && o->tenant.limits.x11 == LIMITS_X11_YES)
		msg_add(order, "x11_allowed", "1");
	if (o->forward)
		msg_add_u64(order, "forwards", o->tenant.limits.forwards);
	msg_add(order, "record", o->pty ? "1" : "0");
	msg_add(order, "address4", o->tenant.guest.address4);
	msg_add(order, "address6", o->tenant.guest.address6);
	msg_add_u64(order, "uid_base", o->tenant.guest.uid_base);
}

/* Sealed: what vm2-session reads is what stands here, whoever gets hold of the descriptor. */
static int seal_order(struct opening *o)
{
	CLEANUP_CLOSE int fd = memfd_create("vm2-order", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CLEANUP_MSG struct msg order = { 0 };
	int n = 0;

	write_order(o, &order);
	if (fd < 0)
		n = -errno;
	if (n == 0)
		n = fd_write_all(fd, order.data.data, order.data.len);
	if (n == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) <
			0)
		n = -errno;
	if (n == 0 && lseek(fd, 0, SEEK_SET) < 0)
		n = -errno;
	if (n < 0)
		return err_sys(&o->why, -n, "cannot write the session's order");
	o->order = steal_fd(&fd);
	return 0;
}

/*
 * Put the descriptors where the order has them, and close all others: nothing of vm2d's (database, locks,
 * listener) goes along. Sources are moved out of the way first.
 */
static int place_fds(struct opening *o)
{
	const int *given = o->r->in.fds, n_given = o->r->in.n_fds;
	const int from[] = { o->r->fd, o->order, n_given > 0 ? given[0] : -1,
		n_given > 1 ? given[1] : -1, n_given > 2 ? given[2] : -1, o->its, o->folder };
	int moved[ARRAY_LEN(from)];

	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		moved[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, 64);
		if (from[i] >= 0 && moved[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		int to = ORDER_FD_CONTROL + (int)i;

		if (moved[i] < 0)
			close(to);
		else if (dup2(moved[i], to) < 0)
			return -errno;
	}
	return fd_close_from(ORDER_FD_END);
}

/* Returns only when it failed. */
static int execute(struct opening *o)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
	char program[] = PROGRAM, option[] = "--config";
	char *config = (char *)(uintptr_t)o->r->host->config_path;
	char *environment[] = { path, lang, NULL };
	char *with[] = { program, option, config, o->tenant.name, o->id, NULL };
	char *without[] = { program, o->tenant.name, o->id, NULL };
	struct timeval forever = { 0 };
	int n = place_fds(o);

	if (n < 0)
		return err_sys(&o->why, -n, "cannot pass the descriptors on");
	setsockopt(ORDER_FD_CONTROL, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever));
	execve(PROGRAM, config && *config ? with : without, environment);
	return err_sys(&o->why, errno, "cannot run %s", PROGRAM);
}

/*
 * The process that becomes vm2-session. Until it executes that it is in our memory, on a stack of its own,
 * but with its own descriptors, and we stand still.
 */
static int become(void *opening)
{
	struct opening *o = opening;

	setsid();
	o->begun = execute(o);
	return 0;
}

/*
 * A child of the listener's, as we are: it reaps it, and we serve further requests with a database that is
 * open and read. No fork(2): to copy our memory would cost as much as that saves.
 */
static int begin(struct opening *o)
{
	CLEANUP_FREE char *stack = xmalloc(STACK_BYTES);
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(&o->why, errno, "cannot make the session's sockets");
	o->go = ends[0];
	o->its = ends[1];
	o->pid = clone(become, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PARENT, o);
	if (o->pid < 0)
		return err_sys(&o->why, errno, "cannot make the session's process");
	o->its = fd_close(o->its);
	return o->begun;
}

/* What it has waited for, with the guest that it is to enter. */
static int say_go(struct opening *o)
{
	CLEANUP_MSG struct msg m = { 0 };
	int n = msg_add_fd(&m, o->run.init_pidfd);

	msg_add(&m, "op", "go");
	return n == 0 ? msg_send(o->go, &m, NULL) : n;
}

/* Without a row there is no session: what was begun ends when our end of its socket is closed. */
static int start(struct opening *o)
{
	int n = add_row(o);

	if (n != 0 || say_go(o) == 0)
		return n;
	/* Not left open: it would count as one of the tenant's. */
	if (store_session_lost(o->r->store, o->id, time(NULL), NULL) == 0)
		hostlog_end(o->id, o->pid);
	return err_set(&o->r->err, ERR_FAILED,
		       "the session's process was killed before it began: try again");
}

/* sftp keeps to the plan by itself; other programs are known by how clients start them. */
static int check_carrying(struct opening *o)
{
	const struct limits *limits = &o->tenant.limits;
	const char *command = msg_get(&o->r->in, "command");
	unsigned int ways = command && !strcmp(o->kind, "exec") ? carry_ways(command) : 0;

	if (ways & CARRY_UP && limits->uploads == LIMITS_TRANSFERS_NO)
		return err_set(&o->why, ERR_DENIED, "the plan of %s allows no uploads", o->tenant.name);
	if (ways & CARRY_DOWN && limits->downloads == LIMITS_TRANSFERS_NO)
		return err_set(&o->why, ERR_DENIED, "the plan of %s allows no downloads", o->tenant.name);
	return 0;
}

/* Its plan is known by now. */
static int check_plan(struct opening *o)
{
	if (o->forward && o->tenant.limits.forwarding == LIMITS_FORWARDING_NO)
		return err_set(&o->why, ERR_DENIED, "the plan of %s allows no forwarding", o->tenant.name);
	return check_carrying(o);
}

/* All of it but to enter the guest, whether that runs by now or is on the way to it. */
static void prepare(struct opening *o)
{
	int n = check_plan(o);

	if (n == 0) {
		trace(o);
		n = make_id(o);
	}
	/* Only what a terminal shows is recorded: a folder for each command would stay there empty. */
	if (n == 0 && o->pty)
		n = make_folder(o);
	if (n == 0 && o->forward)
		n = open_slots(o);
	if (n == 0)
		n = seal_order(o);
	o->begun = n == 0 ? begin(o) : n;
}

/* A start that is tried again calls it again. */
static void prepare_meanwhile(void *opening)
{
	struct opening *o = opening;

	if (!o->pid && !o->begun)
		prepare(o);
}

static void tell_progress(void *opening, const char *text)
{
	const struct opening *o = opening;

	request_progress(o->r, text);
}

/* A guest that runs, and in front of it a vm2-session that waits. */
static int bring_up(struct opening *o)
{
	const struct life_waiting waiting = { tell_progress, prepare_meanwhile, o,
					      o->r->host->queue };
	struct request *r = o->r;
	const char *name = NULL;
	int n = request_name(r, "tenant", &name);

	if (n == 0)
		n = check(o);
	if (n == 0)
		o->was_up = life_is_up(r->config, r->store, name, &o->tenant, &o->run);
	if (n == 0 && !o->was_up)
		n = life_up(r->config, r->store, name, &waiting, &o->tenant, &o->run, &r->err);
	if (n != 0)
		return n;
	prepare_meanwhile(o);
	if (o->begun)
		r->err = o->why;
	return o->begun;
}

/* Nothing of it is left: no process and no folder. */
static void take_back(struct opening *o)
{
	o->go = fd_close(o->go);
	if (o->pty && o->folder >= 0)
		remove_folder(o);
}

int session_open(struct request *r)
{
	__attribute__((cleanup(opening_end))) struct opening o = {
		.r = r, .folder = -1, .order = -1, .go = -1, .its = -1, .run = { -1, -1 }
	};
	int n = bring_up(&o);

	if (n == 0)
		n = start(&o);
	guest_run_close(&o.run);
	if (n != 0) {
		take_back(&o);
		return n;
	}
	r->handed_on = true;
	r->again = o.was_up;
	return 0;
}
