/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders and names. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/session/sftp.h"

/* Names in one reply, as OpenSSH: with the longest ones it is still far below a packet's limit. */
#define NAMES_MAX 100
#define OWNER_MAX 33
/* A line of ls(1) for the longest name. */
#define LINE_MAX_LEN (NAME_MAX + 160)
/* Files older than this show their year: ls(1), half of a Gregorian year. */
#define RECENT_S 15778476

/* The guest's own file, whatever it has put there. No NSS: a static program loads no module. */
static FILE *open_accounts(bool group)
{
	CLEANUP_CLOSE int fd = open(group ? "/etc/group" : "/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	FILE *f;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	f = fdopen(fd, "r");
	if (f)
		fd = -1;
	return f;
}

/* The name of a uid or gid. */
static void owner_name(bool group, uint32_t id, char ret[OWNER_MAX])
{
	CLEANUP_FCLOSE FILE *f = open_accounts(group);
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	snprintf(ret, OWNER_MAX, "%u", id);
	if (!f)
		return;
	while (group ? (gr = fgetgrent(f)) != NULL : (pw = fgetpwent(f)) != NULL) {
		if ((group ? gr->gr_gid : pw->pw_uid) != id)
			continue;
		snprintf(ret, OWNER_MAX, "%s", group ? gr->gr_name : pw->pw_name);
		return;
	}
}

/* The last one that was asked for: a folder's files mostly belong to one. */
struct owners {
	bool known[2];
	uint32_t id[2];
	char name[2][OWNER_MAX];
};

static const char *owner(struct owners *o, int group, uint32_t id)
{
	if (!o->known[group] || o->id[group] != id) {
		owner_name(group, id, o->name[group]);
		o->id[group] = id;
		o->known[group] = true;
	}
	return o->name[group];
}

static void mode_text(mode_t mode, char ret[11])
{
	static const char letters[] = "rwxrwxrwx";
	static const struct {
		mode_t type;
		char letter;
	} types[] = { { S_IFDIR, 'd' }, { S_IFLNK, 'l' },  { S_IFCHR, 'c' }, { S_IFBLK, 'b' },
		      { S_IFIFO, 'p' }, { S_IFSOCK, 's' }, { S_IFREG, '-' } };

	ret[0] = '?';
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if ((mode & S_IFMT) == types[i].type)
			ret[0] = types[i].letter;
	for (int i = 0; i < 9; i++)
		ret[1 + i] = mode & (0400U >> i) ? letters[i] : '-';
	if (mode & S_ISUID)
		ret[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		ret[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		ret[9] = mode & S_IXOTH ? 't' : 'T';
	ret[10] = '\0';
}

static void long_name(struct owners *o, const char *name, const struct stat *st,
		      char ret[LINE_MAX_LEN])
{
	char mode[11], when[32] = "?";
	time_t age = time(NULL) - st->st_mtime;
	struct tm tm;

	mode_text(st->st_mode, mode);
	if (localtime_r(&st->st_mtime, &tm)) {
		if (age >= 0 && age < RECENT_S)
			strftime(when, sizeof(when), "%b %e %H:%M", &tm);
		else
			strftime(when, sizeof(when), "%b %e  %Y", &tm);
	}
	snprintf(ret, LINE_MAX_LEN, "%s %4lu %-8s %-8s %10lld %s %s", mode, (unsigned long)st->st_nlink,
		 owner(o, 0, st->st_uid), owner(o, 1, st->st_gid), (long long)st->st_size, when, name);
}

int sftp_opendir(struct sftp *s, const struct sftp_request *r)
{
	DIR *dir = opendir(r->paths[0]);

	return dir ? sftp_reply_handle(s, r->id, dirfd(dir), dir) : errno;
}

int sftp_readdir(struct sftp *s, const struct sftp_request *r)
{
	struct sftp_open *o = sftp_find(s, r->handles[0]);
	struct owners owners = { 0 };
	struct dirent *de;
	uint32_t n = 0;
	size_t count;

	if (!o || !o->dir)
		return EBADF;
	sftp_begin(s, SFTP_NAME, r->id);
	count = s->out_len;
	sftp_put32(s, 0);
	while (n < NAMES_MAX && (de = readdir(o->dir))) {
		char line[LINE_MAX_LEN];
		struct stat st;

		if (fstatat(o->fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		long_name(&owners, de->d_name, &st, line);
		sftp_put_text(s, de->d_name);
		sftp_put_text(s, line);
		sftp_put_attrs(s, &st);
		n++;
	}
	if (n == 0) {
		s->out_len = s->packet;
		return -1;
	}
	s->out[count + 3] = (uint8_t)n;
	sftp_finish(s);
	return 0;
}

static int reply_name(struct sftp *s, uint32_t id, const char *name)
{
	sftp_begin(s, SFTP_NAME, id);
	sftp_put32(s, 1);
	sftp_put_text(s, name);
	sftp_put_text(s, name);
	sftp_put32(s, 0); /* no attributes */
	sftp_finish(s);
	return 0;
}

/* Of a file that is not there yet: its folder's true name, and the last part as it was given. */
static int resolve_new(const char *path, char ret[PATH_MAX])
{
	char copy[PATH_MAX], folder[PATH_MAX];
	char *slash;
	const char *last;

	snprintf(copy, sizeof(copy), "%s", path);
	slash = strrchr(copy, '/');
	last = slash ? slash + 1 : copy;
	if (!*last || !strcmp(last, ".") || !strcmp(last, ".."))
		return ENOENT;
	if (slash)
		*slash = '\0';
	if (!realpath(!slash ? "." : slash == copy ? "/" : copy, folder))
		return errno;
	if (snprintf(ret, PATH_MAX, "%s/%s", strcmp(folder, "/") ? folder : "", last) >= PATH_MAX)
		return ENAMETOOLONG;
	return 0;
}

static int resolve(struct sftp *s, uint32_t id, const char *path)
{
	char name[PATH_MAX];
	int e = realpath(*path ? path : ".", name) ? 0 : errno;

	if (e == ENOENT)
		e = resolve_new(path, name);
	return e ?: reply_name(s, id, name);
}

int sftp_realpath(struct sftp *s, const struct sftp_request *r)
{
	return resolve(s, r->id, r->paths[0]);
}

/* The home of an account of the guest's, or our own where the name is empty. False: there is none. */
static bool home(const char *name, size_t len, char ret[PATH_MAX])
{
	CLEANUP_FCLOSE FILE *f = len ? open_accounts(false) : NULL;
	const struct passwd *pw;

	if (!len)
		return snprintf(ret, PATH_MAX, "%s", getenv("HOME") ?: "/") < PATH_MAX;
	while (f && (pw = fgetpwent(f)))
		if (strlen(pw->pw_name) == len && !memcmp(pw->pw_name, name, len))
			return snprintf(ret, PATH_MAX, "%s", pw->pw_dir) < PATH_MAX;
	return false;
}

/* expand-path@openssh.com: `~`, `~NAME`, and what comes after them. */
int sftp_expand_path(struct sftp *s, const struct sftp_request *r)
{
	const char *path = r->paths[0], *rest;
	char folder[PATH_MAX], full[PATH_MAX];

	if (path[0] != '~')
		return resolve(s, r->id, path);
	rest = path + strcspn(path, "/");
	if (!home(path + 1, (size_t)(rest - path) - 1, folder))
		return ENOENT;
	if (snprintf(full, sizeof(full), "%s%s", folder, rest) >= PATH_MAX)
		return ENAMETOOLONG;
	return resolve(s, r->id, full);
}

int sftp_home(struct sftp *s, const struct sftp_request *r)
{
	char folder[PATH_MAX];

	return home(r->paths[0], strlen(r->paths[0]), folder) ? reply_name(s, r->id, folder) : ENOENT;
}

int sftp_readlink(struct sftp *s, const struct sftp_request *r)
{
	char target[PATH_MAX];
	ssize_t n = readlink(r->paths[0], target, sizeof(target) - 1);

	if (n < 0)
		return errno;
	target[n] = '\0';
	return reply_name(s, r->id, target);
}
