/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/monitor.h"

#include <errno.h>
#include <string.h>

#include "provision/base/cleanup.h"

/*
 * The client broke the protocol, and this is the wire process's last word, for the log: shown, if it can be,
 * and no more. The connection is over, whatever it says.
 */
static int requests_broken(struct monitor *m, const struct msg *request, struct err *err)
{
	const char *reason;
	int r = msg_need(request, "reason", &reason, err);

	if (r != 0)
		return r;
	for (const char *p = reason; *p; p++)
		if (*p < ' ' || *p >= 0x7f)
			return err_set(err, ERR_USAGE, "the wire process ends for no reason that can be read");
	return err_set(err, -EPROTO, "the client is cut off: %.400s", reason);
}

/* What a wire process may ask, and when. Reading this table is reading the attack surface. */
static const struct request {
	const char *name;
	unsigned int states;
	int (*handle)(struct monitor *m, const struct msg *request, struct err *err);
} requests[] = {
	{ "user", STATE_STARTING, auth_user },
	{ "auth-none", STATE_USER_KNOWN | STATE_KEY_OFFERED, auth_none },
	{ "auth-password", STATE_USER_KNOWN | STATE_KEY_OFFERED, auth_password },
	{ "key-offer", STATE_USER_KNOWN | STATE_KEY_OFFERED, auth_key_offer },
	{ "key-proved", STATE_KEY_OFFERED, auth_key_proved },
	{ "kbdint-start", STATE_USER_KNOWN | STATE_KEY_OFFERED, auth_kbdint_start },
	{ "kbdint-answer", STATE_PROMPTING, NULL }, /* taken by the conversation in pam.c */
	{ "open", STATE_AUTHENTICATED, session_open },
	{ "resize", STATE_AUTHENTICATED, session_resize },
	{ "signal", STATE_AUTHENTICATED, session_signal },
	{ "close", STATE_AUTHENTICATED, session_close },
	{ "forward", STATE_AUTHENTICATED, forward_open },
	{ "listen", STATE_AUTHENTICATED, forward_listen },
	{ "unlisten", STATE_AUTHENTICATED, forward_unlisten },
	{ "agent", STATE_AUTHENTICATED, forward_agent },
	{ "x11", STATE_AUTHENTICATED, forward_x11 },
	{ "broken", STATE_STARTING | STATE_USER_KNOWN | STATE_KEY_OFFERED | STATE_PROMPTING | STATE_AUTHENTICATED,
	  requests_broken },
};

static const struct request *find(const char *name, enum monitor_state state)
{
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		if (!strcmp(requests[i].name, name))
			return requests[i].states & state ? &requests[i] : NULL;
	}
	return NULL;
}

bool requests_allowed(const char *name, enum monitor_state state)
{
	return find(name, state);
}

const char *requests_name(size_t i)
{
	return i < ARRAY_LEN(requests) ? requests[i].name : NULL;
}

int requests_serve(struct monitor *m, const struct msg *request, struct err *err)
{
	const struct request *found;
	const char *name;
	int r = msg_need(request, "op", &name, err);

	if (r != 0)
		return r;
	found = find(name, m->state);
	if (!found || !found->handle)
		return err_set(err, ERR_DENIED, "the wire process asked for '%.32s' in state %d", name,
			       m->state);
	return found->handle(m, request, err);
}
