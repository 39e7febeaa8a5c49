/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/session/sftp.h"

#define COPY_BYTES 65536

/* Flags of a statvfs reply: OpenSSH's PROTOCOL, 4.4. */
enum { VFS_READ_ONLY = 1, VFS_NO_SETUID = 2 };

struct sftp_open *sftp_find(struct sftp *s, uint32_t handle)
{
	return handle < SFTP_HANDLES_MAX && s->open[handle].fd >= 0 ? &s->open[handle] : NULL;
}

static void close_one(struct sftp_open *o)
{
	if (o->dir)
		closedir(o->dir);
	else
		fd_close(o->fd);
	*o = (struct sftp_open){ .fd = -1 };
}

void sftp_setup(struct sftp *s)
{
	for (size_t i = 0; i < SFTP_HANDLES_MAX; i++)
		s->open[i] = (struct sftp_open){ .fd = -1 };
}

void sftp_close_all(struct sftp *s)
{
	for (size_t i = 0; i < SFTP_HANDLES_MAX; i++)
		close_one(&s->open[i]);
}

int sftp_reply_handle(struct sftp *s, uint32_t id, int fd, DIR *dir)
{
	struct sftp_open one = { .fd = fd, .dir = dir };
	uint32_t i = 0;

	while (i < SFTP_HANDLES_MAX && s->open[i].fd >= 0)
		i++;
	if (i == SFTP_HANDLES_MAX) {
		close_one(&one);
		return EMFILE;
	}
	s->open[i] = one;
	sftp_begin(s, SFTP_HANDLE, id);
	sftp_put32(s, sizeof(i));
	sftp_put32(s, i);
	sftp_finish(s);
	return 0;
}

/* The descriptor of an open file, or -1. */
static int file_of(struct sftp *s, uint32_t handle)
{
	const struct sftp_open *o = sftp_find(s, handle);

	return o && !o->dir ? o->fd : -1;
}

static int done(int result)
{
	return result < 0 ? errno : 0;
}

/* --- files --- */

static int on_open(struct sftp *s, const struct sftp_request *r)
{
	static const struct {
		uint32_t theirs;
		int ours;
	} flags[] = { { SFTP_F_APPEND, O_APPEND }, { SFTP_F_CREAT, O_CREAT },
		      { SFTP_F_TRUNC, O_TRUNC },   { SFTP_F_EXCL, O_EXCL } };
	mode_t mode = r->attrs.flags & SFTP_A_MODE ? r->attrs.mode & 07777 : 0666;
	int fd, how = O_RDONLY;

	/* All bytes that come or go do so by an open file. Without a flag it is opened for reading. */
	if ((s->no_uploads && r->flags & ~(uint32_t)SFTP_F_READ) ||
	    (s->no_downloads && (r->flags & SFTP_F_READ || !(r->flags & SFTP_F_WRITE))))
		return EACCES;
	if (r->flags & SFTP_F_WRITE)
		how = r->flags & SFTP_F_READ ? O_RDWR : O_WRONLY;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (r->flags & flags[i].theirs)
			how |= flags[i].ours;
	/* A pipe that nobody holds the other end of, or a terminal, must not keep all other requests waiting. */
	fd = open(r->paths[0], how | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, mode);
	return fd < 0 ? errno : sftp_reply_handle(s, r->id, fd, NULL);
}

static int on_close(struct sftp *s, const struct sftp_request *r)
{
	struct sftp_open *o = sftp_find(s, r->handles[0]);
	int e = 0;

	if (!o)
		return EBADF;
	/* A write that failed late (a full quota) is told here. */
	if (!o->dir) {
		e = done(close(o->fd));
		o->fd = -1;
	}
	close_one(o);
	return e;
}

static int on_read(struct sftp *s, const struct sftp_request *r)
{
	uint32_t len = r->flags < SFTP_DATA_MAX ? r->flags : SFTP_DATA_MAX;
	int fd = file_of(s, r->handles[0]), e;
	size_t count;
	ssize_t n;

	if (fd < 0)
		return EBADF;
	sftp_begin(s, SFTP_DATA, r->id);
	count = s->out_len;
	sftp_put32(s, 0);
	n = pread(fd, sftp_room(s, len), len, (off_t)r->numbers[0]);
	if (n < 0 && errno == ESPIPE)
		n = read(fd, sftp_room(s, len), len);
	if (n <= 0) {
		e = n < 0 ? errno : -1;
		s->out_len = s->packet;
		return e;
	}
	for (int i = 0; i < 4; i++)
		s->out[count + (size_t)i] = (uint8_t)((size_t)n >> (24 - 8 * i));
	s->out_len += (size_t)n;
	sftp_finish(s);
	return 0;
}

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == ESPIPE)
			n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static int on_write(struct sftp *s, const struct sftp_request *r)
{
	int fd = file_of(s, r->handles[0]);

	return fd < 0 ? EBADF : write_all(fd, r->data, r->data_len, r->numbers[0]);
}

static int on_fsync(struct sftp *s, const struct sftp_request *r)
{
	int fd = file_of(s, r->handles[0]);

	return fd < 0 ? EBADF : done(fsync(fd));
}

/* Bytes from one open file to another; where the kernel can, it does it alone (and shares blocks). */
static ssize_t copy_some(int from, uint64_t *from_at, int to, uint64_t *to_at, uint64_t len)
{
	off_t in = (off_t)*from_at, out = (off_t)*to_at;
	size_t most = len && len < (1U << 30) ? (size_t)len : 1U << 30;
	uint8_t bytes[COPY_BYTES];
	ssize_t n = copy_file_range(from, &in, to, &out, most, 0);

	/* Of files in /proc kernels before 5.19 say that they are empty. */
	if (n <= 0) {
		n = pread(from, bytes, most < sizeof(bytes) ? most : sizeof(bytes), (off_t)*from_at);
		if (n > 0 && (errno = write_all(to, bytes, (size_t)n, *to_at)) != 0)
			return -1;
	}
	if (n > 0) {
		*from_at += (uint64_t)n;
		*to_at += (uint64_t)n;
	}
	return n;
}

/* Into itself, or of a device, it might never end. */
static bool may_copy(int from, int to)
{
	struct stat a, b;

	return fstat(from, &a) == 0 && fstat(to, &b) == 0 && S_ISREG(a.st_mode) &&
	       (a.st_dev != b.st_dev || a.st_ino != b.st_ino);
}

static int on_copy(struct sftp *s, const struct sftp_request *r)
{
	int from = file_of(s, r->handles[0]), to = file_of(s, r->handles[1]);
	uint64_t at = r->numbers[0], left = r->numbers[1], to_at = r->numbers[2];
	ssize_t n;

	if (from < 0 || to < 0)
		return EBADF;
	if (!may_copy(from, to))
		return EINVAL;
	for (;;) {
		n = copy_some(from, &at, to, &to_at, left);
		if (n <= 0)
			return n < 0 ? errno : left ? -1 : 0;
		if (left && (left -= (uint64_t)n) == 0)
			return 0;
	}
}

/* --- attributes --- */

static int reply_attrs(struct sftp *s, uint32_t id, int result, const struct stat *st)
{
	if (result < 0)
		return errno;
	sftp_begin(s, SFTP_ATTRS, id);
	sftp_put_attrs(s, st);
	sftp_finish(s);
	return 0;
}

static int on_stat(struct sftp *s, const struct sftp_request *r)
{
	struct stat st;

	return reply_attrs(s, r->id, stat(r->paths[0], &st), &st);
}

static int on_lstat(struct sftp *s, const struct sftp_request *r)
{
	struct stat st;

	return reply_attrs(s, r->id, lstat(r->paths[0], &st), &st);
}

static int on_fstat(struct sftp *s, const struct sftp_request *r)
{
	const struct sftp_open *o = sftp_find(s, r->handles[0]);
	struct stat st;

	return o ? reply_attrs(s, r->id, fstat(o->fd, &st), &st) : EBADF;
}

/* The first error; what comes after it is tried as well. Of a path, or of an open file. */
static int set_attrs(const char *path, int fd, int flags, const struct sftp_attrs *a)
{
	const struct timespec times[2] = { { .tv_sec = a->atime }, { .tv_sec = a->mtime } };
	int e = 0;

	if (a->flags & SFTP_A_SIZE)
		e = flags ? EINVAL :
		    done(path ? truncate(path, (off_t)a->size) : ftruncate(fd, (off_t)a->size));
	if (a->flags & SFTP_A_MODE)
		e = e ?: done(path ? fchmodat(AT_FDCWD, path, a->mode & 07777, flags) :
				     fchmod(fd, a->mode & 07777));
	if (a->flags & SFTP_A_TIMES)
		e = e ?: done(path ? utimensat(AT_FDCWD, path, times, flags) : futimens(fd, times));
	if (a->flags & SFTP_A_OWNER)
		e = e ?: done(path ? fchownat(AT_FDCWD, path, a->uid, a->gid, flags) :
				     fchown(fd, a->uid, a->gid));
	return e;
}

static int on_setstat(struct sftp *s, const struct sftp_request *r)
{
	return set_attrs(r->paths[0], -1, 0, &r->attrs);
}

static int on_lsetstat(struct sftp *s, const struct sftp_request *r)
{
	return set_attrs(r->paths[0], -1, AT_SYMLINK_NOFOLLOW, &r->attrs);
}

static int on_fsetstat(struct sftp *s, const struct sftp_request *r)
{
	const struct sftp_open *o = sftp_find(s, r->handles[0]);

	return o ? set_attrs(NULL, o->fd, 0, &r->attrs) : EBADF;
}

static int reply_vfs(struct sftp *s, uint32_t id, const struct statvfs *v)
{
	const uint64_t values[] = { v->f_bsize, v->f_frsize, v->f_blocks, v->f_bfree,
				    v->f_bavail, v->f_files,  v->f_ffree,  v->f_favail,
				    v->f_fsid,
				    (v->f_flag & ST_RDONLY ? VFS_READ_ONLY : 0) |
					    (v->f_flag & ST_NOSUID ? VFS_NO_SETUID : 0),
				    v->f_namemax };

	sftp_begin(s, SFTP_EXTENDED_REPLY, id);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		sftp_put64(s, values[i]);
	sftp_finish(s);
	return 0;
}

static int on_statvfs(struct sftp *s, const struct sftp_request *r)
{
	struct statvfs v;

	return statvfs(r->paths[0], &v) < 0 ? errno : reply_vfs(s, r->id, &v);
}

static int on_fstatvfs(struct sftp *s, const struct sftp_request *r)
{
	const struct sftp_open *o = sftp_find(s, r->handles[0]);
	struct statvfs v;

	if (!o)
		return EBADF;
	return fstatvfs(o->fd, &v) < 0 ? errno : reply_vfs(s, r->id, &v);
}

static int on_limits(struct sftp *s, const struct sftp_request *r)
{
	sftp_begin(s, SFTP_EXTENDED_REPLY, r->id);
	sftp_put64(s, SFTP_PACKET_MAX);
	sftp_put64(s, SFTP_DATA_MAX);
	sftp_put64(s, SFTP_DATA_MAX);
	sftp_put64(s, SFTP_HANDLES_MAX);
	sftp_finish(s);
	return 0;
}

/* --- names --- */

static int on_remove(struct sftp *s, const struct sftp_request *r)
{
	return done(unlink(r->paths[0]));
}

static int on_mkdir(struct sftp *s, const struct sftp_request *r)
{
	return done(mkdir(r->paths[0], r->attrs.flags & SFTP_A_MODE ? r->attrs.mode & 07777 : 0777));
}

static int on_rmdir(struct sftp *s, const struct sftp_request *r)
{
	return done(rmdir(r->paths[0]));
}

/* Version 3 replaces nothing; a file system that cannot say so in one step is asked first. */
static int on_rename(struct sftp *s, const struct sftp_request *r)
{
	struct stat st;

	if (renameat2(AT_FDCWD, r->paths[0], AT_FDCWD, r->paths[1], RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (lstat(r->paths[1], &st) == 0)
		return EEXIST;
	return done(rename(r->paths[0], r->paths[1]));
}

static int on_posix_rename(struct sftp *s, const struct sftp_request *r)
{
	return done(rename(r->paths[0], r->paths[1]));
}

static int on_hardlink(struct sftp *s, const struct sftp_request *r)
{
	return done(link(r->paths[0], r->paths[1]));
}

/* The target comes first, as all clients have it from OpenSSH, and not as in the draft. */
static int on_symlink(struct sftp *s, const struct sftp_request *r)
{
	return done(symlink(r->paths[0], r->paths[1]));
}

const struct sftp_kind sftp_kinds[] = {
	{ SFTP_OPEN, NULL, NULL, "sua", on_open },
	{ SFTP_CLOSE, NULL, NULL, "h", on_close },
	{ SFTP_READ, NULL, NULL, "hqu", on_read },
	{ SFTP_WRITE, NULL, NULL, "hqd", on_write },
	{ SFTP_LSTAT, NULL, NULL, "s", on_lstat },
	{ SFTP_FSTAT, NULL, NULL, "h", on_fstat },
	{ SFTP_SETSTAT, NULL, NULL, "sa", on_setstat },
	{ SFTP_FSETSTAT, NULL, NULL, "ha", on_fsetstat },
	{ SFTP_OPENDIR, NULL, NULL, "s", sftp_opendir },
	{ SFTP_READDIR, NULL, NULL, "h", sftp_readdir },
	{ SFTP_REMOVE, NULL, NULL, "s", on_remove },
	{ SFTP_MKDIR, NULL, NULL, "sa", on_mkdir },
	{ SFTP_RMDIR, NULL, NULL, "s", on_rmdir },
	{ SFTP_REALPATH, NULL, NULL, "s", sftp_realpath },
	{ SFTP_STAT, NULL, NULL, "s", on_stat },
	{ SFTP_RENAME, NULL, NULL, "ss", on_rename },
	{ SFTP_READLINK, NULL, NULL, "s", sftp_readlink },
	{ SFTP_SYMLINK, NULL, NULL, "ss", on_symlink },
	{ SFTP_EXTENDED, "posix-rename@openssh.com", "1", "ss", on_posix_rename },
	{ SFTP_EXTENDED, "statvfs@openssh.com", "2", "s", on_statvfs },
	{ SFTP_EXTENDED, "fstatvfs@openssh.com", "2", "h", on_fstatvfs },
	{ SFTP_EXTENDED, "hardlink@openssh.com", "1", "ss", on_hardlink },
	{ SFTP_EXTENDED, "fsync@openssh.com", "1", "h", on_fsync },
	{ SFTP_EXTENDED, "lsetstat@openssh.com", "1", "sa", on_lsetstat },
	{ SFTP_EXTENDED, "limits@openssh.com", "1", "", on_limits },
	{ SFTP_EXTENDED, "expand-path@openssh.com", "1", "s", sftp_expand_path },
	{ SFTP_EXTENDED, "copy-data", "1", "hqqhq", on_copy },
	{ SFTP_EXTENDED, "home-directory", "1", "s", sftp_home },
};
const size_t sftp_n_kinds = ARRAY_LEN(sftp_kinds);

/* The version is 3 whatever is offered; what can be done beside it follows. */
static void reply_version(struct sftp *s)
{
	sftp_begin(s, SFTP_VERSION, 3);
	for (size_t i = 0; i < ARRAY_LEN(sftp_kinds); i++) {
		if (!sftp_kinds[i].name)
			continue;
		sftp_put_text(s, sftp_kinds[i].name);
		sftp_put_text(s, sftp_kinds[i].version);
	}
	sftp_finish(s);
	s->begun = true;
}

int sftp_serve(struct sftp *s, const uint8_t *data, size_t len)
{
	struct sftp_request *r = &s->request;
	int e;

	if (len > 0 && data[0] == SFTP_INIT) {
		reply_version(s);
		return 0;
	}
	if (!s->begun || len < 5)
		return -EBADMSG;
	e = -sftp_decode(sftp_kinds, ARRAY_LEN(sftp_kinds), data, len, r);
	s->replied = false;
	if (e == 0)
		e = r->kind ? r->kind->handle(s, r) : EOPNOTSUPP;
	if (!s->replied)
		sftp_reply_status(s, r->id, e);
	return 0;
}
