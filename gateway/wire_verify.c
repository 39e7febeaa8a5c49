/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A verifier: forked from the nursery for one signature, in the sandbox, with nothing but a socket to the
 * monitor that asked for it. It never has a connection, and no wire process has a way to it but by what its
 * monitor passes on.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "gateway/proof.h"
#include "gateway/sandbox.h"
#include "gateway/wire.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"

/* Standard ones, the socket, and some in passing. */
#define FDS_MAX 16

/* So many seconds of the processor; RSA with 16,384 bits takes a hundredth of one. */
#define CPU_MAX_S 2

static int close_in(struct err *err)
{
	const struct rlimit cpu = { CPU_MAX_S, CPU_MAX_S };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setrlimit(RLIMIT_CPU, &cpu) < 0)
		return err_sys(err, errno, "cannot limit time");
	return sandbox_enter(NULL, FDS_MAX, err);
}

int wire_verify(int link, const struct proof_host *host)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	struct err err = { 0 };
	int r = close_in(&err);

	if (r == 0)
		r = msg_recv(link, &request, 0, &err);
	if (r == 0) {
		if (proof_check(&request, host, &err) == 0)
			msg_add(&reply, "valid", "1");
		else
			msg_add(&reply, "error", err.text);
		r = msg_send(link, &reply, &err);
	}
	if (r != 0 && r != -EPIPE)
		log_err("a verifier: %s", err.text);
	return r == 0 ? 0 : 1;
}
