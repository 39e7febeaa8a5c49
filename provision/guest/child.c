/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/child.h"

#include <errno.h>
#include <poll.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/pass.h"

int child_receive(const struct child *child, struct inside_report *ret, bool *ret_ended,
		  int *ret_listener, struct err *err)
{
	struct pollfd p = { .fd = child->sync, .events = POLLIN };
	ssize_t n;
	int r;

	do
		r = poll(&p, 1, child->seconds * 1000);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return err_set(err, ERR_BUSY, "did not come up in %d seconds (start-timeout)",
			       child->seconds);
	n = pass_receive(child->sync, ret, sizeof(*ret), 0, ret_listener);
	/* Said once, if it left a word unread; what it had to say comes after that. */
	if (n == -ECONNRESET)
		n = pass_receive(child->sync, ret, sizeof(*ret), 0, ret_listener);
	*ret_ended = n == 0;
	if (n == 0)
		return 0;
	if (n != sizeof(*ret))
		return err_set(err, ERR_FAILED, "lost the guest's first process");
	if (ret->err.code) {
		ret->err.text[ERR_TEXT_MAX - 1] = '\0';
		return err_set(err, ret->err.code, "%s", ret->err.text);
	}
	return 0;
}

int child_tell(const struct child *child, const int fds[INSIDE_FDS], struct err *err)
{
	CLEANUP_CLOSE int listener = -1;
	struct inside_report report;
	bool ended;
	int r;

	if (inside_send(child->sync, fds) == 0)
		return 0;
	r = child_receive(child, &report, &ended, &listener, err);
	return r ? r : err_set(err, ERR_FAILED, "the guest's first process died");
}
