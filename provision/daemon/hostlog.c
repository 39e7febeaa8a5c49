/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/hostlog.h"

#include <fcntl.h>
#include <paths.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/login.h"

#define LOGIN_DEFS "/etc/login.defs"

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

/* The last LASTLOG_UID_MAX that is set; without one, as with pam_lastlog(8), there is no end. */
static uint64_t last_uid(void)
{
	CLEANUP_FCLOSE FILE *in = fopen(LOGIN_DEFS, "re");
	uint64_t ret = UINT64_MAX;
	char line[512];

	while (in && fgets(line, sizeof(line), in)) {
		unsigned long long value;

		if (sscanf(line, " LASTLOG_UID_MAX %llu", &value) == 1)
			ret = value;
	}
	return ret;
}

/* lastlog(8): an array of records by uid, nearly all of it a hole. */
static void put_last(const struct store_session *s, const char *host, uint64_t uid)
{
	struct lastlog last = { .ll_time = (int32_t)s->started };
	CLEANUP_CLOSE int fd = -1;
	struct stat st;
	ssize_t n;

	if (uid > last_uid())
		return;
	fd = open(_PATH_LASTLOG, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	memcpy(last.ll_line, s->id, strnlen(s->id, sizeof(last.ll_line) - 1));
	memcpy(last.ll_host, host, strlen(host)); /* an address */
	n = pwrite(fd, &last, sizeof(last), (off_t)(uid * sizeof(last)));
	(void)n; /* a full disk costs the record, not the session */
}

void hostlog_begin(const struct store_session *s, uint64_t uid)
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
	put_last(s, host, uid);
}

void hostlog_end(const char *id, pid_t pid)
{
	const struct login l = { .pid = pid, .line = id };
	struct utmp record;

	login_record(&record, DEAD_PROCESS, &l, time(NULL));
	put(&record, id);
}
