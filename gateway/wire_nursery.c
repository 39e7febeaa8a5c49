/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that wire processes are forked from (gateway/nursery.h). It never sees a byte of theirs: it
 * takes the listener's messages, looks whether a leash was let go or asks for a verifier, and reaps.
 */
#include "gateway/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* Requests that were on their way when it had made its last are served as well. */
#define CHILDREN_MAX (WIRE_BORN_MAX + 60)

struct child {
	pid_t pid;
	int leash;
	bool loose; /* the leash was let go: it is being killed */
};

struct nursery {
	int link; /* -1: it makes no more */
	int place; /* and which descriptor it is */
	const struct proof_host *host;
	int signals;
	unsigned int born;
	struct child children[CHILDREN_MAX];
	size_t n;
	struct pollfd polled[2 + CHILDREN_MAX];
};

/* In the child: the monitor's socket where the listener's was, and nothing else of the parent's. */
static int become_child(int monitor, int place)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* It has that number already where the listener's is closed. */
	if (monitor != place && dup3(monitor, place, O_CLOEXEC) < 0)
		return -errno;
	return fd_close_from(place + 1);
}

/* No more messages are taken: what has come is served, and the listener learns of it by the end. */
static void retire(struct nursery *n)
{
	if (n->link >= 0)
		shutdown(n->link, SHUT_RD);
}

/* 0 in the child; 1 in the parent, whatever became of it: who holds the other ends sees them close. */
static int give_birth(struct nursery *n, struct msg *message)
{
	CLEANUP_CLOSE int monitor = msg_take_fd(message, 0), leash = msg_take_fd(message, 1);
	pid_t pid;

	if (monitor < 0 || leash < 0 || n->n == CHILDREN_MAX)
		return 1;
	pid = fork();
	if (pid == 0) {
		if (become_child(monitor, n->place) < 0)
			_exit(1);
		monitor = leash = -1;
		return 0;
	}
	if (pid > 0)
		n->children[n->n++] = (struct child){ pid, steal_fd(&leash), false };
	if (++n->born == WIRE_BORN_MAX)
		retire(n);
	return 1;
}

/* 0 in a child that was made for it. */
static int take_message(struct nursery *n)
{
	CLEANUP_MSG struct msg message = { 0 };

	if (msg_recv(n->link, &message, 0, NULL) == 0)
		return give_birth(n, &message);
	n->link = fd_close(n->link);
	return 1;
}

/* A crash is a bug, or somebody who tries addresses: the next one finds them elsewhere. */
static void reap(struct nursery *n)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(n->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			retire(n);
		for (size_t i = 0; i < n->n; i++) {
			if (n->children[i].pid != pid)
				continue;
			send(n->children[i].leash, &status, sizeof(status), MSG_DONTWAIT | MSG_NOSIGNAL);
			fd_close(n->children[i].leash);
			n->children[i] = n->children[--n->n];
			break;
		}
	}
}

/* A monitor wants a signature verified: what it sends for that, its child alone reads. */
static void fork_verifier(const struct nursery *n, const struct msg *message)
{
	if (message->n_fds != 1 || fork() != 0)
		return;
	if (become_child(message->fds[0], n->place) < 0)
		_exit(1);
	_exit(wire_verify(n->place, n->host));
}

/*
 * A leash has a message, or was let go. The child's number is its own until it is reaped. Its leash is
 * kept: who let it go may wait for the end.
 */
static void heed_leashes(struct nursery *n, const struct pollfd *leashes)
{
	for (size_t i = 0; i < n->n; i++) {
		CLEANUP_MSG struct msg message = { 0 };

		if (!leashes[i].revents)
			continue;
		if (msg_recv(n->children[i].leash, &message, 1, NULL) == 0) {
			fork_verifier(n, &message);
			continue;
		}
		kill(n->children[i].pid, SIGKILL);
		n->children[i].loose = true;
	}
}

/* 0 in a child, 1 when there is to be another turn. */
static int turn(struct nursery *n)
{
	struct pollfd *p = n->polled;
	nfds_t count = 2;

	p[0] = (struct pollfd){ .fd = n->link, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = n->signals, .events = POLLIN };
	for (size_t i = 0; i < n->n; i++)
		p[count++] = (struct pollfd){ .fd = n->children[i].loose ? -1 : n->children[i].leash,
					      .events = POLLIN };
	if (poll(p, count, -1) < 0)
		return 1;
	heed_leashes(n, p + 2);
	if (p[1].revents)
		reap(n);
	return p[0].revents ? take_message(n) : 1;
}

int wire_nursery(int link, const struct proof_host *host, struct err *err)
{
	struct nursery *n = xcalloc(1, sizeof(*n));
	sigset_t set;

	n->link = n->place = link;
	n->host = host;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	n->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (n->signals < 0)
		return err_sys(err, errno, "cannot receive signals");
	while (n->link >= 0 || n->n > 0) {
		if (turn(n) == 0)
			return 0;
	}
	_exit(0);
}
