/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/passwd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* Copy field number n (from 0) of a line when it is an absolute path that fits. */
static void take_path(const char *line, size_t len, int n, char ret[PASSWD_FIELD_MAX])
{
	const char *end = line + len, *stop;

	for (; n > 0; n--) {
		line = memchr(line, ':', (size_t)(end - line));
		if (!line)
			return;
		line++;
	}
	stop = memchr(line, ':', (size_t)(end - line));
	if (!stop)
		stop = end;
	len = (size_t)(stop - line);
	if (len == 0 || len >= PASSWD_FIELD_MAX || *line != '/' || memchr(line, '\0', len))
		return;
	memcpy(ret, line, len);
	ret[len] = '\0';
}

void passwd_parse(const char *text, size_t len, struct passwd_root *ret)
{
	const char *end = text + len;

	strcpy(ret->home, "/root");
	ret->shell[0] = '\0';
	ret->there = false;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = (size_t)((newline ? newline : end) - text);

		if (line > 5 && memcmp(text, "root:", 5) == 0) {
			ret->there = true;
			take_path(text, line, 5, ret->home);
			take_path(text, line, 6, ret->shell);
			return;
		}
		text += line + 1;
	}
}

char *passwd_text(const char *path, size_t *ret_len)
{
	/* O_NONBLOCK: a FIFO in its place must not hold us. */
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	char *text;
	ssize_t n;

	*ret_len = 0;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    st.st_size >= PASSWD_FILE_MAX)
		return xstrdup("");
	text = xcalloc(1, (size_t)st.st_size + 2);
	n = fd_read_file(fd, text, (size_t)st.st_size + 2);
	*ret_len = n > 0 ? (size_t)n : 0;
	return text;
}

void passwd_read(const char *path, struct passwd_root *ret)
{
	size_t len = 0;
	CLEANUP_FREE char *text = passwd_text(path, &len);

	passwd_parse(text, len, ret);
	if (!ret->shell[0])
		strcpy(ret->shell, access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh");
}
