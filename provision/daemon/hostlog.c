/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/hostlog.h"

#include <paths.h>
#include <string.h>
#include <time.h>

#include "provision/session/login.h"

/* ADDRESS:PORT or [ADDRESS]:PORT without what is no address; ret: NUL-terminated, cut at size. */
static void copy_address(const char *source, char *ret, size_t size)
{
	const char *from = source + (source[0] == '['), *end = strrchr(source, ':');
	size_t len = end && end > from ? (size_t)(end - from) : strlen(from);

	if (len > 0 && from[len - 1] == ']')
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(ret, from, len);
	ret[len] = '\0';
}

/* wtmp alone: the terminal is in the guest, and who(1) of the host would take it for one here. */
static void put(struct utmp *record, const char *id)
{
	size_t len = strlen(id);

	/* The end of an id is by chance, its beginning the time. */
	if (len > sizeof(record->ut_id))
		memcpy(record->ut_id, id + len - sizeof(record->ut_id), sizeof(record->ut_id));
	login_write("", _PATH_WTMP, record);
}

void hostlog_begin(const struct store_session *s)
{
	struct login l = { .pid = s->pid, .line = s->id };
	struct utmp record;
	char host[64] = "";

	if (!s->via || strcmp(s->via, "gateway"))
		return;
	if (s->source) {
		copy_address(s->source, host, sizeof(host));
		l.host = host;
	}
	login_record(&record, USER_PROCESS, &l, s->started);
	memset(record.ut_user, 0, sizeof(record.ut_user));
	memcpy(record.ut_user, s->tenant, strnlen(s->tenant, sizeof(record.ut_user)));
	put(&record, s->id);
}

void hostlog_end(const char *id, pid_t pid)
{
	const struct login l = { .pid = pid, .line = id };
	struct utmp record;

	login_record(&record, DEAD_PROCESS, &l, time(NULL));
	put(&record, id);
}
